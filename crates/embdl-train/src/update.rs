//! One optimizer step of all parameters: from gradients of effective weights to new effective weights, in one pass
//! over memory where the constraint is element-wise.

use burn_flex::FlexTensor;
use embdl_graph::{Form, Graph, Param, ParamRole};
use rayon::prelude::*;

use crate::config::TrainConfig;
use crate::constraint::{pull_back, trained, trained_mut};
use crate::kernels::{PART, fake_quant, vectorized};
use crate::optimizer::{Moments, Rule};
use crate::storage::{elements, flat};

/// What training keeps of one parameter beside its trained values.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Memory of the optimizer.
    pub(crate) moments: Moments,
    /// Moving average of the trained values; empty where none is kept.
    pub(crate) average: Vec<f32>,
    /// What the network computes with.
    pub(crate) effective: FlexTensor,
}

impl Slot {
    /// For a parameter that was not trained yet.
    pub(crate) fn new(param: &Param) -> Self {
        Self {
            moments: Moments::default(),
            average: Vec::new(),
            effective: flat(param.effective()),
        }
    }

    /// Computes the effective values again, after the parameter changed from outside.
    pub(crate) fn refresh(&mut self, param: &Param) {
        param.write_effective(self.effective.storage_mut());
        let len = trained(param).len();
        if self.moments.first.len() != len {
            self.moments = Moments::default();
        }
        if self.average.len() != len {
            self.average.clear();
        }
    }
}

/// Moves all parameters against their gradients; `None` is a parameter that the loss does not depend on.
///
/// # Errors
/// The norm of the gradients, if it is not finite; nothing has moved then.
pub(crate) fn update(
    graph: &mut Graph,
    slots: &mut [Slot],
    gradients: &[Option<FlexTensor>],
    config: &TrainConfig,
    learning_rate: f32,
) -> Result<(), f64> {
    let clip = clip_factor(graph, gradients, config.clip_norm)?;
    for ((param, slot), gradient) in graph.params.iter_mut().zip(slots).zip(gradients) {
        let Some(gradient) = gradient else { continue };
        let gradient = elements(gradient);
        let is_shared = matches!(param.form, Form::Shared { .. });
        // Factors and slopes of channels are as few as biases, and as little in need of decay.
        let is_matrix = param.role == ParamRole::Weight && param.shape.rank() > 1;
        let decay = if is_matrix && !is_shared { config.weight_decay } else { 0.0 };
        let rule = slot.moments.begin(config.optimizer, learning_rate, decay, trained(param).len());
        if slot.average.is_empty() && config.ema.is_some() {
            slot.average = trained(param).to_vec();
        }
        let ema = config.ema.unwrap_or(0.0);
        if is_shared {
            let mut pulled = Vec::new();
            pull_back(param, gradient, &mut pulled);
            scale(&mut pulled, clip);
            let Moments { first, second, .. } = &mut slot.moments;
            rule.apply(trained_mut(param), first, second, &pulled);
            follow(&mut slot.average, ema, trained(param));
            param.write_effective(slot.effective.storage_mut());
        } else {
            element_wise(param, slot, gradient, Step { rule, ema, clip });
        }
    }
    Ok(())
}

/// What the gradients are multiplied with so that the norm of all together is at most `limit`; gradients of weights
/// that are held at zero do not count.
fn clip_factor(graph: &Graph, gradients: &[Option<FlexTensor>], limit: f32) -> Result<f32, f64> {
    let mut sum = 0.0;
    for (param, gradient) in graph.params.iter().zip(gradients) {
        let Some(gradient) = gradient else { continue };
        let gradient = elements(gradient);
        // Parts add up in their order, whichever thread is first.
        let squares: Vec<f64> = match &param.mask {
            None => gradient.par_chunks(PART).map(sum_of_squares).collect(),
            Some(mask) => gradient
                .par_chunks(PART)
                .zip(mask.par_chunks(PART))
                .map(|(part, mask)| {
                    let kept = |(g, keep): (&f32, &bool)| if *keep { *g } else { 0.0 };
                    sum_of_squares(&part.iter().zip(mask).map(kept).collect::<Vec<_>>())
                })
                .collect(),
        };
        sum += squares.iter().sum::<f64>();
    }
    let (norm, limit) = (sum.sqrt(), f64::from(limit));
    if !norm.is_finite() {
        return Err(norm);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a factor of at most 1")]
    let factor = (limit / norm) as f32;
    Ok(if limit > 0.0 && norm > limit { factor } else { 1.0 })
}

/// Sums in f32 lane by lane within a block of 256, then in f64.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sum = 0.0;
    vector_sum_of_squares(values, &mut sum);
    sum
}

vectorized! {
    fn vector_sum_of_squares<'a>(values: &'a [f32], sum: &'a mut f64) {
        for block in values.chunks(256) {
            let mut lanes = [0.0_f32; 16];
            let (whole, rest) = block.as_chunks::<16>();
            for values in whole {
                for lane in 0..16 {
                    lanes[lane] += values[lane] * values[lane];
                }
            }
            lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += x * x);
            *sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
    }
}

vectorized! {
    fn scale<'a>(values: &'a mut [f32], factor: f32) {
        if factor != 1.0 {
            values.iter_mut().for_each(|value| *value *= factor);
        }
    }
}

/// What a step does to every element alike.
#[derive(Clone, Copy)]
struct Step {
    rule: Rule,
    ema: f32,
    clip: f32,
}

/// Moves a moving average towards `values`, if one is kept.
fn follow(average: &mut [f32], decay: f32, values: &[f32]) {
    average.iter_mut().zip(values).for_each(|(a, w)| *a = decay * *a + (1.0 - decay) * w);
}

/// One part of an element-wise parameter.
struct Part<'a> {
    values: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
    effective: &'a mut [f32],
    gradient: &'a [f32],
    mask: Option<&'a [bool]>,
    /// Scale and largest level.
    grid: Option<(f32, f32)>,
}

fn element_wise(param: &mut Param, slot: &mut Slot, gradient: &[f32], step: Step) {
    let len = param.len();
    let (scales, limit) = match &param.form {
        Form::Integer { bits, scales } => (scales.clone(), f32::from((1_u8 << (bits - 1)) - 1)),
        _ => (Vec::new(), 0.0),
    };
    // Parts never cross a row that has a scale of its own.
    let row = if scales.len() > 1 { (len / scales.len()).max(1) } else { len.max(1) };
    let mask = param.mask.take();
    let mut parts = Vec::with_capacity(len / PART + scales.len() + 1);
    {
        let Moments { first, second, .. } = &mut slot.moments;
        let mut rest = (
            param.values_mut(),
            first.as_mut_slice(),
            second.as_mut_slice(),
            slot.average.as_mut_slice(),
            slot.effective.storage_mut::<f32>(),
        );
        let mut start = 0;
        while start < len {
            let end = (start + PART).min((start / row + 1) * row).min(len);
            let size = end - start;
            let (values, values_rest) = rest.0.split_at_mut(size);
            let (first, first_rest) = rest.1.split_at_mut(size);
            let (second, second_rest) = rest.2.split_at_mut(size.min(rest.2.len()));
            let (average, average_rest) = rest.3.split_at_mut(size.min(rest.3.len()));
            let (effective, effective_rest) = rest.4.split_at_mut(size);
            rest = (values_rest, first_rest, second_rest, average_rest, effective_rest);
            parts.push(Part {
                values,
                first,
                second,
                average,
                effective,
                gradient: &gradient[start..end],
                mask: mask.as_ref().map(|mask| &mask[start..end]),
                grid: scales.get(start / row).map(|&scale| (scale, limit)),
            });
            start = end;
        }
        parts.into_par_iter().for_each_init(Vec::new, |pulled, part| part.take(step, pulled));
    }
    param.mask = mask;
}

impl Part<'_> {
    /// `pull_back`, the optimizer and `write_effective` on a part that stays in the cache.
    fn take(self, Step { rule, ema, clip }: Step, pulled: &mut Vec<f32>) {
        pulled.clear();
        pulled.extend_from_slice(self.gradient);
        scale(pulled, clip);
        if let Some((scale, limit)) = self.grid {
            let bound = (limit + 0.5) * scale;
            pulled.iter_mut().zip(&*self.values).for_each(|(g, w)| {
                *g = if w.abs() <= bound { *g } else { 0.0 };
            });
        }
        if let Some(mask) = self.mask {
            pulled.iter_mut().zip(mask).for_each(|(g, &keep)| *g = if keep { *g } else { 0.0 });
        }
        rule.apply(self.values, self.first, self.second, pulled);
        follow(self.average, ema, self.values);
        match self.grid {
            Some((scale, limit)) => {
                fake_quant::nearest_symmetric(self.values, scale, f64::from(limit), self.effective);
            }
            None => self.effective.copy_from_slice(self.values),
        }
        if let Some(mask) = self.mask {
            self.effective
                .iter_mut()
                .zip(mask)
                .for_each(|(w, &keep)| *w = if keep { *w } else { 0.0 });
        }
    }
}
