//! Windows over each channel by itself: depthwise convolutions and pooling.

use super::{Address, Params, Stage, Window};

params! {
    /// `depthwise_f32`: one filter a channel; weights are `[taps][c]`.
    DepthwiseF32: 112 {
        /// f32.
        input: Address,
        /// f32.
        weights: Address,
        /// f32, `c`, or 0.
        bias: Address,
        /// f32, dense.
        out: Address,
        /// Where the window goes; its `ci` is `c`.
        window: Window,
        /// Elements of the result.
        count: u32,
        /// 4 if `c` is a multiple of 4 and all begins at one of 16 bytes, else 1.
        width: u32,
        /// Lower bound of the result.
        low: f32,
        /// Upper bound of the result.
        high: f32,
        /// Zero.
        unused: u32,
    }

    /// `depthwise_q8`: the same on levels; the zero point is not folded into the bias.
    DepthwiseQ8: 136 {
        /// u8.
        input: Address,
        /// i8.
        weights: Address,
        /// i32, `c`, or 0.
        bias: Address,
        /// i32, `c`; 0 if the stage makes no levels.
        multipliers: Address,
        /// u8 or i32, dense.
        out: Address,
        /// Where the window goes; its `ci` is `c`.
        window: Window,
        /// Elements of the result.
        count: u32,
        /// 4 if `c` is a multiple of 4 and all begins at one of 4 bytes, else 1.
        width: u32,
        /// Level that stands for zero.
        zero_point: u32,
        /// What accumulators become.
        stage: Stage,
        /// Zero.
        unused: u32,
    }

    /// `pool_f32`: a window over each channel by itself.
    PoolF32: 88 {
        /// f32.
        input: Address,
        /// f32, dense.
        out: Address,
        /// Where the window goes; its `ci` is the number of channels.
        window: Window,
        /// Elements of the result.
        count: u32,
        /// 4 if the channels are a multiple of 4 and all begins at one of 16 bytes, else 1.
        width: u32,
        /// [`POOL_MAX`], [`POOL_MEAN`] or [`POOL_MEAN_WITH_PADS`].
        function: u32,
    }

    /// `pool_q8`: the same on levels.
    PoolQ8: 128 {
        /// u8.
        input: Address,
        /// u8, 256 levels, for [`POOL_MAX_BY_TABLE`]; else 0.
        table: Address,
        /// i32, `[oh * ow][2]`, multiplier and shift, for [`POOL_MEAN_OF_LEVELS`]; else 0.
        requants: Address,
        /// u8, dense.
        out: Address,
        /// Where the window goes; its `ci` is the number of channels.
        window: Window,
        /// Elements of the result.
        count: u32,
        /// 4 if the channels are a multiple of 4 and all begins at one of 4 bytes, else 1.
        width: u32,
        /// [`POOL_MAX`], [`POOL_MAX_BY_TABLE`] or [`POOL_MEAN_OF_LEVELS`].
        function: u32,
        /// Level of the input that stands for zero.
        zero_point: u32,
        /// What sums become, but for the shift; its kind is [`LEVELS`](super::LEVELS).
        stage: Stage,
    }
}

/// Largest element.
pub const POOL_MAX: u32 = 0;
/// Mean of the floats that are inside of the input.
pub const POOL_MEAN: u32 = 1;
/// Mean of floats with pads as zeros.
pub const POOL_MEAN_WITH_PADS: u32 = 2;
/// What the table has for the largest level.
pub const POOL_MAX_BY_TABLE: u32 = 1;
/// Mean of levels, requantized by position.
pub const POOL_MEAN_OF_LEVELS: u32 = 2;
