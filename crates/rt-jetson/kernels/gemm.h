// A product of matrices whose left side is gathered through a window on the way into shared memory.
//
//     for each tile of 16*TM positions and 16*TN units of channels, by 256 threads
//         for each 16 steps of k
//             shared memory = what registers hold of left side and weights; registers = the next of both
//             each thread: TM * TN products of TM + TN loads, 16 times
//         out = bounds(sums + bias + residual)
//
// A unit of channels is one channel, or two that a register holds as halves. With TM = TN = 4 a thread reads two vectors of four
// for 16 products, and a block has 8 to 9 KiB of shared memory. While a step is computed, loads of the next one are under way in
// registers, so that one buffer does. Positions are the first axis of the grid: blocks that run together share weights, which
// are larger than activations where there are many of them.
#pragma once
#include "embdl.h"

// Steps of k in shared memory at a time.
constexpr u32 STEPS = 16;

// Where in the window, and in which unit of channels, one thread's steps of k are. Moves on by 16 without dividing.
struct Tap {
    u32 unit, x, y, units, width;

    MEMBER Tap(u32 k, u32 units, u32 width) : units(units), width(width) {
        unit = k % units;
        x = k / units % width;
        y = k / units / width;
    }

    // `whole` and `rest` are 16 divided by the units.
    MEMBER void advance(u32 whole, u32 rest) {
        unit += rest;
        x += whole;
        if (unit >= units) {
            unit -= units;
            x += 1;
        }
        while (x >= width) {
            x -= width;
            y += 1;
        }
    }
};

// Where the windows of a block's rows begin. Rows that do not exist are far above the input.
template <u32 ROWS>
struct Origins {
    i32 y[ROWS];
    i32 x[ROWS];
    u32 at[ROWS];

    MEMBER void fill(const Window& w, u32 first, u32 rows) {
        u32 t = thread();
        if (t < ROWS) {
            u32 row = first + t;
            bool exists = row < rows;
            y[t] = exists ? (i32)(row / w.ow % w.oh * w.stride_y) - (i32)w.pad_y : -(1 << 30);
            x[t] = (i32)(row % w.ow * w.stride_x) - (i32)w.pad_x;
            at[t] = exists ? row / (w.ow * w.oh) * (w.ih * w.iw * w.ci) : 0;
        }
    }

    // Whether a tap of a row is inside, and which pixel's first element it is.
    MEMBER bool find(u32 row, const Tap& tap, const Window& w, u32* place) const {
        i32 down = y[row] + (i32)(tap.y * w.dilation_y);
        i32 across = x[row] + (i32)(tap.x * w.dilation_x);
        *place = at[row] + ((u32)down * w.iw + (u32)across) * w.ci;
        return down >= 0 && across >= 0 && down < (i32)w.ih && across < (i32)w.iw;
    }
};

// Writes `N` sums of a row, of which the first `count` exist, `at` a place in a row and `channel` counted over all groups.
template <u32 N>
INLINE void write(float* sums, const GemmF32& p, u32 row, u32 slice, u32 at, u32, u32 count) {
    if (p.residual) {
        const float* residual = p.residual + at + row * p.residual_stride;
#pragma unroll
        for (u32 j = 0; j < N; j++) {
            sums[j] += j < count ? load(residual + j) : 0.0f;
        }
    }
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        sums[j] = bound(sums[j], p.low, p.high);
    }
    store_floats<N>(p.out + slice + at + row * p.out_stride, sums, count);
}

template <u32 N>
INLINE void write(i32* sums, const GemmQ8& p, u32 row, u32 slice, u32 at, u32 channel, u32 count) {
    finish<N>(sums, p.multipliers + channel, p.out, slice + at + row * p.out_stride, count, p.stage);
}

// `Math` says how elements are kept in registers and shared memory, and multiplied; `Params` is GemmF32 or GemmQ8.
template <class Math, u32 TM, u32 TN, class Params>
INLINE void product(const Params& p) {
    constexpr u32 ROWS = 16 * TM, UNITS = 16 * TN, PAD = 4;
    typedef typename Math::Lhs Lhs;
    typedef typename Math::Rhs Rhs;
    alignas(16) SHARED Lhs lhs[STEPS][ROWS + PAD];
    alignas(16) SHARED Rhs rhs[STEPS][UNITS];
    SHARED Origins<ROWS> origins;

    const u32 t = thread();
    const u32 row0 = block_x() * ROWS, unit0 = block_y() * UNITS;
    const u32 group = block_z() / p.slices, slice = block_z() % p.slices;
    const u32 begin = slice * p.slice;
    const u32 end = begin + p.slice < p.k ? begin + p.slice : p.k;
    origins.fill(p.window, row0, p.rows);

    const u32 units = Math::units(p.depth);
    const u32 whole = STEPS / units, rest = STEPS % units;
    // Four steps of one row, or one step of TM rows.
    const bool is_wide = Math::CAN_BE_WIDE && p.width == 4;
    const u32 step = is_wide ? t % 4 * 4 : t % STEPS;
    Tap tap(begin + step, units, p.window.kw);
    const auto* input = Math::input(p) + group * p.input_group;
    const auto* weights = Math::weights(p) + group * p.weight_group / Math::WEIGHTS_IN_VECTOR;

    // What the thread carries to shared memory next.
    typename Math::LhsFetch fetched_lhs[4];
    typename Math::RhsFetch fetched_rhs;
    const u32 rhs_step = t / (4 * TN), rhs_vector = t % (4 * TN);
    const bool has_rhs = rhs_step < STEPS && (unit0 + rhs_vector * 4) * Math::CHANNELS < p.n_padded;
    const u32 vectors = p.n_padded / (4 * Math::CHANNELS);

    auto fetch = [&](u32 k0) {
        const bool is_inside = k0 + step < end;
        if (is_wide) {
            // Threads that are too many fetch what others do.
            u32 place;
            bool is_there = origins.find(t / 4 % ROWS, tap, p.window, &place) && is_inside;
            Math::fetch_wide(fetched_lhs, input + place + tap.unit, is_there, p);
        } else {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
                u32 place;
                bool is_there = origins.find(t / STEPS + 16 * i, tap, p.window, &place) && is_inside;
                fetched_lhs[i] = Math::fetch(input + place, tap.unit, is_there, p);
            }
        }
        tap.advance(whole, rest);
        fetched_rhs = Math::nothing();
        if (has_rhs && k0 + rhs_step < end) {
            fetched_rhs = fixed(weights + (k0 + rhs_step) * vectors + unit0 / 4 + rhs_vector);
        }
    };
    auto keep = [&] {
        if (is_wide) {
            if (t / 4 < ROWS) {
#pragma unroll
                for (u32 i = 0; i < 4; i++) {
                    lhs[step + i][t / 4] = Math::lhs(fetched_lhs[i]);
                }
            }
        } else {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
                lhs[step][t / STEPS + 16 * i] = Math::lhs(fetched_lhs[i]);
            }
        }
        if (rhs_step < STEPS) {
            Math::keep_rhs(&rhs[rhs_step][rhs_vector * 4], fetched_rhs);
        }
    };

    const u32 tx = t % 16, ty = t / 16;
    typename Math::template Sums<TM, TN> sums;
    sums.clear();
    sync();
    fetch(begin);
    for (u32 k0 = begin; k0 < end; k0 += STEPS) {
        keep();
        sync();
        if (k0 + STEPS < end) {
            fetch(k0 + STEPS);
        }
        sums.begin();
#pragma unroll
        for (u32 s = 0; s < STEPS; s++) {
            Lhs a[TM];
            Rhs b[TN];
            read<TM>(&lhs[s][ty * TM], a);
            read<TN>(&rhs[s][tx * TN], b);
            sums.add(a, b);
        }
        sums.end(k0 - begin);
        sync();
    }
    sums.close();

    constexpr u32 N = TN * Math::CHANNELS;
    const u32 channel = (unit0 + tx * TN) * Math::CHANNELS;
    if (channel >= p.n) {
        return;
    }
    const u32 count = p.n - channel < N ? p.n - channel : N;
    typename Math::Sum bias[N];
#pragma unroll
    for (u32 j = 0; j < N; j++) {
        bias[j] = p.bias && j < count ? fixed(p.bias + group * p.n + channel + j) : 0;
    }
    const u32 at = group * p.out_group + channel;
#pragma unroll
    for (u32 i = 0; i < TM; i++) {
        const u32 row = row0 + ty * TM + i;
        if (row < p.rows) {
#pragma unroll
            for (u32 j = 0; j < N; j++) {
                sums.all[i][j] += bias[j];
            }
            write<N>(sums.all[i], p, row, slice * p.out_slice, at, group * p.n + channel, count);
        }
    }
}
