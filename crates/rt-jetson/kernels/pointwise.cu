// Operators that work element by element, or on the channels of one pixel.
#include "exp.h"

KERNEL(lrn, Lrn, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const u32 c = i % p.c;
    const float* row = p.input + i - c;
    const u32 first = c < p.before ? 0 : c - p.before;
    const u32 end = p.c < c + p.after + 1 ? p.c : c + p.after + 1;
    float squares = 0.0f;
    for (u32 at = first; at < end; at++) {
        const float x = fixed(row + at);
        squares += x * x;
    }
    const float base = p.bias + p.factor * squares;
    float divisor;
    if (p.exponent == 0.75f) {
        // AlexNet's, which roots are exact for.
        const float root = __builtin_sqrtf(base);
        divisor = root * __builtin_sqrtf(root);
    } else {
        divisor = power(base, p.exponent);
    }
    store(p.out + i, fixed(row + c) / divisor);
}

// What all threads of a block of 256 make of theirs.
template <class Join>
INLINE float joined(float value, float* shared, Join join) {
#pragma unroll
    for (u32 mask = 16; mask > 0; mask /= 2) {
        value = join(value, shuffle_xor(value, mask));
    }
    if (thread() % 32 == 0) {
        shared[thread() / 32] = value;
    }
    sync();
    value = shared[0];
#pragma unroll
    for (u32 i = 1; i < 8; i++) {
        value = join(value, shared[i]);
    }
    return value;
}

KERNEL(softmax, Softmax, 256, 4) {
    SHARED float maxima[8];
    SHARED float sums[8];
    const float* row = p.input + block_x() * p.features;
    float* out = p.out + block_x() * p.features;
    float largest = -__builtin_inff();
    for (u32 i = thread(); i < p.features; i += 256) {
        const float x = load(row + i);
        // What is no number never wins.
        largest = x > largest ? x : largest;
    }
    largest = joined(largest, maxima, [](float a, float b) { return a > b ? a : b; });
    float sum = 0.0f;
    for (u32 i = thread(); i < p.features; i += 256) {
        const float e = exponential(load(row + i) - largest);
        store(out + i, e);
        sum += e;
    }
    sum = joined(sum, sums, [](float a, float b) { return a + b; });
    for (u32 i = thread(); i < p.features; i += 256) {
        store(out + i, load(out + i) / sum);
    }
}

INLINE u32 function(u32 word, const MapWords& p) {
    const float x = bits<float>(word);
    switch (p.function) {
    case 0: return bits<u32>(bound(x, p.a, p.b));
    case 1: return bits<u32>(sigmoid(x));
    case 2: return bits<u32>(bound(p.a * x + p.b, 0.0f, 1.0f));
    case 3: return bits<u32>(x * bound(x / 6.0f + 0.5f, 0.0f, 1.0f));
    case 4: return bits<u32>(x * sigmoid(x));
    case 5: return bits<u32>(hyperbolic_tangent(x));
    case 6: return bits<u32>(x < 0.0f ? p.a * x : x);
    case 7: return bits<u32>(x < 0.0f ? p.a * exponential_m1(x) : x);
    case 8: return (i32)word < 0 ? 0 : word;
    default: return bits<u32>((float)(i32)word * p.a);
    }
}

KERNEL(map_words, MapWords, 256, 4) {
    const u32 i = linear(256);
    if (i < p.count) {
        store(p.out + i, function(load(p.input + i), p));
    }
}

// Four levels a thread: reads those that exist, writes them when `each` has made others of them.
template <class Each>
INLINE void four_levels(const u8* input, u8* out, u32 count, Each each) {
    const u32 i = linear(256) * 4;
    if (i >= count) {
        return;
    }
    i32 levels[4] = {};
    const u32 left = count - i < 4 ? count - i : 4;
    if (left == 4) {
        const uchar4_ four = load((const uchar4_*)(input + i));
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            levels[j] = four[j];
        }
    } else {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            levels[j] = j < left ? load(input + i + j) : 0;
        }
    }
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
        if (j < left) {
            levels[j] = each(i + j, levels[j]);
        }
    }
    store_levels<4>(out + i, levels, left);
}

KERNEL(map_levels, MapLevels, 256, 4) {
    four_levels(p.input, p.out, p.count, [&](u32, i32 x) { return (i32)fixed(p.table + x); });
}

KERNEL(pairs_f32, PairsF32, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const float x = load(p.lhs + i);
    if (p.function == 2) {
        store(p.out + i, x < 0.0f ? x * load(p.rhs + i % p.row) : x);
        return;
    }
    const float y = load(p.rhs + i / p.sample * p.row + i % p.sample % p.row);
    store(p.out + i, p.function == 1 ? x * y : bound(x + y, p.low, p.high));
}

KERNEL(pairs_q8, PairsQ8, 256, 4) {
    four_levels(p.lhs, p.out, p.count, [&](u32 i, i32 lhs) {
        const i32 x = lhs - p.lhs_zero;
        if (p.function == 2) {
            const i32 slope = x < 0 ? load((const i32*)p.rhs + i % p.row) : p.lhs_multiplier;
            return (i32)level(x, slope, p.stage);
        }
        const i32 y = load((const u8*)p.rhs + i / p.sample * p.row + i % p.sample % p.row) - p.rhs_zero;
        if (p.function == 1) {
            return (i32)level(x * y, p.lhs_multiplier, p.stage);
        }
        // Both products fit 31 bits together.
        const i32 sum = x * p.lhs_multiplier + y * p.rhs_multiplier + (1 << (p.stage.shift - 1));
        return between((sum >> p.stage.shift) + p.stage.zero_point, p.stage.min, p.stage.max);
    });
}

// A level is the number of thresholds that a float reaches: the host found the smallest float of each level with
// embdl_core::quant, so that no rounding of a division counts. Floats are compared by their bits, in order.
INLINE i32 quantized(u32 word, const Quantize& p) {
    if ((word & 0x7fffffff) > 0x7f800000) {
        return (i32)p.zero_point;
    }
    const i32 key = (i32)(word >> 31 ? word ^ 0x7fffffff : word);
    u32 level = 0;
#pragma unroll
    for (u32 step = 128; step > 0; step /= 2) {
        level += key >= fixed(p.thresholds + level + step - 1) ? step : 0;
    }
    return (i32)level;
}

KERNEL(quantize, Quantize, 256, 4) {
    const u32 i = linear(256) * 4;
    i32 levels[4] = {};
    if (i >= p.count) {
        return;
    }
    const u32 left = p.count - i < 4 ? p.count - i : 4;
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
        if (j < left) {
            levels[j] = quantized(bits<u32>(fixed(p.input + i + j)), p);
        }
    }
    store_levels<4>(p.out + i, levels, left);
}

KERNEL(dequantize, Dequantize, 256, 4) {
    const u32 i = linear(256) * 4;
    if (i >= p.count) {
        return;
    }
    const u32 left = p.count - i < 4 ? p.count - i : 4;
    float values[4] = {};
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
        if (j < left) {
            values[j] = p.scale * (float)((i32)fixed(p.input + i + j) - (i32)p.zero_point);
        }
    }
    store_floats<4>(p.out + i, values, left);
}
