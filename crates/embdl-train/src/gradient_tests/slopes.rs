//! Gradients of our operators against the slope of the loss over a small step.

use embdl_core::quant::Quant;
use embdl_graph::{Graph, ParamRole};

use super::networks::{self, Cases};
use super::{gradients, mean_loss, noise, spread};
use crate::cpu::Cpu;

/// Compares every gradient with a slope, normalizing by statistics of the batch and by running ones.
fn check(cases: Cases) {
    for (name, graph) in cases {
        let modes = if graph.nodes.iter().any(|node| node.stats.is_some()) {
            &[true, false][..]
        } else {
            &[true][..]
        };
        for &is_training in modes {
            let wrong = wrong(&graph, is_training);
            assert!(wrong.is_empty(), "{name}: {} wrong, such as {:?}", wrong.len(), &wrong[..1]);
        }
    }
}

fn wrong(graph: &Graph, is_training: bool) -> Vec<String> {
    const STEP: f32 = 4e-3;
    let image = spread(2 * graph.values[graph.inputs[0]].shape.len());
    let (_, found) = gradients(&Cpu::default(), graph, &image, is_training);
    let mut wrong = Vec::new();
    let mut compare = |what: String, found: f32, slope: f64| {
        if (f64::from(found) - slope).abs() > 2e-3 + 0.02 * slope.abs() {
            wrong.push(format!("{what}: {found} but slope {slope}"));
        }
    };
    for at in 0..image.len() {
        let shifted = |by: f32| {
            let mut image = image.clone();
            image[at] += by;
            mean_loss(graph, &image, is_training)
        };
        let slope = (shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP);
        compare(format!("image[{at}]"), found[0][at], slope);
    }
    for (id, param) in graph.params.iter().enumerate() {
        assert_eq!(found[id + 1].is_empty(), param.role == ParamRole::Statistic, "{}", param.name);
        for (at, &gradient) in found[id + 1].iter().enumerate() {
            let shifted = |by: f32| {
                let mut graph = graph.clone();
                graph.params[id].values_mut()[at] += by;
                mean_loss(&graph, &image, is_training)
            };
            let slope = (shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP);
            compare(format!("{}[{at}]", param.name), gradient, slope);
        }
    }
    wrong
}

#[test]
fn of_convolutions() {
    check(networks::convolutions());
}

#[test]
fn of_activations() {
    check(networks::activations());
}

#[test]
fn of_pools() {
    check(networks::pools());
}

#[test]
fn of_functions() {
    check(networks::functions());
}

#[test]
fn of_products() {
    check(networks::products());
}

#[test]
fn of_normalizations() {
    check(networks::normalizations());
}

#[test]
fn of_layouts() {
    check(networks::layouts());
}

/// Levels have no slope: the gradient is that without them where the value is inside of their range, else zero.
#[test]
fn levels_pass_gradients_straight_through() {
    let (_, graph) = networks::activations().swap_remove(1);
    let image = noise(2 * graph.values[graph.inputs[0]].shape.len(), 5);
    let mut held = graph.clone();
    // From -0.5 to 0.77.
    held.values[graph.inputs[0]].quant = Some(Quant { scale: 0.005, zero_point: 100 });
    let (_, free) = gradients(&Cpu::default(), &graph, &image, true);
    let (_, found) = gradients(&Cpu::default(), &held, &image, true);
    for ((x, free), found) in image.iter().zip(&free[0]).zip(&found[0]) {
        let is_inside = *x > -0.5 && *x < 0.77;
        // The levels move the logits a little.
        let expected = if is_inside { *free } else { 0.0 };
        assert!((found - expected).abs() < 0.02 + 0.1 * expected.abs(), "{x}: {found}, {free}");
        assert!(is_inside || *found == 0.0, "{x}");
    }
    assert!(found[0].contains(&0.0));
}
