//! Dense layers, with weights in any form: one row is shared out by channels, several rows by rows.

use alloc::vec::Vec;

use super::super::resolve::Stage;
use super::Machine;
use super::conv::rows_of_a_task;
use crate::kernels::parallel::for_each_piece;
use crate::kernels::{GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, RowsF32, RowsQ8};

/// A dense layer.
#[derive(Debug)]
pub(in crate::exec) struct Dense<W> {
    /// Rows of activations.
    pub(in crate::exec) m: usize,
    /// Channels of all parts.
    pub(in crate::exec) n: usize,
    /// Channels of a part; the last may have fewer.
    pub(in crate::exec) width: usize,
    /// Weights: several parts only for one row, whose results then lie apart.
    pub(in crate::exec) parts: Vec<W>,
}

impl Dense<PackedF32> {
    pub(super) fn run_f32(
        &self,
        machine: Machine<'_>,
        input: &[f32],
        out: &mut [f32],
        clamp: (f32, f32),
    ) {
        self.for_each_part(machine, input, out, 1, |m, weights, lhs, out| {
            let (lhs_stride, out_stride) = (weights.k, weights.n);
            let job = GemmF32 { m, lhs, lhs_stride, weights, clamp, out_stride };
            machine.kernels.gemm_f32(&job, out);
        });
    }
}

impl Dense<(PackedQ8, Stage)> {
    pub(super) fn run_q8(&self, machine: Machine<'_>, input: &[u8], out: &mut [u8]) {
        let size = self.parts[0].1.size_bytes();
        self.for_each_part(machine, input, out, size, |m, (weights, stage), lhs, out| {
            let (lhs_stride, out_stride) = (weights.k, weights.n);
            let job = GemmQ8 { m, lhs, lhs_stride, weights, out_stride };
            stage.run(out, |out| machine.kernels.gemm_q8(&job, out));
        });
    }
}

impl<W: Sync> Dense<(W, Stage)> {
    /// Runs a `kernel` on integer rows that are kept compressed.
    pub(super) fn run_rows(
        &self,
        machine: Machine<'_>,
        input: &[u8],
        out: &mut [u8],
        kernel: impl Fn(&RowsQ8<'_, W>, OutQ8<'_>) + Sync,
    ) {
        let size = self.parts[0].1.size_bytes();
        self.for_each_part(machine, input, out, size, |m, (weights, stage), lhs, out| {
            stage.run(out, |out| kernel(&RowsQ8 { m, lhs, weights }, out));
        });
    }
}

impl<W: Sync> Dense<W> {
    /// Runs a `kernel` on float rows that are kept compressed.
    pub(super) fn run_rows_f32(
        &self,
        machine: Machine<'_>,
        input: &[f32],
        out: &mut [f32],
        clamp: (f32, f32),
        kernel: impl Fn(&RowsF32<'_, W>, &mut [f32]) + Sync,
    ) {
        self.for_each_part(machine, input, out, 1, |m, weights, lhs, out| {
            kernel(&RowsF32 { m, lhs, weights, clamp }, out);
        });
    }

    /// Calls `each(rows, weights, activations, results)` for parts of the channels, or of the rows; a result has `size`
    /// elements.
    fn for_each_part<T: Send + Sync>(
        &self,
        machine: Machine<'_>,
        input: &[T],
        out: &mut [T],
        size: usize,
        each: impl Fn(usize, &W, &[T], &mut [T]) + Sync,
    ) {
        let parallel = machine.parallel;
        if self.parts.len() > 1 {
            for_each_piece(parallel, out, self.width * size, &mut [(); 0], |index, out, _| {
                each(1, &self.parts[index], input, out);
            });
            return;
        }
        let k = input.len() / self.m;
        let rows = rows_of_a_task(self.m, parallel.shares());
        for_each_piece(parallel, out, rows * self.n * size, &mut [(); 0], |index, out, _| {
            let first = index * rows;
            let m = rows.min(self.m - first);
            each(m, &self.parts[0], &input[first * k..][..m * k], out);
        });
    }
}
