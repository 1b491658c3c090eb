//! f32 matrix product whose left side is read in place through offsets, so that a convolution needs no im2col.
//!
//! ```text
//! for panel of 24, 16 or 8 columns          rhs packed: [panel][depth][width]
//!   for tile of 4, 6 or 8 rows
//!     for p in depth                        tile[i][..] += values[rows[i] + steps[p]] * panel[p][..]
//!     store each row of the tile
//! ```
//!
//! With 8-lane vectors a tile of 4x24 or 6x16 takes 12 accumulators, 3 or 2 columns and one broadcast: the 16 registers
//! of AVX2. Element `(i, p)` of the left side is `values[rows[i] + steps[p]]`: for a dense layer a row and a column, for
//! a convolution a pixel and a tap, and the other way round for the gradient of the weight.

mod pack;
mod store;

use pulp::{Arch, Simd, WithSimd};

pub(crate) use self::pack::Rhs;
use self::pack::widths;
pub(crate) use self::store::{Accumulate, Affine, Assign, PADDING, Scatter, Store};

/// The left side: element `(i, p)` is `values[rows[i] + steps[p]]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lhs<'a> {
    /// What the offsets point into.
    pub(crate) values: &'a [f32],
    /// Offset of each row.
    pub(crate) rows: &'a [usize],
    /// Offset of each step of the sum.
    pub(crate) steps: &'a [usize],
}

/// Multiplies and hands every row of every tile to `store`.
///
/// # Panics
/// If an offset points outside, or the sides differ in depth.
pub(crate) fn multiply(lhs: Lhs<'_>, rhs: &Rhs, store: &mut impl Store) {
    assert!(lhs.steps.len() == rhs.depth, "depth {} times depth {}", lhs.steps.len(), rhs.depth);
    Arch::new().dispatch(Multiply { lhs, rhs, store });
}

struct Multiply<'a, T> {
    lhs: Lhs<'a>,
    rhs: &'a Rhs,
    store: &'a mut T,
}

impl<T: Store> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { lhs, rhs, store } = self;
        let (mut column, mut at) = (0, 0);
        for width in widths(rhs.columns) {
            let panel = Panel {
                data: &rhs.data[at..at + width * rhs.depth],
                column,
                live: width.min(rhs.columns - column),
            };
            match (S::F32_LANES, width) {
                (8, 24) => tiles::<S, T, 4, 3>(simd, lhs, &panel, store),
                (8, 16) => tiles::<S, T, 6, 2>(simd, lhs, &panel, store),
                (8, 8) => tiles::<S, T, 8, 1>(simd, lhs, &panel, store),
                (4, 24) => tiles::<S, T, 4, 6>(simd, lhs, &panel, store),
                (4, 16) => tiles::<S, T, 6, 4>(simd, lhs, &panel, store),
                (4, 8) => tiles::<S, T, 8, 2>(simd, lhs, &panel, store),
                (_, 24) => tiles::<S, T, 2, 24>(simd, lhs, &panel, store),
                (_, 16) => tiles::<S, T, 2, 16>(simd, lhs, &panel, store),
                _ => tiles::<S, T, 4, 8>(simd, lhs, &panel, store),
            }
            at += width * rhs.depth;
            column += width;
        }
    }
}

struct Panel<'a> {
    data: &'a [f32],
    column: usize,
    live: usize,
}

/// The rows of the tile at `first`; behind the last row that one again, whose results are dropped.
#[inline(always)]
fn tile_rows<const MR: usize>(rows: &[usize], first: usize) -> [usize; MR] {
    core::array::from_fn(|i| rows[(first + i).min(rows.len() - 1)])
}

#[inline(always)]
fn tiles<S: Simd, T: Store, const MR: usize, const NV: usize>(
    simd: S,
    lhs: Lhs<'_>,
    panel: &Panel<'_>,
    store: &mut T,
) {
    let columns = S::as_simd_f32s(panel.data).0.as_chunks::<NV>().0;
    let mut first = 0;
    while first < lhs.rows.len() {
        let rows = tile_rows::<MR>(lhs.rows, first);
        let mut tile = [[simd.splat_f32s(0.0); NV]; MR];
        for (step, columns) in lhs.steps.iter().zip(columns) {
            for i in 0..MR {
                let value = simd.splat_f32s(lhs.values[rows[i] + step]);
                for v in 0..NV {
                    tile[i][v] = simd.mul_add_e_f32s(value, columns[v], tile[i][v]);
                }
            }
        }
        for (i, row) in tile.iter().enumerate().take(lhs.rows.len() - first) {
            store.store(simd, first + i, panel.column, row, panel.live);
        }
        first += MR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, so that every order of sums gives the same result.
    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        #[expect(clippy::cast_precision_loss, reason = "numbers below 7")]
        let number = |i: usize| ((i * 31 + seed * 17) % 7) as f32 - 3.0;
        (0..len).map(number).collect()
    }

    #[test]
    fn equals_the_definition_around_every_tile_edge() {
        for m in [1, 3, 4, 5, 6, 7, 8, 9, 13] {
            for n in [1, 7, 8, 9, 15, 16, 17, 20, 24, 25, 48, 50] {
                for k in [0, 1, 2, 19] {
                    let (lhs, rhs) = (numbers(m * k, 1), numbers(k * n, 2));
                    let rows: Vec<usize> = (0..m).map(|i| i * k).collect();
                    let steps: Vec<usize> = (0..k).collect();
                    let view = Lhs { values: &lhs, rows: &rows, steps: &steps };
                    let mut out = vec![f32::NAN; m * n];
                    let packed = Rhs::rows_of(k, n, &rhs, n);
                    multiply(view, &packed, &mut Assign { out: &mut out, stride: n });
                    for i in 0..m {
                        for j in 0..n {
                            let sum: f32 = (0..k).map(|p| lhs[i * k + p] * rhs[p * n + j]).sum();
                            assert_eq!(out[i * n + j], sum, "{m}x{n}x{k} at {i}, {j}");
                        }
                    }
                    let transposed: Vec<f32> =
                        (0..n * k).map(|at| rhs[(at % k) * n + at / k]).collect();
                    let mut scalar = vec![f32::NAN; m * n];
                    let store = &mut Assign { out: &mut scalar, stride: n };
                    Multiply { lhs: view, rhs: &packed, store }.with_simd(pulp::Scalar::new());
                    assert_eq!(out, scalar, "without vectors");
                    let mut again = out.clone();
                    let packed = Rhs::columns_of(k, n, &transposed, k);
                    multiply(view, &packed, &mut Assign { out: &mut again, stride: n });
                    assert_eq!(out, again);
                }
            }
        }
    }
}
