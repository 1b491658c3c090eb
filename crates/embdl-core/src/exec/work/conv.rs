//! Convolutions as matrix products, and where the accumulators of integer layers go.

use alloc::vec::Vec;

use bytemuck::cast_slice_mut;

use crate::kernels::im2col::im2col;
use crate::kernels::{GemmF32, GemmQ8, Kernels, OutQ8, PackedF32, PackedQ8, WindowGeometry};
use crate::quant::Requant;

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

/// Where accumulators go.
#[derive(Debug)]
pub(in crate::exec) enum Stage {
    /// Requantized to levels.
    Levels(Requant),
    /// Kept as they are, or clamped to zero from below.
    Accumulators {
        /// Whether negative ones become zero.
        relu: bool,
    },
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

    /// The stage of some of the layer's channels.
    pub(in crate::exec) fn of_channels(&self, channels: core::ops::Range<usize>) -> Self {
        match self {
            Self::Accumulators { relu } => Self::Accumulators { relu: *relu },
            Self::Levels(requant) => {
                let mut part = requant.clone();
                if part.multipliers.len() > 1 {
                    part.multipliers = part.multipliers[channels].to_vec();
                }
                Self::Levels(part)
            }
        }
    }

    /// Bytes of one result.
    pub(super) const fn size_bytes(&self) -> usize {
        match self {
            Self::Levels(_) => 1,
            Self::Accumulators { .. } => 4,
        }
    }
}

impl Conv<PackedF32> {
    pub(super) fn run_f32(
        &self,
        kernels: &dyn Kernels,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut [f32],
        clamp: (f32, f32),
    ) {
        self.for_each_block(input, out, 1, |input, rows, m, out| {
            for (group, weights) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride): (&[f32], usize) = match &rows {
                    None => (&input[group * weights.k..], self.geometry.input[2]),
                    Some(pixels) => {
                        let channels = self.channels(group);
                        im2col(&self.geometry, input, 0.0, channels, pixels.clone(), scratch);
                        (scratch, weights.k)
                    }
                };
                let job =
                    GemmF32 { m, lhs, lhs_stride, weights, clamp, out_stride: self.out_stride };
                kernels.gemm_f32(&job, &mut out[group * weights.n..]);
            }
        });
    }
}

impl Conv<(PackedQ8, Stage)> {
    pub(super) fn run_q8(
        &self,
        kernels: &dyn Kernels,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut [u8],
        zero_point: u8,
    ) {
        let size = self.groups[0].1.size_bytes();
        self.for_each_block(input, out, size, |input, rows, m, out| {
            for (group, (weights, stage)) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride): (&[u8], usize) = match &rows {
                    None => (&input[group * weights.k..], self.geometry.input[2]),
                    Some(pixels) => {
                        let channels = self.channels(group);
                        im2col(
                            &self.geometry,
                            input,
                            zero_point,
                            channels,
                            pixels.clone(),
                            scratch,
                        );
                        (scratch, weights.k)
                    }
                };
                let job = GemmQ8 { m, lhs, lhs_stride, weights, out_stride: self.out_stride };
                let out = &mut out[group * weights.n * size..];
                match stage {
                    Stage::Levels(requant) => kernels.gemm_q8(&job, OutQ8::U8(requant, out)),
                    Stage::Accumulators { .. } => {
                        kernels.gemm_q8(&job, OutQ8::I32(cast_slice_mut(out)));
                    }
                }
            }
        });
        if matches!(self.groups[0].1, Stage::Accumulators { relu: true }) {
            relu_i32(cast_slice_mut(out));
        }
    }
}

impl<W> Conv<W> {
    /// Calls `each(input, output positions of a sample or `None` for all of all samples, how many, their results)`.
    /// Results are `size` elements of `T` each.
    fn for_each_block<T>(
        &self,
        input: &[T],
        out: &mut [T],
        size: usize,
        mut each: impl FnMut(&[T], Option<core::ops::Range<usize>>, usize, &mut [T]),
    ) {
        let (row, [_, _, depth]) = (self.out_stride * size, self.geometry.input);
        if self.block == 0 {
            // Pixels of all samples stand one after the other.
            each(input, None, input.len() / depth, out);
            return;
        }
        let pixels = self.geometry.output[0] * self.geometry.output[1];
        let inputs = input.chunks_exact(self.geometry.input_len());
        // Within a concatenation, what follows the last row's channels belongs to no row.
        for (input, out) in inputs.zip(out.chunks_mut(pixels * row)) {
            for (first, out) in
                (0..pixels).step_by(self.block).zip(out.chunks_mut(self.block * row))
            {
                let m = self.block.min(pixels - first);
                each(input, Some(first..first + m), m, out);
            }
        }
    }

    /// Input channels of a group.
    fn channels(&self, group: usize) -> core::ops::Range<usize> {
        let depth = self.geometry.input[2] / self.groups.len();
        group * depth..(group + 1) * depth
    }
}

/// Maximum of accumulators and zero.
pub(super) fn relu_i32(data: &mut [i32]) {
    for x in data {
        *x = (*x).max(0);
    }
}
