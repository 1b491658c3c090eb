//! Dense layers: which form their weights take, by estimate or by measuring, and the work of each form.

use alloc::string::String;
use alloc::vec::Vec;

use super::super::forms::{self, Form};
use super::super::resolve::Stage;
use super::super::tune::{self, Candidate};
use super::super::weights;
use super::super::work::{Dense, Machine, Work, is_worth_sharing};
use super::{Lowering, Need};
use crate::kernels::{KernelKind, RowsProblem};
use crate::model::EncodedTensor;
use crate::runtime::{RuntimeError, Tuner};

impl Lowering<'_, '_> {
    pub(super) fn dense(&self) -> Result<Work, RuntimeError> {
        let weight = self.needed_weight()?;
        let forms = self.forms(weight);
        if let Some(tuner) = self.measuring()
            && forms.len() > 1
            && let Some(work) = self.fastest_form(tuner, weight, &forms)?
        {
            return Ok(work);
        }
        for &(form, _) in &forms {
            if let Some(work) = self.in_form(weight, form)? {
                return Ok(work);
            }
        }
        // Rows that do not fit their slices, or blocks that are not as empty as the first ones.
        let entries = weights::entry_count(weight);
        let is_sliced = |(form, _): &(Form, f32)| matches!(form, Form::Ell { .. });
        let form = if forms.iter().any(is_sliced) { Form::Sparse { entries } } else { Form::Dense };
        let work = self.in_form(weight, form)?;
        Ok(work.expect("plain rows and panels take any entries"))
    }

    /// What the packed `weight` takes, in any form that it may be given; `None` if it cannot be counted.
    pub(super) fn dense_need(&self, weight: &EncodedTensor<'_>) -> Option<Need> {
        let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
        let quantized = self.quantized();
        let tile = if quantized { self.kernels.tile_q8() } else { self.kernels.tile_f32() };
        let mut need = Need::default();
        for (form, _) in self.forms(weight) {
            let parts = n.div_ceil(self.part_width(weight, form));
            let bytes = forms::form_bytes(form, n, k, quantized, tile)?;
            let bytes =
                bytes.checked_add(parts.checked_mul(forms::part_bytes(form, quantized))?)?;
            need.weight_bytes = need.weight_bytes.max(bytes);
        }
        Some(need)
    }

    /// The forms that the weights may be given, and their estimates: all that they can take where they are measured, else the
    /// one that is known or estimated to be the fastest.
    fn forms(&self, weight: &EncodedTensor<'_>) -> Vec<(Form, f32)> {
        let problem =
            forms::problem(weight, self.from().shape.dim(0), self.quantized(), self.kernels);
        let mut forms = forms::forms(weight, &problem, self.options.weights, self.kernels);
        if self.measuring().is_some() && !self.is_frugal {
            return forms;
        }
        if let Some(tuner) = self.options.tuner.as_deref() {
            let known = tuner.known(&self.describe_rows(&problem));
            let is_known = |form: &Form| known.as_deref() == Some(self.form_kernel(*form));
            if let Some(at) = forms.iter().position(|(form, _)| is_known(form)) {
                forms.swap(0, at);
            } else {
                let cost = |(form, cost): &(Form, f32)| match form {
                    Form::Dense => *cost,
                    _ => cost * tuner.factor(self.form_kernel(*form)),
                };
                forms.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            }
        }
        forms.truncate(1);
        forms
    }

    /// What a choice among forms is remembered by.
    fn describe_rows(&self, problem: &RowsProblem) -> String {
        tune::describe_rows(problem, self.kernels.isa(), self.parallel.threads())
    }

    /// The kernel that runs a form.
    fn form_kernel(&self, form: Form) -> &'static str {
        let quantized = self.quantized();
        self.kernels.kernel_name(match form {
            Form::Dense if quantized => KernelKind::GemmQ8,
            Form::Dense => KernelKind::GemmF32,
            Form::Sparse { .. } if quantized => KernelKind::SparseQ8,
            Form::Sparse { .. } => KernelKind::SparseF32,
            Form::Ell { .. } => KernelKind::EllQ8,
            Form::Blocks { .. } if quantized => KernelKind::BlocksQ8,
            Form::Blocks { .. } => KernelKind::BlocksF32,
            Form::Codebook => KernelKind::CodebookQ8,
        })
    }

    /// The fastest form by measurement.
    fn fastest_form(
        &self,
        tuner: &dyn Tuner,
        weight: &EncodedTensor<'_>,
        forms: &[(Form, f32)],
    ) -> Result<Option<Work>, RuntimeError> {
        let builds: Vec<_> =
            forms.iter().map(|&(form, _)| move || self.in_form(weight, form)).collect();
        let candidate = |(&(form, cost), build)| Candidate {
            name: self.form_kernel(form),
            cost,
            is_usual: form == Form::Dense,
            build,
        };
        let candidates: Vec<Candidate<'_>> = forms
            .iter()
            .zip(builds.iter().map(|build| build as &dyn Fn() -> _))
            .map(candidate)
            .collect();
        let to = self.to();
        let values =
            tune::Values { input: self.from(), output_bytes: to.len_bytes(), scratch_bytes: 0 };
        let machine = Machine { kernels: self.kernels, parallel: self.parallel };
        let problem =
            forms::problem(weight, self.from().shape.dim(0), self.quantized(), self.kernels);
        let problem = self.describe_rows(&problem);
        tune::fastest(tuner, &problem, &candidates, machine, values)
    }

    /// The layer with its weights in `form`; `None` where they do not suit it after all.
    fn in_form(
        &self,
        weight: &EncodedTensor<'_>,
        form: Form,
    ) -> Result<Option<Work>, RuntimeError> {
        let n = weight.shape.dim(0);
        let m = self.from().shape.dim(0);
        let activation = self.node.op.activation();
        let failed = |source| self.undecodable(source);
        let width = self.part_width(weight, form);
        let release = self.options.release.as_deref();
        if let Some((quant, stage)) = self.integer_stage(weight, n, activation)? {
            let (bias, zero_point) = (self.bias_i32()?, quant.zero_point);
            let bias = bias.as_slice();
            let rows = Staged { m, n, width, weight, stage };
            let work = match form {
                Form::Dense => {
                    weights::pack_q8(weight, bias, width, zero_point, self.kernels, release)
                        .map(|parts| Work::DenseQ8(rows.of(parts)))
                }
                Form::Sparse { .. } => weights::sparse_q8(weight, bias, width, zero_point)
                    .map(|parts| Work::SparseQ8(rows.of(parts))),
                Form::Codebook => weights::codebook_q8(weight, bias, width, zero_point)
                    .map(|parts| Work::CodebookQ8(rows.of(parts))),
                Form::Ell { tile, .. } => {
                    let parts = weights::ell_q8(weight, bias, width, zero_point, tile);
                    let parts = parts.map_err(failed)?;
                    return Ok(parts.map(|parts| Work::EllQ8(rows.of(parts))));
                }
                Form::Blocks { blocks, tile } => {
                    let parts = weights::blocks_q8(weight, bias, width, zero_point, (blocks, tile));
                    let parts = parts.map_err(failed)?;
                    return Ok(parts.map(|parts| Work::BlocksQ8(rows.of(parts))));
                }
            };
            return work.map(Some).map_err(failed);
        }
        let bias = self.bias_f32()?;
        let clamp = activation.bounds();
        if let Form::Sparse { .. } = form {
            let parts = weights::sparse_f32(weight, &bias, width).map_err(failed)?;
            return Ok(Some(Work::SparseF32(Dense { m, n, width, parts }, clamp)));
        }
        if let Form::Blocks { blocks, tile } = form {
            let parts = weights::blocks_f32(weight, &bias, width, (blocks, tile));
            let parts = parts.map_err(failed)?;
            return Ok(parts.map(|parts| Work::BlocksF32(Dense { m, n, width, parts }, clamp)));
        }
        let parts =
            weights::pack_f32(weight, &bias, width, self.kernels, release).map_err(failed)?;
        Ok(Some(Work::DenseF32(Dense { m, n, width, parts }, clamp)))
    }

    /// Channels that a part of a dense layer has: one row is shared out to threads by channels, in whole panels or slices.
    fn part_width(&self, weight: &EncodedTensor<'_>, form: Form) -> usize {
        let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
        let (products, step) = match form {
            Form::Dense if self.quantized() => (n * k, self.kernels.tile_q8().nr),
            Form::Dense => (n * k, self.kernels.tile_f32().nr),
            Form::Codebook => (n * k, 4),
            // An entry takes as long as several products of panels.
            Form::Sparse { entries } => (entries.saturating_mul(8), 4),
            Form::Ell { entries, tile } => (entries.saturating_mul(4), tile.rows),
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate"
            )]
            Form::Blocks { blocks, tile } => ((n as f32 * k as f32 * blocks) as usize, tile.nr),
        };
        let shares = self.parallel.shares();
        if self.from().shape.dim(0) > 1 || shares == 1 || !is_worth_sharing(products as u64) {
            return n;
        }
        n.div_ceil(shares).next_multiple_of(step)
    }
}

/// An integer layer whose parts are made.
struct Staged<'w, 'm> {
    m: usize,
    n: usize,
    width: usize,
    weight: &'w EncodedTensor<'m>,
    stage: Stage,
}

impl Staged<'_, '_> {
    fn of<W>(self, parts: Vec<W>) -> Dense<(W, Stage)> {
        let Self { m, n, width, weight, stage } = self;
        let stages = weights::parts(weight, width).map(|part| stage.of_channels(part));
        Dense { m, n, width, parts: parts.into_iter().zip(stages).collect() }
    }
}
