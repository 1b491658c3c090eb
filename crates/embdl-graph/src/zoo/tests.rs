//! Sizes and computation of the zoo against what was published.

use super::*;
use crate::fold::{fold_batch_norm, fuse_activations};
use crate::graph::Graph;
use crate::validate::GraphError;

fn size(name: &str) -> (usize, u64) {
    let graph = zeroed(name).unwrap_or_else(|| panic!("{name} is a network"));
    (graph.param_count(), graph.macs())
}

/// Parameters exactly as torchvision (AlexNet, VGG, MobileNet v2, SqueezeNet), Caffe's `bvlc_alexnet` and, for
/// MobileNet v1, the 4.24 M of TensorFlow-Slim (its biases and factors of batch normalization included) have them.
#[test]
fn published_parameters() {
    let published = [
        ("alexnet-caffe", 60_965_224),
        ("alexnet", 61_100_840),
        ("vgg-16", 138_357_544),
        ("vgg-16-bn", 138_365_992),
        ("mobilenet-v1", 4_231_976),
        ("mobilenet-v2", 3_504_872),
        ("squeezenet-1.0", 1_248_424),
        ("squeezenet-1.1", 1_235_496),
    ];
    for (name, parameters) in published {
        assert_eq!(size(name).0, parameters, "{name}");
    }
}

/// Multiply-accumulates in millions. Sources: Sze et al. 2017, "Efficient Processing of Deep Neural Networks", table II
/// (AlexNet 724, VGG-16 15.5 G); torchvision's table of models (AlexNet 0.71 G, SqueezeNet 0.82 G and 0.35 G); Howard
/// et al. 2017, tables 6 and 7; Sandler et al. 2018, table 4, and the authors' list of models.
#[test]
fn published_computation() {
    let published = [
        ("alexnet-caffe", 724.0),
        ("alexnet", 714.0),
        ("vgg-16", 15_470.0),
        ("vgg-16-bn", 15_470.0),
        ("mobilenet-v1", 569.0),
        ("mobilenet-v1-0.75", 325.0),
        ("mobilenet-v1-0.5", 149.0),
        ("mobilenet-v1-0.25", 41.0),
        ("mobilenet-v1@192", 418.0),
        ("mobilenet-v1@128", 186.0),
        ("mobilenet-v2", 300.0),
        ("mobilenet-v2-1.4", 582.0),
        ("mobilenet-v2-0.75", 209.0),
        ("mobilenet-v2-0.5", 97.0),
        ("mobilenet-v2-0.35", 59.0),
        ("mobilenet-v2@160", 154.0),
        ("mobilenet-v2@96", 56.0),
        ("squeezenet-1.0", 819.0),
        ("squeezenet-1.1", 349.0),
    ];
    for (name, millions) in published {
        let found = size(name).1 as f64 / 1e6;
        // Published figures are rounded to whole millions, some to three digits.
        assert!((found - millions).abs() <= f64::max(0.55, millions * 0.004), "{name}: {found}");
    }
}

#[test]
fn small_forms_have_the_sizes_of_the_literature() {
    // Li et al. 2017: 15 M parameters, 313 M.
    assert_eq!(size("vgg-16-cifar10"), (14_982_474, 313_463_808));
    let parameters = |name| size(name).0;
    assert_eq!(parameters("vgg-16-cifar100"), 14_982_474 + 90 * 513);
    assert_eq!(parameters("mobilenet-v2-cifar10"), 2_236_682);
    assert_eq!(parameters("mobilenet-v1-cifar10"), 3_217_226);
    insta::assert_snapshot!(table(), @r"
    alexnet-cifar10: 23272266 parameters, 62742528 MACs
    alexnet-caffe-cifar10: 23125898 parameters, 60604416 MACs
    vgg-16-cifar10: 14982474 parameters, 313463808 MACs
    vgg-16-bn-cifar10: 14990922 parameters, 313463808 MACs
    mobilenet-v1-cifar10: 3217226 parameters, 46354432 MACs
    mobilenet-v2-cifar10: 2236682 parameters, 87976448 MACs
    squeezenet-1.0-cifar10: 729034 parameters, 52543488 MACs
    squeezenet-1.1-cifar10: 727626 parameters, 23511040 MACs
    ");
}

fn table() -> String {
    let rows = NAMES.iter().filter(|name| name.ends_with("-cifar10")).map(|name| {
        let (parameters, macs) = size(name);
        format!("{name}: {parameters} parameters, {macs} MACs\n")
    });
    rows.collect()
}

#[test]
fn published_widths() {
    // Sandler et al., list of models: 1.66 M for 0.35, 6.06 M for 1.4; Howard et al. 2017, table 6: 2.6, 1.3, 0.5 M.
    let published = [
        ("mobilenet-v2-0.35", 1.66),
        ("mobilenet-v2-1.4", 6.11),
        ("mobilenet-v1-0.75", 2.59),
        ("mobilenet-v1-0.5", 1.33),
        ("mobilenet-v1-0.25", 0.47),
    ];
    for (name, millions) in published {
        let found = size(name).0 as f64 / 1e6;
        assert!((found - millions).abs() < 0.03, "{name}: {found}");
    }
}

#[test]
fn make_divisible_keeps_nine_tenths() {
    assert_eq!([11.2, 4.0, 84.0, 33.6].map(|value| make_divisible(value, 8)), [16, 8, 88, 32]);
    assert!((1..2000).all(|value| {
        let found = make_divisible(f64::from(value), 8);
        found.is_multiple_of(8) && found as f64 >= 0.9 * f64::from(value)
    }));
}

#[test]
fn names_are_parsed_or_refused() {
    for name in NAMES.iter().filter(|name| !name.starts_with("lenet")) {
        let graph = zeroed(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(graph.name, *name);
        assert_eq!(graph.validate(), Ok(()), "{name}");
        let classes = if name.ends_with("100") {
            100
        } else if name.ends_with("10") {
            10
        } else {
            1000
        };
        assert_eq!(graph.values[graph.outputs[0]].shape.dim(1), classes, "{name}");
    }
    assert_eq!(family("mobilenet-v2-0.35-cifar10@48"), "mobilenet-v2");
    assert_eq!(["vgg-16-bn", "lenet-5", "other"].map(family), ["vgg-16-bn", "lenet-5", "other"]);
    let scores = |name| zeroed(name).map(|graph| graph.values[graph.outputs[0]].shape.dim(1));
    assert_eq!(scores("alexnet-0.125-classes5@64"), Some(5));
    assert_eq!(scores("squeezenet-1.1-cifar10-classes3"), Some(3));
    let side = |name| by_name(name, 1).map(|graph: Graph| graph.values[0].shape.dim(1));
    assert_eq!(side("squeezenet-1.1-0.25@64"), Some(64));
    assert_eq!(side("vgg-16-bn-0.0625-cifar100"), Some(32));
    for wrong in [
        "",
        "vgg",
        "vgg-16-",
        "vgg-160",
        "vgg-16-0",
        "vgg-16-nan",
        "vgg-16-9",
        "vgg-16@",
        "vgg-16@8",
        "vgg-16@99999",
        "vgg-16-cifar10-0.5",
        "vgg-16-cifar10-cifar100",
        "vgg-16-classes0",
        "vgg-16-classes",
        "vgg-16-classes5-cifar10",
        "mobilenet-v2-1e9",
        "lenet-5@32",
        "alexnet-bn",
        "squeezenet-1",
        "squeezenet-1.2",
    ] {
        assert_eq!(side(wrong), None, "{wrong:?}");
    }
}

#[test]
fn seeds_decide_the_weights() -> Result<(), GraphError> {
    let net = |seed| squeezenet_1_1(&Options::cifar(10, seed).with_width(0.25));
    assert_eq!(net(7)?, net(7)?);
    assert_ne!(net(7)?, net(8)?);
    Ok(())
}

#[test]
fn folded_networks_have_only_layers_with_activations() {
    for name in ["vgg-16-bn-0.125-cifar10", "mobilenet-v1-0.25-cifar10", "mobilenet-v2-0.35@96"] {
        let mut graph = by_name(name, 1).unwrap();
        let macs = graph.macs();
        fold_batch_norm(&mut graph).unwrap();
        fuse_activations(&mut graph).unwrap();
        assert_eq!(graph.macs(), macs, "{name}");
        let stray: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
        assert!(!stray.contains(&"batch-norm") && !stray.contains(&"relu6"), "{name}: {stray:?}");
        assert!(graph.layers().all(|(node, _)| node.bias.is_some()), "{name}");
    }
}

#[test]
fn a_mobilenet_reads_well() {
    let mut graph = by_name("mobilenet-v2-0.35-cifar10", 1).unwrap();
    fold_batch_norm(&mut graph).unwrap();
    fuse_activations(&mut graph).unwrap();
    let text = graph.to_string();
    let head: Vec<&str> = text.lines().take(12).collect();
    insta::assert_snapshot!(head.join("\n"), @r"
    mobilenet-v2-0.35-cifar10 (401898 parameters, 15611136 MACs)
      input image [1x32x32x3]
      conv1 = conv2d(image) [1x32x32x16] then Relu6, weight [16x3x3x3]
      block1.depthwise = conv2d(conv1) [1x32x32x16] then Relu6, weight [16x3x3x1]
      block1.project = conv2d(block1.depthwise) [1x32x32x8], weight [8x1x1x16]
      block2.expand = conv2d(block1.project) [1x32x32x48] then Relu6, weight [48x1x1x8]
      block2.depthwise = conv2d(block2.expand) [1x32x32x48] then Relu6, weight [48x3x3x1]
      block2.project = conv2d(block2.depthwise) [1x32x32x8], weight [8x1x1x48]
      block2.add = add(block1.project, block2.project) [1x32x32x8]
      block3.expand = conv2d(block2.add) [1x32x32x48] then Relu6, weight [48x1x1x8]
      block3.depthwise = conv2d(block3.expand) [1x32x32x48] then Relu6, weight [48x3x3x1]
      block3.project = conv2d(block3.depthwise) [1x32x32x8], weight [8x1x1x48]
    ");
}
