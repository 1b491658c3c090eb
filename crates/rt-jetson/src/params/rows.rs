//! Dense layers of few samples.

use super::{Address, Params, Stage};

params! {
    /// `rows_*_f32`: dense layers of few samples, which read each weight once for four of them.
    ///
    /// Dense forms have `n` rows of `row_bytes`, a multiple of 16, filled up with zeros: floats, halves, codes of 8 bits, or
    /// codes of 4 bits, the first lowest. Sparse rows have a column and a code of 8 bits for each entry.
    RowsF32: 96 {
        /// f32, `samples` rows.
        input: Address,
        /// Rows, or the codes of the entries; 16-byte aligned.
        weights: Address,
        /// u16, the columns of the entries, 8-byte aligned; 0 for dense forms.
        columns: Address,
        /// u32, `[n][2]`: the first entry of each row, a multiple of 4, and one behind the last; 0 for dense forms.
        bounds: Address,
        /// f32, 256 values for codes of 8 bits, 16 for those of 4; 0 for floats and halves.
        book: Address,
        /// f32, `n`, or 0.
        bias: Address,
        /// f32.
        out: Address,
        /// Samples.
        samples: u32,
        /// Outputs.
        n: u32,
        /// Inputs.
        k: u32,
        /// From one row of weights to the next, in bytes; 0 for sparse ones.
        row_bytes: u32,
        /// From one sample to the next in the input.
        input_stride: u32,
        /// From one sample to the next in the result.
        out_stride: u32,
        /// 4 if the input begins at a multiple of 16 bytes and its stride is a multiple of 4, else 1.
        width: u32,
        /// Lower bound of the result.
        low: f32,
        /// Upper bound of the result.
        high: f32,
        /// Zero.
        unused: u32,
    }

    /// `rows_*_q8`: the same on levels. The zero point is folded into the bias, in all forms.
    ///
    /// Dense forms are bytes, or codes of 4 bits into a book of 16 bytes. Sparse rows have a column and a signed byte for each
    /// entry.
    RowsQ8: 112 {
        /// u8, `samples` rows.
        input: Address,
        /// Rows, or the values of the entries; 16-byte aligned.
        weights: Address,
        /// u16, the columns of the entries, 8-byte aligned; 0 for dense forms.
        columns: Address,
        /// u32, `[n][2]`: the first entry of each row, a multiple of 4, and one behind the last; 0 for dense forms.
        bounds: Address,
        /// i8, 16 values, 16-byte aligned; 0 where there are no codes.
        book: Address,
        /// i32, `n`, or 0.
        bias: Address,
        /// i32, `n`; 0 if the stage makes no levels.
        multipliers: Address,
        /// u8 or i32.
        out: Address,
        /// Samples.
        samples: u32,
        /// Outputs.
        n: u32,
        /// Inputs.
        k: u32,
        /// From one row of weights to the next, in bytes; 0 for sparse ones.
        row_bytes: u32,
        /// From one sample to the next in the input.
        input_stride: u32,
        /// From one sample to the next in the result.
        out_stride: u32,
        /// 4 if the input begins at a multiple of 16 bytes and its stride is a multiple of 16, else 1.
        width: u32,
        /// What accumulators become.
        stage: Stage,
    }
}
