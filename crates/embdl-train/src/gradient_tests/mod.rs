//! Every operator with its gradient: against finite differences, against Burn's own operations, against its definition.

mod agreement;
mod definition;
mod networks;
mod slopes;

use burn_flex::Flex;
use embdl_core::op::{Activation, Op, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder, ParamRole, ValueId};

use crate::cpu::Cpu;
use crate::kernels::loss::{Loss, Targets, loss};
use crate::network::{Network, Passed};
use crate::operators::{Operators, Plain, Tensor, constant, leaf};
use crate::storage::{elements, flat};

/// Burn's flex backend without our kernels: what runs on any device.
fn plain() -> Plain<Flex> {
    Plain(Default::default())
}

/// Numbers in -1 ..= 1.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let unit = (state >> 8) as f32 / 16_777_216.0;
        2.0 * unit - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Numbers in -1 ..= 1, none so near to another or to zero that a step would make another one the largest or pass a
/// kink.
fn spread(len: usize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred elements")]
    let number = |at: usize| (2.0 * ((at * 61 + 7) % len) as f32 + 1.0) / len as f32 - 1.0;
    (0..len).map(number).collect()
}

/// A graph of one input `[1, h, w, c]`, the operators that `build` adds, and a dense layer of three classes.
fn graph(input: Shape, build: impl Fn(&mut GraphBuilder, ValueId) -> ValueId) -> Graph {
    let mut b = GraphBuilder::new("test", 3);
    let image = b.input("image", input);
    let value = build(&mut b, image);
    let features = if b.shape(value).rank() == 4 {
        b.op("flatten", Op::Flatten, &[value]).unwrap()
    } else {
        value
    };
    let logits = b.dense("classes", features, 3, Activation::None).unwrap();
    let mut graph = b.finish(&[logits]).unwrap();
    for (seed, param) in (9..).zip(&mut graph.params) {
        let (len, role) = (param.len(), param.role);
        for (w, noise) in param.values_mut().iter_mut().zip(noise(len, seed)) {
            // Variances stay positive.
            *w += if role == ParamRole::Statistic { 0.2 * noise.abs() } else { 0.3 * noise };
        }
    }
    graph
}

const LABELS: [u8; 2] = [2, 0];

fn tensors<E: Operators>(on: &E, graph: &Graph) -> Vec<Tensor<E::Burn>> {
    let upload =
        |param: &embdl_graph::Param| leaf(on.upload(&flat(param.effective()), param.shape));
    graph.params.iter().map(upload).collect()
}

fn image_of<E: Operators>(on: &E, graph: &Graph, image: &[f32]) -> Tensor<E::Burn> {
    let shape = graph.values[graph.inputs[0]].shape.with_batch(2);
    leaf(on.upload(&flat(image.to_vec()), shape))
}

fn run<E: Operators>(
    on: &E,
    graph: &Graph,
    params: &[Tensor<E::Burn>],
    image: Tensor<E::Burn>,
    is_training: bool,
) -> (Passed<E::Burn>, Loss) {
    let network = Network { graph, params, batch: 2, is_training };
    let passed = network.forward(on, image, None).unwrap();
    let classes = graph.values[graph.outputs[0]].shape.dim(1);
    let targets = Targets { labels: &LABELS, smoothing: 0.1, teacher: None };
    let found = loss(&on.download(passed.logits.primitive()).unwrap(), classes, targets);
    (passed, found)
}

/// Gradients of the loss for the image and all parameters, by the tape; empty where there is none.
fn gradients<E: Operators>(
    on: &E,
    graph: &Graph,
    image: &[f32],
    is_training: bool,
) -> (f64, Vec<Vec<f32>>) {
    let mut leaves = vec![image_of(on, graph, image)];
    leaves.extend(tensors(on, graph));
    let (passed, found) = run(on, graph, &leaves[1..], leaves[0].clone(), is_training);
    let mean = found.mean;
    let gradients = on.gradients(&passed.logits, found.gradient, &leaves).unwrap();
    let values = gradients
        .iter()
        .map(|found| found.as_ref().map_or_else(Vec::new, |found| elements(found).to_vec()));
    (mean, values.collect())
}

fn mean_loss(graph: &Graph, image: &[f32], is_training: bool) -> f64 {
    let on = Cpu::default();
    let params: Vec<_> =
        tensors(&on, graph).iter().map(|param| constant(param.primitive().clone())).collect();
    run(&on, graph, &params, image_of(&on, graph, image), is_training).1.mean
}

fn window(kernel: [u32; 2], stride: [u32; 2], dilation: [u32; 2], pads: [u32; 4]) -> Window {
    Window { kernel, stride, dilation, pads }
}

/// Windows that differ in every attribute.
fn windows() -> [Window; 6] {
    [
        window([3, 3], [1, 1], [1, 1], [0; 4]),
        window([3, 2], [2, 1], [1, 1], [1, 1, 1, 1]),
        window([2, 3], [1, 2], [2, 1], [1, 0, 1, 0]),
        window([1, 1], [1, 1], [1, 1], [0; 4]),
        window([3, 3], [1, 1], [1, 2], [0, 2, 1, 1]),
        window([1, 1], [2, 2], [1, 1], [0; 4]),
    ]
}
