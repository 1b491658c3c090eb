//! Files of the zoo's networks: what is in them, read back, computes what the graph says.

use embdl_core::op::Op;
use embdl_graph::{Graph, fold_batch_norm, fuse_activations, zoo};
use embdl_vendor::{VendorError, caffe, ir};

fn network(name: &str) -> Graph {
    // Weights count for one network alone, which is small.
    let graph = zoo::zeroed(name).or_else(|| zoo::by_name(name, 1));
    let mut graph = graph.unwrap();
    fold_batch_norm(&mut graph).unwrap();
    fuse_activations(&mut graph).unwrap();
    graph
}

/// The value of an attribute in a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    tag[start..].split('"').next()
}

#[test]
fn every_layer_of_the_ir_has_its_inputs_and_every_constant_its_bytes() {
    for name in
        ["lenet-300-100", "lenet-5", "alexnet-caffe", "squeezenet-1.1", "mobilenet-v2-0.35@96"]
    {
        let graph = network(name);
        let files = ir::write(&graph).unwrap();
        let lines = || files.xml.lines().map(str::trim);
        let layers = lines().filter(|line| line.starts_with("<layer ")).count();
        let mut fed = vec![0_usize; layers];
        for edge in lines().filter(|line| line.starts_with("<edge ")) {
            let number = |name| attribute(edge, name).unwrap().parse::<usize>().unwrap();
            let (from, to) = (number("from-layer"), number("to-layer"));
            assert!(from < to && to < layers, "{name}: {edge}");
            fed[to] += 1;
        }
        let mut end = 0;
        let mut elements = 0;
        let mut kinds = std::collections::BTreeMap::<String, usize>::new();
        for line in lines() {
            if line.starts_with("<layer ") {
                let [id, kind] = ["id", "type"].map(|key| attribute(line, key).unwrap());
                *kinds.entry(kind.to_owned()).or_default() += 1;
                assert_eq!(attribute(line, "version"), Some("opset1"));
                let inputs = fed[id.parse::<usize>().unwrap()];
                let expected = match kind {
                    "Parameter" | "Const" => 0..=0,
                    "Convolution" | "GroupConvolution" | "MatMul" | "Add" | "LRN" | "Reshape" => {
                        2..=2
                    }
                    "Concat" => 2..=9,
                    _ => 1..=1,
                };
                assert!(expected.contains(&inputs), "{name}: {inputs} inputs of {line}");
            } else if let Some(offset) = attribute(line, "offset") {
                let offset: usize = offset.parse().unwrap();
                let size: usize = attribute(line, "size").unwrap().parse().unwrap();
                let shape: usize = attribute(line, "shape")
                    .unwrap()
                    .split(',')
                    .map(|dim| dim.parse::<usize>().unwrap())
                    .product();
                let bytes = if attribute(line, "element_type") == Some("f16") { 2 } else { 8 };
                assert_eq!(size, shape * bytes);
                assert!(offset >= end && offset.is_multiple_of(8), "{name}: {line}");
                end = offset + size;
                elements += if bytes == 2 { shape } else { 0 };
            }
        }
        assert_eq!(files.bin.len(), end, "{name}");
        assert_eq!(elements, graph.param_count(), "{name}");
        let count = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
        let convolutions =
            graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv2d(_))).count();
        assert_eq!(count("Convolution") + count("GroupConvolution"), convolutions, "{name}");
        assert_eq!((count("Parameter"), count("Result")), (1, 1), "{name}");
    }
}

#[test]
fn flattened_maps_keep_their_weights() {
    // The first fully connected layer of LeNet-5 reads a map of 4x4 pixels.
    let graph = network("lenet-5");
    let files = caffe::write(&graph).unwrap();
    let layers = caffe::read(&files.caffemodel).unwrap();
    let dense = layers.iter().find(|layer| layer.kind == "InnerProduct").unwrap();
    let node = graph.nodes.iter().find(|node| matches!(node.op, Op::Dense(_))).unwrap();
    let weights = graph.params[node.weight.unwrap()].effective();
    let map = graph.producer(node.inputs[0]).unwrap().inputs[0];
    let shape = graph.values[map].shape;
    let [h, w, c] = [1, 2, 3].map(|axis| shape.dim(axis));
    assert!(h * w > 1 && c > 1);
    let Op::Dense(_) = node.op else { unreachable!() };
    let features = h * w * c;
    assert_eq!(dense.blobs[0].shape, [weights.len() / features, features]);
    for (row, channel, y, x) in [(0, 0, 0, 0), (3, 5, 1, 2), (7, c - 1, h - 1, w - 1)] {
        let own = weights[row * features + (y * w + x) * c + channel];
        let theirs = dense.blobs[0].data[row * features + (channel * h + y) * w + x];
        assert_eq!(own, theirs);
    }
    let convolution = &layers[0];
    let node = &graph.nodes[0];
    let weights = &graph.params[node.weight.unwrap()];
    let [co, kh, kw, ci] = [0, 1, 2, 3].map(|axis| weights.shape.dim(axis));
    assert_eq!(convolution.blobs[0].shape, [co, ci, kh, kw]);
    let own = weights.effective()[((2 * kh + 1) * kw + 3) * ci];
    assert_eq!(convolution.blobs[0].data[(2 * ci * kh + 1) * kw + 3], own);
    assert_eq!(convolution.blobs[1].shape, [co]);
}

#[test]
fn caffe_names_every_layer_with_weights_and_every_input() {
    for name in ["lenet-5", "alexnet-caffe", "squeezenet-1.0"] {
        let files = caffe::write(&network(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let layers = caffe::read(&files.caffemodel).unwrap();
        assert!(!layers.is_empty());
        for layer in &layers {
            let line = format!("layer {{ name: \"{}\" type: \"{}\"", layer.name, layer.kind);
            assert_eq!(files.prototxt.matches(&line).count(), 1, "{name}: {line}");
        }
        let mut known = std::collections::HashSet::new();
        for line in files.prototxt.lines().filter(|line| line.starts_with("layer ")) {
            let after = |key: &'static str| {
                line.match_indices(key).map(move |(at, _)| {
                    line[at + key.len()..].split('"').next().unwrap().to_owned()
                })
            };
            for bottom in after(" bottom: \"") {
                assert!(known.contains(&bottom), "{name}: {bottom} in {line}");
            }
            known.extend(after(" top: \""));
        }
        assert!(known.contains("data"), "{name}");
    }
}

#[test]
fn what_a_file_cannot_say_is_an_error_that_names_the_node() {
    // Caffe rounds the extents of pools up, torchvision's AlexNet has them rounded down.
    let error = caffe::write(&network("mobilenet-v2-0.35@96")).unwrap_err();
    assert!(error.to_string().contains("bounded ReLU"), "{error}");
    let mut graph = network("lenet-5");
    let param = graph.nodes[0].weight.unwrap();
    graph.params[param].values_mut()[0] = 1e6;
    let error = ir::write(&graph).unwrap_err();
    assert!(matches!(error, VendorError::WeightRange { value, .. } if value == 1e6), "{error}");
}
