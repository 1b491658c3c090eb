//! Files that PyTorch wrote fill the graph that computes what PyTorch computed; others are refused with reasons.

use std::path::{Path, PathBuf};

use embdl_compress::{EncodeOptions, encode};
use embdl_core::format::{self, Limits};
use embdl_core::kernels::Reference;
use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::runtime::{LoadOptions, Runtime};
use embdl_core::tensor::{Shape, TensorMut, TensorRef};
use embdl_graph::{Graph, GraphBuilder, fold_batch_norm, zoo};
use embdl_weights::{WeightsError, expected, load};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The network of `generate.py`: a convolution with batch normalization, a depthwise one, a dense layer.
fn tiny() -> Graph {
    let mut b = GraphBuilder::new("tiny", 1);
    let window = Window::square(3, 1).padded(1);
    let conv = Conv2d { window, groups: 1, activation: Activation::None };
    let image = b.input("image", Shape::nhwc(1, 2, 3, 2));
    let x = b.conv2d_norm("conv", image, 4, conv).unwrap();
    let x = b.conv2d("depth", x, 4, Conv2d { groups: 4, ..conv }).unwrap();
    let x = b.op("flatten", Op::Flatten, &[x]).unwrap();
    let scores = b.dense("fc", x, 3, Activation::None).unwrap();
    b.finish(&[scores]).unwrap()
}

fn run(mut graph: Graph, input: &[f32]) -> Vec<f32> {
    fold_batch_norm(&mut graph).unwrap();
    let bytes = encode(&graph, EncodeOptions::default()).unwrap().bytes;
    let model = format::read(&bytes, &Limits::default()).unwrap();
    let mut session = Reference::runtime().load(&model, &LoadOptions::default()).unwrap();
    let mut scores = vec![0.0; session.outputs()[0].kind.shape.len()];
    session.run(&[TensorRef::F32(input)], &mut [TensorMut::F32(&mut scores)]).unwrap();
    scores
}

#[test]
fn every_kind_of_file_gives_what_pytorch_computes() {
    // Printed by generate.py, for the picture 0/12, 1/12, ... in PyTorch's order: channel, row, column.
    let expected = [-3_744.448_7_f32, 235.211_98, 4_214.872];
    let picture = |place: usize, channel: usize| (channel * 6 + place) as f32 / 12.0;
    let input: Vec<f32> = (0..12).map(|at| picture(at / 2, at % 2)).collect();
    for (file, prefix) in [
        ("zip.pth", ""),
        ("legacy.pth", ""),
        ("nested.pt", "state_dict.module."),
        ("tiny.safetensors", ""),
        ("half.safetensors", ""),
    ] {
        let mut graph = tiny();
        let loaded =
            load(&mut graph, &fixture(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!((loaded.tensors, loaded.prefix.as_str()), (9, prefix), "{file}");
        let scores = run(graph, &input);
        for (found, expected) in scores.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-5 * 4000.0, "{file}: {scores:?}");
        }
    }
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[test]
fn names_and_shapes_are_torchvisions() {
    // torchvision 0.29: FNV-1a of the sorted lines "NAME [SHAPE]\n" of state_dict(), counters left out.
    for (network, count, lines_hash) in [
        ("alexnet", 16, 0x8aef_27c5_a301_d050),
        ("vgg-16", 32, 0xc289_28e3_9d00_7d16),
        ("vgg-16-bn", 84, 0x6368_e90f_c807_17fb),
        ("mobilenet-v2", 262, 0xaf55_7b53_cb3d_00c9),
        ("squeezenet-1.0", 52, 0x77f6_3d8f_9f16_a555),
        ("squeezenet-1.1", 52, 0xb3e2_14f6_c586_3cf2),
    ] {
        let graph = zoo::zeroed(network).unwrap();
        let lines = expected(&graph).into_iter().map(|(name, shape)| format!("{name} {shape:?}\n"));
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        assert_eq!(lines.len(), count, "{network}");
        assert_eq!(hash(&lines.concat()), lines_hash, "{network}: {lines:?}");
    }
}

#[test]
fn what_does_not_fit_is_listed_and_changes_nothing() {
    let mut b = GraphBuilder::new("other", 1);
    let image = b.input("image", Shape::nhwc(1, 2, 3, 2));
    let conv = Conv2d { window: Window::square(3, 1), groups: 1, activation: Activation::None };
    let conv = Conv2d { window: conv.window.padded(1), ..conv };
    let x = b.conv2d("conv", image, 5, conv).unwrap();
    let x = b.op("flatten", Op::Flatten, &[x]).unwrap();
    let scores = b.dense("head", x, 3, Activation::None).unwrap();
    let mut graph = b.finish(&[scores]).unwrap();
    let before = graph.clone();
    let error = load(&mut graph, &fixture("zip.pth")).unwrap_err();
    assert_eq!(graph, before);
    let text = error.to_string();
    let WeightsError::Mismatch { missing, unexpected, mismatched } = error else {
        panic!("{text}")
    };
    assert_eq!(missing, ["conv.bias", "head.weight", "head.bias"]);
    assert_eq!(unexpected.len(), 8, "{unexpected:?}");
    assert_eq!(mismatched.len(), 1);
    assert!(
        text.contains("3 tensors not in the file: conv.bias, head.weight, head.bias"),
        "{text}"
    );
    assert!(text.contains("conv.weight [4, 2, 3, 3] instead of [5, 2, 3, 3]"), "{text}");
}
