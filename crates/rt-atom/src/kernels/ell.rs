//! Dense layers with sparse rows in slices of a vector of rows: one shuffle picks the activations of `4 * LANES` entries.
//! Contract and reference: `embdl_core::kernels::ell`; the layout: `embdl_core::kernels::packed`.
//!
//! ```text
//! for each two slices of LANES channels
//!     for each slice, for each step: sums[LANES] += pick(window of activations at the offset, columns) * values
//!     out[2 * LANES channels] = output stage(sums)
//! ```
//!
//! `pshufb` picks from 16 bytes; two of them and an addition each to bring the other's columns out of range pick from 32,
//! which halves the steps of sparse layers. `vpermb` and `vpermi2b` pick from 64 and 128. Up to four rows of activations
//! share the loads of columns and values; a single row has two chains of sums instead.

use embdl_core::kernels::{EllQ8, EllSlice, EllTile, OutQ8, RowsQ8};

use super::gemm::PAIRS;
use super::output::{Block, Stage, store};
use crate::simd::Simd;

/// The largest window of any level.
const MAX_WINDOW: usize = 128;

/// The layout for layers of a density: large windows where entries are far apart.
pub(crate) fn tile<S: Simd>(density: f32) -> EllTile {
    let [far, near] = S::WINDOWS;
    let window = if density < S::FAR_BELOW { far } else { near };
    EllTile { rows: S::LANES, window, in_pairs: !S::HAS_DOT }
}

/// Dense layer with sparse integer weights in slices.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(simd: S, job: &RowsQ8<'_, EllQ8>, mut out: OutQ8<'_>) {
    let (n, k, tile) = (job.weights.n(), job.weights.k(), job.weights.tile());
    let [far, near] = S::WINDOWS;
    assert!(
        tile.rows == S::LANES && (S::HAS_DOT || tile.in_pairs),
        "weights are packed for {tile:?}"
    );
    let (m, lhs) = (job.m, job.lhs.len());
    assert!(lhs >= m * k, "{lhs} inputs are not {m} rows of {k}");
    assert!(out.len() >= m * n, "{} results are not {m} rows of {n}", out.len());
    if tile.window == far {
        blocks::<S, true>(simd, job, &mut out);
    } else {
        assert!(tile.window == near, "weights are packed for {tile:?}");
        blocks::<S, false>(simd, job, &mut out);
    }
}

#[inline(always)]
fn blocks<S: Simd, const FAR: bool>(simd: S, job: &RowsQ8<'_, EllQ8>, out: &mut OutQ8<'_>) {
    let mut i = 0;
    while i < job.m {
        i += match job.m - i {
            4.. => block::<S, FAR, 4>(simd, job, i, out),
            2.. => block::<S, FAR, 2>(simd, job, i, out),
            _ => block::<S, FAR, 1>(simd, job, i, out),
        };
    }
}

/// `M` rows of activations times all channels; gives `M`.
#[inline(always)]
fn block<S: Simd, const FAR: bool, const M: usize>(
    simd: S,
    job: &RowsQ8<'_, EllQ8>,
    i: usize,
    out: &mut OutQ8<'_>,
) -> usize {
    const { assert!(S::WINDOWS[0] <= MAX_WINDOW && S::WINDOWS[1] <= MAX_WINDOW) };
    let (n, k, weights) = (job.weights.n(), job.weights.k(), job.weights);
    // Where a row is no window long, windows start at 0 and reach into zeros behind it.
    let mut short = [[0; MAX_WINDOW]; M];
    let mut rows = [&job.lhs[..0]; M];
    for (r, (row, short)) in rows.iter_mut().zip(&mut short).enumerate() {
        *row = &job.lhs[(i + r) * k..][..k];
        if k < weights.tile().window {
            short[..k].copy_from_slice(row);
            *row = short;
        }
    }
    for channel in (0..n).step_by(2 * S::LANES) {
        let stage = Stage::prepare(simd, out, channel);
        let mut sums = [[simd.splat_i32(0); 2]; M];
        for v in 0..2 {
            if channel + v * S::LANES < n {
                let of_slice = slice::<S, FAR, M>(simd, weights, channel / S::LANES + v, rows);
                for (sums, sum) in sums.iter_mut().zip(of_slice) {
                    sums[v] = sum;
                }
            }
        }
        let count = (n - channel).min(2 * S::LANES);
        let block = Block { at: i * n + channel, stride: n, channel, count };
        store(simd, stage.as_ref(), out, block, &sums);
    }
    M
}

/// The sums of a slice's channels, bias included, for each of the rows.
#[inline(always)]
fn slice<S: Simd, const FAR: bool, const M: usize>(
    simd: S,
    weights: &EllQ8,
    index: usize,
    rows: [&[u8]; M],
) -> [S::I32; M] {
    let slice = weights.slice(index);
    let bias = &weights.bias()[index * S::LANES..][..S::LANES];
    let steps = slice.offsets.len();
    assert!(slice.slots.len() == steps * 8 * S::LANES);
    // SAFETY: LANES biases.
    let bias = unsafe { simd.load_bytes(bias.as_ptr().cast()) };
    let mut sums = [[bias; M], [simd.splat_i32(0); M]];
    let mut step = 0;
    while M == 1 && step + 2 <= steps {
        add_step::<S, FAR, M>(simd, &mut sums[0], slice, step, rows);
        add_step::<S, FAR, M>(simd, &mut sums[1], slice, step + 1, rows);
        step += 2;
    }
    while step < steps {
        add_step::<S, FAR, M>(simd, &mut sums[0], slice, step, rows);
        step += 1;
    }
    if M == 1 {
        sums[0][0] = simd.add_i32(sums[0][0], sums[1][0]);
    }
    sums[0]
}

/// Adds the products of a step.
#[inline(always)]
fn add_step<S: Simd, const FAR: bool, const M: usize>(
    simd: S,
    sums: &mut [S::I32; M],
    slice: EllSlice<'_>,
    step: usize,
    rows: [&[u8]; M],
) {
    let offset = usize::from(slice.offsets[step]);
    // SAFETY: `slots` has the bytes of all steps, and `offsets` has this one.
    let (columns, values) = unsafe {
        let at = slice.slots.as_ptr().add(step * 8 * S::LANES);
        (simd.load_bytes(at), simd.load_bytes(at.add(4 * S::LANES)))
    };
    for (sum, row) in sums.iter_mut().zip(rows) {
        // SAFETY: EllQ8 has offsets behind which a whole window fits into a row, or 0 where a row is no window long; then
        // `row` is MAX_WINDOW long.
        let x = unsafe {
            let at = row.as_ptr().add(offset);
            if FAR { simd.pick_far(at, columns) } else { simd.pick_near(at, columns) }
        };
        *sum = simd.dot::<PAIRS>(*sum, x, values);
    }
}
