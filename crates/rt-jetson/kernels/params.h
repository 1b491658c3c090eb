// Parameters of all kernels, one struct by value for each: the same layout as rt-jetson/src/params.rs has, which says what
// the fields mean, and how many blocks a launch takes. Pointers come first, so that nothing lies between the fields.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;

struct Window {
    u32 oh, ow, ih, iw, ci;
    u32 kh, kw, stride_y, stride_x, dilation_y, dilation_x;
    u32 pad_y, pad_x, pad_bottom, pad_right;
};

// `kind`: 0 levels, 1 accumulators, 2 accumulators that are not negative.
struct Stage {
    u32 kind, shift;
    i32 zero_point, min, max;
};

struct GemmF32 {
    const float* input;
    const void* weights;
    const float* bias;
    const float* residual;
    float* out;
    Window window;
    u32 rows, n, n_padded, k, depth, width;
    u32 input_group, weight_group, out_group;
    u32 groups, slices, slice, out_slice, out_stride, residual_stride;
    float low, high;
};

struct GemmQ8 {
    const u8* input;
    const void* weights;
    const i32* bias;
    const i32* multipliers;
    void* out;
    Window window;
    u32 rows, n, n_padded, k, depth, width;
    u32 input_group, weight_group, out_group;
    u32 groups, slices, slice, out_slice, out_stride, zero_point;
    Stage stage;
    u32 unused;
};

struct SumF32 {
    const float* partial;
    const float* bias;
    const float* residual;
    float* out;
    u32 rows, n, slices, slice, out_stride, residual_stride;
    float low, high;
};

struct SumQ8 {
    const i32* partial;
    const i32* bias;
    const i32* multipliers;
    void* out;
    u32 rows, n, slices, slice, out_stride;
    Stage stage;
};

struct WinogradInput {
    const float* input;
    float* out;
    u32 samples, tiles_y, tiles_x, ih, iw, c, pad_y, pad_x;
};

struct WinogradOutput {
    const float* input;
    const float* bias;
    const float* residual;
    float* out;
    u32 samples, tiles_y, tiles_x, oh, ow, c, out_stride, residual_stride;
    float low, high;
};

struct DepthwiseF32 {
    const float* input;
    const float* weights;
    const float* bias;
    float* out;
    Window window;
    u32 count, width;
    float low, high;
    u32 unused;
};

struct DepthwiseQ8 {
    const u8* input;
    const i8* weights;
    const i32* bias;
    const i32* multipliers;
    void* out;
    Window window;
    u32 count, width, zero_point;
    Stage stage;
    u32 unused;
};

struct RowsF32 {
    const float* input;
    const void* weights;
    const u16* columns;
    const u32* bounds;
    const float* book;
    const float* bias;
    float* out;
    u32 samples, n, k, row_bytes, input_stride, out_stride, width;
    float low, high;
    u32 unused;
};

struct RowsQ8 {
    const u8* input;
    const void* weights;
    const u16* columns;
    const u32* bounds;
    const i8* book;
    const i32* bias;
    const i32* multipliers;
    void* out;
    u32 samples, n, k, row_bytes, input_stride, out_stride, width;
    Stage stage;
};

// `function`: 0 largest, 1 mean of what is inside, 2 mean with pads as zeros.
struct PoolF32 {
    const float* input;
    float* out;
    Window window;
    u32 count, width, function;
};

// `function`: 0 largest, 1 largest by the table, 2 mean by the requantizations.
struct PoolQ8 {
    const u8* input;
    const u8* table;
    const i32* requants;
    u8* out;
    Window window;
    u32 count, width, function, zero_point;
    Stage stage;
};

struct Lrn {
    const float* input;
    float* out;
    u32 count, c, before, after;
    float factor, bias, exponent;
    u32 unused;
};

struct Softmax {
    const float* input;
    float* out;
    u32 rows, features;
};

struct MapWords {
    const u32* input;
    u32* out;
    u32 count, function;
    float a, b;
};

struct MapLevels {
    const u8* input;
    const u8* table;
    u8* out;
    u32 count, unused;
};

// `function`: 0 sum, 1 product, 2 slopes.
struct PairsF32 {
    const float* lhs;
    const float* rhs;
    float* out;
    u32 count, sample, row, function;
    float low, high;
};

struct PairsQ8 {
    const u8* lhs;
    const void* rhs;
    u8* out;
    u32 count, sample, row, function;
    i32 lhs_multiplier, rhs_multiplier, lhs_zero, rhs_zero;
    Stage stage;
    u32 unused;
};

struct Quantize {
    const float* input;
    const i32* thresholds;
    u8* out;
    u32 count, zero_point;
};

struct Dequantize {
    const u8* input;
    float* out;
    u32 count, zero_point;
    float scale;
    u32 unused;
};

struct Transpose {
    const void* input;
    void* out;
    u32 count, dim1, dim2, dim3, stride0, stride1, stride2, stride3;
};

struct Pad {
    const void* input;
    void* out;
    u32 count, border, height, row, out_height, out_row, top, left;
};

struct Resize {
    const void* input;
    const u32* axes;
    void* out;
    u32 count, ih, iw, c, oh, ow;
};

struct Concat {
    const void* input;
    const u8* table;
    void* out;
    u32 count, row, stride, unused;
};

static_assert(sizeof(GemmF32) == 168, "params.rs says so");
static_assert(sizeof(GemmQ8) == 184, "params.rs says so");
static_assert(sizeof(SumF32) == 64, "params.rs says so");
static_assert(sizeof(SumQ8) == 72, "params.rs says so");
static_assert(sizeof(WinogradInput) == 48, "params.rs says so");
static_assert(sizeof(WinogradOutput) == 72, "params.rs says so");
static_assert(sizeof(DepthwiseF32) == 112, "params.rs says so");
static_assert(sizeof(DepthwiseQ8) == 136, "params.rs says so");
static_assert(sizeof(RowsF32) == 96, "params.rs says so");
static_assert(sizeof(RowsQ8) == 112, "params.rs says so");
static_assert(sizeof(PoolF32) == 88, "params.rs says so");
static_assert(sizeof(PoolQ8) == 128, "params.rs says so");
static_assert(sizeof(Lrn) == 48, "params.rs says so");
static_assert(sizeof(Softmax) == 24, "params.rs says so");
static_assert(sizeof(MapWords) == 32, "params.rs says so");
static_assert(sizeof(MapLevels) == 32, "params.rs says so");
static_assert(sizeof(PairsF32) == 48, "params.rs says so");
static_assert(sizeof(PairsQ8) == 80, "params.rs says so");
static_assert(sizeof(Quantize) == 32, "params.rs says so");
static_assert(sizeof(Dequantize) == 32, "params.rs says so");
static_assert(sizeof(Transpose) == 48, "params.rs says so");
static_assert(sizeof(Pad) == 48, "params.rs says so");
static_assert(sizeof(Resize) == 48, "params.rs says so");
static_assert(sizeof(Concat) == 40, "params.rs says so");
