//! The way of a layer's weights from the file's bytes to the form that kernels want.

use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use bytemuck::cast_slice_mut;

use super::forms::{block_limit, ell_limit, small_codebook};
use crate::encoding::EncodingError;
use crate::kernels::{
    BlockBuilder, BlocksF32, BlocksQ8, CodebookQ8, EllBuilder, EllQ8, EllTile, Kernels, PackedF32,
    PackedQ8, SparseF32, SparseQ8, SparseRows, Tile,
};
use crate::model::{EncodedTensor, Layout};
use crate::runtime::Release;

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
    packed.iter_mut().for_each(|packed| kernels.finish_f32(packed));
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
pub fn for_each_row<T>(
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

/// Sparse rows of floats, for parts of `width` channels.
pub(super) fn sparse_f32(
    weight: &EncodedTensor<'_>,
    bias: &[f32],
    width: usize,
) -> Result<Vec<SparseF32>, EncodingError> {
    let codebook = weight.symbols_f32()?;
    sparse_parts(
        weight,
        width,
        |[n, k, entries], part| (SparseRows::with_capacity(n, k, entries), part),
        #[expect(clippy::cast_possible_truncation, reason = "alphabets of at most 8 bits")]
        |(rows, _), position, code| rows.push(position, code as u8),
        |(rows, part)| SparseF32::of_rows(rows, &codebook, bias_of(bias, &part)),
    )
}

/// Sparse rows of integers, for parts of `width` channels.
pub(super) fn sparse_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    width: usize,
    zero_point: u8,
) -> Result<Vec<SparseQ8>, EncodingError> {
    let table = weight.table_i8()?;
    sparse_parts(
        weight,
        width,
        |[n, k, entries], part| (SparseRows::with_capacity(n, k, entries), part),
        |(rows, _), position, code| rows.push(position, table[code as usize & 255]),
        |(rows, part)| SparseQ8::of_rows(rows, bias_of(bias, &part), zero_point),
    )
}

/// Sparse rows of integers in slices, for parts of `width` channels, if they fit their bytes all together.
pub(super) fn ell_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    width: usize,
    zero_point: u8,
    tile: EllTile,
) -> Result<Option<Vec<EllQ8>>, EncodingError> {
    let size = [weight.shape.dim(0), weight.shape.dim(1), entry_count(weight)];
    let left = Cell::new(ell_limit(size, tile).unwrap_or(usize::MAX));
    let table = weight.table_i8()?;
    let parts = sparse_parts(
        weight,
        width,
        |size, part| EllBuilder::new(size, bias_of(bias, &part), zero_point, tile, left.get()),
        |rows, position, code| rows.push(position, table[code as usize & 255]),
        |rows| {
            let rows = rows.finish();
            left.set(rows.as_ref().map_or(0, |rows| left.get() - rows.size_bytes()));
            rows
        },
    )?;
    Ok(parts.into_iter().collect())
}

/// Block-sparse integer rows, for parts of `width` channels, if they fit their bytes all together.
pub(super) fn blocks_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    width: usize,
    zero_point: u8,
    (blocks, tile): (f32, Tile),
) -> Result<Option<Vec<BlocksQ8>>, EncodingError> {
    let size = [weight.shape.dim(0), weight.shape.dim(1)];
    let left = Cell::new(block_limit(size, blocks, tile, true).unwrap_or(usize::MAX));
    let table = weight.table_i8()?;
    let parts = sparse_parts(
        weight,
        width,
        |[n, k, _], part| BlockBuilder::new([n, k], blocks, bias_of(bias, &part), tile, left.get()),
        |rows, position, code| rows.push(position, table[code as usize & 255]),
        |rows| {
            let rows = rows.finish(zero_point);
            left.set(rows.as_ref().map_or(0, |rows| left.get() - rows.size_bytes()));
            rows
        },
    )?;
    Ok(parts.into_iter().collect())
}

/// Block-sparse float rows, for parts of `width` channels, if they fit their bytes all together.
pub(super) fn blocks_f32(
    weight: &EncodedTensor<'_>,
    bias: &[f32],
    width: usize,
    (blocks, tile): (f32, Tile),
) -> Result<Option<Vec<BlocksF32>>, EncodingError> {
    let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
    let limit = block_limit([n, k], blocks, tile, false).unwrap_or(usize::MAX);
    let begin = |part: Range<usize>| {
        BlockBuilder::new([part.len(), k], blocks, bias_of(bias, &part), tile, limit)
    };
    let mut builders: Vec<BlockBuilder<f32, f32>> = parts(weight, width).map(begin).collect();
    weight.dequantize_blocks(PACK_BLOCK, |at, values| {
        for (position, &value) in (at..).zip(values).filter(|(_, value)| **value != 0.0) {
            builders[position / k / width].push(position - position / k / width * width * k, value);
        }
    })?;
    let parts: Option<Vec<BlocksF32>> = builders.into_iter().map(|rows| rows.finish()).collect();
    let fit =
        |parts: &Vec<BlocksF32>| parts.iter().map(BlocksF32::size_bytes).sum::<usize>() <= limit;
    Ok(parts.filter(fit))
}

/// Makes rows of the entries of each part of `width` channels, one part after the other: `begin` with the part's channels,
/// columns and about as many entries, `push` for each entry with its position in the part.
fn sparse_parts<B, P>(
    weight: &EncodedTensor<'_>,
    width: usize,
    begin: impl Fn([usize; 3], Range<usize>) -> B,
    push: impl Fn(&mut B, usize, u32),
    finish: impl Fn(B) -> P,
) -> Result<Vec<P>, EncodingError> {
    let [n, k] = [weight.shape.dim(0), weight.shape.dim(1)];
    let begin = |part: Range<usize>| {
        let share = entry_count(weight) as u128 * part.len() as u128 / n as u128;
        let entries = usize::try_from(share).expect("no more than all");
        begin([part.len(), k, entries], part)
    };
    let mut ranges = parts(weight, width);
    let mut current = ranges.next().expect("a layer has channels");
    let mut rows = Some(begin(current.clone()));
    let mut done = Vec::new();
    let mut next = |rows: &mut Option<B>, current: &mut Range<usize>| {
        done.extend(rows.take().map(&finish));
        if let Some(part) = ranges.next() {
            *current = part.clone();
            *rows = Some(begin(part));
        }
    };
    weight.for_each_entry(|position, code| {
        let position = position as usize;
        while position >= current.end * k {
            next(&mut rows, &mut current);
        }
        let rows = rows.as_mut().expect("a position is within the last part");
        push(rows, position - current.start * k, code);
    })?;
    while rows.is_some() {
        next(&mut rows, &mut current);
    }
    Ok(done)
}

/// Symbols of a sparse tensor, as far as it can have them.
pub(super) fn entry_count(weight: &EncodedTensor<'_>) -> usize {
    match weight.layout {
        Layout::Dense => 0,
        Layout::Sparse { symbol_count, .. } => weight.shape.len().min(symbol_count as usize),
    }
}

/// Rows of 4-bit indices, for parts of `width` channels.
pub(super) fn codebook_q8(
    weight: &EncodedTensor<'_>,
    bias: &[i32],
    width: usize,
    zero_point: u8,
) -> Result<Vec<CodebookQ8>, EncodingError> {
    let k = weight.shape.dim(1);
    let book = small_codebook(weight)
        .ok_or(EncodingError::ValueKind { asked: "integers of at most 16 values" })?;
    let parts = parts(weight, width);
    let mut rows: Vec<CodebookQ8> =
        parts.map(|part| CodebookQ8::zeros(&book, bias_of(bias, &part), part.len(), k)).collect();
    weight.decode_i8_blocks(PACK_BLOCK, |at, values| {
        for_each_row(at, values, k, |j, p, values| {
            rows[j / width].put(j % width, p, values, zero_point);
        });
    })?;
    Ok(rows)
}
