//! Our operators against Burn's own, which any device runs: values, gradients, whole trainings.

use embdl_core::op::{Activation, Conv2d};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_data::synthetic::{Lengths, split};
use embdl_graph::{Graph, zoo};

use super::networks;
use super::{gradients, graph, noise, plain, tensors, windows};
use crate::cpu::Cpu;
use crate::device::{Device, Task};
use crate::network::Network;
use crate::operators::{Operators, constant};
use crate::storage::flat;
use crate::train::{Run, Whole};
use crate::{TrainConfig, TrainReport};

/// Where the two sides differ by more than rounding.
fn differences(graph: &Graph, image: &[f32], is_training: bool) -> Vec<String> {
    let ours = gradients(&Cpu::default(), graph, image, is_training);
    let burns = gradients(&plain(), graph, image, is_training);
    let mut wrong = Vec::new();
    if (ours.0 - burns.0).abs() > 1e-5 * (1.0 + burns.0.abs()) {
        wrong.push(format!("loss {} and {}", ours.0, burns.0));
    }
    for (what, (ours, burns)) in ours.1.iter().zip(&burns.1).enumerate() {
        assert_eq!(ours.len(), burns.len(), "gradient {what}");
        for (at, (ours, burns)) in ours.iter().zip(burns).enumerate() {
            if (ours - burns).abs() > 1e-4 * (1.0 + burns.abs()) {
                wrong.push(format!("gradient {what}[{at}]: {ours}, Burn has {burns}"));
            }
        }
    }
    wrong
}

fn check(name: &str, graph: &Graph, is_training: bool) {
    let image = noise(2 * graph.values[graph.inputs[0]].shape.len(), 7);
    let wrong = differences(graph, &image, is_training);
    assert!(wrong.is_empty(), "{name}: {} differ, such as {:?}", wrong.len(), &wrong[..1]);
}

#[test]
fn of_every_operator() {
    for (name, graph) in networks::all() {
        check(&name, &graph, true);
        check(&name, &graph, false);
    }
}

#[test]
fn of_levels() {
    for (name, mut graph) in networks::activations() {
        for value in &mut graph.values {
            value.quant = Some(Quant { scale: 0.0143, zero_point: 120 });
        }
        check(&name, &graph, true);
    }
}

/// Sizes beyond the tiles of the products.
#[test]
fn of_larger_convolutions() {
    let shapes = [(9, 12, 5, 12, 1), (8, 8, 6, 50, 2), (7, 9, 16, 16, 16), (5, 5, 3, 33, 1)];
    for (h, w, ci, co, groups) in shapes {
        for window in windows() {
            let conv = Conv2d { window, groups, activation: Activation::Relu };
            let graph =
                graph(Shape::nhwc(1, h, w, ci), |b, x| b.conv2d("conv", x, co, conv).unwrap());
            check(&format!("{conv:?}"), &graph, true);
        }
    }
}

/// Statistics of a batch, which move the running ones.
#[test]
fn of_statistics() {
    let (_, graph) = networks::normalizations().swap_remove(6);
    let image = noise(2 * graph.values[graph.inputs[0]].shape.len(), 2);
    fn statistics<E: Operators>(on: &E, graph: &Graph, image: &[f32]) -> [Vec<f32>; 2] {
        let shape = graph.values[graph.inputs[0]].shape.with_batch(2);
        let image = constant(on.upload(&flat(image.to_vec()), shape));
        let params = tensors(on, graph);
        let network = Network { graph, params: &params, batch: 2, is_training: true };
        let (_, found) = network.forward(on, image, None).unwrap().statistics.swap_remove(0);
        [found.mean, found.variance]
    }
    let ours = statistics(&Cpu::default(), &graph, &image);
    let burns = statistics(&plain(), &graph, &image);
    let rows: Vec<&[f32]> = image.chunks(5).collect();
    for c in 0..5 {
        let values = || rows.iter().map(|row| f64::from(row[c]));
        let mean = values().sum::<f64>() / 12.0;
        let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / 11.0;
        for found in [&ours, &burns] {
            assert!((f64::from(found[0][c]) - mean).abs() < 1e-6);
            assert!((f64::from(found[1][c]) - variance).abs() < 1e-6);
        }
    }
}

/// The whole loop on Burn's operations alone comes where ours comes.
#[test]
fn of_a_training() {
    let data = split(Lengths { train: 256, validation: 100, test: 10 }, 1);
    let run = Run {
        train: &data.train,
        validation: &data.validation,
        teacher: None,
        checkpoints: None,
        threads: Some(2),
        device: Device::Cpu,
    };
    let config = TrainConfig { epochs: 2, learning_rate: 0.01, ..TrainConfig::default() };
    fn trained<E: Operators>(on: &E, run: &Run<'_>, config: &TrainConfig) -> (Graph, TrainReport) {
        let mut graph = zoo::lenet5(1);
        let report = Whole { graph: &mut graph, run, config, hooks: &mut () }.run(on).unwrap();
        (graph, report)
    }
    let (ours, report) = trained(&Cpu::default(), &run, &config);
    let (burns, of_burn) = trained(&plain(), &run, &config);
    for (ours, burns) in report.epochs.iter().zip(&of_burn.epochs) {
        assert!((ours.loss - burns.loss).abs() < 1e-3, "{ours:?}\n{burns:?}");
        assert!((ours.validation_loss - burns.validation_loss).abs() < 1e-2);
    }
    for (ours, burns) in ours.params.iter().zip(&burns.params) {
        let pairs = ours.values().iter().zip(burns.values());
        let (mut apart, mut all) = (0.0, 0.0);
        for (ours, burns) in pairs {
            apart += (ours - burns).powi(2);
            all += burns.powi(2);
        }
        assert!(apart <= 1e-4 * all, "{}: {apart} of {all}", burns.name);
    }
}
