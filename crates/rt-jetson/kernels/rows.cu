// Dense layers of few samples.
#include "rows.h"

template <u32 N>
struct Numbers {
    float values[N];
};

template <u32 N>
INLINE float products(float sum, const Numbers<N>& weights, const float* x) {
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        sum = __builtin_fmaf(weights.values[i], x[i], sum);
    }
    return sum;
}

// What floats have in common.
template <u32 N, class WordType, class BookType>
struct FloatRows {
    typedef WordType Word;
    typedef BookType Book;
    typedef float Sum, Input;
    typedef Numbers<N> Weights;
    static constexpr u32 CHUNK = N, INPUTS = N;

    static MEMBER float add(float sum, const Weights& weights, const float* x) { return products(sum, weights, x); }
};

struct Whole : FloatRows<4, float4_, NoBook> {
    static MEMBER Weights weights(float4_ word, const NoBook&) { return {{word.x, word.y, word.z, word.w}}; }
};

struct Half : FloatRows<8, uint4_, NoBook> {
    static MEMBER Weights weights(uint4_ word, const NoBook&) {
        Weights result;
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            const half2_ two = bits<half2_>((u32)word[i]);
            result.values[2 * i] = (float)two.x;
            result.values[2 * i + 1] = (float)two.y;
        }
        return result;
    }
};

// A book in shared memory. Lanes that look up different entries of 32 or fewer do not wait for each other.
template <u32 N>
struct FloatBook {
    const float* values;

    MEMBER explicit FloatBook(const RowsF32& p) {
        SHARED float book[N];
        for (u32 i = thread(); i < N; i += 128) {
            book[i] = fixed(p.book + i);
        }
        sync();
        values = book;
    }
};

struct Code8 : FloatRows<4, u32, FloatBook<256>> {
    static MEMBER Weights weights(u32 word, const Book& book) {
        Weights result;
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            result.values[i] = book.values[word >> 8 * i & 255];
        }
        return result;
    }
};

struct Code4 : FloatRows<8, u32, FloatBook<16>> {
    static MEMBER Weights weights(u32 word, const Book& book) {
        Weights result;
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            result.values[i] = book.values[word >> 4 * i & 15];
        }
        return result;
    }
};

// Sparse rows: a warp makes one output, a lane takes four entries at a time. `value` is the number of a code.
template <class Sum, class Params, class Value>
INLINE void sparse_rows(const Params& p, Value value) {
    const u32 lane = thread() % WARP;
    const u32 row = block_x() * 4 + thread() / WARP, sample0 = block_y() * SAMPLES;
    const u32 samples = p.samples - sample0 < SAMPLES ? p.samples - sample0 : SAMPLES;
    Sum sums[SAMPLES][1] = {};
    // All lanes of a warp leave here or none.
    if (row >= p.n) {
        return;
    }
    const u32 begin = fixed(p.bounds + 2 * row), end = fixed(p.bounds + 2 * row + 1);
    for (u32 i = begin + 4 * lane; i < end; i += 4 * WARP) {
        const ushort4_ columns = fixed((const ushort4_*)(p.columns + i));
        const uchar4_ codes = fixed((const uchar4_*)((const u8*)p.weights + i));
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            if (i + j < end) {
                const Sum weight = value(codes[j]);
                const auto* at = p.input + sample0 * p.input_stride + columns[j];
#pragma unroll
                for (u32 s = 0; s < SAMPLES; s++) {
                    if (s < samples) {
                        sums[s][0] += weight * fixed(at + s * p.input_stride);
                    }
                }
            }
        }
    }
    write_rows<1>(sums, p, row, sample0, samples);
}

KERNEL(rows_f32, RowsF32, 128, 4) { dense_rows<Whole>(p); }
KERNEL(rows_f16, RowsF32, 128, 4) { dense_rows<Half>(p); }
KERNEL(rows_code8_f32, RowsF32, 128, 4) { dense_rows<Code8>(p); }
KERNEL(rows_code4_f32, RowsF32, 128, 4) { dense_rows<Code4>(p); }
KERNEL(rows_q8, RowsQ8, 128, 4) { dense_rows<ByteRows<WithoutDp4a>>(p); }
KERNEL(rows_code4_q8, RowsQ8, 128, 4) { dense_rows<ByteCodeRows<WithoutDp4a>>(p); }

KERNEL(rows_sparse_f32, RowsF32, 128, 4) {
    const FloatBook<256> book(p);
    sparse_rows<float>(p, [&](u8 code) { return book.values[code]; });
}

KERNEL(rows_sparse_q8, RowsQ8, 128, 4) {
    sparse_rows<i32>(p, [&](u8 code) { return (i32)(i8)code; });
}
