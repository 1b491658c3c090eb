// Dense layers of few samples: what limits them is how fast weights come from memory, so they stay as compressed as they are.
//
//     for each 16 outputs and 4 samples, by 4 warps; a warp makes 4 outputs
//         for each chunk of k, one a lane
//             weights of 4 outputs = their loads, all under way at once, and what makes numbers of them
//             for each sample: sums of 4 outputs += weights * input
//         sums of lanes = sums of the warp
//
// Lanes next to each other read what lies next to each other. An input is read once for four outputs, a weight once for four
// samples. 128 threads a block, so that layers of few outputs spread over many multiprocessors.
#pragma once
#include "embdl.h"

constexpr u32 ROWS = 4, SAMPLES = 4, WARP = 32;

// `N` elements from `at` on, of which `left` exist, zero behind them.
template <u32 N>
INLINE void inputs(const float* at, u32 left, bool is_wide, float* out) {
    if (is_wide && left >= N) {
#pragma unroll
        for (u32 i = 0; i < N; i += 4) {
            const float4_ four = fixed((const float4_*)(at + i));
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                out[i + j] = four[j];
            }
        }
        return;
    }
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        out[i] = i < left ? fixed(at + i) : 0.0f;
    }
}

// The same for levels, four a word.
template <u32 N>
INLINE void inputs(const u8* at, u32 left, bool is_wide, u32* out) {
    if (is_wide && left >= N) {
        if constexpr (N == 16) {
            const uint4_ words = fixed((const uint4_*)at);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                out[i] = words[i];
            }
        } else {
#pragma unroll
            for (u32 i = 0; i < N / 4; i++) {
                out[i] = fixed((const u32*)at + i);
            }
        }
        return;
    }
#pragma unroll
    for (u32 i = 0; i < N / 4; i++) {
        out[i] = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            out[i] |= i * 4 + j < left ? (u32)fixed(at + i * 4 + j) << 8 * j : 0;
        }
    }
}

template <class T>
INLINE T sum_of_warp(T sum) {
#pragma unroll
    for (u32 mask = WARP / 2; mask > 0; mask /= 2) {
        sum += shuffle_xor(sum, mask);
    }
    return sum;
}

// Writes the sums of `OUTPUTS` outputs and `SAMPLES` samples that the lanes of a warp have parts of, one for each lane.
template <u32 OUTPUTS, class T, class Params>
INLINE void write_rows(const T (&sums)[SAMPLES][OUTPUTS], const Params& p, u32 row0, u32 sample0, u32 samples) {
    const u32 lane = thread() % WARP;
    T mine = 0;
#pragma unroll
    for (u32 s = 0; s < SAMPLES; s++) {
        if (s < samples) {
#pragma unroll
            for (u32 r = 0; r < OUTPUTS; r++) {
                const T sum = sum_of_warp(sums[s][r]);
                mine = lane == s * OUTPUTS + r ? sum : mine;
            }
        }
    }
    const u32 row = row0 + lane % OUTPUTS;
    if (lane < samples * OUTPUTS && row < p.n) {
        write_row(mine, p, row, (sample0 + lane / OUTPUTS) * p.out_stride + row);
    }
}

INLINE void write_row(float sum, const RowsF32& p, u32 row, u32 at) {
    sum += p.bias ? fixed(p.bias + row) : 0.0f;
    store(p.out + at, bound(sum, p.low, p.high));
}

INLINE void write_row(i32 sum, const RowsQ8& p, u32 row, u32 at) {
    sum += p.bias ? fixed(p.bias + row) : 0;
    finish<1>(&sum, p.multipliers + row, p.out, at, 1, p.stage);
}

// Dense rows. `Form` says what a lane loads at a time, and how its numbers are multiplied with the inputs.
template <class Form, class Params>
INLINE void dense_rows(const Params& p) {
    constexpr u32 CHUNK = Form::CHUNK;
    typedef typename Form::Word Word;
    typename Form::Book book(p);
    const u32 lane = thread() % WARP;
    const u32 row0 = (block_x() * 4 + thread() / WARP) * ROWS, sample0 = block_y() * SAMPLES;
    const u32 samples = p.samples - sample0 < SAMPLES ? p.samples - sample0 : SAMPLES;
    typename Form::Sum sums[SAMPLES][ROWS];
    const Word* rows[ROWS];
#pragma unroll
    for (u32 r = 0; r < ROWS; r++) {
        // Outputs that do not exist are those of the last one, and not written.
        const u32 row = row0 + r < p.n ? row0 + r : p.n - 1;
        rows[r] = (const Word*)((const u8*)p.weights + (u64)row * p.row_bytes);
#pragma unroll
        for (u32 s = 0; s < SAMPLES; s++) {
            sums[s][r] = 0;
        }
    }
    for (u32 i = lane; i * CHUNK < p.k; i += WARP) {
        typename Form::Weights weights[ROWS];
        Word words[ROWS];
#pragma unroll
        for (u32 r = 0; r < ROWS; r++) {
            words[r] = fixed(rows[r] + i);
        }
#pragma unroll
        for (u32 r = 0; r < ROWS; r++) {
            weights[r] = Form::weights(words[r], book);
        }
#pragma unroll
        for (u32 s = 0; s < SAMPLES; s++) {
            if (s < samples) {
                const auto* at = p.input + (sample0 + s) * p.input_stride + i * CHUNK;
                typename Form::Input x[Form::INPUTS];
                inputs<CHUNK>(at, p.k - i * CHUNK, p.width == 4, x);
#pragma unroll
                for (u32 r = 0; r < ROWS; r++) {
                    sums[s][r] = Form::add(sums[s][r], weights[r], x);
                }
            }
        }
    }
    write_rows<ROWS>(sums, p, row0, sample0, samples);
}

struct NoBook {
    template <class Params>
    MEMBER explicit NoBook(const Params&) {}
};

// Levels and weights in bytes, four a word.
template <u32 WORDS>
struct Bytes {
    u32 words[WORDS];
};

struct WithoutDp4a {
    // Products of 16 bits are one instruction before sm_70, where those of 32 are three.
    static MEMBER i32 add(i32 sum, u32 levels, u32 weights) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            sum += (i32)(i16)(levels >> 8 * j & 255) * (i32)(i16)(i8)(weights >> 8 * j);
        }
        return sum;
    }
};

struct WithDp4a {
    static MEMBER i32 add(i32 sum, u32 levels, u32 weights) { return dp4a(levels, weights, sum); }
};

// Bytes; a lane takes 16.
template <class Math>
struct ByteRows {
    typedef uint4_ Word;
    typedef i32 Sum;
    typedef u32 Input;
    typedef NoBook Book;
    typedef Bytes<4> Weights;
    static constexpr u32 CHUNK = 16, INPUTS = 4;

    static MEMBER Weights weights(uint4_ word, const NoBook&) { return {{word.x, word.y, word.z, word.w}}; }
    static MEMBER i32 add(i32 sum, const Weights& weights, const u32* x) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            sum = Math::add(sum, x[i], weights.words[i]);
        }
        return sum;
    }
};

// A book of 16 bytes in four registers.
struct ByteBook {
    uint4_ words;

    MEMBER explicit ByteBook(const RowsQ8& p) : words(fixed((const uint4_*)p.book)) {}

    // Four values by the lower four codes.
    MEMBER u32 find(u32 codes) const {
        // The lower three bits of each code choose from either half of the book, the highest one the half.
        const u32 selector = codes & 0x7777;
        const u32 low = permute(words.x, words.y, selector);
        const u32 high = permute(words.z, words.w, selector);
        // Which half, as masks of bytes.
        const u32 mask = permute(0x0000ff00, 0, codes >> 3 & 0x1111);
        return (low & ~mask) | (high & mask);
    }
};

// Codes of 4 bits into a book of bytes; a lane takes 8.
template <class Math>
struct ByteCodeRows {
    typedef u32 Word;
    typedef i32 Sum;
    typedef u32 Input;
    typedef ByteBook Book;
    typedef Bytes<2> Weights;
    static constexpr u32 CHUNK = 8, INPUTS = 2;

    static MEMBER Weights weights(u32 word, const ByteBook& book) {
        return {{book.find(word & 0xffff), book.find(word >> 16)}};
    }
    static MEMBER i32 add(i32 sum, const Weights& weights, const u32* x) {
        return Math::add(Math::add(sum, x[0], weights.words[0]), x[1], weights.words[1]);
    }
};
