// Winograd's minimal filtering F(2x2, 3x3) and F(4x4, 3x3). A thread transforms a tile of one channel, neighbours are channels.
// Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.1 and 4.2.
#include "embdl.h"

// B^T of a column of a tile, which becomes 2 or 4 results.
template <u32 OUT>
INLINE void transform_input(float* d) {
    if constexpr (OUT == 2) {
        const float d1 = d[1], d2 = d[2];
        d[0] -= d2;
        d[1] = d1 + d2;
        d[2] = d2 - d1;
        d[3] = d1 - d[3];
    } else {
        const float even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
        const float even2 = d[4] - d[2], odd2 = 2.0f * (d[3] - d[1]);
        const float first = 4.0f * d[0] - 5.0f * d[2] + d[4];
        const float last = 4.0f * d[1] - 5.0f * d[3] + d[5];
        d[0] = first;
        d[1] = even + odd;
        d[2] = even - odd;
        d[3] = even2 + odd2;
        d[4] = even2 - odd2;
        d[5] = last;
    }
}

// A^T of a column of products.
template <u32 OUT>
INLINE void transform_output(const float* m, float* out) {
    if constexpr (OUT == 2) {
        out[0] = m[0] + m[1] + m[2];
        out[1] = m[1] - m[2] - m[3];
    } else {
        const float sum1 = m[1] + m[2], difference1 = m[1] - m[2];
        const float sum2 = m[3] + m[4], difference2 = m[3] - m[4];
        out[0] = m[0] + sum1 + sum2;
        out[1] = difference1 + 2.0f * difference2;
        out[2] = sum1 + 4.0f * sum2;
        out[3] = difference1 + 8.0f * difference2 + m[5];
    }
}

template <u32 OUT>
INLINE void winograd_input(const WinogradInput& p) {
    constexpr u32 SIDE = OUT + 2;
    const u32 tiles = p.samples * p.tiles_y * p.tiles_x;
    const u32 i = linear(256);
    if (i >= tiles * p.c) {
        return;
    }
    const u32 tile = i / p.c, c = i % p.c;
    const i32 y0 = (i32)(tile / p.tiles_x % p.tiles_y * OUT) - (i32)p.pad_y;
    const i32 x0 = (i32)(tile % p.tiles_x * OUT) - (i32)p.pad_x;
    const float* sample = p.input + tile / (p.tiles_x * p.tiles_y) * (p.ih * p.iw * p.c) + c;
    float d[SIDE][SIDE];
    // Columns of d are rows of the tile, so that both transforms are of what lies together in an array.
#pragma unroll
    for (u32 y = 0; y < SIDE; y++) {
#pragma unroll
        for (u32 x = 0; x < SIDE; x++) {
            const i32 down = y0 + (i32)y, across = x0 + (i32)x;
            const bool is_inside = down >= 0 && across >= 0 && down < (i32)p.ih && across < (i32)p.iw;
            d[x][y] = is_inside ? fixed(sample + ((u32)down * p.iw + (u32)across) * p.c) : 0.0f;
        }
    }
#pragma unroll
    for (u32 x = 0; x < SIDE; x++) {
        transform_input<OUT>(d[x]);
    }
#pragma unroll
    for (u32 y = 0; y < SIDE; y++) {
        float row[SIDE];
#pragma unroll
        for (u32 x = 0; x < SIDE; x++) {
            row[x] = d[x][y];
        }
        transform_input<OUT>(row);
#pragma unroll
        for (u32 x = 0; x < SIDE; x++) {
            store(p.out + (y * SIDE + x) * tiles * p.c + i, row[x]);
        }
    }
}

template <u32 OUT>
INLINE void winograd_output(const WinogradOutput& p) {
    constexpr u32 SIDE = OUT + 2;
    const u32 tiles = p.samples * p.tiles_y * p.tiles_x;
    const u32 i = linear(256);
    if (i >= tiles * p.c) {
        return;
    }
    const u32 tile = i / p.c, c = i % p.c;
    float columns[SIDE][OUT];
#pragma unroll
    for (u32 x = 0; x < SIDE; x++) {
        float m[SIDE];
#pragma unroll
        for (u32 y = 0; y < SIDE; y++) {
            m[y] = fixed(p.input + (y * SIDE + x) * tiles * p.c + i);
        }
        transform_output<OUT>(m, columns[x]);
    }
    const float bias = p.bias ? fixed(p.bias + c) : 0.0f;
    const u32 y0 = tile / p.tiles_x % p.tiles_y * OUT, x0 = tile % p.tiles_x * OUT;
    const u32 first = (tile / (p.tiles_x * p.tiles_y) * p.oh + y0) * p.ow + x0;
#pragma unroll
    for (u32 y = 0; y < OUT; y++) {
        float row[SIDE], out[OUT];
#pragma unroll
        for (u32 x = 0; x < SIDE; x++) {
            row[x] = columns[x][y];
        }
        transform_output<OUT>(row, out);
#pragma unroll
        for (u32 x = 0; x < OUT; x++) {
            if (y0 + y < p.oh && x0 + x < p.ow) {
                const u32 pixel = first + y * p.ow + x;
                float sum = out[x] + bias;
                if (p.residual) {
                    sum += load(p.residual + pixel * p.residual_stride + c);
                }
                store(p.out + pixel * p.out_stride + c, bound(sum, p.low, p.high));
            }
        }
    }
}

KERNEL(winograd2_input, WinogradInput, 256, 4) { winograd_input<2>(p); }
KERNEL(winograd4_input, WinogradInput, 256, 2) { winograd_input<4>(p); }
KERNEL(winograd2_output, WinogradOutput, 256, 4) { winograd_output<2>(p); }
KERNEL(winograd4_output, WinogradOutput, 256, 2) { winograd_output<4>(p); }
