//! Scalar GEMM: what [`Kernels::gemm_f32`](super::Kernels::gemm_f32) and `gemm_q8` mean, for every packing tile.
//!
//! ```text
//! for each panel of nr output channels, for each row i:
//!     acc[0..nr] = bias[panel]
//!     for p in 0..k: acc[c] += lhs[i, p] * panel[p / kr][c][p % kr]
//!     out[i, panel] = output stage(acc)
//! ```
//! Accumulators wrap on overflow, as vector code does.

use super::{GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, Tile, clamp};

/// How the reference itself packs float weights: eight channels side by side, which compilers vectorize.
pub const TILE_F32: Tile = Tile { nr: 8, kr: 1 };
/// How the reference itself packs integer weights.
pub const TILE_Q8: Tile = Tile { nr: 8, kr: 1 };

/// Channels that are accumulated together.
const LANES: usize = 8;

/// How the elements of a row along k lie in memory: runs of the same length, the same distance apart. A window of a
/// convolution is one run a line, so that its rows need not be copied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Runs.
    pub count: usize,
    /// Elements of a run.
    pub len: usize,
    /// Elements from the start of one run to the next.
    pub step: usize,
}

impl Runs {
    /// One run.
    #[must_use]
    pub const fn whole(k: usize) -> Self {
        Self { count: 1, len: k, step: 0 }
    }

    /// Elements from the start of a row to its end.
    #[must_use]
    pub const fn span(self) -> usize {
        (self.count - 1) * self.step + self.len
    }
}

/// How the rows of a matrix lie in memory where they are windows of an image: evenly apart within a line of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Rows of a line.
    pub rows: usize,
    /// Elements from the start of one line to the next.
    pub step: usize,
}

impl Lines {
    /// One line.
    pub const ONE: Self = Self { rows: usize::MAX, step: 0 };

    /// Where row `row` starts, with rows `stride` apart within a line.
    #[must_use]
    #[inline]
    pub const fn start(self, row: usize, stride: usize) -> usize {
        row / self.rows * self.step + row % self.rows * stride
    }
}

/// f32 GEMM.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn gemm_f32(job: &GemmF32<'_>, out: &mut [f32]) {
    let PackedF32 { n, k, tile, .. } = *job.weights;
    check(job.m, k, n, (job.lhs.len(), job.lhs_stride), (out.len(), job.out_stride));
    for_each_lane_group(n, tile, |panel, base, lanes| {
        let weights = panel_of(&job.weights.data, k, tile, panel);
        let column = panel * tile.nr + base;
        for i in 0..job.m {
            let lhs = &job.lhs[i * job.lhs_stride..][..k];
            let mut sums = [0.0_f32; LANES];
            sums[..lanes].copy_from_slice(&job.weights.bias[column..][..lanes]);
            if tile == TILE_F32 {
                for (&x, row) in lhs.iter().zip(weights.as_chunks::<LANES>().0) {
                    for (sum, &w) in sums.iter_mut().zip(row) {
                        *sum += x * w;
                    }
                }
            } else {
                for (p, &x) in lhs.iter().enumerate() {
                    for (c, sum) in sums[..lanes].iter_mut().enumerate() {
                        *sum += x * weights[position(tile, p, base + c)];
                    }
                }
            }
            let row = &mut out[i * job.out_stride + column..][..lanes];
            for (slot, &sum) in row.iter_mut().zip(&sums) {
                *slot = clamp(sum, job.clamp);
            }
        }
    });
}

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn gemm_q8(job: &GemmQ8<'_>, mut out: OutQ8<'_>) {
    let PackedQ8 { n, k, tile, .. } = *job.weights;
    check(job.m, k, n, (job.lhs.len(), job.lhs_stride), (out.len(), job.out_stride));
    for_each_lane_group(n, tile, |panel, base, lanes| {
        let weights = panel_of(&job.weights.data, k, tile, panel);
        let column = panel * tile.nr + base;
        for i in 0..job.m {
            let lhs = &job.lhs[i * job.lhs_stride..][..k];
            let mut sums = [0_i32; LANES];
            sums[..lanes].copy_from_slice(&job.weights.bias[column..][..lanes]);
            if tile == TILE_Q8 {
                for (&x, row) in lhs.iter().zip(weights.as_chunks::<LANES>().0) {
                    for (sum, &w) in sums.iter_mut().zip(row) {
                        *sum = sum.wrapping_add(i32::from(i16::from(x)) * i32::from(w));
                    }
                }
            } else {
                for (p, &x) in lhs.iter().enumerate() {
                    for (c, sum) in sums[..lanes].iter_mut().enumerate() {
                        let w = weights[position(tile, p, base + c)];
                        *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                    }
                }
            }
            out.store(i * job.out_stride + column, column, &sums[..lanes]);
        }
    });
}

/// Calls `visit(panel, first channel in the panel, channels)` for all real channels, at most [`LANES`] at a time.
fn for_each_lane_group(n: usize, tile: Tile, mut visit: impl FnMut(usize, usize, usize)) {
    for panel in 0..n.div_ceil(tile.nr) {
        let width = tile.nr.min(n - panel * tile.nr);
        for base in (0..width).step_by(LANES) {
            visit(panel, base, LANES.min(width - base));
        }
    }
}

fn panel_of<T>(data: &[T], k: usize, tile: Tile, panel: usize) -> &[T] {
    let len = k.div_ceil(tile.kr) * tile.kr * tile.nr;
    &data[panel * len..][..len]
}

const fn position(tile: Tile, p: usize, channel: usize) -> usize {
    (p / tile.kr * tile.nr + channel) * tile.kr + p % tile.kr
}

fn check(m: usize, k: usize, n: usize, lhs: (usize, usize), out: (usize, usize)) {
    if m == 0 {
        return;
    }
    assert!(m == 1 || out.1 >= n, "rows of {n} results overlap at stride {}", out.1);
    assert!(lhs.0 >= (m - 1) * lhs.1 + k, "{} elements are not {m} rows of {k}", lhs.0);
    assert!(out.0 >= (m - 1) * out.1 + n, "{} results are not {m} rows of {n}", out.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Quant, Requant};
    use alloc::vec;
    use alloc::vec::Vec;

    const TILES: [Tile; 6] = [
        TILE_F32,
        Tile { nr: 1, kr: 1 },
        Tile { nr: 4, kr: 4 },
        Tile { nr: 16, kr: 1 },
        Tile { nr: 3, kr: 2 },
        Tile { nr: 32, kr: 8 },
    ];

    #[test]
    fn float_products_by_hand_in_every_tile() {
        // lhs [[1, 2, 3], [4, 5, 6]] with a gap, weights [[1, 0, -1], [2, 2, 2]], bias [10, -20].
        let lhs = [1.0, 2.0, 3.0, 99.0, 4.0, 5.0, 6.0];
        for tile in TILES {
            let weights = PackedF32::pack(&[1., 0., -1., 2., 2., 2.], &[10.0, -20.0], 2, 3, tile);
            let job = GemmF32 {
                m: 2,
                lhs: &lhs,
                lhs_stride: 4,
                weights: &weights,
                clamp: (-7.5, 9.0),
                out_stride: 3,
            };
            let mut out = [7.0; 5];
            gemm_f32(&job, &mut out);
            assert_eq!(out, [8.0, -7.5, 7.0, 8.0, 9.0], "{tile:?}");
        }
    }

    #[test]
    fn integer_products_by_hand_in_every_tile() {
        let lhs = [3, 0, 255, 2, 2, 1];
        for tile in TILES {
            // (x - 2) * w + b: rows (1, -2, 253) and (0, 0, -1); weights (1, -127, 2) and (0, 5, -1).
            let weights = PackedQ8::pack(&[1, -127, 2, 0, 5, -1], &[7, -7], 2, 2, 3, tile);
            let job = GemmQ8 { m: 2, lhs: &lhs, lhs_stride: 3, weights: &weights, out_stride: 2 };
            let mut out = [0; 4];
            gemm_q8(&job, OutQ8::I32(&mut out));
            assert_eq!(out, [1 + 254 + 506 + 7, -10 - 253 - 7, -2 + 7, 1 - 7], "{tile:?}");
            let output = Quant { scale: 1.0, zero_point: 100 };
            let requant = Requant::new(&[0.25, 0.5], output, (10, 200)).unwrap();
            let mut levels = [0; 4];
            gemm_q8(&job, OutQ8::U8(&requant, &mut levels));
            assert_eq!(levels, [200, 10, 101, 97], "{tile:?}");
        }
    }

    #[test]
    fn wide_layers_use_every_panel() {
        let (n, k) = (21, 5);
        let weights: Vec<i8> = (0..n * k).map(|i| i8::try_from(i % 200).unwrap_or(-3)).collect();
        let lhs = [1, 2, 3, 4, 5];
        for tile in TILES {
            let packed = PackedQ8::pack(&weights, &[], 0, n, k, tile);
            let job = GemmQ8 { m: 1, lhs: &lhs, lhs_stride: k, weights: &packed, out_stride: n };
            let mut out = vec![0; n];
            gemm_q8(&job, OutQ8::I32(&mut out));
            for (j, &sum) in out.iter().enumerate() {
                let expected: i32 =
                    (0..k).map(|p| i32::from(lhs[p]) * i32::from(weights[j * k + p])).sum();
                assert_eq!(sum, expected, "{tile:?} channel {j}");
            }
        }
    }
}
