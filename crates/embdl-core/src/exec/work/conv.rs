//! Convolutions as matrix products, and where the accumulators of integer layers go.

use alloc::vec::Vec;
use core::ops::Range;

use bytemuck::cast_slice_mut;

use super::super::resolve::Stage;
use super::Machine;
use crate::kernels::im2col::im2col;
use crate::kernels::parallel::for_each_piece;
use crate::kernels::{GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, Parallel, WindowGeometry};

/// A convolution that is a matrix product for each group of channels.
#[derive(Debug)]
pub(in crate::exec) struct Conv<W> {
    pub(in crate::exec) geometry: WindowGeometry,
    /// Elements from one row of the result to the next: at least its channels.
    pub(in crate::exec) out_stride: usize,
    /// Weights of each group.
    pub(in crate::exec) groups: Vec<W>,
    /// Output positions a block of im2col; zero where windows are pixels and rows are read from the input as it is.
    pub(in crate::exec) block: usize,
}

/// A convolution that the runtime packed.
#[derive(Debug)]
pub(in crate::exec) struct OwnConv<C> {
    pub(in crate::exec) geometry: WindowGeometry,
    /// Elements from one row of the result to the next.
    pub(in crate::exec) out_stride: usize,
    /// Name of the way.
    pub(in crate::exec) name: &'static str,
    pub(in crate::exec) packed: C,
}

impl<C> OwnConv<C> {
    /// Input and result of each sample; results are `size` elements of `T` each.
    pub(super) fn samples<'a, T>(
        &self,
        input: &'a [T],
        out: &'a mut [T],
        size: usize,
    ) -> impl Iterator<Item = (&'a [T], &'a mut [T])> + use<'a, T, C> {
        let pixels = self.geometry.output[0] * self.geometry.output[1];
        // Within a concatenation, what follows the last row's channels belongs to no row.
        let outs = out.chunks_mut(pixels * self.out_stride * size);
        input.chunks_exact(self.geometry.input_len()).zip(outs)
    }
}

impl Stage {
    /// Runs `kernel` with the place that results go to.
    pub(super) fn run(&self, out: &mut [u8], kernel: impl FnOnce(OutQ8<'_>)) {
        match self {
            Self::Levels(requant) => kernel(OutQ8::U8(requant, out)),
            Self::Accumulators { relu } => {
                let out: &mut [i32] = cast_slice_mut(out);
                kernel(OutQ8::I32(&mut *out));
                if *relu {
                    relu_i32(out);
                }
            }
        }
    }
}

impl Conv<PackedF32> {
    pub(super) fn run_f32(
        &self,
        machine: Machine<'_>,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut [f32],
        clamp: (f32, f32),
    ) {
        self.for_each_block(machine.parallel, 1, input, out, scratch, |block, out, scratch| {
            for (group, weights) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride) = self.rows(&block, group, weights.k, 0.0, scratch);
                let (m, out_stride) = (block.m, self.out_stride);
                let job = GemmF32 { m, lhs, lhs_stride, weights, clamp, out_stride };
                machine.kernels.gemm_f32(&job, &mut out[group * weights.n..]);
            }
        });
    }
}

impl Conv<(PackedQ8, Stage)> {
    pub(super) fn run_q8(
        &self,
        machine: Machine<'_>,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut [u8],
        zero_point: u8,
    ) {
        let size = self.groups[0].1.size_bytes();
        self.for_each_block(machine.parallel, size, input, out, scratch, |block, out, scratch| {
            for (group, (weights, stage)) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride) = self.rows(&block, group, weights.k, zero_point, scratch);
                let (m, out_stride) = (block.m, self.out_stride);
                let job = GemmQ8 { m, lhs, lhs_stride, weights, out_stride };
                let out = &mut out[group * weights.n * size..];
                match stage {
                    Stage::Levels(requant) => {
                        machine.kernels.gemm_q8(&job, OutQ8::U8(requant, out));
                    }
                    Stage::Accumulators { .. } => {
                        machine.kernels.gemm_q8(&job, OutQ8::I32(cast_slice_mut(out)));
                    }
                }
            }
        });
        if matches!(self.groups[0].1, Stage::Accumulators { relu: true }) {
            relu_i32(cast_slice_mut(out));
        }
    }
}

/// Rows of the matrix product that are computed together.
struct Block<'a, T> {
    /// The sample, or for pointwise convolutions the pixels of the block.
    input: &'a [T],
    /// Output positions of the sample; `None` for pixels.
    positions: Option<Range<usize>>,
    /// How many.
    m: usize,
}

impl<W: Sync> Conv<W> {
    /// Calls `each(block, its results, scratch)`. Results are `size` elements each.
    fn for_each_block<T: Copy + Send + Sync>(
        &self,
        parallel: &dyn Parallel,
        size: usize,
        input: &[T],
        out: &mut [T],
        scratch: &mut [T],
        each: impl Fn(Block<'_, T>, &mut [T], &mut [T]) + Sync,
    ) {
        let (row, [_, _, depth]) = (self.out_stride * size, self.geometry.input);
        if self.block == 0 {
            // Pixels of all samples stand one after the other.
            let m = input.len() / depth;
            let rows = rows_of_a_task(m, parallel.shares());
            for_each_piece(parallel, out, rows * row, &mut [(); 0], |index, out, _| {
                let first = index * rows;
                let m = rows.min(m - first);
                let input = &input[first * depth..][..m * depth];
                each(Block { input, positions: None, m }, out, &mut []);
            });
            return;
        }
        let pixels = self.geometry.output[0] * self.geometry.output[1];
        let inputs = input.chunks_exact(self.geometry.input_len());
        // Within a concatenation, what follows the last row's channels belongs to no row.
        for (input, out) in inputs.zip(out.chunks_mut(pixels * row)) {
            for_each_piece(parallel, out, self.block * row, scratch, |index, out, scratch| {
                let first = index * self.block;
                let m = self.block.min(pixels - first);
                each(Block { input, positions: Some(first..first + m), m }, out, scratch);
            });
        }
    }

    /// The block's rows for a group, in place or copied to `scratch`, and the distance from one to the next.
    fn rows<'a, T: Copy>(
        &self,
        block: &Block<'a, T>,
        group: usize,
        k: usize,
        pad: T,
        scratch: &'a mut [T],
    ) -> (&'a [T], usize) {
        let Some(positions) = block.positions.clone() else {
            return (&block.input[group * k..], self.geometry.input[2]);
        };
        im2col(&self.geometry, block.input, pad, self.channels(group), positions, scratch);
        (scratch, k)
    }

    /// Input channels of a group.
    fn channels(&self, group: usize) -> Range<usize> {
        let depth = self.geometry.input[2] / self.groups.len();
        group * depth..(group + 1) * depth
    }
}

/// Rows of a matrix product that one task takes: the same for each share of the threads, twice if there are enough, so that one that is
/// late can leave some to the others. Whole tiles, where that makes the parts hardly less even.
///
/// No task is left with a single row of several: kernels sum one row alone in another order than rows of tiles, and a
/// result must not depend on the number of threads.
pub(super) fn rows_of_a_task(m: usize, shares: usize) -> usize {
    /// Tiles of the levels: 14, 12, 8, 6, 4 rows and common multiples.
    const TILES: [usize; 6] = [84, 28, 14, 12, 8, 4];
    /// Rows of a task that are worth handing out.
    const ENOUGH: usize = 56;
    if shares == 1 || m < 4 {
        return m.max(1);
    }
    let tasks = if m >= 2 * shares * ENOUGH { 2 * shares } else { shares };
    let even = m.div_ceil(tasks).max(2);
    let whole = TILES.iter().map(|&tile| even.next_multiple_of(tile));
    let mut rows = whole.into_iter().find(|rows| 20 * (rows - even) <= even).unwrap_or(even);
    while m % rows == 1 {
        rows += 1;
    }
    rows
}

/// Maximum of accumulators and zero.
pub(super) fn relu_i32(data: &mut [i32]) {
    for x in data {
        *x = (*x).max(0);
    }
}

#[cfg(test)]
mod tests {
    use super::rows_of_a_task;

    #[test]
    fn tasks_are_even_and_none_has_a_single_row_of_several() {
        for threads in 2..=6 {
            for m in 2..2000 {
                let rows = rows_of_a_task(m, threads);
                assert!((2..=m).contains(&rows) && m % rows != 1, "{m} rows on {threads} threads");
                assert!(m.div_ceil(rows) <= 2 * threads, "{m} rows on {threads} threads");
                // Two tasks a thread at most, and none a tenth longer than its share.
                let share = m.div_ceil(threads);
                let most = m.div_ceil(rows).div_ceil(threads) * rows;
                assert!(m < 8 || 10 * most <= 11 * share + 30, "{m} rows on {threads} threads");
            }
        }
        assert_eq!([rows_of_a_task(0, 2), rows_of_a_task(1, 2), rows_of_a_task(5, 1)], [1, 1, 5]);
        // Pictures of 13, 14, 28 and 56 pixels on two threads.
        let pictures = [169, 196, 784, 3136].map(|m| rows_of_a_task(m, 2));
        assert_eq!(pictures, [88, 98, 196, 784]);
    }
}
