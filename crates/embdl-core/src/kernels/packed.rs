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
            *sum = row_sum(row.iter().copied());
        }
        let mut padded = pad_bias(bias, n, tile);
        for (bias, sum) in padded.iter_mut().zip(&row_sums) {
            *bias = fold_zero_point(*bias, zero_point, *sum);
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

impl SparseF32 {
    /// Most columns a sparse layer can have: those a `u16` can name.
    pub const MAX_COLUMNS: usize = 1 << 16;

    /// Rows from `entries` (flat row-major position, index into `codebook`), positions ascending; `bias` has `n`
    /// elements, or none for zeros.
    ///
    /// # Panics
    /// If positions do not ascend below `n * k`, or there are more than [`Self::MAX_COLUMNS`] columns, more than 256
    /// values or another number of biases.
    #[must_use]
    pub fn new(
        n: usize,
        k: usize,
        entries: impl IntoIterator<Item = (usize, u8)>,
        codebook: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(codebook.len() <= 256, "{} values in a codebook", codebook.len());
        let rows = Rows::new(n, k, entries);
        let known = |&code: &u8| usize::from(code) < codebook.len();
        assert!(rows.symbols.iter().all(known), "an index is beyond the codebook");
        Self {
            n,
            k,
            row_starts: rows.starts,
            columns: rows.columns,
            codes: rows.symbols,
            codebook: codebook.to_vec(),
            bias: exact_bias(bias, n),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        (self.row_starts.len() + self.codebook.len() + self.bias.len()) * 4 + self.columns.len() * 3
    }
}

impl SparseQ8 {
    /// Rows from `entries` (flat row-major position, value), positions ascending, for activations with `zero_point`;
    /// `bias` has `n` elements, or none for zeros.
    ///
    /// # Panics
    /// If positions do not ascend below `n * k`, or there are more than [`SparseF32::MAX_COLUMNS`] columns or another
    /// number of biases.
    #[must_use]
    pub fn new(
        n: usize,
        k: usize,
        entries: impl IntoIterator<Item = (usize, i8)>,
        bias: &[i32],
        zero_point: u8,
    ) -> Self {
        let rows = Rows::new(n, k, entries);
        let mut bias = exact_bias(bias, n);
        for (bias, bounds) in bias.iter_mut().zip(rows.starts.windows(2)) {
            let row = &rows.symbols[bounds[0] as usize..bounds[1] as usize];
            *bias = fold_zero_point(*bias, zero_point, row_sum(row.iter().copied()));
        }
        Self { n, k, row_starts: rows.starts, columns: rows.columns, values: rows.symbols, bias }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        (self.row_starts.len() + self.bias.len()) * 4 + self.columns.len() * 3
    }
}

impl CodebookQ8 {
    /// Most values of a codebook.
    pub const MAX_VALUES: usize = 16;

    /// Rows from `codes` (`[n, k]`, row-major indices into `codebook`) for activations with `zero_point`; `bias` has `n`
    /// elements, or none for zeros. Rows are padded to whole 16 bytes.
    ///
    /// # Panics
    /// If the lengths do not fit `n` and `k`, the codebook has more than [`Self::MAX_VALUES`] values, or an index is
    /// beyond it.
    #[must_use]
    pub fn new(
        codes: &[u8],
        codebook: &[i8],
        bias: &[i32],
        zero_point: u8,
        n: usize,
        k: usize,
    ) -> Self {
        assert!(codes.len() == n * k, "{} indices are not {n} rows of {k}", codes.len());
        assert!(codebook.len() <= Self::MAX_VALUES, "{} values in a codebook", codebook.len());
        let known = |&code: &u8| usize::from(code) < codebook.len();
        assert!(codes.iter().all(known), "an index is beyond the codebook");
        let mut values = [0; Self::MAX_VALUES];
        values[..codebook.len()].copy_from_slice(codebook);
        let row_bytes = Self::row_bytes_for(k);
        let mut indices = vec![0; n * row_bytes];
        let mut bias = exact_bias(bias, n);
        for (j, row) in codes.chunks_exact(k.max(1)).enumerate() {
            for (p, &code) in row.iter().enumerate() {
                indices[j * row_bytes + p / 2] |= code << (p % 2 * 4);
            }
            let sum = row_sum(row.iter().map(|&code| values[usize::from(code)]));
            bias[j] = fold_zero_point(bias[j], zero_point, sum);
        }
        Self { n, k, row_bytes, indices, codebook: values, bias }
    }

    /// Bytes of a row of `k` indices.
    #[must_use]
    pub const fn row_bytes_for(k: usize) -> usize {
        k.div_ceil(32) * 16
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.indices.len() + self.codebook.len() + self.bias.len() * 4
    }
}

/// Sparse rows of symbols.
struct Rows<S> {
    starts: Vec<u32>,
    columns: Vec<u16>,
    symbols: Vec<S>,
}

impl<S> Rows<S> {
    #[expect(clippy::cast_possible_truncation, reason = "both sizes are asserted first")]
    fn new(n: usize, k: usize, entries: impl IntoIterator<Item = (usize, S)>) -> Self {
        assert!(k <= SparseF32::MAX_COLUMNS, "{k} columns cannot be named by 16 bits");
        assert!(u32::try_from(n * k).is_ok(), "{n} rows of {k} cannot be counted by 32 bits");
        let mut rows =
            Self { starts: Vec::with_capacity(n + 1), columns: Vec::new(), symbols: Vec::new() };
        let mut next = 0;
        for (position, symbol) in entries {
            assert!((next..n * k).contains(&position), "position {position} after {next}");
            next = position + 1;
            while rows.starts.len() <= position / k {
                rows.starts.push(rows.columns.len() as u32);
            }
            rows.columns.push((position % k) as u16);
            rows.symbols.push(symbol);
        }
        rows.starts.resize(n + 1, rows.columns.len() as u32);
        rows
    }
}

/// Sum of weights; wraps, as accumulators do.
fn row_sum(weights: impl Iterator<Item = i8>) -> i32 {
    weights.fold(0, |sum: i32, w| sum.wrapping_add(i32::from(w)))
}

const fn fold_zero_point(bias: i32, zero_point: u8, sum: i32) -> i32 {
    bias.wrapping_sub((zero_point as i32).wrapping_mul(sum))
}

fn exact_bias<T: Copy + Default>(bias: &[T], n: usize) -> Vec<T> {
    pad_bias(bias, n, Tile { nr: 1, kr: 1 })
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
