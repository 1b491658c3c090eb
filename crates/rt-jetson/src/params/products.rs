//! Products of matrices, sums of their slices, and the transforms of Winograd around them.

use super::{Address, Params, Stage, Window};

params! {
    /// `conv_f32_*`, `conv_f16_*`: a product of matrices whose left side is gathered through a window.
    ///
    /// Weights of a group are `[k][n_padded]`, floats, or halves for `conv_f16_*`; `k` counts taps, then channels. Several
    /// slices write sums to `out_slice` apart, with neither bias nor bounds, for `sum_f32`.
    GemmF32: 168 {
        /// f32.
        input: Address,
        /// f32 or f16, 16-byte aligned.
        weights: Address,
        /// f32, `groups * n`, or 0.
        bias: Address,
        /// f32, added before the bounds, or 0.
        residual: Address,
        /// f32.
        out: Address,
        /// Where the window goes.
        window: Window,
        /// Output positions of all samples.
        rows: u32,
        /// Output channels of a group.
        n: u32,
        /// The same, padded to whole vectors: 4 for floats, 8 for halves.
        n_padded: u32,
        /// Taps times channels of a group.
        k: u32,
        /// Input channels of a group.
        depth: u32,
        /// 4 if `depth`, `ci` and `input_group` are multiples of 4 and the input begins at one of 16 bytes, else 1.
        width: u32,
        /// From one group to the next in the input.
        input_group: u32,
        /// From one group to the next in the weights.
        weight_group: u32,
        /// From one group to the next in the result and the residual.
        out_group: u32,
        /// Groups of channels, or planes.
        groups: u32,
        /// Parts that k is cut into.
        slices: u32,
        /// Steps of k in a slice, a multiple of 16 if there are several.
        slice: u32,
        /// From one slice to the next in the result.
        out_slice: u32,
        /// From one row to the next in the result.
        out_stride: u32,
        /// From one row to the next in the residual.
        residual_stride: u32,
        /// Lower bound of the result.
        low: f32,
        /// Upper bound of the result.
        high: f32,
    }

    /// `conv_q8_*`: the same on levels. The zero point is folded into the bias: `bias - zero_point * sum(weights)`.
    ///
    /// Weights of a group are `[k][n_padded]` bytes; for `conv_q8_dp4a_*` they are `[k][n_padded]` words of four bytes, and
    /// `k` counts words: taps times `depth` divided by 4, rounded up, the bytes behind a tap's last channel zero.
    /// Several slices write accumulators, with neither bias nor stage, for `sum_q8`.
    GemmQ8: 184 {
        /// u8.
        input: Address,
        /// i8, 16-byte aligned.
        weights: Address,
        /// i32, `groups * n`, or 0.
        bias: Address,
        /// i32, `groups * n`; 0 if the stage makes no levels.
        multipliers: Address,
        /// u8 or i32.
        out: Address,
        /// Where the window goes.
        window: Window,
        /// Output positions of all samples.
        rows: u32,
        /// Output channels of a group.
        n: u32,
        /// The same, padded to a multiple of 4.
        n_padded: u32,
        /// Steps of k.
        k: u32,
        /// Input channels of a group.
        depth: u32,
        /// 4 if `depth`, `ci` and `input_group` are multiples of 4 and the input begins at one of 4 bytes, else 1.
        width: u32,
        /// From one group to the next in the input.
        input_group: u32,
        /// From one group to the next in the weights, in bytes.
        weight_group: u32,
        /// From one group to the next in the result.
        out_group: u32,
        /// Groups of channels.
        groups: u32,
        /// Parts that k is cut into.
        slices: u32,
        /// Steps of k in a slice, a multiple of 16 if there are several.
        slice: u32,
        /// From one slice to the next in the result.
        out_slice: u32,
        /// From one row to the next in the result.
        out_stride: u32,
        /// Level of what is outside of the input.
        zero_point: u32,
        /// What accumulators become.
        stage: Stage,
        /// Zero.
        unused: u32,
    }

    /// `sum_f32`: adds up slices `[slices][rows][n]`.
    SumF32: 64 {
        /// f32.
        partial: Address,
        /// f32, `n`, or 0.
        bias: Address,
        /// f32, or 0.
        residual: Address,
        /// f32.
        out: Address,
        /// Output positions.
        rows: u32,
        /// All output channels.
        n: u32,
        /// How many there are.
        slices: u32,
        /// From one slice to the next.
        slice: u32,
        /// From one row to the next in the result.
        out_stride: u32,
        /// From one row to the next in the residual.
        residual_stride: u32,
        /// Lower bound of the result.
        low: f32,
        /// Upper bound of the result.
        high: f32,
    }

    /// `sum_q8`: adds up slices `[slices][rows][n]` of accumulators.
    SumQ8: 72 {
        /// i32.
        partial: Address,
        /// i32, `n`, or 0.
        bias: Address,
        /// i32, `n`; 0 if the stage makes no levels.
        multipliers: Address,
        /// u8 or i32.
        out: Address,
        /// Output positions.
        rows: u32,
        /// All output channels.
        n: u32,
        /// How many there are.
        slices: u32,
        /// From one slice to the next.
        slice: u32,
        /// From one row to the next in the result.
        out_stride: u32,
        /// What sums become.
        stage: Stage,
    }

    /// `winograd2_input`, `winograd4_input`: tiles of 4x4 or 6x6 pixels, 2 or 4 apart, become `[16 or 36][tiles][c]`.
    ///
    /// Then `conv_*` multiplies with `groups` 16 or 36, a 1x1 window over `[tiles, 1, 1, c]`, `input_group` `tiles * c` and
    /// `out_group` `tiles * n`, and `winograd*_output` makes the result. Tiles count across, then down, then samples.
    WinogradInput: 48 {
        /// f32.
        input: Address,
        /// f32.
        out: Address,
        /// Samples.
        samples: u32,
        /// Tiles down a sample: a half or a quarter of the result's height, rounded up.
        tiles_y: u32,
        /// Tiles across.
        tiles_x: u32,
        /// Height of the input.
        ih: u32,
        /// Width of the input.
        iw: u32,
        /// Channels.
        c: u32,
        /// Rows added on top.
        pad_y: u32,
        /// Columns added on the left.
        pad_x: u32,
    }

    /// `winograd2_output`, `winograd4_output`: `[16 or 36][tiles][c]` becomes the result, 2x2 or 4x4 pixels a tile.
    WinogradOutput: 72 {
        /// f32.
        input: Address,
        /// f32, `c`, or 0.
        bias: Address,
        /// f32, added before the bounds, or 0.
        residual: Address,
        /// f32.
        out: Address,
        /// Samples.
        samples: u32,
        /// Tiles down a sample.
        tiles_y: u32,
        /// Tiles across.
        tiles_x: u32,
        /// Height of the result.
        oh: u32,
        /// Width of the result.
        ow: u32,
        /// Output channels.
        c: u32,
        /// From one pixel to the next in the result.
        out_stride: u32,
        /// From one pixel to the next in the residual.
        residual_stride: u32,
        /// Lower bound of the result.
        low: f32,
        /// Upper bound of the result.
        high: f32,
    }
}
