//! Weights of dense layers that stay compressed: sparse rows, and rows of codebook indices.

use alloc::vec;
use alloc::vec::Vec;

use super::{Tile, fold_zero_point, pad_bias, row_sum};

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
        Self::of_rows(SparseRows::of(n, k, entries), codebook, bias)
    }

    /// The same from rows of indices.
    ///
    /// # Panics
    /// If there are more than 256 values, an index beyond them, or another number of biases.
    #[must_use]
    pub fn of_rows(rows: SparseRows<u8>, codebook: &[f32], bias: &[f32]) -> Self {
        let rows = rows.finish();
        assert!(codebook.len() <= 256, "{} values in a codebook", codebook.len());
        let known = |&code: &u8| usize::from(code) < codebook.len();
        assert!(rows.symbols.iter().all(known), "an index is beyond the codebook");
        Self {
            n: rows.n,
            k: rows.k,
            row_starts: rows.starts,
            columns: rows.columns,
            codes: rows.symbols,
            codebook: codebook.to_vec(),
            bias: exact_bias(bias, rows.n),
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
        Self::of_rows(SparseRows::of(n, k, entries), bias, zero_point)
    }

    /// The same from rows of values.
    ///
    /// # Panics
    /// If there is another number of biases.
    #[must_use]
    pub fn of_rows(rows: SparseRows<i8>, bias: &[i32], zero_point: u8) -> Self {
        let SparseRows { n, k, starts, columns, symbols, .. } = rows.finish();
        let mut bias = exact_bias(bias, n);
        for (bias, bounds) in bias.iter_mut().zip(starts.windows(2)) {
            let row = &symbols[bounds[0] as usize..bounds[1] as usize];
            *bias = fold_zero_point(*bias, zero_point, row_sum(row.iter().copied()));
        }
        Self { n, k, row_starts: starts, columns, values: symbols, bias }
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
        let known = |&code: &u8| usize::from(code) < codebook.len();
        assert!(codes.iter().all(known), "an index is beyond the codebook");
        let mut rows = Self::zeros(codebook, bias, n, k);
        for (j, row) in codes.chunks_exact(k.max(1)).enumerate() {
            rows.put_codes([j, 0], row.iter().copied(), zero_point);
        }
        rows
    }

    /// Rows without indices until they are [`put`](Self::put), so that they need not exist in another form.
    ///
    /// # Panics
    /// If the codebook has more than [`Self::MAX_VALUES`] values, or there is another number of biases than `n` or none.
    #[must_use]
    pub fn zeros(codebook: &[i8], bias: &[i32], n: usize, k: usize) -> Self {
        assert!(codebook.len() <= Self::MAX_VALUES, "{} values in a codebook", codebook.len());
        let mut values = [0; Self::MAX_VALUES];
        values[..codebook.len()].copy_from_slice(codebook);
        let row_bytes = Self::row_bytes_for(k);
        let indices = vec![0; n * row_bytes];
        Self { n, k, row_bytes, indices, codebook: values, bias: exact_bias(bias, n) }
    }

    /// Writes the weights of row `j` from column `p` on, which are values of the codebook, for activations with
    /// `zero_point`. Each column is to be written once.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, j: usize, p: usize, weights: &[i8], zero_point: u8) {
        assert!(j < self.n && p + weights.len() <= self.k, "row {j} of {}, from {p}", self.n);
        let mut codes = [0_u8; 256];
        for (code, value) in (0_u8..16).zip(self.codebook).rev() {
            codes[usize::from(value.cast_unsigned())] = code;
        }
        let codes = weights.iter().map(|w| codes[usize::from(w.cast_unsigned())]);
        self.put_codes([j, p], codes, zero_point);
    }

    fn put_codes(&mut self, [j, p]: [usize; 2], codes: impl Iterator<Item = u8>, zero_point: u8) {
        let row = &mut self.indices[j * self.row_bytes..][..self.row_bytes];
        let mut sum = 0_i32;
        for (p, code) in (p..).zip(codes) {
            row[p / 2] |= code << (p % 2 * 4);
            sum = sum.wrapping_add(i32::from(self.codebook[usize::from(code)]));
        }
        self.bias[j] = fold_zero_point(self.bias[j], zero_point, sum);
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

/// Sparse rows of symbols that are added one after the other, so that they need not exist in another form.
#[derive(Clone, Debug)]
pub struct SparseRows<S> {
    n: usize,
    k: usize,
    starts: Vec<u32>,
    columns: Vec<u16>,
    symbols: Vec<S>,
    /// The first position that may follow.
    next: usize,
}

impl<S> SparseRows<S> {
    /// `n` rows of `k` columns with room for so many entries.
    ///
    /// # Panics
    /// If there are more than [`SparseF32::MAX_COLUMNS`] columns, or 2^32 positions.
    #[must_use]
    pub fn with_capacity(n: usize, k: usize, entries: usize) -> Self {
        assert!(k <= SparseF32::MAX_COLUMNS, "{k} columns cannot be named by 16 bits");
        assert!(u32::try_from(n * k).is_ok(), "{n} rows of {k} cannot be counted by 32 bits");
        let (starts, columns) = (Vec::with_capacity(n + 1), Vec::with_capacity(entries));
        Self { n, k, starts, columns, symbols: Vec::with_capacity(entries), next: 0 }
    }

    /// Adds an entry at a flat row-major position.
    ///
    /// # Panics
    /// If it is not beyond the last one, or not below `n * k`.
    #[expect(clippy::cast_possible_truncation, reason = "both sizes were asserted first")]
    pub fn push(&mut self, position: usize, symbol: S) {
        let free = self.next..self.n * self.k;
        assert!(free.contains(&position), "position {position} after {}", self.next);
        self.next = position + 1;
        while self.starts.len() <= position / self.k {
            self.starts.push(self.columns.len() as u32);
        }
        self.columns.push((position % self.k) as u16);
        self.symbols.push(symbol);
    }

    fn of(n: usize, k: usize, entries: impl IntoIterator<Item = (usize, S)>) -> Self {
        let entries = entries.into_iter();
        let mut rows = Self::with_capacity(n, k, entries.size_hint().0);
        entries.for_each(|(position, symbol)| rows.push(position, symbol));
        rows
    }

    #[expect(clippy::cast_possible_truncation, reason = "fewer entries than positions")]
    fn finish(mut self) -> Self {
        self.starts.resize(self.n + 1, self.columns.len() as u32);
        self
    }
}

fn exact_bias<T: Copy + Default>(bias: &[T], n: usize) -> Vec<T> {
    pad_bias(bias, n, Tile { nr: 1, kr: 1 })
}
