//! Which form the weights of a node take, how much memory that needs, and the way from the file's bytes to it.

use alloc::vec::Vec;
use core::ops::Range;

use bytemuck::cast_slice_mut;

use crate::encoding::EncodingError;
use crate::kernels::{
    CodebookQ8, EllBuilder, EllQ8, EllTile, Kernels, PackedF32, PackedQ8, RowsForm, RowsProblem,
    SparseF32, SparseQ8, SparseRows, Tile,
};
use crate::model::{EncodedTensor, Layout, Scales, Values};
use crate::runtime::{Release, WeightForm};

/// Form of the weights of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Packed panels for GEMM.
    Dense,
    /// Sparse rows.
    Sparse {
        /// Number of weights that are there.
        entries: usize,
    },
    /// Sparse rows in slices.
    Ell {
        /// Number of weights that are there.
        entries: usize,
        /// Layout.
        tile: EllTile,
    },
    /// 4-bit indices.
    Codebook,
}

/// The form for a dense layer's `weight`, `[n, k]`, and `m` rows of activations.
pub(super) fn choose_form(
    weight: &EncodedTensor<'_>,
    m: usize,
    quantized: bool,
    wanted: WeightForm,
    kernels: &dyn Kernels,
) -> Form {
    let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
    let (density, max_abs) = (density(weight), max_abs(&weight.values));
    let problem = RowsProblem { m, n, k, density, quantized, max_abs };
    let is_sparse = matches!(weight.layout, Layout::Sparse { .. });
    let forms: &[RowsForm] = match wanted {
        WeightForm::Dense => &[],
        WeightForm::Compressed if is_sparse => &[RowsForm::Sparse, RowsForm::Ell],
        WeightForm::Compressed => &[RowsForm::Codebook],
        WeightForm::Auto => {
            &[RowsForm::Panels, RowsForm::Sparse, RowsForm::Ell, RowsForm::Codebook]
        }
    };
    let possible = forms.iter().filter(|&&form| can_take(weight, quantized, form));
    let costs = possible.filter_map(|&form| Some((form, kernels.rows_cost(&problem, form)?)));
    let entries = entry_count(weight);
    match costs.min_by(|a, b| a.1.total_cmp(&b.1)) {
        None | Some((RowsForm::Panels, _)) => Form::Dense,
        Some((RowsForm::Sparse, _)) => Form::Sparse { entries },
        Some((RowsForm::Ell, _)) => Form::Ell { entries, tile: kernels.tile_ell(density) },
        Some((RowsForm::Codebook, _)) => Form::Codebook,
    }
}

/// Whether what the file holds can become `form`.
fn can_take(weight: &EncodedTensor<'_>, quantized: bool, form: RowsForm) -> bool {
    let elements = weight.shape.len();
    let is_sparse = match weight.layout {
        Layout::Dense => false,
        Layout::Sparse { symbol_count, .. } => {
            weight.shape.dim(1) <= SparseF32::MAX_COLUMNS
                && u32::try_from(elements).is_ok()
                && symbol_count as usize <= elements
                && !matches!(weight.values, Values::Int { bits: 9.. })
        }
    };
    let has_one_scale = matches!(weight.values, Values::CodebookF32(_))
        || matches!(weight.scales, Scales::PerTensor(_));
    match form {
        RowsForm::Panels => true,
        RowsForm::Sparse => is_sparse && (quantized || has_one_scale),
        RowsForm::Ell => is_sparse && quantized,
        RowsForm::Codebook => quantized && small_codebook(weight).is_some(),
    }
}

/// The values of a weight that has at most as many as 4 bits tell apart, the zeros between sparse ones included.
fn small_codebook(weight: &EncodedTensor<'_>) -> Option<Vec<i8>> {
    let mut book = match &weight.values {
        Values::CodebookI8(book) => book.clone(),
        Values::Int { bits: bits @ 1..=4 } => {
            // In the order of their symbols.
            (0..1 << bits)
                .filter_map(|symbol| weight.integer(symbol))
                .map(|value| i8::try_from(value).expect("at most 4 bits"))
                .collect()
        }
        _ => return None,
    };
    if weight.layout != Layout::Dense && !book.contains(&0) {
        book.push(0);
    }
    (book.len() <= CodebookQ8::MAX_VALUES).then_some(book)
}

/// The largest absolute integer that the values can be.
fn max_abs(values: &Values) -> u8 {
    match values {
        Values::CodebookI8(book) => book.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0),
        Values::Int { bits: bits @ 1..=8 } => 1 << (bits - 1),
        _ => u8::MAX,
    }
}

/// Share of the positions that have a symbol.
pub(super) fn density(weight: &EncodedTensor<'_>) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision")]
    match weight.layout {
        Layout::Dense => 1.0,
        Layout::Sparse { symbol_count, .. } => symbol_count as f32 / weight.shape.len() as f32,
    }
}

/// Bytes that `n` rows of `k` weights and their bias take in a form; `None` if they cannot be counted.
pub(super) fn form_bytes(
    form: Form,
    n: usize,
    k: usize,
    quantized: bool,
    tile: Tile,
) -> Option<usize> {
    match form {
        Form::Dense => {
            let rows = n.checked_next_multiple_of(tile.nr)?;
            let weights = rows.checked_mul(k.checked_next_multiple_of(tile.kr)?)?;
            let (element, per_row) = if quantized { (1, 8) } else { (4, 4) };
            weights.checked_mul(element)?.checked_add(rows.checked_mul(per_row)?)
        }
        Form::Ell { entries, tile } => {
            // Rows that fit these slices badly run as plain sparse rows.
            let plain =
                form_bytes(Form::Sparse { entries }, n, k, quantized, Tile { nr: 1, kr: 1 })?;
            Some(ell_limit([n, k, entries], tile)?.max(plain))
        }
        Form::Sparse { entries } => {
            let codebook = if quantized { 0 } else { 1024 };
            let rows = n.checked_mul(8)?.checked_add(4 + codebook)?;
            entries.checked_mul(3)?.checked_add(rows)
        }
        Form::Codebook => {
            n.checked_mul(CodebookQ8::row_bytes_for(k).checked_add(4)?)?.checked_add(16)
        }
    }
}

/// Bytes that rows in slices may take.
fn ell_limit([n, k, entries]: [usize; 3], tile: EllTile) -> Option<usize> {
    let expected = EllQ8::expected_bytes(n, k, entries, tile);
    expected.checked_add(expected / 2)?.checked_add(64 << 10)
}

/// Real value of one step of each output channel, or one for all; `None` if the weight has no scales, or not `n`.
pub(super) fn channel_scales(weight: &EncodedTensor<'_>, n: usize) -> Option<Vec<f32>> {
    match &weight.scales {
        Scales::None => None,
        Scales::PerTensor(scale) => Some(alloc::vec![*scale]),
        Scales::PerChannel(scales) => (scales.len() == n).then(|| scales.clone()),
    }
}

/// Decodes floats straight into the panels of products of `width` channels each, the last of those that are left; never
/// more than a block of them exists unpacked.
pub(super) fn pack_f32(
    weight: &EncodedTensor<'_>,
    bias: &[f32],
    width: usize,
    kernels: &dyn Kernels,
    release: Option<&dyn Release>,
) -> Result<Vec<PackedF32>, EncodingError> {
    let (k, tile) = (row_len(weight), kernels.tile_f32());
    let parts = parts(weight, width);
    let mut packed: Vec<PackedF32> =
        parts.map(|part| PackedF32::zeros(bias_of(bias, &part), part.len(), k, tile)).collect();
    packed.iter_mut().for_each(|packed| kernels.advise(cast_slice_mut(&mut packed.data)));
    let mut consumed = Consumed::new(weight, release);
    weight.dequantize_blocks(PACK_BLOCK, |at, values| {
        for_each_row(at, values, k, |j, p, values| packed[j / width].put(j % width, p, values));
        consumed.reach(at + values.len());
    })?;
    Ok(packed)
}

/// Decodes integers straight into panels, like [`pack_f32`].
pub(super) fn pack_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    width: usize,
    zero_point: u8,
    kernels: &dyn Kernels,
    release: Option<&dyn Release>,
) -> Result<Vec<PackedQ8>, EncodingError> {
    let (k, tile) = (row_len(weight), kernels.tile_q8());
    let parts = parts(weight, width);
    let mut packed: Vec<PackedQ8> =
        parts.map(|part| PackedQ8::zeros(bias_of(bias, &part), part.len(), k, tile)).collect();
    packed.iter_mut().for_each(|packed| kernels.advise(cast_slice_mut(&mut packed.data)));
    let mut consumed = Consumed::new(weight, release);
    weight.decode_i8_blocks(PACK_BLOCK, |at, values| {
        for_each_row(at, values, k, |j, p, values| packed[j / width].put(j % width, p, values));
        consumed.reach(at + values.len());
    })?;
    packed.iter_mut().for_each(|packed| packed.fold(zero_point));
    Ok(packed)
}

/// Gives back the bytes of a tensor while it is unpacked, so that a large layer is not there twice. How far it is comes from
/// the elements, as if all took as many bits: what is given back too early comes back when it is read.
struct Consumed<'t> {
    release: Option<&'t dyn Release>,
    bytes: &'t [u8],
    elements: usize,
    /// Bytes that are given back.
    done: usize,
}

impl<'t> Consumed<'t> {
    /// Bytes that are given back at a time.
    const STEP: usize = 1 << 20;
    /// Bytes of the largest pages that systems have.
    const LARGEST_PAGE: usize = 64 << 10;

    fn new(weight: &'t EncodedTensor<'_>, release: Option<&'t dyn Release>) -> Self {
        Self { release, bytes: weight.symbols.bytes, elements: weight.shape.len(), done: 0 }
    }

    /// So many elements are unpacked.
    fn reach(&mut self, elements: usize) {
        let Some(release) = self.release else { return };
        let end = self.bytes.len() as u128 * elements as u128 / self.elements.max(1) as u128;
        let end = usize::try_from(end).map_or(self.bytes.len(), |end| end.min(self.bytes.len()));
        if end >= self.done + Self::STEP {
            release.release(&self.bytes[self.done..end]);
            // A little of it once more with the next part: the page that both have a share of.
            self.done = end.saturating_sub(Self::LARGEST_PAGE);
        }
    }
}

/// Elements that exist unpacked at a time.
const PACK_BLOCK: usize = 8192;

/// Elements of an output channel.
fn row_len(weight: &EncodedTensor<'_>) -> usize {
    weight.shape.len() / weight.shape.dim(0)
}

/// The output channels of parts of `width`.
pub(super) fn parts(
    weight: &EncodedTensor<'_>,
    width: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let n = weight.shape.dim(0);
    (0..n).step_by(width).map(move |first| first..n.min(first + width))
}

/// The biases of a part.
fn bias_of<'a, T>(bias: &'a [T], part: &Range<usize>) -> &'a [T] {
    if bias.is_empty() { bias } else { &bias[part.clone()] }
}

/// Calls `each(row, column, elements)` for the parts of rows of `k` elements that a block from `at` on has.
fn for_each_row<T>(
    mut at: usize,
    mut block: &[T],
    k: usize,
    mut each: impl FnMut(usize, usize, &[T]),
) {
    while !block.is_empty() {
        let (row, rest) = block.split_at(block.len().min(k - at % k));
        each(at / k, at % k, row);
        at += row.len();
        block = rest;
    }
}

/// Sparse rows of floats.
pub(super) fn sparse_f32(
    weight: &EncodedTensor<'_>,
    bias: &[f32],
) -> Result<SparseF32, EncodingError> {
    let [n, k] = [weight.shape.dim(0), weight.shape.dim(1)];
    let codebook: Vec<f32> = match (&weight.values, &weight.scales) {
        (Values::CodebookF32(book), _) => book.clone(),
        (Values::Int { .. } | Values::CodebookI8(_), Scales::PerTensor(scale)) =>
        {
            #[expect(clippy::cast_precision_loss, reason = "integers of at most 8 bits")]
            (0..256).map_while(|code| weight.integer(code)).map(|w| w as f32 * scale).collect()
        }
        _ => return Err(EncodingError::ValueKind { asked: "floats of one scale" }),
    };
    if let Some(position) = codebook.iter().position(|value| !value.is_finite()) {
        return Err(EncodingError::NotFinite { position });
    }
    let mut rows = SparseRows::with_capacity(n, k, entry_count(weight));
    #[expect(clippy::cast_possible_truncation, reason = "alphabets of at most 8 bits")]
    weight.for_each_entry(|position, code| rows.push(position as usize, code as u8))?;
    Ok(SparseF32::of_rows(rows, &codebook, bias))
}

/// Sparse rows of integers.
pub(super) fn sparse_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    zero_point: u8,
) -> Result<SparseQ8, EncodingError> {
    let [n, k] = [weight.shape.dim(0), weight.shape.dim(1)];
    let mut rows = SparseRows::with_capacity(n, k, entry_count(weight));
    let table = weight.table_i8()?;
    weight.for_each_entry(|position, code| {
        rows.push(position as usize, table[code as usize & 255]);
    })?;
    Ok(SparseQ8::of_rows(rows, bias, zero_point))
}

/// Sparse rows of integers in slices, if they fit their bytes.
pub(super) fn ell_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    zero_point: u8,
    tile: EllTile,
) -> Result<Option<EllQ8>, EncodingError> {
    let size = [weight.shape.dim(0), weight.shape.dim(1), entry_count(weight)];
    let limit = ell_limit(size, tile).unwrap_or(usize::MAX);
    let mut rows = EllBuilder::new(size, bias, zero_point, tile, limit);
    let table = weight.table_i8()?;
    weight.for_each_entry(|position, code| {
        rows.push(position as usize, table[code as usize & 255]);
    })?;
    Ok(rows.finish())
}

/// Symbols of a sparse tensor, as far as it can have them.
fn entry_count(weight: &EncodedTensor<'_>) -> usize {
    match weight.layout {
        Layout::Dense => 0,
        Layout::Sparse { symbol_count, .. } => weight.shape.len().min(symbol_count as usize),
    }
}

/// Rows of 4-bit indices.
pub(super) fn codebook_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    zero_point: u8,
) -> Result<CodebookQ8, EncodingError> {
    let [n, k] = [weight.shape.dim(0), weight.shape.dim(1)];
    let book = small_codebook(weight)
        .ok_or(EncodingError::ValueKind { asked: "integers of at most 16 values" })?;
    let mut rows = CodebookQ8::zeros(&book, bias, n, k);
    weight.decode_i8_blocks(PACK_BLOCK, |at, values| {
        for_each_row(at, values, k, |j, p, values| rows.put(j, p, values, zero_point));
    })?;
    Ok(rows)
}
