//! Integers for activations and weights.

use embdl_core::op::{Op, Pool, PoolKind};
use embdl_core::quant::{Quant, quantize_symmetric};
use embdl_graph::{Form, Graph, Param, ValueId};

use crate::calibrate::{Calibration, Observer};
use crate::error::CompressError;
use crate::glob;
use crate::pass::{Pass, PassReport, report};

/// Makes activations u8 with ranges from calibration.
///
/// Operators that pass levels on unchanged (max pooling, reshape, ReLU on its own) give their output the parameters of
/// their input. What only a concatenation reads gets the parameters of its result: levels are then put side by side as they
/// are, without a second rounding, and convolutions can write them there at once. Outputs of the network stay accumulators.
#[derive(Clone, Debug)]
pub struct QuantizeActivations<'a> {
    /// One observer for each value of the graph.
    pub observers: &'a [Observer],
    /// How ranges are chosen.
    pub calibration: Calibration,
    /// Scale and zero point of inputs that are known exactly, such as those of raw pixels.
    pub inputs: &'a [(ValueId, Quant)],
}

impl Pass for QuantizeActivations<'_> {
    fn name(&self) -> &'static str {
        "quantize-activations"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        let mut chosen: Vec<Option<Quant>> = vec![None; graph.values.len()];
        let whole = wholes(graph);
        let observed = |value: ValueId| {
            let id = whole[value].unwrap_or(value);
            let not_calibrated =
                || CompressError::NotCalibrated { value: graph.values[id].name.clone() };
            self.observers
                .get(id)
                .and_then(|seen| seen.quant(self.calibration))
                .ok_or_else(not_calibrated)
        };
        for &input in &graph.inputs {
            let known = self.inputs.iter().find(|(id, _)| *id == input).map(|(_, quant)| *quant);
            chosen[input] = Some(known.map_or_else(|| observed(input), Ok)?);
        }
        for node in &graph.nodes {
            chosen[node.output] = match &node.op {
                // An average has a narrower range than what it is taken of.
                op if is_average(op) => Some(observed(node.output)?),
                op if passes_levels_on(op) => chosen[node.inputs[0]],
                Op::Conv2d(_) | Op::Dense(_) if graph.outputs.contains(&node.output) => None,
                Op::Conv2d(_)
                | Op::Dense(_)
                | Op::Add(_)
                | Op::Concat(_)
                | Op::Unary(_)
                | Op::Mul
                | Op::PRelu
                | Op::Quantize => Some(observed(node.output)?),
                _ => None,
            };
        }
        report(self.name(), graph, |graph| {
            graph.values.iter_mut().zip(chosen).for_each(|(value, quant)| value.quant = quant);
            Ok(())
        })
    }
}

const fn is_average(op: &Op) -> bool {
    matches!(op, Op::GlobalAveragePool | Op::Pool(Pool { kind: PoolKind::Average { .. }, .. }))
}

/// Whether the levels of the result are levels of the first input.
const fn passes_levels_on(op: &Op) -> bool {
    let passes = matches!(
        op,
        Op::Pool(_)
            | Op::Flatten
            | Op::Reshape(_)
            | Op::Activation(_)
            | Op::Resize(_)
            | Op::Transpose(_)
            | Op::Pad(_)
    );
    passes && !is_average(op)
}

/// For each value, the result of the concatenation that alone reads it, through operators that pass levels on or not.
fn wholes(graph: &Graph) -> Vec<Option<ValueId>> {
    let mut readers = vec![0_usize; graph.values.len()];
    let reads = graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs);
    reads.for_each(|&value| readers[value] += 1);
    let is_free = |value: ValueId| readers[value] == 1 && !graph.inputs.contains(&value);
    let mut whole = vec![None; graph.values.len()];
    for node in graph.nodes.iter().rev() {
        if matches!(node.op, Op::Concat(_)) {
            let result = whole[node.output].unwrap_or(node.output);
            for &part in node.inputs.iter().filter(|&&part| is_free(part)) {
                whole[part] = Some(result);
            }
        } else if passes_levels_on(&node.op) {
            let passed = whole[node.output].take();
            whole[node.inputs[0]] = passed.filter(|_| is_free(node.inputs[0]));
        }
    }
    whole
}

/// Makes free weights integers with scales of least squared error.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeWeights {
    /// Bits by pattern of the layer's name; the first match counts, layers without one are left.
    pub bits: Vec<(String, u8)>,
    /// One scale for each output channel instead of one for the tensor. The layer that writes the network's output
    /// always has one, because its accumulators are compared with each other.
    pub per_channel: bool,
}

impl Pass for QuantizeWeights {
    fn name(&self) -> &'static str {
        "quantize-weights"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        for (_, bits) in &self.bits {
            if !(2..=8).contains(bits) {
                return Err(CompressError::Setting {
                    setting: "bits",
                    value: f64::from(*bits),
                    range: "2 to 8",
                });
            }
        }
        let layers: Vec<(usize, u8, bool)> = graph
            .layers()
            .filter_map(|(node, _)| {
                let (_, bits) =
                    self.bits.iter().find(|(pattern, _)| glob::matches(pattern, &node.name))?;
                let per_channel = self.per_channel && !graph.outputs.contains(&node.output);
                Some((node.weight?, *bits, per_channel))
            })
            .collect();
        report(self.name(), graph, |graph| {
            for (id, bits, per_channel) in layers {
                let param = &mut graph.params[id];
                if param.form == Form::Free {
                    param.form = Form::Integer { bits, scales: scales(param, bits, per_channel) };
                }
            }
            Ok(())
        })
    }
}

fn scales(param: &Param, bits: u8, per_channel: bool) -> Vec<f32> {
    let values = param.effective();
    let rows = if per_channel { param.shape.dim(0) } else { 1 };
    let rows = values.chunks((values.len() / rows.max(1)).max(1));
    let scales: Vec<Option<f32>> = rows.map(|row| best_scale(row, bits)).collect();
    // A channel without weights takes the smallest scale: a larger one would set the shift that all channels of the layer share,
    // and vector code does not take the shifts of ratios above one half.
    let smallest = scales.iter().flatten().copied().reduce(f32::min).unwrap_or(1.0);
    scales.into_iter().map(|scale| scale.unwrap_or(smallest)).collect()
}

/// The scale, of 48 between half and all of the largest weight, with the least squared error; none where all weights are zero.
fn best_scale(row: &[f32], bits: u8) -> Option<f32> {
    let limit = (1 << (bits - 1)) - 1;
    let largest = row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
    if largest <= f32::MIN_POSITIVE * 256.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "48 steps, 7 bits")]
    let candidates = (24..=48).map(|step| largest * (step as f32 / 48.0) / limit as f32);
    let error = |scale: f32| -> f64 {
        row.iter()
            .map(|&w| {
                let difference = f64::from(w)
                    - f64::from(quantize_symmetric(w, scale, limit)) * f64::from(scale);
                difference * difference
            })
            .sum()
    };
    candidates
        .map(|scale| (error(scale), scale))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use embdl_graph::zoo;

    use super::*;

    #[test]
    fn channels_without_weights_take_a_scale_of_the_others() {
        let mut graph = zoo::lenet300(3);
        let param = graph.params.iter_mut().find(|param| param.shape.rank() == 2).unwrap();
        let k = param.shape.dim(1);
        param.values_mut()[..k].fill(0.0);
        let all = scales(param, 8, true);
        let smallest = all[1..].iter().copied().reduce(f32::min).unwrap();
        assert!(all[0].to_bits() == smallest.to_bits() && smallest < 0.1, "{all:?}");
        param.values_mut().fill(0.0);
        assert_eq!(scales(param, 8, false), [1.0]);
    }

    #[test]
    fn pooling_passes_levels_on_and_logits_stay_accumulators() {
        let mut graph = zoo::lenet5(1);
        let mut seen = Observer::default();
        seen.observe(&[-1.0, 0.0, 3.0]);
        let observers = vec![seen; graph.values.len()];
        let pixels = Quant { scale: 0.01, zero_point: 73 };
        let pass = QuantizeActivations {
            observers: &observers,
            calibration: Calibration::MinMax,
            inputs: &[(graph.inputs[0], pixels)],
        };
        pass.run(&mut graph).unwrap();
        let quant =
            |name: &str| graph.values.iter().find(|value| value.name == name).unwrap().quant;
        assert_eq!(quant("image"), Some(pixels));
        assert!(quant("conv1").is_some() && quant("conv1") == quant("pool1"));
        assert_eq!(quant("fc2"), None);
    }

    #[test]
    fn parts_of_a_concatenation_take_its_range() {
        let mut graph = zoo::squeezenet_1_1(&zoo::Options::cifar(10, 1)).unwrap();
        let observers: Vec<Observer> = (0..graph.values.len())
            .map(|id| {
                let mut seen = Observer::default();
                seen.observe(&[0.0, 1.0 + id as f32]);
                seen
            })
            .collect();
        let pass = QuantizeActivations {
            observers: &observers,
            calibration: Calibration::MinMax,
            inputs: &[],
        };
        pass.run(&mut graph).unwrap();
        let concats: Vec<_> =
            graph.nodes.iter().filter(|node| matches!(node.op, Op::Concat(_))).collect();
        assert_eq!(concats.len(), 8);
        for node in concats {
            let quant = graph.values[node.output].quant;
            assert_eq!(quant, observers[node.output].quant(Calibration::MinMax));
            assert!(node.inputs.iter().all(|&part| graph.values[part].quant == quant));
        }
    }

    #[test]
    fn what_others_read_too_keeps_its_range() {
        let mut graph = zoo::squeezenet_1_1(&zoo::Options::cifar(10, 1)).unwrap();
        // A second reader of one part, such as a network with shortcuts has.
        let concat = graph.nodes.iter().position(|node| matches!(node.op, Op::Concat(_))).unwrap();
        let [kept, joined] = graph.nodes[concat].inputs[..] else { panic!("two parts") };
        graph.outputs.push(kept);
        let whole = wholes(&graph);
        assert_eq!((whole[kept], whole[joined]), (None, Some(graph.nodes[concat].output)));
    }

    #[test]
    fn unobserved_values_are_an_error() {
        let mut graph = zoo::lenet5(1);
        let observers = vec![Observer::default(); graph.values.len()];
        let pass = QuantizeActivations {
            observers: &observers,
            calibration: Calibration::Mse,
            inputs: &[],
        };
        assert!(matches!(pass.run(&mut graph), Err(CompressError::NotCalibrated { .. })));
    }

    #[test]
    fn per_channel_beats_per_tensor_beats_fewer_bits() {
        let error = |bits, per_channel| {
            let mut graph = zoo::lenet5(1);
            // Rows of very different magnitude.
            for (at, w) in graph.params[0].values_mut().iter_mut().enumerate() {
                *w *= 1.0 + (at / 25) as f32;
            }
            let pass = QuantizeWeights { bits: vec![("*".into(), bits)], per_channel };
            pass.run(&mut graph).unwrap().layers[0].error
        };
        assert!(error(8, true) < error(8, false));
        assert!(error(8, false) < error(4, false));
    }
}
