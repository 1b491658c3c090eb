// What the kernels need of CUDA when they are compiled as C++ for a CPU, for tests: host.cpp runs each thread as a fiber. With
// EMBDL_POISON shared memory is filled with nonsense before each block; without, the address sanitizer sees its bounds.
#pragma once
#include <math.h>
#include <stddef.h>

#if defined(EMBDL_POISON)
#define SHARED static __attribute__((section("embdl_shared")))
#else
#define SHARED static
#endif
#define MEMBER inline
#define INLINE static inline

// A kernel by its name, for the host to find.
struct HostKernel {
    const char* name;
    size_t params_bytes;
    u32 threads;
    void (*run)(const void*);
    HostKernel* next;

    HostKernel(const char* name, size_t params_bytes, u32 threads, void (*run)(const void*));
};

#define KERNEL(name, Params, threads, blocks)                                       \
    static void name(const Params& p);                                              \
    static HostKernel host_##name(#name, sizeof(Params), threads,                   \
                                  [](const void* params) { name(*(const Params*)params); }); \
    static void name(const Params& p)

u32 thread();
u32 block_x();
u32 block_y();
u32 block_z();
void sync();
u32 host_exchange(u32 value, u32 mask);

INLINE float shuffle_xor(float value, u32 mask) {
    return __builtin_bit_cast(float, host_exchange(__builtin_bit_cast(u32, value), mask));
}
INLINE i32 shuffle_xor(i32 value, u32 mask) { return (i32)host_exchange((u32)value, mask); }

INLINE u32 permute(u32 low, u32 high, u32 selector) {
    const u64 all = (u64)high << 32 | low;
    u32 result = 0;
    for (u32 i = 0; i < 4; i++) {
        const u32 nibble = selector >> 4 * i & 15;
        const u32 byte = all >> 8 * (nibble & 7) & 255;
        const u32 sign = byte & 128 ? 255 : 0;
        result |= (nibble & 8 ? sign : byte) << 8 * i;
    }
    return result;
}
INLINE i32 dp4a(u32 levels, u32 weights, i32 sum) {
    for (u32 i = 0; i < 4; i++) {
        sum += (i32)(u8)(levels >> 8 * i) * (i32)(i8)(weights >> 8 * i);
    }
    return sum;
}
INLINE half2_ fused(half2_ a, half2_ b, half2_ c) {
    // Exact in doubles but for what is far below a half's last bit.
    half2_ result;
    result.x = (_Float16)((double)a.x * (double)b.x + (double)c.x);
    result.y = (_Float16)((double)a.y * (double)b.y + (double)c.y);
    return result;
}
INLINE float exp2_approx(float x) { return exp2f(x); }
INLINE float log2_approx(float x) { return log2f(x); }

template <class T>
INLINE T fixed(const T* at) {
    return *at;
}
template <class T>
INLINE T load(const T* at) {
    return *at;
}
template <class T>
INLINE void store(T* at, T value) {
    *at = value;
}
