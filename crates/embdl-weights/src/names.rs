//! What torchvision calls the layers of the zoo.

use std::collections::BTreeMap;

use embdl_graph::Graph;

/// For each node with parameters the name of its module in PyTorch: `"conv1"` is `"features.0.0"` in a MobileNet v2.
pub type Names = BTreeMap<String, String>;

/// The names for `graph`, by the network that its name begins with. Nodes that no table knows keep their own names, so
/// a file may also use those.
#[must_use]
pub fn names(graph: &Graph) -> Names {
    let table = table(&graph.name);
    let has_parameters = graph.nodes.iter().filter(|node| node.weight.is_some());
    has_parameters
        .map(|node| {
            let module = table.get(&node.name).unwrap_or(&node.name);
            (node.name.clone(), module.clone())
        })
        .collect()
}

/// Source: the modules of torchvision's `alexnet`, `vgg16`, `vgg16_bn`, `mobilenet_v2`, `squeezenet1_0` and `1_1`.
fn table(network: &str) -> Names {
    // Longer names before those that they begin with.
    type Table = fn() -> Vec<(String, String)>;
    let tables: [(&str, Table); 7] = [
        ("alexnet-caffe", Vec::new),
        ("alexnet", || {
            with_classifier(
                &[1, 4, 6],
                features("conv", &[(1, 0), (2, 3), (3, 6), (4, 8), (5, 10)]),
            )
        }),
        ("vgg-16-bn", || with_classifier(&[0, 3, 6], vgg(true))),
        ("vgg-16", || with_classifier(&[0, 3, 6], vgg(false))),
        ("mobilenet-v2", mobilenet_v2),
        ("squeezenet-1.0", || squeezenet([3, 4, 5, 7, 8, 9, 10, 12])),
        ("squeezenet-1.1", || squeezenet([3, 4, 6, 7, 9, 10, 11, 12])),
    ];
    let table = tables.into_iter().find(|(name, _)| network.starts_with(name));
    table.map(|(_, table)| table().into_iter().collect()).unwrap_or_default()
}

fn pair(node: impl Into<String>, module: impl Into<String>) -> (String, String) {
    (node.into(), module.into())
}

fn features(node: &str, numbers: &[(usize, usize)]) -> Vec<(String, String)> {
    let name =
        |&(at, module): &(usize, usize)| pair(format!("{node}{at}"), format!("features.{module}"));
    numbers.iter().map(name).collect()
}

/// Adds the three dense layers, between which there is dropout and relu.
fn with_classifier(
    modules: &[usize; 3],
    mut names: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let dense = ["fc6", "fc7", "fc8"].iter().zip(modules);
    names.extend(dense.map(|(node, module)| pair(*node, format!("classifier.{module}"))));
    names
}

/// Convolution, batch normalization if there is any, relu; a pool after each block.
fn vgg(has_norm: bool) -> Vec<(String, String)> {
    let mut names = Vec::new();
    let mut module = 0;
    for (block, layers) in [(1, 2), (2, 2), (3, 3), (4, 3), (5, 3)] {
        for layer in 1..=layers {
            let node = format!("conv{block}_{layer}");
            names.push(pair(node.clone(), format!("features.{module}")));
            if has_norm {
                names.push(pair(format!("{node}.norm"), format!("features.{}", module + 1)));
            }
            module += if has_norm { 3 } else { 2 };
        }
        module += 1;
    }
    names
}

/// `modules` are those of fire modules 2 to 9.
fn squeezenet(modules: [usize; 8]) -> Vec<(String, String)> {
    let mut names = vec![pair("conv1", "features.0"), pair("conv10", "classifier.1")];
    for (fire, module) in (2..).zip(modules) {
        for part in ["squeeze", "expand1x1", "expand3x3"] {
            names.push(pair(format!("fire{fire}.{part}"), format!("features.{module}.{part}")));
        }
    }
    names
}

fn mobilenet_v2() -> Vec<(String, String)> {
    let mut names = vec![pair("fc", "classifier.1")];
    let mut add = |node: &str, conv: String, norm: String| {
        names.push(pair(node, conv));
        names.push(pair(format!("{node}.norm"), norm));
    };
    for (node, module) in [("conv1", 0), ("conv2", 18)] {
        add(node, format!("features.{module}.0"), format!("features.{module}.1"));
    }
    for block in 1..=17 {
        let [node, conv] = [format!("block{block}"), format!("features.{block}.conv")];
        // The first block does not expand; a convolution with relu6 is a module with two parts.
        let parts: &[&str] = if block == 1 { &["depthwise"] } else { &["expand", "depthwise"] };
        for (at, part) in parts.iter().enumerate() {
            add(&format!("{node}.{part}"), format!("{conv}.{at}.0"), format!("{conv}.{at}.1"));
        }
        let at = parts.len();
        add(&format!("{node}.project"), format!("{conv}.{at}"), format!("{conv}.{}", at + 1));
    }
    names
}
