//! Parameters of all kernels, one struct by value for each, as `kernels/params.h` has them, and the blocks that a launch takes.
//!
//! Pointers are addresses on the device. Those that may be 0 say so. Places, strides and counts are in elements, unless a name
//! says bytes, and below 2^31. Activations are NHWC; `rows` are output positions of all samples. All blocks have
//! [`Kernel::threads`](crate::kernels::Kernel) threads on the first axis; no kernel takes dynamic shared memory.

/// Blocks of a launch on three axes.
pub type Grid = [usize; 3];

/// An address on the device.
pub type Address = u64;

/// What a kernel takes as its only parameter.
pub trait Params: bytemuck::Pod {}

/// Declares structs without padding, in C's layout, and asserts their size, which the header asserts too.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident: $bytes:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            pub struct $name { $($(#[$field_doc])* pub $field: $kind,)+ }

            const _: () = assert!(size_of::<$name>() == $bytes, "the header has another size");
            const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$kind>())+, "there is padding");

            // SAFETY: all fields are numbers, for which zero is a value.
            unsafe impl bytemuck::Zeroable for $name {}
            // SAFETY: C's layout, no padding by the assertion, and all fields take any bits.
            unsafe impl bytemuck::Pod for $name {}
            impl Params for $name {}
        )+
    };
}

params! {
    /// A window that slides over height and width of NHWC values.
    Window: 60 {
        /// Height of the result.
        oh: u32,
        /// Width of the result.
        ow: u32,
        /// Height of the input.
        ih: u32,
        /// Width of the input.
        iw: u32,
        /// Elements from one pixel of the input to the next: its channels.
        ci: u32,
        /// Taps down.
        kh: u32,
        /// Taps across.
        kw: u32,
        /// Steps down.
        stride_y: u32,
        /// Steps across.
        stride_x: u32,
        /// Rows from one tap to the next.
        dilation_y: u32,
        /// Columns from one tap to the next.
        dilation_x: u32,
        /// Rows added on top.
        pad_y: u32,
        /// Columns added on the left.
        pad_x: u32,
        /// Rows added at the bottom; only means that count pads read it.
        pad_bottom: u32,
        /// Columns added on the right; likewise.
        pad_right: u32,
    }

    /// What integer kernels do with accumulators, by the rule of `embdl_core::quant`.
    Stage: 20 {
        /// One of [`LEVELS`], [`ACCUMULATORS`], [`RELU_ACCUMULATORS`].
        kind: u32,
        /// Right shift, 1 to 62.
        shift: u32,
        /// Zero point of the result.
        zero_point: i32,
        /// Smallest level.
        min: i32,
        /// Largest level.
        max: i32,
    }

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
        /// What sums become, but for the shift; its kind is [`LEVELS`].
        stage: Stage,
    }

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
        /// What the results become; its kind is [`LEVELS`].
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

/// Requantized levels, in [`Stage::kind`].
pub const LEVELS: u32 = 0;
/// Accumulators as they are.
pub const ACCUMULATORS: u32 = 1;
/// Accumulators, negative ones zero.
pub const RELU_ACCUMULATORS: u32 = 2;

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
