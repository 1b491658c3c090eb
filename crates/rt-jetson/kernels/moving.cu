// Operators that only move elements, or are between two of them: transposes, borders, resizing, concatenation.
#include "embdl.h"

template <class T>
INLINE void transpose(const Transpose& p) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const u32 row = i / p.dim3, map = row / p.dim2;
    const u32 from = map / p.dim1 * p.stride0 + map % p.dim1 * p.stride1 + row % p.dim2 * p.stride2 + i % p.dim3 * p.stride3;
    store((T*)p.out + i, fixed((const T*)p.input + from));
}

template <class T>
INLINE void pad(const Pad& p) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const u32 line = i / p.out_row;
    // Above and to the left these are huge.
    const u32 y = line % p.out_height - p.top, x = i % p.out_row - p.left;
    T value = (T)p.border;
    if (y < p.height && x < p.row) {
        value = fixed((const T*)p.input + (line / p.out_height * p.height + y) * p.row + x);
    }
    store((T*)p.out + i, value);
}

// Where the neighbours of an element of the result are in the input.
struct Neighbours {
    uint4_ row, column;
    u32 sample, c, width, channels;

    MEMBER Neighbours(u32 i, const Resize& p) : width(p.iw), channels(p.c) {
        const u32 pixel = i / p.c;
        row = fixed((const uint4_*)p.axes + pixel / p.ow % p.oh);
        column = fixed((const uint4_*)p.axes + p.oh + pixel % p.ow);
        sample = pixel / (p.ow * p.oh) * p.ih;
        c = i % p.c;
    }
    MEMBER u32 at(u32 y, u32 x) const { return ((sample + y) * width + x) * channels + c; }
};

template <class T>
INLINE void nearest(const Resize& p) {
    const u32 i = linear(256);
    if (i < p.count) {
        const Neighbours n(i, p);
        store((T*)p.out + i, fixed((const T*)p.input + n.at(n.row.x, n.column.x)));
    }
}

KERNEL(transpose_words, Transpose, 256, 4) { transpose<u32>(p); }
KERNEL(transpose_levels, Transpose, 256, 4) { transpose<u8>(p); }
KERNEL(pad_words, Pad, 256, 4) { pad<u32>(p); }
KERNEL(pad_levels, Pad, 256, 4) { pad<u8>(p); }
KERNEL(nearest_words, Resize, 256, 4) { nearest<u32>(p); }
KERNEL(nearest_levels, Resize, 256, 4) { nearest<u8>(p); }

// Along rows first.
KERNEL(resize_f32, Resize, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const Neighbours n(i, p);
    const float* input = (const float*)p.input;
    const float x = bits<float>((u32)n.column.z), y = bits<float>((u32)n.row.z);
    const float upper = fixed(input + n.at(n.row.x, n.column.x)) * (1.0f - x) + fixed(input + n.at(n.row.x, n.column.y)) * x;
    const float lower = fixed(input + n.at(n.row.y, n.column.x)) * (1.0f - x) + fixed(input + n.at(n.row.y, n.column.y)) * x;
    store((float*)p.out + i, upper * (1.0f - y) + lower * y);
}

// Exact sums of four products, rounded once, half up.
KERNEL(resize_q8, Resize, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    const Neighbours n(i, p);
    const u8* input = (const u8*)p.input;
    const u32 x = n.column.w, y = n.row.w;
    const u32 sum = fixed(input + n.at(n.row.x, n.column.x)) * ((4096 - y) * (4096 - x)) +
                    fixed(input + n.at(n.row.x, n.column.y)) * ((4096 - y) * x) +
                    fixed(input + n.at(n.row.y, n.column.x)) * (y * (4096 - x)) +
                    fixed(input + n.at(n.row.y, n.column.y)) * (y * x);
    store((u8*)p.out + i, (u8)((sum + (1u << 23)) >> 24));
}

KERNEL(concat_words, Concat, 256, 4) {
    const u32 i = linear(256);
    if (i >= p.count) {
        return;
    }
    u32 word = fixed((const u32*)p.input + i);
    if (p.table) {
        u32 mapped = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            mapped |= (u32)fixed(p.table + (word >> 8 * j & 255)) << 8 * j;
        }
        word = mapped;
    }
    store((u32*)p.out + i / p.row * p.stride + i % p.row, word);
}

KERNEL(concat_levels, Concat, 256, 4) {
    const u32 i = linear(256);
    if (i < p.count) {
        const u8 level = fixed((const u8*)p.input + i);
        store((u8*)p.out + i / p.row * p.stride + i % p.row, p.table ? fixed(p.table + level) : level);
    }
}
