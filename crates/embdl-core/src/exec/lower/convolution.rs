//! Convolutions: which way they are computed in, by estimate or by measuring, and the work of each way.

use alloc::vec;
use alloc::vec::Vec;

use super::super::tune::{self, Candidate};
use super::super::work::{Conv, Machine, OwnConv, Work};
use super::super::{forms, weights};
use super::Lowering;
use crate::kernels::conv::cheaper_than_gemm;
use crate::kernels::{ConvProblem, ConvWay, ConvWeights, KernelKind};
use crate::model::EncodedTensor;
use crate::op::Conv2d;
use crate::runtime::{RuntimeError, Tuner};

impl Lowering<'_, '_> {
    pub(super) fn convolution(&self, conv: &Conv2d) -> Result<Work, RuntimeError> {
        if self.is_depthwise(conv) {
            return self.depthwise(conv);
        }
        let problem = self.problem(conv, self.needed_weight()?);
        let ways = self.likely_ways(&problem);
        if let Some(tuner) = self.measuring()
            && let Some(work) = self.fastest(tuner, conv, &problem, &ways)?
        {
            return Ok(work);
        }
        for way in &ways {
            if let Some(work) = self.own_convolution(conv, &problem, way)? {
                return Ok(work);
            }
        }
        self.gemm_convolution(conv)
    }

    /// The ways that may be taken beside GEMM: all of the runtime's where they are measured, the one that is known to be the
    /// fastest, or those that are estimated to be faster, the fastest first. Not all weights suit all of them.
    pub(super) fn likely_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
        if self.is_frugal {
            return Vec::new();
        }
        let ways = if self.quantized() {
            self.kernels.conv_q8_ways(problem)
        } else {
            self.kernels.conv_f32_ways(problem)
        };
        match self.options.tuner.as_deref() {
            Some(tuner) if tuner.measures() => ways,
            Some(tuner) => self.remembered_ways(tuner, problem, ways),
            None => cheaper_than_gemm(ways, problem),
        }
    }

    /// The way that the tuner knows to be the fastest, if it is one of these, or those that its factors make faster than GEMM.
    fn remembered_ways(
        &self,
        tuner: &dyn Tuner,
        problem: &ConvProblem,
        mut ways: Vec<ConvWay>,
    ) -> Vec<ConvWay> {
        let (kind, what) = self.usual_kernel();
        match tuner.known(&tune::describe(problem, self.kernels.isa(), what)) {
            Some(known) if known == self.kernels.kernel_name(kind) => return Vec::new(),
            Some(known) if ways.iter().any(|way| way.name == known) => {
                ways.retain(|way| way.name == known);
                return ways;
            }
            _ => {}
        }
        ways.iter_mut().for_each(|way| way.cost *= tuner.factor(way.name));
        cheaper_than_gemm(ways, problem)
    }

    /// The kernel that every convolution can run on, and what such problems are called.
    fn usual_kernel(&self) -> (KernelKind, &'static str) {
        if self.quantized() {
            (KernelKind::GemmQ8, "conv q8")
        } else {
            (KernelKind::GemmF32, "conv f32")
        }
    }

    /// The tuner, where it measures what it does not know.
    pub(super) fn measuring(&self) -> Option<&dyn Tuner> {
        self.options.tuner.as_deref().filter(|tuner| tuner.measures())
    }

    /// What the runtime is asked for ways of its own for.
    pub(super) fn problem(&self, conv: &Conv2d, weight: &EncodedTensor<'_>) -> ConvProblem {
        ConvProblem {
            geometry: self.geometry(conv),
            groups: conv.groups as usize,
            n: weight.shape.dim(0),
            out_stride: self.out_stride(),
            density: forms::density(weight),
            blocks: forms::block_density(weight, self.kernels.tile_blocks(self.quantized())),
            max_abs: forms::max_abs(&weight.values),
            threads: self.parallel.threads(),
        }
    }

    /// The fastest way by measurement.
    fn fastest(
        &self,
        tuner: &dyn Tuner,
        conv: &Conv2d,
        problem: &ConvProblem,
        ways: &[ConvWay],
    ) -> Result<Option<Work>, RuntimeError> {
        if ways.is_empty() {
            return Ok(None);
        }
        let (kind, what) = self.usual_kernel();
        let gemm = || self.gemm_convolution(conv).map(Some);
        let own: Vec<_> =
            ways.iter().map(|way| move || self.own_convolution(conv, problem, way)).collect();
        let mut candidates = vec![Candidate {
            name: self.kernels.kernel_name(kind),
            cost: problem.gemm_cost(),
            is_usual: true,
            build: &gemm,
        }];
        let own = ways.iter().zip(&own).map(|(way, build)| Candidate {
            name: way.name,
            cost: way.cost,
            is_usual: false,
            build,
        });
        candidates.extend(own);
        let to = self.to();
        let values = tune::Values {
            input: self.from(),
            output_bytes: to.shape.len() / to.shape.dim(3)
                * problem.out_stride
                * to.dtype.size_bytes(),
            scratch_bytes: self.need().map_or(0, |need| need.scratch_bytes),
        };
        let machine = Machine { kernels: self.kernels, parallel: self.parallel };
        let problem = tune::describe(problem, self.kernels.isa(), what);
        tune::fastest(tuner, &problem, &candidates, machine, values)
    }

    /// The convolution in a way of the runtime, if the weights suit it.
    fn own_convolution(
        &self,
        conv: &Conv2d,
        problem: &ConvProblem,
        way: &ConvWay,
    ) -> Result<Option<Work>, RuntimeError> {
        let weight = self.needed_weight()?;
        let failed = |source| self.undecodable(source);
        if let Some((quant, stage)) = self.integer_stage(weight, problem.n, conv.activation)? {
            let (decoded, bias) = (weight.decode_i8().map_err(failed)?, self.bias_i32()?);
            let weights = ConvWeights { weights: &decoded, bias: &bias };
            let packed = self.kernels.conv_q8(way.name, problem, weights, quant.zero_point);
            return Ok(packed.map(|packed| Work::OwnConvQ8(own(problem, way, packed), stage)));
        }
        let (decoded, bias) = (weight.dequantize().map_err(failed)?, self.bias_f32()?);
        let weights = ConvWeights { weights: &decoded, bias: &bias };
        let packed = self.kernels.conv_f32(way.name, problem, weights, conv.activation.bounds());
        Ok(packed.map(|packed| Work::OwnConvF32(own(problem, way, packed))))
    }

    /// The convolution by im2col and GEMM.
    fn gemm_convolution(&self, conv: &Conv2d) -> Result<Work, RuntimeError> {
        let weight = self.needed_weight()?;
        let (geometry, out_stride) = (self.geometry(conv), self.out_stride());
        let n = weight.shape.dim(0);
        let (groups, k) = (conv.groups as usize, weight.shape.len() / n);
        let failed = |source| self.undecodable(source);
        if let Some((quant, stage)) = self.integer_stage(weight, n, conv.activation)? {
            let (bias, zero_point) = (self.bias_i32()?, quant.zero_point);
            let packed = weights::pack_q8(
                weight,
                &bias,
                n / groups,
                zero_point,
                self.kernels,
                self.options.release.as_deref(),
            )
            .map_err(failed)?;
            let stages = weights::parts(weight, n / groups).map(|part| stage.of_channels(part));
            let groups = packed.into_iter().zip(stages).collect();
            let conv = Conv { geometry, out_stride, groups, block: self.block_rows(conv, k) };
            return Ok(Work::ConvQ8 { conv, zero_point });
        }
        let bias = self.bias_f32()?;
        let groups = weights::pack_f32(
            weight,
            &bias,
            n / groups,
            self.kernels,
            self.options.release.as_deref(),
        )
        .map_err(failed)?;
        let block = self.block_rows(conv, k * 4);
        let clamp = conv.activation.bounds();
        Ok(Work::ConvF32(Conv { geometry, out_stride, groups, block }, clamp))
    }

    fn depthwise(&self, conv: &Conv2d) -> Result<Work, RuntimeError> {
        let (weight, geometry) = (self.needed_weight()?, self.geometry(conv));
        let n = weight.shape.dim(0);
        let failed = |source| self.undecodable(source);
        if let Some((quant, stage)) = self.integer_stage(weight, n, conv.activation)? {
            let weights = taps_first(&weight.decode_i8().map_err(failed)?, n);
            let mut bias = self.bias_i32()?;
            bias.resize(n, 0);
            let zero_point = quant.zero_point;
            return Ok(Work::DepthwiseQ8 { geometry, weights, bias, zero_point, stage });
        }
        let weights = taps_first(&weight.dequantize().map_err(failed)?, n);
        let mut bias = self.bias_f32()?;
        bias.resize(n, 0.0);
        Ok(Work::DepthwiseF32 { geometry, weights, bias, clamp: conv.activation.bounds() })
    }
}

/// A convolution that the runtime packed for `way`.
const fn own<C>(problem: &ConvProblem, way: &ConvWay, packed: C) -> OwnConv<C> {
    let ConvProblem { geometry, out_stride, .. } = *problem;
    OwnConv { geometry, out_stride, name: way.name, packed }
}

/// `[c, taps]` to `[taps, c]`.
fn taps_first<T: Copy>(weights: &[T], channels: usize) -> Vec<T> {
    let taps = weights.len() / channels;
    (0..weights.len()).map(|at| weights[at % channels * taps + at / channels]).collect()
}
