// Depthwise convolutions and pooling: windows over each channel by itself.
#include "embdl.h"

// `N` channels at once, 1 or 4.
template <u32 N>
INLINE void read_floats(const float* at, float* out) {
    if constexpr (N == 4) {
        const float4_ four = fixed((const float4_*)at);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            out[i] = four[i];
        }
    } else {
        out[0] = fixed(at);
    }
}

template <u32 N>
INLINE void read_levels(const u8* at, i32* out) {
    if constexpr (N == 4) {
        const uchar4_ four = fixed((const uchar4_*)at);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            out[i] = four[i];
        }
    } else {
        out[0] = fixed(at);
    }
}

template <u32 N>
INLINE void read_weights(const i8* at, i32* out) {
    if constexpr (N == 4) {
        const char4_ four = fixed((const char4_*)at);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            out[i] = four[i];
        }
    } else {
        out[0] = fixed(at);
    }
}

// Taps of an axis that are inside of the input, the first and one behind the last, for a window that begins at `start` with
// `pad` counted.
struct Taps {
    u32 first, end;

    MEMBER Taps(u32 start, u32 dilation, u32 pad, u32 extent, u32 kernel) {
        first = ((start < pad ? pad : start) - start + dilation - 1) / dilation;
        const u32 behind = extent + pad < start ? start : extent + pad;
        end = (behind - start + dilation - 1) / dilation;
        end = end > kernel ? kernel : end;
        end = end < first ? first : end;
    }
    MEMBER u32 count() const { return end - first; }
};

// A window of one element of a dense result and where it begins, with the pads counted.
struct Place {
    u32 c, y, x, sample, pixel;

    MEMBER Place(u32 element, const Window& w) {
        c = element % w.ci;
        pixel = element / w.ci;
        y = pixel / w.ow % w.oh * w.stride_y;
        x = pixel % w.ow * w.stride_x;
        sample = pixel / (w.ow * w.oh) * (w.ih * w.iw * w.ci);
    }
    MEMBER Taps rows(const Window& w) const { return Taps(y, w.dilation_y, w.pad_y, w.ih, w.kh); }
    MEMBER Taps columns(const Window& w) const { return Taps(x, w.dilation_x, w.pad_x, w.iw, w.kw); }
    // The element of the input that a tap inside of it meets.
    MEMBER u32 input(const Window& w, u32 ky, u32 kx) const {
        const u32 down = y + ky * w.dilation_y - w.pad_y, across = x + kx * w.dilation_x - w.pad_x;
        return sample + (down * w.iw + across) * w.ci + c;
    }
};

template <u32 N>
INLINE void depthwise(const DepthwiseF32& p) {
    const u32 i = linear(256) * N;
    if (i >= p.count) {
        return;
    }
    const Place place(i, p.window);
    const Taps rows = place.rows(p.window), columns = place.columns(p.window);
    float sums[N];
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        sums[j] = p.bias ? fixed(p.bias + place.c + j) : 0.0f;
    }
    for (u32 ky = rows.first; ky < rows.end; ky++) {
        for (u32 kx = columns.first; kx < columns.end; kx++) {
            float x[N], weights[N];
            read_floats<N>(p.input + place.input(p.window, ky, kx), x);
            read_floats<N>(p.weights + (ky * p.window.kw + kx) * p.window.ci + place.c, weights);
#pragma unroll
            for (u32 j = 0; j < N; j++) {
                sums[j] = __builtin_fmaf(x[j], weights[j], sums[j]);
            }
        }
    }
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        sums[j] = bound(sums[j], p.low, p.high);
    }
    store_floats<N>(p.out + i, sums, N);
}

template <u32 N>
INLINE void depthwise(const DepthwiseQ8& p) {
    const u32 i = linear(256) * N;
    if (i >= p.count) {
        return;
    }
    const Place place(i, p.window);
    const Taps rows = place.rows(p.window), columns = place.columns(p.window);
    i32 sums[N];
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        sums[j] = p.bias ? fixed(p.bias + place.c + j) : 0;
    }
    for (u32 ky = rows.first; ky < rows.end; ky++) {
        for (u32 kx = columns.first; kx < columns.end; kx++) {
            i32 x[N], weights[N];
            read_levels<N>(p.input + place.input(p.window, ky, kx), x);
            read_weights<N>(p.weights + (ky * p.window.kw + kx) * p.window.ci + place.c, weights);
#pragma unroll
            for (u32 j = 0; j < N; j++) {
                sums[j] += (x[j] - (i32)p.zero_point) * weights[j];
            }
        }
    }
    finish<N>(sums, p.multipliers + place.c, p.out, i, N, p.stage);
}

KERNEL(depthwise_f32, DepthwiseF32, 256, 4) { p.width == 4 ? depthwise<4>(p) : depthwise<1>(p); }
KERNEL(depthwise_q8, DepthwiseQ8, 256, 4) { p.width == 4 ? depthwise<4>(p) : depthwise<1>(p); }

template <u32 N>
INLINE void pool(const PoolF32& p) {
    const u32 i = linear(256) * N;
    if (i >= p.count) {
        return;
    }
    const Window& w = p.window;
    const Place place(i, w);
    const Taps rows = place.rows(w), columns = place.columns(w);
    const bool is_max = p.function == 0;
    float results[N];
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        results[j] = is_max ? -__builtin_inff() : 0.0f;
    }
    for (u32 ky = rows.first; ky < rows.end; ky++) {
        for (u32 kx = columns.first; kx < columns.end; kx++) {
            float x[N];
            read_floats<N>(p.input + place.input(w, ky, kx), x);
#pragma unroll
            for (u32 j = 0; j < N; j++) {
                // What is no number never wins.
                const float larger = x[j] > results[j] ? x[j] : results[j];
                results[j] = is_max ? larger : results[j] + x[j];
            }
        }
    }
    if (!is_max) {
        u32 taps = rows.count() * columns.count();
        if (p.function == 2) {
            // What hangs over the pads never counts: an axis from its first pad to its last.
            const Taps all_rows(place.y, w.dilation_y, 0, w.pad_y + w.ih + w.pad_bottom, w.kh);
            const Taps all_columns(place.x, w.dilation_x, 0, w.pad_x + w.iw + w.pad_right, w.kw);
            taps = all_rows.count() * all_columns.count();
        }
#pragma unroll
        for (u32 j = 0; j < N; j++) {
            results[j] /= (float)taps;
        }
    }
    store_floats<N>(p.out + i, results, N);
}

template <u32 N>
INLINE void pool(const PoolQ8& p) {
    const u32 i = linear(256) * N;
    if (i >= p.count) {
        return;
    }
    const Window& w = p.window;
    const Place place(i, w);
    const Taps rows = place.rows(w), columns = place.columns(w);
    i32 largest[N], sums[N];
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        largest[j] = sums[j] = 0;
    }
    for (u32 ky = rows.first; ky < rows.end; ky++) {
        for (u32 kx = columns.first; kx < columns.end; kx++) {
            i32 x[N];
            read_levels<N>(p.input + place.input(w, ky, kx), x);
#pragma unroll
            for (u32 j = 0; j < N; j++) {
                largest[j] = x[j] > largest[j] ? x[j] : largest[j];
                sums[j] += x[j] - (i32)p.zero_point;
            }
        }
    }
    if (p.function == 2) {
        const i32* requant = p.requants + 2 * (place.pixel % (w.ow * w.oh));
        const i32 multiplier = fixed(requant);
        Stage stage = p.stage;
        stage.shift = (u32)fixed(requant + 1);
#pragma unroll
        for (u32 j = 0; j < N; j++) {
            largest[j] = level(sums[j], multiplier, stage);
        }
    } else if (p.function == 1) {
#pragma unroll
        for (u32 j = 0; j < N; j++) {
            largest[j] = fixed(p.table + largest[j]);
        }
    }
    store_levels<N>(p.out + i, largest, N);
}

KERNEL(pool_f32, PoolF32, 256, 4) { p.width == 4 ? pool<4>(p) : pool<1>(p); }
KERNEL(pool_q8, PoolQ8, 256, 4) { p.width == 4 ? pool<4>(p) : pool<1>(p); }
