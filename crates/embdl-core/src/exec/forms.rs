//! Which forms the weights of a dense layer can take, what each is expected to cost, and how much memory it needs.

use alloc::vec::Vec;

use super::weights::entry_count;
use crate::kernels::{
    BlocksF32, BlocksQ8, CodebookQ8, EllQ8, EllTile, Kernels, RowsForm, RowsProblem, SparseF32,
    Tile,
};
use crate::model::{EncodedTensor, Layout, Scales, Values};
use crate::runtime::WeightForm;

/// Form of the weights of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Block-sparse rows.
    Blocks {
        /// Share of the blocks that hold a weight.
        blocks: f32,
        /// Layout.
        tile: Tile,
    },
    /// 4-bit indices.
    Codebook,
}

/// The dense layer of `weight`, `[n, k]`, and `m` rows of activations, as far as costs go.
pub(super) fn problem(
    weight: &EncodedTensor<'_>,
    m: usize,
    quantized: bool,
    kernels: &dyn Kernels,
) -> RowsProblem {
    let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
    let (density, max_abs) = (density(weight), max_abs(&weight.values));
    let blocks = block_density(weight, kernels.tile_blocks(quantized));
    RowsProblem { m, n, k, density, blocks, quantized, max_abs }
}

/// The forms that `weight` can take where `wanted` allows them, with their estimates, the one first that is expected to be
/// the fastest.
pub(super) fn forms(
    weight: &EncodedTensor<'_>,
    problem: &RowsProblem,
    wanted: WeightForm,
    kernels: &dyn Kernels,
) -> Vec<(Form, f32)> {
    let is_sparse = matches!(weight.layout, Layout::Sparse { .. });
    let allowed: &[RowsForm] = match wanted {
        WeightForm::Dense => &[RowsForm::Panels],
        WeightForm::Compressed if is_sparse => &[RowsForm::Sparse, RowsForm::Ell, RowsForm::Blocks],
        WeightForm::Compressed => &[RowsForm::Codebook],
        WeightForm::Auto => {
            use RowsForm::{Blocks, Codebook, Ell, Panels, Sparse};
            &[Panels, Sparse, Ell, Blocks, Codebook]
        }
    };
    let tile = kernels.tile_blocks(problem.quantized);
    let possible = allowed.iter().filter(|&&form| can_take(weight, problem.quantized, form, tile));
    let costs = possible.filter_map(|&form| Some((form, kernels.rows_cost(problem, form)?)));
    let mut costs: Vec<(RowsForm, f32)> = costs.collect();
    costs.sort_by(|a, b| a.1.total_cmp(&b.1));
    let entries = entry_count(weight);
    let form = |&(form, cost): &(RowsForm, f32)| {
        let form = match form {
            RowsForm::Panels => Form::Dense,
            RowsForm::Sparse => Form::Sparse { entries },
            RowsForm::Ell => Form::Ell { entries, tile: kernels.tile_ell(problem.density) },
            RowsForm::Blocks => Form::Blocks { blocks: problem.blocks, tile },
            RowsForm::Codebook => Form::Codebook,
        };
        (form, cost)
    };
    let forms: Vec<(Form, f32)> = costs.iter().map(form).collect();
    if forms.is_empty() { alloc::vec![(Form::Dense, 1.0)] } else { forms }
}

/// Whether what the file holds can become `form`, with blocks of `tile`.
fn can_take(weight: &EncodedTensor<'_>, quantized: bool, form: RowsForm, tile: Tile) -> bool {
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
        RowsForm::Blocks => is_sparse && weight.shape.dim(1) >= tile.kr,
        RowsForm::Codebook => quantized && small_codebook(weight).is_some(),
    }
}

/// The values of a weight that has at most as many as 4 bits tell apart, the zeros between sparse ones included.
pub(super) fn small_codebook(weight: &EncodedTensor<'_>) -> Option<Vec<i8>> {
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
pub(super) fn max_abs(values: &Values) -> u8 {
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

/// Share of the blocks of `tile` in which a symbol is, among the first rows of a sparse tensor; 1 where it is dense, or where
/// the sample does not decode, which whoever decodes all of it reports.
pub(super) fn block_density(weight: &EncodedTensor<'_>, tile: Tile) -> f32 {
    /// Elements of a sample: decoding takes some milliseconds at most.
    const SAMPLE: usize = 1 << 18;
    let n = weight.shape.dim(0);
    let k = weight.shape.len() / n;
    if weight.layout == Layout::Dense || k < tile.kr {
        return 1.0;
    }
    let rows = (SAMPLE / k).clamp(4 * tile.nr, n.max(4 * tile.nr)).min(n);
    let groups = k.div_ceil(tile.kr);
    let mut is_held = alloc::vec![false; groups];
    let (mut panel, mut held) = (0, 0_usize);
    let sampled = weight.for_each_entry_before(rows * k, |position, _| {
        if position / k / tile.nr != panel {
            panel = position / k / tile.nr;
            is_held.fill(false);
        }
        let group = position % k / tile.kr;
        held += usize::from(!core::mem::replace(&mut is_held[group], true));
    });
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision")]
    match sampled {
        Ok(()) => held as f32 / (groups * rows.div_ceil(tile.nr)) as f32,
        Err(_) => 1.0,
    }
}

/// Bytes that each part of a layer takes beside its rows: a codebook, and where the last row ends.
pub(super) const fn part_bytes(form: Form, quantized: bool) -> usize {
    match form {
        Form::Dense => 0,
        Form::Blocks { .. } => 64 + 4,
        Form::Sparse { .. } | Form::Ell { .. } if quantized => 4,
        Form::Sparse { .. } | Form::Ell { .. } => 4 + 256 * 4,
        Form::Codebook => CodebookQ8::MAX_VALUES,
    }
}

/// Bytes that `n` rows of `k` weights and their bias take in a form, dense ones in `panels`; `None` if they cannot be counted.
pub(super) fn form_bytes(
    form: Form,
    n: usize,
    k: usize,
    quantized: bool,
    panels: Tile,
) -> Option<usize> {
    match form {
        Form::Dense => {
            let rows = n.checked_next_multiple_of(panels.nr)?;
            let weights = rows.checked_mul(k.checked_next_multiple_of(panels.kr)?)?;
            let (element, per_row) = if quantized { (1, 8) } else { (4, 4) };
            weights.checked_mul(element)?.checked_add(rows.checked_mul(per_row)?)
        }
        Form::Ell { entries, tile } => {
            // Rows that fit these slices badly run as plain sparse rows.
            let plain =
                form_bytes(Form::Sparse { entries }, n, k, quantized, Tile { nr: 1, kr: 1 })?;
            Some(ell_limit([n, k, entries], tile)?.max(plain))
        }
        Form::Sparse { entries } => entries.checked_mul(3)?.checked_add(n.checked_mul(8)?),
        Form::Blocks { blocks, tile } => {
            // Where they fit these blocks badly, panels.
            let dense = form_bytes(Form::Dense, n, k, quantized, panels)?;
            Some(block_limit([n, k], blocks, tile, quantized)?.max(dense))
        }
        Form::Codebook => n.checked_mul(CodebookQ8::row_bytes_for(k).checked_add(4)?),
    }
}

/// Bytes that rows in slices may take.
pub(super) fn ell_limit([n, k, entries]: [usize; 3], tile: EllTile) -> Option<usize> {
    let expected = EllQ8::expected_bytes(n, k, entries, tile);
    expected.checked_add(expected / 2)?.checked_add(64 << 10)
}

/// Bytes that block-sparse rows may take.
pub(super) fn block_limit(
    [n, k]: [usize; 2],
    blocks: f32,
    tile: Tile,
    quantized: bool,
) -> Option<usize> {
    let expected = if quantized {
        BlocksQ8::expected_bytes(n, k, blocks, tile)
    } else {
        BlocksF32::expected_bytes(n, k, blocks, tile)
    };
    expected.checked_add(expected / 2)?.checked_add(64 << 10)
}
