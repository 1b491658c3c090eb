//! Names of networks: `FAMILY[-WIDTH][-cifar10|-cifar100][-classesN][@PIXELS]`, such as `mobilenet-v2-0.35@96`.

use super::{
    Images, Options, alexnet, alexnet_caffe, lenet5, lenet300, mobilenet_v1, mobilenet_v2,
    squeezenet_1_0, squeezenet_1_1, vgg16, vgg16_bn,
};
use crate::graph::Graph;
use crate::validate::GraphError;

/// Networks that [`by_name`] knows. All but the LeNets also take a width, a number of classes, and `@` with a resolution:
/// `vgg-16-0.25-cifar100`, `mobilenet-v2-0.35@96`, `squeezenet-1.1-cifar10-classes3`.
pub const NAMES: [&str; 26] = [
    "lenet-300-100",
    "lenet-5",
    "alexnet",
    "alexnet-cifar10",
    "alexnet-cifar100",
    "alexnet-caffe",
    "alexnet-caffe-cifar10",
    "alexnet-caffe-cifar100",
    "vgg-16",
    "vgg-16-cifar10",
    "vgg-16-cifar100",
    "vgg-16-bn",
    "vgg-16-bn-cifar10",
    "vgg-16-bn-cifar100",
    "mobilenet-v1",
    "mobilenet-v1-cifar10",
    "mobilenet-v1-cifar100",
    "mobilenet-v2",
    "mobilenet-v2-cifar10",
    "mobilenet-v2-cifar100",
    "squeezenet-1.0",
    "squeezenet-1.0-cifar10",
    "squeezenet-1.0-cifar100",
    "squeezenet-1.1",
    "squeezenet-1.1-cifar10",
    "squeezenet-1.1-cifar100",
];

type Builder = fn(&Options) -> Result<Graph, GraphError>;

/// Longer names before those that they begin with.
const FAMILIES: [(&str, Builder); 8] = [
    ("alexnet-caffe", alexnet_caffe),
    ("alexnet", alexnet),
    ("vgg-16-bn", vgg16_bn),
    ("vgg-16", vgg16),
    ("mobilenet-v1", mobilenet_v1),
    ("mobilenet-v2", mobilenet_v2),
    ("squeezenet-1.0", squeezenet_1_0),
    ("squeezenet-1.1", squeezenet_1_1),
];

/// The largest factor on channels that a name may ask for.
const MAX_WIDTH: f64 = 4.0;
const MAX_PIXELS: usize = 1024;
const MAX_CLASSES: usize = 100_000;

/// The network called `name` with initial weights from `seed`; `None` for names that are not known, and for widths and
/// resolutions that make no network.
#[must_use]
pub fn by_name(name: &str, seed: u64) -> Option<Graph> {
    match name {
        "lenet-300-100" => Some(lenet300(seed)),
        "lenet-5" => Some(lenet5(seed)),
        _ => build(name, Some(seed)),
    }
}

/// The network called `name` with all weights zero, to be filled from a file; the LeNets are not among them.
#[must_use]
pub fn zeroed(name: &str) -> Option<Graph> {
    build(name, None)
}

/// The network that `name` is a form of: `mobilenet-v2` of `mobilenet-v2-0.35-cifar10@48`. Of names that are not known,
/// the name itself.
#[must_use]
pub fn family(name: &str) -> &str {
    parse(name).map_or(name, |(family, ..)| family)
}

fn build(name: &str, seed: Option<u64>) -> Option<Graph> {
    let (_, builder, options) = parse(name)?;
    let mut graph = builder(&Options { seed, ..options }).ok()?;
    name.clone_into(&mut graph.name);
    Some(graph)
}

/// Family, builder and options that a name stands for.
fn parse(name: &str) -> Option<(&'static str, Builder, Options)> {
    let (body, resolution) = match name.split_once('@') {
        None => (name, None),
        Some((body, pixels)) => {
            let pixels: usize = pixels.parse().ok().filter(|pixels| *pixels <= MAX_PIXELS)?;
            (body, Some(pixels))
        }
    };
    let (family, builder, suffixes) = FAMILIES.into_iter().find_map(|(family, builder)| {
        let rest = body.strip_prefix(family)?;
        (rest.is_empty() || rest.starts_with('-')).then_some((family, builder, rest))
    })?;
    let mut options = Options { resolution, ..Options::imagenet(0) };
    let mut suffixes = suffixes.split('-').skip(1).peekable();
    if let Some(width) = suffixes.next_if(|text| text.starts_with(|c: char| c.is_ascii_digit())) {
        options.width = width.parse().ok().filter(|width| 0.0 < *width && *width <= MAX_WIDTH)?;
    }
    for (text, classes) in [("cifar10", 10), ("cifar100", 100)] {
        if suffixes.next_if_eq(&text).is_some() {
            (options.images, options.classes) = (Images::Small, classes);
            break;
        }
    }
    if let Some(classes) = suffixes.next_if(|text| text.starts_with("classes")) {
        let classes = classes["classes".len()..].parse().ok();
        options.classes = classes.filter(|classes| (1..=MAX_CLASSES).contains(classes))?;
    }
    suffixes.next().is_none().then_some((family, builder, options))
}
