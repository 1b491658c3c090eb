//! What works element by element, or on the channels of one pixel.

use super::{Address, Params, Stage};

params! {
    /// `lrn`: local response normalization over channels.
    Lrn: 48 {
        /// f32.
        input: Address,
        /// f32.
        out: Address,
        /// Elements.
        count: u32,
        /// Channels.
        c: u32,
        /// Channels that count below one.
        before: u32,
        /// Channels that count above one.
        after: u32,
        /// Alpha divided by the size.
        factor: f32,
        /// Bias.
        bias: f32,
        /// Beta.
        exponent: f32,
        /// Zero.
        unused: u32,
    }

    /// `softmax`: over the last axis.
    Softmax: 24 {
        /// f32.
        input: Address,
        /// f32; may be the input.
        out: Address,
        /// Rows.
        rows: u32,
        /// Elements of a row.
        features: u32,
    }

    /// `map_words`: a function of each element by itself.
    MapWords: 32 {
        /// f32 or i32.
        input: Address,
        /// f32 or i32; may be the input.
        out: Address,
        /// Elements.
        count: u32,
        /// One of [`function`].
        function: u32,
        /// First number of the function.
        a: f32,
        /// Second number of the function.
        b: f32,
    }

    /// `map_levels`: what a table has for each level.
    MapLevels: 32 {
        /// u8, 4-byte aligned.
        input: Address,
        /// u8, 256 levels.
        table: Address,
        /// u8, 4-byte aligned; may be the input.
        out: Address,
        /// Elements.
        count: u32,
        /// Zero.
        unused: u32,
    }

    /// `pairs_f32`: sums, products, slopes below zero. Each sample of `sample` elements of the first value meets `row` elements
    /// of the second one again and again; slopes are `row` for all.
    PairsF32: 48 {
        /// f32.
        lhs: Address,
        /// f32.
        rhs: Address,
        /// f32; may be an input of as many elements.
        out: Address,
        /// Elements of the first value and the result.
        count: u32,
        /// Elements of a sample of the first value.
        sample: u32,
        /// Elements of a sample of the second value.
        row: u32,
        /// [`PAIR_SUM`], [`PAIR_PRODUCT`] or [`PAIR_SLOPES`].
        function: u32,
        /// Lower bound of a sum.
        low: f32,
        /// Upper bound of a sum.
        high: f32,
    }

    /// `pairs_q8`: the same on levels. Products and slopes are requantized by `lhs_multiplier`, slopes below zero by theirs.
    PairsQ8: 80 {
        /// u8, 4-byte aligned.
        lhs: Address,
        /// u8; i32 multipliers for slopes.
        rhs: Address,
        /// u8, 4-byte aligned; may be an input of as many elements.
        out: Address,
        /// Elements of the first value and the result.
        count: u32,
        /// Elements of a sample of the first value.
        sample: u32,
        /// Elements of a sample of the second value.
        row: u32,
        /// [`PAIR_SUM`], [`PAIR_PRODUCT`] or [`PAIR_SLOPES`].
        function: u32,
        /// Multiplier of the first value.
        lhs_multiplier: i32,
        /// Multiplier of the second value, for sums.
        rhs_multiplier: i32,
        /// Zero point of the first value.
        lhs_zero: i32,
        /// Zero point of the second value.
        rhs_zero: i32,
        /// What the results become; its kind is [`LEVELS`](super::LEVELS).
        stage: Stage,
        /// Zero.
        unused: u32,
    }

    /// `quantize`: floats to levels, by the smallest float of each level.
    Quantize: 32 {
        /// f32.
        input: Address,
        /// i32, 255 keys: the bits of the smallest float of each level from 1 on, in the order of floats.
        thresholds: Address,
        /// u8, 4-byte aligned.
        out: Address,
        /// Elements.
        count: u32,
        /// Level of what is no number.
        zero_point: u32,
    }

    /// `dequantize`: levels to floats.
    Dequantize: 32 {
        /// u8, 4-byte aligned.
        input: Address,
        /// f32.
        out: Address,
        /// Elements.
        count: u32,
        /// Level that stands for zero.
        zero_point: u32,
        /// Of one step.
        scale: f32,
        /// Zero.
        unused: u32,
    }
}

/// Sum.
pub const PAIR_SUM: u32 = 0;
/// Product.
pub const PAIR_PRODUCT: u32 = 1;
/// Slopes below zero.
pub const PAIR_SLOPES: u32 = 2;

/// Functions of [`MapWords`], with what their numbers are.
pub mod function {
    /// Bounds `a` and `b`.
    pub const BOUND: u32 = 0;
    /// Sigmoid.
    pub const SIGMOID: u32 = 1;
    /// `a * x + b` between 0 and 1.
    pub const HARD_SIGMOID: u32 = 2;
    /// Hard swish.
    pub const HARD_SWISH: u32 = 3;
    /// `x * sigmoid(x)`.
    pub const SILU: u32 = 4;
    /// Hyperbolic tangent.
    pub const TANH: u32 = 5;
    /// `a * x` below zero.
    pub const LEAKY_RELU: u32 = 6;
    /// `a * (exp(x) - 1)` below zero.
    pub const ELU: u32 = 7;
    /// Accumulators, negative ones zero.
    pub const RELU_I32: u32 = 8;
    /// Accumulators times `a`, as floats.
    pub const SCALE_I32: u32 = 9;
}
