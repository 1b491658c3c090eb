//! Post-training quantization holds few copies of the weights: graphs share what they did not change. It runs in a process
//! of its own, which is this program again; Linux says the peak.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "what was measured")]

use embdl_compress::{PostTraining, Samples, Use, quantize_post_training};
use embdl_core::kernels::Reference;
use embdl_core::op::{Activation, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder};
use embdl_testkit::{run_child, status_bytes};

/// Set where the child is to measure.
const CHILD: &str = "EMBDL_MEMORY_CHILD";

/// Much weight and little work, as the dense layers of AlexNet and VGG-16 have it.
fn network() -> Graph {
    let mut builder = GraphBuilder::new("heavy", 1);
    let image = builder.input("image", Shape::nhwc(1, 16, 16, 8));
    let mut x = builder.op("flat", Op::Flatten, &[image]).expect("a row");
    for name in ["fc1", "fc2", "fc3", "fc4"] {
        x = builder.dense(name, x, 1024, Activation::Relu).expect("it fits");
    }
    let scores = builder.dense("fc5", x, 10, Activation::None).expect("it fits");
    builder.finish(&[scores]).expect("a valid graph")
}

/// The child's part; does nothing where nobody asks.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut graph = network();
    let len = graph.values[graph.inputs[0]].shape.len();
    let pixels: Vec<f32> =
        (0_u16..).map(|at| f32::from(at % 255) / 128.0 - 1.0).take(len).collect();
    let samples = Samples::new(graph.values[graph.inputs[0]].shape, pixels).expect("one sample");
    let settings = PostTraining { equalize: Use::Always, ..PostTraining::default() };
    quantize_post_training(&mut graph, &Reference::runtime(), &samples, &settings, &mut |_| ())
        .expect("it is quantized");
    let (peak, weights) = (status_bytes("VmHWM:"), graph.fp32_bytes());
    eprintln!("PEAK {peak} bytes for weights of {weights}");
}

#[test]
fn weights_are_held_in_few_copies() {
    let text = run_child(&[(CHILD, "1")]);
    eprintln!("{text}");
    let line = text.lines().find(|line| line.starts_with("PEAK")).expect("the child says it");
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // The network, the equalized one, for a run its bytes and the session's, and what a layer takes on the way.
    assert!(numbers[0] < numbers[1] * 6, "{line}");
}
