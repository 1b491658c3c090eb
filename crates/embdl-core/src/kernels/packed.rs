//! Weights in the layouts that kernels read, and how they are packed: once, at load.

use alloc::vec;
use alloc::vec::Vec;

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
    /// `n` rounded up to panels, times `k` rounded up to `kr`.
    pub data: Vec<f32>,
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

/// Sparse rows `[n, k]` with float values: row `j` has entries `row_starts[j] .. row_starts[j + 1]`, columns ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseF32 {
    /// Rows.
    pub n: usize,
    /// Columns.
    pub k: usize,
    /// `n + 1` offsets into `columns` and `codes`.
    pub row_starts: Vec<u32>,
    /// Column of each entry.
    pub columns: Vec<u16>,
    /// Codebook index of each entry.
    pub codes: Vec<u8>,
    /// Up to 256 values.
    pub codebook: Vec<f32>,
    /// Bias, `n`.
    pub bias: Vec<f32>,
}

/// Sparse rows `[n, k]` with integer values, laid out like [`SparseF32`].
#[derive(Clone, Debug, PartialEq)]
pub struct SparseQ8 {
    /// Rows.
    pub n: usize,
    /// Columns.
    pub k: usize,
    /// `n + 1` offsets into `columns` and `values`.
    pub row_starts: Vec<u32>,
    /// Column of each entry.
    pub columns: Vec<u16>,
    /// Value of each entry.
    pub values: Vec<i8>,
    /// `bias[j] - zero_point * sum of the row's values`.
    pub bias: Vec<i32>,
}

/// Dense rows `[n, k]` of 4-bit codebook indices: row `j` starts at byte `j * row_bytes`, the even column in the low
/// half of a byte; columns beyond `k` have index 0 and must not be counted.
#[derive(Clone, Debug, PartialEq)]
pub struct CodebookQ8 {
    /// Rows.
    pub n: usize,
    /// Columns.
    pub k: usize,
    /// Bytes from one row to the next.
    pub row_bytes: usize,
    /// Indices.
    pub indices: Vec<u8>,
    /// 16 values; unused ones are zero.
    pub codebook: [i8; 16],
    /// `bias[j] - zero_point * sum of the row's values`.
    pub bias: Vec<i32>,
}

impl PackedF32 {
    /// Packs `weights` (`[n, k]`, row-major) and `bias` (`n`, or empty for zeros).
    ///
    /// # Panics
    /// If the lengths do not fit `n` and `k`, or the tile has a zero.
    #[must_use]
    pub fn pack(weights: &[f32], bias: &[f32], n: usize, k: usize, tile: Tile) -> Self {
        let data = pack_panels(weights, n, k, tile);
        Self { n, k, tile, data, bias: pad_bias(bias, n, tile) }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        (self.data.len() + self.bias.len()) * 4
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
        let data = pack_panels(weights, n, k, tile);
        let mut row_sums = vec![0; n.next_multiple_of(tile.nr)];
        for (sum, row) in row_sums.iter_mut().zip(weights.chunks_exact(k.max(1))) {
            *sum = row.iter().map(|&w| i32::from(w)).sum();
        }
        let mut padded = pad_bias(bias, n, tile);
        for (bias, sum) in padded.iter_mut().zip(&row_sums) {
            *bias = bias.wrapping_sub(i32::from(zero_point).wrapping_mul(*sum));
        }
        let max_abs = weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        Self { n, k, tile, data, bias: padded, row_sums, max_abs }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.data.len() + (self.bias.len() + self.row_sums.len()) * 4
    }
}

fn pack_panels<T: Copy + Default>(weights: &[T], n: usize, k: usize, tile: Tile) -> Vec<T> {
    assert!(weights.len() == n * k, "{} weights are not {n} rows of {k}", weights.len());
    assert!(tile.nr > 0 && tile.kr > 0, "a tile without extent");
    let steps = k.div_ceil(tile.kr);
    let panel_len = steps * tile.nr * tile.kr;
    let mut data = vec![T::default(); n.div_ceil(tile.nr) * panel_len];
    for (j, row) in weights.chunks_exact(k.max(1)).enumerate() {
        let panel = &mut data[j / tile.nr * panel_len..][..panel_len];
        for (p, &w) in row.iter().enumerate() {
            panel[(p / tile.kr * tile.nr + j % tile.nr) * tile.kr + p % tile.kr] = w;
        }
    }
    data
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
}
