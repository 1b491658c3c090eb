//! What only moves elements, or interpolates them.

use super::{Address, Params};

params! {
    /// `transpose_words`, `transpose_levels`: another order of axes.
    Transpose: 48 {
        /// Words or bytes.
        input: Address,
        /// Words or bytes.
        out: Address,
        /// Elements.
        count: u32,
        /// Extent of the result's second axis.
        dim1: u32,
        /// Extent of its third axis.
        dim2: u32,
        /// Extent of its fourth axis.
        dim3: u32,
        /// How far apart neighbours on the result's first axis are in the input.
        stride0: u32,
        /// On its second axis.
        stride1: u32,
        /// On its third axis.
        stride2: u32,
        /// On its fourth axis.
        stride3: u32,
    }

    /// `pad_words`, `pad_levels`: a border.
    Pad: 48 {
        /// Words or bytes.
        input: Address,
        /// Words or bytes.
        out: Address,
        /// Elements of the result.
        count: u32,
        /// What an element of the border is.
        border: u32,
        /// Rows of a sample of the input.
        height: u32,
        /// Elements of a row of the input.
        row: u32,
        /// Rows of a sample of the result.
        out_height: u32,
        /// Elements of a row of the result.
        out_row: u32,
        /// Rows of the border on top.
        top: u32,
        /// Elements of the border on the left.
        left: u32,
    }

    /// `nearest_words`, `nearest_levels`, `resize_f32`, `resize_q8`: another height and width.
    Resize: 48 {
        /// f32 or u8.
        input: Address,
        /// u32, `[oh + ow][4]`: for each row, then each column, the lower and the upper neighbour, the weight of the upper one
        /// as a float and in steps of 1/4096. 16-byte aligned.
        axes: Address,
        /// f32 or u8.
        out: Address,
        /// Elements of the result.
        count: u32,
        /// Height of the input.
        ih: u32,
        /// Width of the input.
        iw: u32,
        /// Channels.
        c: u32,
        /// Height of the result.
        oh: u32,
        /// Width of the result.
        ow: u32,
    }

    /// `concat_words`, `concat_levels`: one part of a concatenation.
    Concat: 40 {
        /// Words or bytes.
        input: Address,
        /// u8, 256 levels that each byte goes through, or 0.
        table: Address,
        /// Where the part begins in the first row of the result.
        out: Address,
        /// Elements of the part.
        count: u32,
        /// Elements of a row of the part.
        row: u32,
        /// From one row to the next in the result.
        stride: u32,
        /// Zero.
        unused: u32,
    }
}
