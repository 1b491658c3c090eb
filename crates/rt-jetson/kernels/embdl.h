// What the kernels need of CUDA, without its headers: clang compiles them for the device with this file, and as C++ for tests
// with host.h, where each thread is a fiber.
#pragma once
#include "params.h"

typedef float float2_ __attribute__((ext_vector_type(2)));
typedef float float4_ __attribute__((ext_vector_type(4)));
typedef u32 uint4_ __attribute__((ext_vector_type(4)));
typedef i32 int4_ __attribute__((ext_vector_type(4)));
typedef u16 ushort4_ __attribute__((ext_vector_type(4)));
typedef i8 char4_ __attribute__((ext_vector_type(4)));
typedef u8 uchar4_ __attribute__((ext_vector_type(4)));
typedef _Float16 half2_ __attribute__((ext_vector_type(2)));
typedef _Float16 half4_ __attribute__((ext_vector_type(4)));

#if defined(EMBDL_HOST)
#include "host.h"
#else
#define SHARED __attribute__((shared))
#define MEMBER __attribute__((device, always_inline))
#define INLINE MEMBER static inline
// A kernel that takes a `Params` called p, of blocks of so many threads, of which so many fit a multiprocessor: the compiler
// keeps to the registers of that.
#define KERNEL(name, Params, threads, blocks) \
    extern "C" __attribute__((global)) void __attribute__((launch_bounds(threads, blocks))) name(const Params p)

struct uint3 {
    u32 x, y, z;
};
struct dim3 {
    u32 x, y, z;
};
#include <__clang_cuda_builtin_vars.h>

INLINE u32 thread() { return threadIdx.x; }
INLINE u32 block_x() { return blockIdx.x; }
INLINE u32 block_y() { return blockIdx.y; }
INLINE u32 block_z() { return blockIdx.z; }
INLINE void sync() { __syncthreads(); }

INLINE float shuffle_xor(float value, u32 mask) {
    return __nvvm_shfl_sync_bfly_f32(0xffffffff, value, mask, 31);
}
INLINE i32 shuffle_xor(i32 value, u32 mask) {
    return __nvvm_shfl_sync_bfly_i32(0xffffffff, value, mask, 31);
}

// Bytes of `low` (0 to 3) and `high` (4 to 7) that the lower three bits of each nibble of `selector` name; a nibble's fourth
// bit spreads the sign of its byte instead.
INLINE u32 permute(u32 low, u32 high, u32 selector) {
    u32 result;
    __asm__("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
    return result;
}
// Four products of unsigned bytes and signed ones, and a sum.
INLINE i32 dp4a(u32 levels, u32 weights, i32 sum) {
    i32 result;
    __asm__("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(levels), "r"(weights), "r"(sum));
    return result;
}
// Two products of halves and sums, each rounded once.
INLINE half2_ fused(half2_ a, half2_ b, half2_ c) { return __builtin_elementwise_fma(a, b, c); }
INLINE float exp2_approx(float x) { return __nvvm_ex2_approx_ftz_f(x); }
INLINE float log2_approx(float x) { return __nvvm_lg2_approx_ftz_f(x); }

// Loads of what nobody writes while the kernel runs: these may come from the read-only cache.
#define FIXED_LOAD(type, raw, builtin) \
    INLINE type fixed(const type* at) { return __builtin_bit_cast(type, builtin((const raw*)at)); }
typedef int builtin_int2 __attribute__((ext_vector_type(2)));
typedef int builtin_int4 __attribute__((ext_vector_type(4)));
FIXED_LOAD(float, float, __nvvm_ldg_f)
FIXED_LOAD(float2_, float2_, __nvvm_ldg_f2)
FIXED_LOAD(float4_, float4_, __nvvm_ldg_f4)
FIXED_LOAD(u32, int, __nvvm_ldg_i)
FIXED_LOAD(i32, int, __nvvm_ldg_i)
FIXED_LOAD(uint4_, builtin_int4, __nvvm_ldg_i4)
FIXED_LOAD(u16, u16, __nvvm_ldg_us)
FIXED_LOAD(u8, u8, __nvvm_ldg_uc)
FIXED_LOAD(i8, u8, __nvvm_ldg_uc)
FIXED_LOAD(ushort4_, builtin_int2, __nvvm_ldg_i2)
FIXED_LOAD(uchar4_, int, __nvvm_ldg_i)
FIXED_LOAD(char4_, int, __nvvm_ldg_i)

// Loads and stores of what may change: the type says that the address is in global memory, which saves a test of each.
#define GLOBAL __attribute__((address_space(1)))
template <class T>
INLINE T load(const T* at) {
    return *(const GLOBAL T*)at;
}
template <class T>
INLINE void store(T* at, T value) {
    *(GLOBAL T*)at = value;
}
#endif

template <class To, class From>
INLINE To bits(From value) {
    return __builtin_bit_cast(To, value);
}

// The number of this thread in the launch.
INLINE u32 linear(u32 threads) { return block_x() * threads + thread(); }

INLINE bool is_aligned(const void* at, u32 bytes) { return (u64)at % bytes == 0; }

// Bounds that keep NaN.
INLINE float bound(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

INLINE i32 between(i32 x, i32 low, i32 high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

// The rounding of embdl_core::quant: round(accumulator * multiplier / 2^shift), ties up, then a level.
INLINE u8 level(i32 accumulator, i32 multiplier, const Stage& stage) {
    i64 product = (i64)accumulator * multiplier;
    i64 steps = (product + (1ll << (stage.shift - 1))) >> stage.shift;
    // Whatever is beyond these bounds is beyond every level.
    steps = steps < -1024 ? -1024 : steps;
    steps = steps > 1024 ? 1024 : steps;
    return (u8)between((i32)steps + stage.zero_point, stage.min, stage.max);
}

// Writes `N` levels, 1 or 4, of which the first `count` exist.
template <u32 N>
INLINE void store_levels(u8* place, const i32* levels, u32 count) {
    if (N == 4 && count == 4 && is_aligned(place, 4)) {
        store((u32*)place, (u32)(levels[0] | levels[1 % N] << 8 | levels[2 % N] << 16 | levels[3 % N] << 24));
        return;
    }
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        if (j < count) {
            store(place + j, (u8)levels[j]);
        }
    }
}

// Writes what becomes of accumulators of `N` channels, of which the first `count` exist. Multipliers are those of the first.
template <u32 N>
INLINE void finish(const i32* sums, const i32* multipliers, void* out, u32 at, u32 count, const Stage& stage) {
    if (stage.kind == 0) {
        i32 levels[N];
#pragma unroll
        for (u32 j = 0; j < N; j++) {
            levels[j] = j < count ? level(sums[j], fixed(multipliers + j), stage) : 0;
        }
        store_levels<N>((u8*)out + at, levels, count);
        return;
    }
    i32* place = (i32*)out + at;
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        if (j < count) {
            store(place + j, stage.kind == 2 && sums[j] < 0 ? 0 : sums[j]);
        }
    }
}

// Writes `N` floats, of which the first `count` exist.
template <u32 N>
INLINE void store_floats(float* place, const float* values, u32 count) {
    if (count == N && N % 4 == 0 && is_aligned(place, 16)) {
#pragma unroll
        for (u32 j = 0; j < N; j += 4) {
            store((float4_*)(place + j), float4_{values[j], values[j + 1], values[j + 2], values[j + 3]});
        }
        return;
    }
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        if (j < count) {
            store(place + j, values[j]);
        }
    }
}

// Reads `N` elements of shared memory, which begin at a multiple of their bytes, at once.
template <u32 N, class T>
INLINE void read(const T* at, T* out) {
    if constexpr (__is_same(T, half2_)) {
        typedef u32 Words __attribute__((ext_vector_type(N)));
        const Words words = *(const Words*)at;
#pragma unroll
        for (u32 i = 0; i < N; i++) {
            out[i] = bits<half2_>(words[i]);
        }
    } else {
        typedef T Vector __attribute__((ext_vector_type(N)));
        const Vector vector = *(const Vector*)at;
#pragma unroll
        for (u32 i = 0; i < N; i++) {
            out[i] = vector[i];
        }
    }
}
