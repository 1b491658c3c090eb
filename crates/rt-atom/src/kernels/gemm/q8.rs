//! Integer GEMM: u8 rows times panels of i8 weights. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! A panel holds 4 consecutive k of a channel in 32 bits; a broadcast of 4 bytes of a row meets two vectors of channels,
//! and `pmaddubsw` then `pmaddwd` by ones (or, for large weights, two `pmaddwd` over the even and the odd bytes; or
//! `vpdpbusd`, where there is one) sum them into the channel's i32 lane. 16 registers hold 4 rows x 2 accumulators, 2
//! weights, broadcast, product, ones; without product and ones 6 rows; 32 registers hold 12 rows.

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::{OCTS, PAIRS, PanelQ8, Products, QUADS, WIDENED, panels_q8, row_blocks, tail_bytes};
use crate::kernels::output::{Block, Stage, store};
use crate::simd::Simd;

/// Packing of integer weights.
pub(crate) const fn tile<S: Simd>() -> Tile {
    Tile { nr: 2 * S::LANES, kr: 4 }
}

/// The job at the level `S`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(simd: S, job: &GemmQ8<'_>, mut out: OutQ8<'_>) {
    if S::HAS_DOT {
        return blocks::<S, PAIRS>(simd, job, &mut out);
    }
    match Products::for_weights(job.weights.max_abs) {
        Products::Widened => blocks::<S, WIDENED>(simd, job, &mut out),
        Products::Pairs => blocks::<S, PAIRS>(simd, job, &mut out),
        Products::Quads => blocks::<S, QUADS>(simd, job, &mut out),
        Products::Octs => blocks::<S, OCTS>(simd, job, &mut out),
    }
}

#[inline(always)]
fn blocks<S: Simd, const PRODUCTS: u8>(simd: S, job: &GemmQ8<'_>, out: &mut OutQ8<'_>) {
    for (first, rows) in row_blocks(job.m, job.weights.k / 4, job.weights.n / 4, S::MR_Q8) {
        for panel in panels_q8(job, out.len(), tile::<S>()) {
            let stage = Stage::prepare(simd, out, panel.channel);
            let end = first + rows;
            let mut i = first;
            while i < end {
                let rows = Rows { first: i, left: (end - i).min(S::MR_Q8) };
                i += if panel.count > S::LANES {
                    tiles::<S, 2, PRODUCTS>(simd, job, &panel, rows, stage.as_ref(), out)
                } else {
                    tiles::<S, 1, PRODUCTS>(simd, job, &panel, rows, stage.as_ref(), out)
                };
            }
        }
    }
}

/// Rows that wait for a tile.
#[derive(Clone, Copy)]
struct Rows {
    /// The first.
    first: usize,
    /// How many, at most the largest tile's.
    left: usize,
}

/// The largest tile that the rows fill; gives its number of rows.
#[inline(always)]
fn tiles<S: Simd, const NV: usize, const PRODUCTS: u8>(
    simd: S,
    job: &GemmQ8<'_>,
    panel: &PanelQ8<'_>,
    rows: Rows,
    stage: Option<&Stage<S>>,
    out: &mut OutQ8<'_>,
) -> usize {
    macro_rules! tile {
        ($m:literal) => {{
            one_tile::<S, $m, NV, PRODUCTS>(simd, job, panel, rows.first, stage, out);
            $m
        }};
    }
    match rows.left {
        12.. if S::MR_Q8 >= 12 => tile!(12),
        8.. if S::MR_Q8 >= 8 => tile!(8),
        6.. if S::MR_Q8 == 6 => tile!(6),
        4.. => tile!(4),
        2.. => tile!(2),
        _ => tile!(1),
    }
}

/// `M` rows times the first `NV` vectors of channels of a panel.
#[inline(always)]
fn one_tile<S: Simd, const M: usize, const NV: usize, const PRODUCTS: u8>(
    simd: S,
    job: &GemmQ8<'_>,
    panel: &PanelQ8<'_>,
    first: usize,
    stage: Option<&Stage<S>>,
    out: &mut OutQ8<'_>,
) {
    let (k, stride) = (panel.k, job.lhs_stride);
    let lhs = &job.lhs[first * stride..];
    let group_bytes = 8 * S::LANES;
    assert!(lhs.len() >= (M - 1) * stride + k && panel.bias.len() == 2 * S::LANES);
    assert!(panel.weights.len() == k.div_ceil(4) * group_bytes);
    let mut sums = [[simd.splat_i32(0); NV]; M];
    for v in 0..NV {
        // SAFETY: 2 * LANES biases.
        let bias = unsafe { simd.load_bytes(panel.bias.as_ptr().add(v * S::LANES).cast()) };
        for sums in &mut sums {
            sums[v] = bias;
        }
    }
    let weights = panel.weights.as_ptr().cast::<u8>();
    let mut rows = [lhs.as_ptr(); M];
    for (r, row) in rows.iter_mut().enumerate() {
        // SAFETY: row r < M has k bytes from r * stride.
        *row = unsafe { lhs.as_ptr().add(r * stride) };
    }
    // SAFETY: rows of k bytes, and the groups of the panel.
    unsafe { multiply_bytes::<S, M, NV, PRODUCTS>(simd, &mut sums, rows, k / 4, weights) };
    if !k.is_multiple_of(4) {
        // SAFETY: there are k.div_ceil(4) groups.
        let w = unsafe { load::<S, NV>(simd, weights, k / 4) };
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = simd.splat_i32(tail_bytes(lhs, r * stride + k / 4 * 4, k % 4));
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = simd.dot::<PRODUCTS>(*sum, x, w);
            }
        }
    }
    let block = Block {
        at: first * job.out_stride + panel.channel,
        stride: job.out_stride,
        channel: panel.channel,
        count: panel.count,
    };
    store(simd, stage, out, block, &sums);
}

/// Adds to `sums` the products of `M` rows of `groups` times four bytes with the first `NV` vectors of channels of a panel.
///
/// # Safety
/// Each row must have the bytes, and `weights` the groups, two vectors each.
#[inline(always)]
pub(crate) unsafe fn multiply_bytes<
    S: Simd,
    const M: usize,
    const NV: usize,
    const PRODUCTS: u8,
>(
    simd: S,
    sums: &mut [[S::I32; NV]; M],
    rows: [*const u8; M],
    groups: usize,
    weights: *const u8,
) {
    let group_bytes = 8 * S::LANES;
    // Sums in registers, whatever the caller does with them.
    let mut local = *sums;
    let mut group = 0;
    // Where weights are for one row alone, widening them takes longer than a second product.
    while S::SHUFFLES && M == 1 && PRODUCTS == WIDENED && group + 4 <= groups {
        let mut nibbles = [0_u8; 32];
        // SAFETY: group + 4 <= groups, and twice the sixteen bytes that a vector has where shuffles are for broadcasts.
        let x = unsafe {
            let [low, high] = simd.nibbles(simd.load_bytes(rows[0].add(4 * group)));
            simd.store_bytes(nibbles.as_mut_ptr(), low);
            simd.store_bytes(nibbles.as_mut_ptr().add(16), high);
            [simd.broadcasts(nibbles.as_ptr()), simd.broadcasts(nibbles.as_ptr().add(16))]
        };
        // SAFETY: as above.
        let w = [0, 1, 2, 3].map(|g| unsafe { load::<S, NV>(simd, weights, group + g) });
        for (v, sum) in local[0].iter_mut().enumerate() {
            *sum = simd.dot_nibbles(*sum, x, w.map(|w| w[v]));
        }
        group += 4;
    }
    while S::SHUFFLES && group + 4 <= groups {
        for (row, sums) in rows.iter().zip(&mut local) {
            // SAFETY: group + 4 <= groups.
            let x = unsafe { simd.broadcasts(row.add(4 * group)) };
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: group + 4 <= groups, and a group has two vectors.
                let w = [0, 1, 2, 3].map(|g| unsafe {
                    simd.load_bytes(weights.add((group + g) * group_bytes + 4 * S::LANES * v))
                });
                *sum = simd.dot_four::<PRODUCTS>(*sum, x, w);
            }
        }
        group += 4;
    }
    while !S::SHUFFLES && !S::HAS_DOT && PRODUCTS == OCTS && group + 4 <= groups {
        // SAFETY: group + 4 <= groups.
        let w = [0, 1, 2, 3].map(|g| unsafe { load::<S, NV>(simd, weights, group + g) });
        for (row, sums) in rows.iter().zip(&mut local) {
            // SAFETY: group + 4 <= groups.
            let x = [0, 1, 2, 3].map(|g| unsafe { broadcast(simd, row.add(4 * (group + g))) });
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = simd.dot_four::<PRODUCTS>(*sum, x, w.map(|w| w[v]));
            }
        }
        group += 4;
    }
    // Two groups need four vectors of weights, which 12 sums leave no registers for where there are 16.
    let have_registers = !S::HAS_DOT || S::LANES > 8;
    while !S::SHUFFLES && have_registers && group + 2 <= groups {
        // SAFETY: group + 2 <= groups.
        let w = unsafe {
            [load::<S, NV>(simd, weights, group), load::<S, NV>(simd, weights, group + 1)]
        };
        for (row, sums) in rows.iter().zip(&mut local) {
            // SAFETY: group + 2 <= groups.
            let x = unsafe {
                let at = row.add(4 * group);
                [broadcast(simd, at), broadcast(simd, at.add(4))]
            };
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = simd.dot_both::<PRODUCTS>(*sum, x, [w[0][v], w[1][v]]);
            }
        }
        group += 2;
    }
    while group < groups {
        // SAFETY: group < groups.
        let w = unsafe { load::<S, NV>(simd, weights, group) };
        for (row, sums) in rows.iter().zip(&mut local) {
            // SAFETY: group < groups.
            let x = unsafe { broadcast(simd, row.add(4 * group)) };
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = simd.dot::<PRODUCTS>(*sum, x, w);
            }
        }
        group += 1;
    }
    *sums = local;
}

/// Adds to `sums` the products of steps of four bytes, which lie at `levels` of each row.
///
/// # Safety
/// Each row must have the bytes, and `weights` two vectors for each step, whose sums of two products fit 16 bits.
#[inline(always)]
pub(crate) unsafe fn multiply_steps<S: Simd, const M: usize, const NV: usize>(
    simd: S,
    sums: &mut [[S::I32; NV]; M],
    rows: [*const u8; M],
    levels: &[u32],
    weights: *const u8,
) {
    let mut local = *sums;
    for (step, &level) in levels.iter().enumerate() {
        // SAFETY: by the contract.
        let w = unsafe { load::<S, NV>(simd, weights, step) };
        for (row, sums) in rows.iter().zip(&mut local) {
            // SAFETY: by the contract.
            let x = unsafe { broadcast(simd, row.add(level as usize)) };
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = simd.dot::<PAIRS>(*sum, x, w);
            }
        }
    }
    *sums = local;
}

/// The first `NV` vectors of a group of four k.
///
/// # Safety
/// `weights` must have the group.
#[inline(always)]
unsafe fn load<S: Simd, const NV: usize>(
    simd: S,
    weights: *const u8,
    group: usize,
) -> [S::I32; NV] {
    let mut w = [simd.splat_i32(0); NV];
    for (v, w) in w.iter_mut().enumerate() {
        // SAFETY: by the contract; a group has two vectors, and NV is at most 2.
        *w = unsafe { simd.load_bytes(weights.add(group * 8 * S::LANES + 4 * S::LANES * v)) };
    }
    w
}

/// Four bytes in all lanes.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn broadcast<S: Simd>(simd: S, at: *const u8) -> S::I32 {
    // SAFETY: by the contract.
    simd.splat_i32(unsafe { at.cast::<i32>().read_unaligned() })
}
