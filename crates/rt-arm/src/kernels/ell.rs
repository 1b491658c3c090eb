//! Dense layers with sparse integer rows in slices of 16 rows: `tbl` and `tbx` pick the activations of a step's 64 entries.
//! Contract and reference: `embdl_core::kernels::ell`; the layout: `embdl_core::kernels::packed`.
//!
//! ```text
//! for each row of activations:
//!     x = the row, flipped to i8                                              once, for all slices
//!     for each slice of 16 channels:
//!         for each step: window = 128 of x from the offset on                 eight registers
//!             for each four channels: sums += pick(window, columns) * values  16 entries
//!         out[16] = output stage(sums + bias + 128 * row sums)
//! ```
//!
//! `tbl` picks from four registers and leaves zeros where a column is beyond them; `tbx` on the columns less 64 fills in those
//! from the other four. Windows of 64 columns would save it, but fill fewer slots: at 10 % of 4096 columns 0.76 of them
//! instead of 0.87, and a slot takes two bytes.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;

use embdl_core::kernels::{EllQ8, EllSlice, EllTile, OutQ8, RowsQ8};

use super::gemm::neon::flip;
use super::output::Sink;

pub(super) mod dotprod;
pub(super) mod neon;

/// Rows of a slice.
const ROWS: usize = 16;
/// Columns of a window.
const WINDOW: usize = 128;
/// Layout of slices.
pub(super) const TILE: EllTile = EllTile { rows: ROWS, window: WINDOW, in_pairs: false };
/// Columns that rows in slices can have, by their contract.
const MAX_COLUMNS: usize = 1 << 16;

/// Four sums each of a slice's rows, in order.
type Sums = [int32x4_t; ROWS / 4];

/// Pieces of instructions that pick a step's activations from a window in the registers 0 to 7, with 64 in all bytes of
/// register 18.
macro_rules! pick {
    ($to:literal, $columns:literal) => {
        concat!(
            "tbl v",
            $to,
            ".16b, {{v0.16b, v1.16b, v2.16b, v3.16b}}, v",
            $columns,
            ".16b\n",
            "sub v",
            $columns,
            ".16b, v",
            $columns,
            ".16b, v18.16b\n",
            "tbx v",
            $to,
            ".16b, {{v4.16b, v5.16b, v6.16b, v7.16b}}, v",
            $columns,
            ".16b\n",
        )
    };
}
use pick;

/// Runs a job with a level's products of a slice, which are given how large its values are.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon")]
#[inline]
fn run(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>, products: impl Fn(EllSlice<'_>, &Row, u8) -> Sums) {
    let weights = job.weights;
    let (n, k) = (weights.n(), weights.k());
    let mut sink = Sink::new(out);
    assert!(weights.tile() == TILE, "weights are packed as {:?}", weights.tile());
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(sink.len() >= job.m * n, "{} results are not {} rows of {n}", sink.len(), job.m);
    let mut row = Row::new();
    for i in 0..job.m {
        row.fill(&job.lhs[i * k..][..k]);
        let bias = weights.bias().as_chunks::<ROWS>().0.iter();
        let slices = bias.zip(weights.row_sums().as_chunks::<ROWS>().0);
        for (index, (bias, row_sums)) in slices.enumerate() {
            let channel = index * ROWS;
            let mut sums = products(weights.slice(index), &row, weights.max_abs());
            for (quad, sums) in sums.iter_mut().enumerate() {
                // SAFETY: four quads of a slice.
                unsafe {
                    let bias = vld1q_s32(bias.as_ptr().add(4 * quad));
                    let flipped = vshlq_n_s32::<7>(vld1q_s32(row_sums.as_ptr().add(4 * quad)));
                    *sums = vaddq_s32(*sums, vaddq_s32(bias, flipped));
                }
            }
            let multipliers = sink.multipliers::<{ ROWS / 4 }>(channel);
            sink.store(i * n + channel, ROWS.min(n - channel), &sums, &multipliers);
        }
    }
}

/// Rows of activations less 128, behind which a window's length of bytes can be read.
pub(super) struct Row([MaybeUninit<i8>; MAX_COLUMNS + WINDOW]);

impl Row {
    /// Activations that fit.
    pub(super) const MAX: usize = MAX_COLUMNS;

    pub(super) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_COLUMNS + WINDOW])
    }

    #[target_feature(enable = "neon")]
    pub(super) fn fill(&mut self, lhs: &[u8]) {
        assert!(lhs.len() <= MAX_COLUMNS, "{} columns", lhs.len());
        let (whole, rest) = lhs.as_chunks::<16>();
        let (to, behind) = self.0.split_at_mut(16 * whole.len());
        for (to, x) in to.as_chunks_mut::<16>().0.iter_mut().zip(whole) {
            // SAFETY: sixteen bytes each.
            unsafe { vst1q_s8(to.as_mut_ptr().cast(), flip(vld1q_u8(x.as_ptr()))) };
        }
        // No entry is behind the last column, but windows of short rows are; those bytes are read, and not picked.
        let (last, behind) = behind.split_at_mut(rest.len());
        for (to, &x) in last.iter_mut().zip(rest) {
            to.write((x ^ 0x80).cast_signed());
        }
        behind[..WINDOW].fill(MaybeUninit::new(0));
    }

    pub(super) const fn as_ptr(&self) -> *const i8 {
        self.0.as_ptr().cast()
    }
}
