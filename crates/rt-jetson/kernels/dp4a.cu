// Integer kernels for chips that multiply four bytes in one instruction: sm_61, and sm_70 and later. Elsewhere a driver may
// take it and be slow.
#include "gemm.h"
#include "rows.h"

// A step of k is four channels, in a word.
struct Words {
    typedef u32 Lhs, Rhs, LhsFetch;
    typedef uint4_ RhsFetch;
    typedef i32 Sum;
    static constexpr u32 CHANNELS = 1, WEIGHTS_IN_VECTOR = 16;
    // Neighbouring threads load words next to each other already.
    static constexpr bool CAN_BE_WIDE = false;

    static MEMBER u32 units(u32 depth) { return (depth + 3) / 4; }
    static MEMBER const u8* input(const GemmQ8& p) { return p.input; }
    static MEMBER const uint4_* weights(const GemmQ8& p) { return (const uint4_*)p.weights; }
    static MEMBER uint4_ nothing() { return uint4_{0, 0, 0, 0}; }

    static MEMBER u32 fetch(const u8* pixel, u32 unit, bool is_there, const GemmQ8& p) {
        if (!is_there) {
            return p.zero_point * 0x01010101;
        }
        if (p.width == 4) {
            return fixed((const u32*)(pixel + 4 * unit));
        }
        // Behind the last channel weights are zero.
        u32 word = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            word |= 4 * unit + j < p.depth ? (u32)fixed(pixel + 4 * unit + j) << 8 * j : 0;
        }
        return word;
    }
    static MEMBER void fetch_wide(u32*, const u8*, bool, const GemmQ8&) {}
    static MEMBER u32 lhs(u32 word) { return word; }
    static MEMBER void keep_rhs(u32* at, uint4_ four) { *(uint4_*)at = four; }

    template <u32 TM, u32 TN>
    struct Sums {
        i32 all[TM][TN];

        MEMBER void clear() {
#pragma unroll
            for (u32 i = 0; i < TM * TN; i++) {
                all[i / TN][i % TN] = 0;
            }
        }
        MEMBER void begin() {}
        MEMBER void add(const u32* a, const u32* b) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j++) {
                    all[i][j] = dp4a(a[i], b[j], all[i][j]);
                }
            }
        }
        MEMBER void end(u32) {}
        MEMBER void close() {}
    };
};

KERNEL(conv_q8_dp4a_64x64, GemmQ8, 256, 2) { product<Words, 4, 4>(p); }
KERNEL(conv_q8_dp4a_32x32, GemmQ8, 256, 4) { product<Words, 2, 2>(p); }
KERNEL(rows_q8_dp4a, RowsQ8, 128, 4) { dense_rows<ByteRows<WithDp4a>>(p); }
KERNEL(rows_code4_q8_dp4a, RowsQ8, 128, 4) { dense_rows<ByteCodeRows<WithDp4a>>(p); }
