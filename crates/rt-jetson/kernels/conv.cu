// Convolutions, and dense layers of many samples: products of matrices, and sums of slices.
#include "gemm.h"

// Floats.
struct Floats {
    typedef float Lhs, Rhs, LhsFetch, Sum;
    typedef float4_ RhsFetch;
    static constexpr u32 CHANNELS = 1, WEIGHTS_IN_VECTOR = 4;
    static constexpr bool CAN_BE_WIDE = true;

    static MEMBER u32 units(u32 depth) { return depth; }
    static MEMBER const float* input(const GemmF32& p) { return p.input; }
    static MEMBER const float4_* weights(const GemmF32& p) { return (const float4_*)p.weights; }
    static MEMBER float4_ nothing() { return float4_{0, 0, 0, 0}; }

    static MEMBER float fetch(const float* pixel, u32 unit, bool is_there, const GemmF32&) {
        return is_there ? fixed(pixel + unit) : 0.0f;
    }
    static MEMBER void fetch_wide(float* out, const float* at, bool is_there, const GemmF32&) {
        float4_ four = is_there ? fixed((const float4_*)at) : nothing();
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            out[i] = four[i];
        }
    }
    static MEMBER float lhs(float value) { return value; }
    static MEMBER void keep_rhs(float* at, float4_ four) { *(float4_*)at = four; }

    template <u32 TM, u32 TN>
    struct Sums {
        float all[TM][TN];

        MEMBER void clear() {
#pragma unroll
            for (u32 i = 0; i < TM * TN; i++) {
                all[i / TN][i % TN] = 0.0f;
            }
        }
        MEMBER void begin() {}
        MEMBER void add(const float* a, const float* b) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    all[i][j] = __builtin_fmaf(a[i], b[j], all[i][j]);
                }
            }
        }
        MEMBER void end(u32) {}
        MEMBER void close() {}
    };
};

// Halves, two channels at a time. Sums of 16 products are halves, all others floats: sums of thousands of products would lose
// most of a half's 11 bits.
struct Halves {
    typedef half2_ Lhs, Rhs;
    typedef float LhsFetch, Sum;
    typedef uint4_ RhsFetch;
    static constexpr u32 CHANNELS = 2, WEIGHTS_IN_VECTOR = 8;
    static constexpr bool CAN_BE_WIDE = true;

    static MEMBER u32 units(u32 depth) { return depth; }
    static MEMBER const float* input(const GemmF32& p) { return p.input; }
    static MEMBER const uint4_* weights(const GemmF32& p) { return (const uint4_*)p.weights; }
    static MEMBER uint4_ nothing() { return uint4_{0, 0, 0, 0}; }
    static MEMBER float fetch(const float* pixel, u32 unit, bool is_there, const GemmF32& p) {
        return Floats::fetch(pixel, unit, is_there, p);
    }
    static MEMBER void fetch_wide(float* out, const float* at, bool is_there, const GemmF32& p) {
        Floats::fetch_wide(out, at, is_there, p);
    }
    static MEMBER half2_ lhs(float value) {
        _Float16 half = (_Float16)value;
        return half2_{half, half};
    }
    static MEMBER void keep_rhs(half2_* at, uint4_ eight) { *(uint4_*)at = eight; }

    template <u32 TM, u32 TN>
    struct Sums {
        half2_ part[TM][TN];
        float all[TM][2 * TN];

        MEMBER void clear() {
#pragma unroll
            for (u32 i = 0; i < TM * 2 * TN; i++) {
                all[i / (2 * TN)][i % (2 * TN)] = 0.0f;
            }
        }
        MEMBER void begin() {
#pragma unroll
            for (u32 i = 0; i < TM * TN; i++) {
                part[i / TN][i % TN] = half2_{(_Float16)0.0f, (_Float16)0.0f};
            }
        }
        MEMBER void add(const half2_* a, const half2_* b) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    part[i][j] = fused(a[i], b[j], part[i][j]);
                }
            }
        }
        MEMBER void end(u32) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    all[i][2 * j] += (float)part[i][j].x;
                    all[i][2 * j + 1] += (float)part[i][j].y;
                }
            }
        }
        MEMBER void close() {}
    };
};

// Levels where there is no instruction for products of bytes: multiplied as floats, which chips before sm_70 do four times as
// fast as integers. A product is at most 255 * 128, so that sums of 512 are below 2^24 and floats hold them exactly.
struct Levels {
    typedef float Lhs, Rhs;
    typedef u32 LhsFetch;
    typedef char4_ RhsFetch;
    typedef i32 Sum;
    static constexpr u32 CHANNELS = 1, WEIGHTS_IN_VECTOR = 4;
    static constexpr bool CAN_BE_WIDE = true;
    static constexpr u32 EXACT = 512;

    static MEMBER u32 units(u32 depth) { return depth; }
    static MEMBER const u8* input(const GemmQ8& p) { return p.input; }
    static MEMBER const char4_* weights(const GemmQ8& p) { return (const char4_*)p.weights; }
    static MEMBER char4_ nothing() { return char4_{0, 0, 0, 0}; }

    static MEMBER u32 fetch(const u8* pixel, u32 unit, bool is_there, const GemmQ8& p) {
        return is_there ? fixed(pixel + unit) : p.zero_point;
    }
    static MEMBER void fetch_wide(u32* out, const u8* at, bool is_there, const GemmQ8& p) {
        u32 four = is_there ? fixed((const u32*)at) : p.zero_point * 0x01010101;
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            out[i] = four >> 8 * i & 255;
        }
    }
    static MEMBER float lhs(u32 level) { return (float)level; }
    static MEMBER void keep_rhs(float* at, char4_ four) {
        *(float4_*)at = float4_{(float)four.x, (float)four.y, (float)four.z, (float)four.w};
    }

    template <u32 TM, u32 TN>
    struct Sums {
        float part[TM][TN];
        i32 all[TM][TN];

        MEMBER void clear() {
#pragma unroll
            for (u32 i = 0; i < TM * TN; i++) {
                part[i / TN][i % TN] = 0.0f;
                all[i / TN][i % TN] = 0;
            }
        }
        MEMBER void begin() {}
        MEMBER void add(const float* a, const float* b) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    part[i][j] = __builtin_fmaf(a[i], b[j], part[i][j]);
                }
            }
        }
        MEMBER void end(u32 done) {
            if ((done + STEPS) % EXACT == 0) {
                close();
            }
        }
        MEMBER void close() {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    all[i][j] += (i32)part[i][j];
                    part[i][j] = 0.0f;
                }
            }
        }
    };
};

// 128 registers a thread leave two blocks on a multiprocessor of 64 Ki; the small tiles need half of that.
KERNEL(conv_f32_64x64, GemmF32, 256, 2) { product<Floats, 4, 4>(p); }
KERNEL(conv_f32_32x32, GemmF32, 256, 4) { product<Floats, 2, 2>(p); }
KERNEL(conv_f16_64x128, GemmF32, 256, 2) { product<Halves, 4, 4>(p); }
KERNEL(conv_f16_32x64, GemmF32, 256, 4) { product<Halves, 2, 2>(p); }
KERNEL(conv_q8_64x64, GemmQ8, 256, 2) { product<Levels, 4, 4>(p); }
KERNEL(conv_q8_32x32, GemmQ8, 256, 4) { product<Levels, 2, 2>(p); }

KERNEL(sum_f32, SumF32, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.rows * p.n) {
        return;
    }
    const u32 row = i / p.n, channel = i % p.n;
    float sum = 0.0f;
    for (u32 slice = 0; slice < p.slices; slice++) {
        sum += fixed(p.partial + slice * p.slice + i);
    }
    if (p.bias) {
        sum += fixed(p.bias + channel);
    }
    if (p.residual) {
        sum += load(p.residual + row * p.residual_stride + channel);
    }
    store(p.out + row * p.out_stride + channel, bound(sum, p.low, p.high));
}

KERNEL(sum_q8, SumQ8, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.rows * p.n) {
        return;
    }
    const u32 row = i / p.n, channel = i % p.n;
    i32 sum = p.bias ? fixed(p.bias + channel) : 0;
    for (u32 slice = 0; slice < p.slices; slice++) {
        sum += fixed(p.partial + slice * p.slice + i);
    }
    finish<1>(&sum, p.multipliers + channel, p.out, row * p.out_stride + channel, 1, p.stage);
}
