//! Weights in the layouts that kernels read, and how they are packed: once, at load.

mod blocks;
mod ell;
mod rows;

use alloc::vec;
use alloc::vec::Vec;

pub use blocks::{BlockBuilder, BlockPanel, BlockRows, BlocksF32, BlocksQ8};
pub use ell::{EllBuilder, EllQ8, EllSlice, EllTile};
pub use rows::{CodebookQ8, SparseF32, SparseQ8, SparseRows};

/// 64 bytes, aligned to a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: 64 bytes without padding, of which all values are valid.
#[expect(unsafe_code, reason = "a derive would need a procedural macro")]
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a derive would need a procedural macro")]
unsafe impl bytemuck::Pod for Line {}

/// How many weight rows (output channels) a panel interleaves, and how many consecutive elements of one row stand
/// together in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Output channels a panel.
    pub nr: usize,
    /// Consecutive elements along k of one channel.
    pub kr: usize,
}

/// Weights `[n, k]` in panels of `tile.nr` rows: `panel[p / kr][row in panel][p % kr]`, zero-padded in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedF32 {
    /// Output channels.
    pub n: usize,
    /// Elements a row.
    pub k: usize,
    /// Layout.
    pub tile: Tile,
    /// `n` rounded up to panels, times `k` rounded up to `kr`; none where there are halves.
    pub data: Vec<f32>,
    /// The same in 16 bits each, for kernels that narrow weights ([`Kernels::finish_f32`](super::Kernels::finish_f32)).
    pub halves: Vec<u16>,
    /// Bias, zero-padded to whole panels.
    pub bias: Vec<f32>,
}

/// Integer weights `[n, k]`, laid out like [`PackedF32`].
#[derive(Clone, Debug, PartialEq)]
pub struct PackedQ8 {
    /// Output channels.
    pub n: usize,
    /// Elements a row.
    pub k: usize,
    /// Layout.
    pub tile: Tile,
    /// `n` rounded up to panels, times `k` rounded up to `kr`.
    pub data: Vec<i8>,
    /// `bias[j] - zero_point * sum over p of weights[j, p]`, zero-padded to whole panels.
    pub bias: Vec<i32>,
    /// `sum over p of weights[j, p]`, zero-padded to whole panels: kernels that flip u8 to i8 add `128 *` this.
    pub row_sums: Vec<i32>,
    /// Largest absolute weight: at most 64 lets `pmaddubsw` work without saturation.
    pub max_abs: u8,
}

impl PackedF32 {
    /// Packs `weights` (`[n, k]`, row-major) and `bias` (`n`, or empty for zeros).
    ///
    /// # Panics
    /// If the lengths do not fit `n` and `k`, or the tile has a zero.
    #[must_use]
    pub fn pack(weights: &[f32], bias: &[f32], n: usize, k: usize, tile: Tile) -> Self {
        assert!(weights.len() == n * k, "{} weights are not {n} rows of {k}", weights.len());
        let mut packed = Self::zeros(bias, n, k, tile);
        for (j, row) in weights.chunks_exact(k.max(1)).enumerate() {
            packed.put(j, 0, row);
        }
        packed
    }

    /// Weights that are zero until they are [`put`](Self::put), so that they need not exist unpacked.
    ///
    /// # Panics
    /// If there is another number of biases than `n` or none, or the tile has a zero.
    #[must_use]
    pub fn zeros(bias: &[f32], n: usize, k: usize, tile: Tile) -> Self {
        let data = empty_panels(n, k, tile);
        Self { n, k, tile, data, halves: Vec::new(), bias: pad_bias(bias, n, tile) }
    }

    /// Writes the weights of row `j` from column `p` on.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, j: usize, p: usize, weights: &[f32]) {
        assert!(j < self.n && p + weights.len() <= self.k, "row {j} of {}, from {p}", self.n);
        put_in_panel(&mut self.data, self.k, self.tile, [j, p], weights);
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        (self.data.len() + self.bias.len()) * 4 + self.halves.len() * 2
    }
}

impl PackedQ8 {
    /// Packs `weights` (`[n, k]`, row-major) and `bias` (`n`, or empty for zeros) for activations with `zero_point`.
    ///
    /// # Panics
    /// If the lengths do not fit `n` and `k`, or the tile has a zero.
    #[must_use]
    pub fn pack(
        weights: &[i8],
        bias: &[i32],
        zero_point: u8,
        n: usize,
        k: usize,
        tile: Tile,
    ) -> Self {
        assert!(weights.len() == n * k, "{} weights are not {n} rows of {k}", weights.len());
        let mut packed = Self::zeros(bias, n, k, tile);
        for (j, row) in weights.chunks_exact(k.max(1)).enumerate() {
            packed.put(j, 0, row);
        }
        packed.fold(zero_point);
        packed
    }

    /// Weights that are zero until they are [`put`](Self::put), so that they need not exist unpacked. When all are,
    /// [`fold`](Self::fold) completes them.
    ///
    /// # Panics
    /// If there is another number of biases than `n` or none, or the tile has a zero.
    #[must_use]
    pub fn zeros(bias: &[i32], n: usize, k: usize, tile: Tile) -> Self {
        let data = empty_panels(n, k, tile);
        let row_sums = vec![0; n.next_multiple_of(tile.nr)];
        Self { n, k, tile, data, bias: pad_bias(bias, n, tile), row_sums, max_abs: 0 }
    }

    /// Writes the weights of row `j` from column `p` on. Each column is to be written once.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, j: usize, p: usize, weights: &[i8]) {
        assert!(j < self.n && p + weights.len() <= self.k, "row {j} of {}, from {p}", self.n);
        self.row_sums[j] = self.row_sums[j].wrapping_add(row_sum(weights.iter().copied()));
        let largest = weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        self.max_abs = self.max_abs.max(largest);
        put_in_panel(&mut self.data, self.k, self.tile, [j, p], weights);
    }

    /// Takes `zero_point` times the sum of each row off its bias. To be called once, after all weights were put.
    pub fn fold(&mut self, zero_point: u8) {
        for (bias, sum) in self.bias.iter_mut().zip(&self.row_sums) {
            *bias = fold_zero_point(*bias, zero_point, *sum);
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.data.len() + (self.bias.len() + self.row_sums.len()) * 4
    }
}

/// Sum of weights; wraps, as accumulators do.
fn row_sum(weights: impl Iterator<Item = i8>) -> i32 {
    weights.fold(0, |sum: i32, w| sum.wrapping_add(i32::from(w)))
}

const fn fold_zero_point(bias: i32, zero_point: u8, sum: i32) -> i32 {
    bias.wrapping_sub((zero_point as i32).wrapping_mul(sum))
}

/// Panels of `n` rows of `k` elements, all zero.
fn empty_panels<T: Copy + Default>(n: usize, k: usize, tile: Tile) -> Vec<T> {
    assert!(tile.nr > 0 && tile.kr > 0, "a tile without extent");
    vec![T::default(); n.next_multiple_of(tile.nr) * k.next_multiple_of(tile.kr)]
}

/// Writes elements of row `j` from column `p` on.
fn put_in_panel<T: Copy>(data: &mut [T], k: usize, tile: Tile, [j, p]: [usize; 2], row: &[T]) {
    let Tile { nr, kr } = tile;
    let panel_len = k.next_multiple_of(kr) * nr;
    let panel = &mut data[j / nr * panel_len..][..panel_len];
    let lane = j % nr;
    if kr == 1 {
        for (slot, &w) in panel[p * nr + lane..].iter_mut().step_by(nr).zip(row) {
            *slot = w;
        }
        return;
    }
    // Up to the next whole step, whole steps, what is left.
    let head = row.len().min(p.next_multiple_of(kr) - p);
    let (head, rest) = row.split_at(head);
    let start = |step: usize| (step * nr + lane) * kr;
    panel[start(p / kr) + p % kr..][..head.len()].copy_from_slice(head);
    let step = p.div_ceil(kr);
    match kr {
        2 => put_steps::<T, 2>(panel, [step, nr, lane], rest),
        4 => put_steps::<T, 4>(panel, [step, nr, lane], rest),
        _ => {
            for (step, chunk) in (step..).zip(rest.chunks(kr)) {
                panel[start(step)..][..chunk.len()].copy_from_slice(chunk);
            }
        }
    }
}

/// Writes elements of a row of the panel from a step on; copies of a constant length are moves, others are calls.
fn put_steps<T: Copy, const KR: usize>(
    panel: &mut [T],
    [step, nr, lane]: [usize; 3],
    elements: &[T],
) {
    let (whole, last) = elements.as_chunks::<KR>();
    let mut steps = panel[step * nr * KR..].chunks_exact_mut(nr * KR);
    for (chunk, step) in whole.iter().zip(steps.by_ref()) {
        step.as_chunks_mut().0[lane] = *chunk;
    }
    if !last.is_empty() {
        let step = steps.next().expect("a panel has room for whole steps");
        step[lane * KR..][..last.len()].copy_from_slice(last);
    }
}

fn pad_bias<T: Copy + Default>(bias: &[T], n: usize, tile: Tile) -> Vec<T> {
    assert!(bias.is_empty() || bias.len() == n, "{} biases for {n} channels", bias.len());
    let mut padded = bias.to_vec();
    padded.resize(n.next_multiple_of(tile.nr), T::default());
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_interleave_rows_and_pad_with_zeros() {
        let weights: Vec<i8> = (1..=15).collect();
        let packed = PackedQ8::pack(&weights, &[10, 20, 30], 2, 3, 5, Tile { nr: 2, kr: 2 });
        let expected =
            [1, 2, 6, 7, 3, 4, 8, 9, 5, 0, 10, 0, 11, 12, 0, 0, 13, 14, 0, 0, 15, 0, 0, 0];
        assert_eq!(packed.data, expected);
        assert_eq!(packed.row_sums, [15, 40, 65, 0]);
        assert_eq!(packed.bias, [10 - 30, 20 - 80, 30 - 130, 0]);
        assert_eq!(packed.max_abs, 15);
    }

    #[test]
    fn pieces_of_rows_are_put_where_they_belong() {
        let weights: Vec<i8> = (1..=33).collect();
        for tile in [(1, 1), (2, 2), (4, 4), (3, 16), (8, 1)].map(|(nr, kr)| Tile { nr, kr }) {
            let whole = PackedQ8::pack(&weights, &[7, 8, 9], 5, 3, 11, tile);
            for piece in 1..=11 {
                let mut packed = PackedQ8::zeros(&[7, 8, 9], 3, 11, tile);
                for (j, row) in weights.chunks(11).enumerate() {
                    for (at, part) in row.chunks(piece).enumerate() {
                        packed.put(j, at * piece, part);
                    }
                }
                packed.fold(5);
                assert_eq!(packed, whole, "{tile:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn sparse_rows_start_where_their_entries_do() {
        let weights = SparseQ8::new(4, 3, [(1, 5), (3, -1), (5, 2)], &[], 10);
        assert_eq!(weights.row_starts, [0, 1, 3, 3, 3]);
        assert_eq!(weights.columns, [1, 0, 2]);
        assert_eq!(weights.values, [5, -1, 2]);
        assert_eq!(weights.bias, [-50, -10, 0, 0]);
    }

    #[test]
    fn codebook_rows_hold_the_even_column_low() {
        let weights = CodebookQ8::new(&[1, 2, 1, 2, 2, 0], &[3, 5, -3], &[], 1, 2, 3);
        assert_eq!(weights.row_bytes, 16);
        assert_eq!(weights.indices[..2], [0x21, 0x01]);
        assert_eq!(weights.indices[16..18], [0x22, 0x00]);
        assert_eq!(weights.bias, [-7, 3]);
    }
}
