//! The kernels that the committed PTX holds: entry, parameters, threads and tile of each.

use crate::params::{
    Concat, DepthwiseF32, DepthwiseQ8, Dequantize, GemmF32, GemmQ8, Grid, Lrn, MapLevels, MapWords,
    Pad, PairsF32, PairsQ8, PoolF32, PoolQ8, Quantize, Resize, RowsF32, RowsQ8, Softmax, SumF32,
    SumQ8, Transpose, WinogradInput, WinogradOutput,
};

/// A PTX module. All are of version 6.5 for sm_62, which the driver compiles for that chip and every newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Module {
    /// Convolutions, and dense layers of many samples.
    Conv,
    /// The integer ones by `dp4a`, which sm_62 lacks: for sm_61 and from sm_70 on.
    Dp4a,
    /// Dense layers of few samples.
    Rows,
    /// Winograd's transforms.
    Winograd,
    /// Depthwise convolutions and pooling.
    Windows,
    /// What works element by element, or on the channels of one pixel.
    Pointwise,
    /// What only moves elements, or interpolates them.
    Moving,
}

impl Module {
    /// All modules.
    pub const ALL: [Self; 7] = [
        Self::Conv,
        Self::Dp4a,
        Self::Rows,
        Self::Winograd,
        Self::Windows,
        Self::Pointwise,
        Self::Moving,
    ];

    /// Name of the source and of the PTX.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::Dp4a => "dp4a",
            Self::Rows => "rows",
            Self::Winograd => "winograd",
            Self::Windows => "windows",
            Self::Pointwise => "pointwise",
            Self::Moving => "moving",
        }
    }

    /// The PTX.
    #[must_use]
    pub const fn ptx(self) -> &'static str {
        match self {
            Self::Conv => include_str!("../ptx/conv.ptx"),
            Self::Dp4a => include_str!("../ptx/dp4a.ptx"),
            Self::Rows => include_str!("../ptx/rows.ptx"),
            Self::Winograd => include_str!("../ptx/winograd.ptx"),
            Self::Windows => include_str!("../ptx/windows.ptx"),
            Self::Pointwise => include_str!("../ptx/pointwise.ptx"),
            Self::Moving => include_str!("../ptx/moving.ptx"),
        }
    }
}

/// A kernel that takes a `P`.
#[derive(Debug)]
pub struct Kernel<P> {
    /// Where it is.
    pub module: Module,
    /// Its name there.
    pub entry: &'static str,
    /// Threads of a block, on the first axis.
    pub threads: u32,
    /// Blocks that a launch with these parameters takes.
    pub grid: fn(&P) -> Grid,
}

impl<P> Clone for Kernel<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Kernel<P> {}

impl<P> Kernel<P> {
    /// Multiply-accumulates of one instruction.
    #[must_use]
    pub fn lanes(&self) -> u64 {
        match self.module {
            Module::Dp4a => 4,
            _ if self.entry.starts_with("conv_f16_") => 2,
            _ => 1,
        }
    }
}

/// A kernel without the type of its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub module: Module,
    /// Its name there.
    pub name: &'static str,
    /// Threads of a block, on the first axis.
    pub threads: u32,
    /// Bytes of its parameters.
    pub params_bytes: usize,
}

/// Declares kernels by module, name, parameters, threads and grid, and the list of all.
macro_rules! kernels {
    ($($(#[$doc:meta])* $kernel:ident: $module:ident $entry:literal $params:ident $threads:literal $grid:expr;)+) => {
        $($(#[$doc])* pub const $kernel: Kernel<$params> =
            Kernel { module: Module::$module, entry: $entry, threads: $threads, grid: $grid };)+

        /// All kernels.
        pub const ALL: &[Entry] = &[$(Entry {
            module: Module::$module,
            name: $entry,
            threads: $threads,
            params_bytes: size_of::<$params>(),
        }),+];
    };
}

kernels! {
    /// Convolution; a block makes 64 positions of 64 channels.
    CONV_F32_64X64: Conv "conv_f32_64x64" GemmF32 256 |p| products_f32(p, [64, 64]);
    /// The same for few positions or channels; a block makes 32 of 32.
    CONV_F32_32X32: Conv "conv_f32_32x32" GemmF32 256 |p| products_f32(p, [32, 32]);
    /// Products of halves, two at a time, summed up in floats every 16 steps; a block makes 64 positions of 128 channels.
    CONV_F16_64X128: Conv "conv_f16_64x128" GemmF32 256 |p| products_f32(p, [64, 128]);
    /// The same for few positions or channels; a block makes 32 of 64.
    CONV_F16_32X64: Conv "conv_f16_32x64" GemmF32 256 |p| products_f32(p, [32, 64]);
    /// Levels, exact in floats; a block makes 64 positions of 64 channels.
    CONV_Q8_64X64: Conv "conv_q8_64x64" GemmQ8 256 |p| products_q8(p, [64, 64]);
    /// The same for few positions or channels; a block makes 32 of 32.
    CONV_Q8_32X32: Conv "conv_q8_32x32" GemmQ8 256 |p| products_q8(p, [32, 32]);
    /// Levels by `dp4a`; a block makes 64 positions of 64 channels.
    CONV_Q8_DP4A_64X64: Dp4a "conv_q8_dp4a_64x64" GemmQ8 256 |p| products_q8(p, [64, 64]);
    /// The same for few positions or channels; a block makes 32 of 32.
    CONV_Q8_DP4A_32X32: Dp4a "conv_q8_dp4a_32x32" GemmQ8 256 |p| products_q8(p, [32, 32]);
    /// Sums of slices.
    SUM_F32: Conv "sum_f32" SumF32 256 |p| linear(p.rows * p.n);
    /// Sums of slices of accumulators.
    SUM_Q8: Conv "sum_q8" SumQ8 256 |p| linear(p.rows * p.n);
    /// Input tiles of F(2x2, 3x3).
    WINOGRAD2_INPUT: Winograd "winograd2_input" WinogradInput 256 |p| linear(p.samples * p.tiles_y * p.tiles_x * p.c);
    /// Result of F(2x2, 3x3).
    WINOGRAD2_OUTPUT: Winograd "winograd2_output" WinogradOutput 256 |p| linear(p.samples * p.tiles_y * p.tiles_x * p.c);
    /// Input tiles of F(4x4, 3x3).
    WINOGRAD4_INPUT: Winograd "winograd4_input" WinogradInput 256 |p| linear(p.samples * p.tiles_y * p.tiles_x * p.c);
    /// Result of F(4x4, 3x3).
    WINOGRAD4_OUTPUT: Winograd "winograd4_output" WinogradOutput 256 |p| linear(p.samples * p.tiles_y * p.tiles_x * p.c);
    /// Depthwise convolution.
    DEPTHWISE_F32: Windows "depthwise_f32" DepthwiseF32 256 |p| linear(p.count / p.width);
    /// Depthwise convolution of levels.
    DEPTHWISE_Q8: Windows "depthwise_q8" DepthwiseQ8 256 |p| linear(p.count / p.width);
    /// Dense layer, weights in floats; a block makes 16 outputs of 4 samples.
    ROWS_F32: Rows "rows_f32" RowsF32 128 |p| rows(p.n, p.samples, 16);
    /// Weights in halves; products are of floats.
    ROWS_F16: Rows "rows_f16" RowsF32 128 |p| rows(p.n, p.samples, 16);
    /// Codes of 8 bits.
    ROWS_CODE8_F32: Rows "rows_code8_f32" RowsF32 128 |p| rows(p.n, p.samples, 16);
    /// Codes of 4 bits.
    ROWS_CODE4_F32: Rows "rows_code4_f32" RowsF32 128 |p| rows(p.n, p.samples, 16);
    /// Sparse rows; a block makes 4 outputs.
    ROWS_SPARSE_F32: Rows "rows_sparse_f32" RowsF32 128 |p| rows(p.n, p.samples, 4);
    /// Dense layer of levels, weights in bytes; a block makes 16 outputs of 4 samples.
    ROWS_Q8: Rows "rows_q8" RowsQ8 128 |p| rows(p.n, p.samples, 16);
    /// Codes of 4 bits.
    ROWS_CODE4_Q8: Rows "rows_code4_q8" RowsQ8 128 |p| rows(p.n, p.samples, 16);
    /// Weights in bytes by `dp4a`.
    ROWS_Q8_DP4A: Dp4a "rows_q8_dp4a" RowsQ8 128 |p| rows(p.n, p.samples, 16);
    /// Codes of 4 bits by `dp4a`.
    ROWS_CODE4_Q8_DP4A: Dp4a "rows_code4_q8_dp4a" RowsQ8 128 |p| rows(p.n, p.samples, 16);
    /// Sparse rows; a block makes 4 outputs.
    ROWS_SPARSE_Q8: Rows "rows_sparse_q8" RowsQ8 128 |p| rows(p.n, p.samples, 4);
    /// Pooling.
    POOL_F32: Windows "pool_f32" PoolF32 256 |p| linear(p.count / p.width);
    /// Pooling of levels.
    POOL_Q8: Windows "pool_q8" PoolQ8 256 |p| linear(p.count / p.width);
    /// Local response normalization.
    LRN: Pointwise "lrn" Lrn 256 |p| linear(p.count);
    /// Softmax; a block takes a row.
    SOFTMAX: Pointwise "softmax" Softmax 256 |p| [p.rows as usize, 1, 1];
    /// Functions of one element.
    MAP_WORDS: Pointwise "map_words" MapWords 256 |p| linear(p.count);
    /// Tables of levels.
    MAP_LEVELS: Pointwise "map_levels" MapLevels 256 |p| linear(p.count.div_ceil(4));
    /// Sums, products, slopes.
    PAIRS_F32: Pointwise "pairs_f32" PairsF32 256 |p| linear(p.count);
    /// The same on levels.
    PAIRS_Q8: Pointwise "pairs_q8" PairsQ8 256 |p| linear(p.count.div_ceil(4));
    /// Floats to levels.
    QUANTIZE: Pointwise "quantize" Quantize 256 |p| linear(p.count.div_ceil(4));
    /// Levels to floats.
    DEQUANTIZE: Pointwise "dequantize" Dequantize 256 |p| linear(p.count.div_ceil(4));
    /// Another order of axes, words.
    TRANSPOSE_WORDS: Moving "transpose_words" Transpose 256 |p| linear(p.count);
    /// Another order of axes, bytes.
    TRANSPOSE_LEVELS: Moving "transpose_levels" Transpose 256 |p| linear(p.count);
    /// A border, words.
    PAD_WORDS: Moving "pad_words" Pad 256 |p| linear(p.count);
    /// A border, bytes.
    PAD_LEVELS: Moving "pad_levels" Pad 256 |p| linear(p.count);
    /// The nearest pixel, words.
    NEAREST_WORDS: Moving "nearest_words" Resize 256 |p| linear(p.count);
    /// The nearest pixel, bytes.
    NEAREST_LEVELS: Moving "nearest_levels" Resize 256 |p| linear(p.count);
    /// Interpolation.
    RESIZE_F32: Moving "resize_f32" Resize 256 |p| linear(p.count);
    /// Interpolation of levels.
    RESIZE_Q8: Moving "resize_q8" Resize 256 |p| linear(p.count);
    /// A part of a concatenation, words.
    CONCAT_WORDS: Moving "concat_words" Concat 256 |p| linear(p.count);
    /// A part of a concatenation, bytes.
    CONCAT_LEVELS: Moving "concat_levels" Concat 256 |p| linear(p.count);
}

/// Blocks of 256 threads for so many jobs.
const fn linear(jobs: u32) -> Grid {
    [jobs.div_ceil(256) as usize, 1, 1]
}

/// Blocks that make `in_block` outputs of four samples each.
const fn rows(n: u32, samples: u32, in_block: u32) -> Grid {
    [n.div_ceil(in_block) as usize, samples.div_ceil(4) as usize, 1]
}

/// Blocks of tiles: positions, channels of a group, slices of groups.
const fn tiles(rows: u32, n: u32, layers: usize, [tile_rows, tile_n]: [u32; 2]) -> Grid {
    [rows.div_ceil(tile_rows) as usize, n.div_ceil(tile_n) as usize, layers]
}

const fn products_f32(p: &GemmF32, tile: [u32; 2]) -> Grid {
    tiles(p.rows, p.n, groups(p.groups, p.slices), tile)
}

const fn products_q8(p: &GemmQ8, tile: [u32; 2]) -> Grid {
    tiles(p.rows, p.n, groups(p.groups, p.slices), tile)
}

const fn groups(groups: u32, slices: u32) -> usize {
    groups as usize * slices as usize
}
