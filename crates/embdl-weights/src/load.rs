//! Tensors into parameters: names, then shapes, then the order of elements.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use embdl_core::op::Op;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Node, ParamId};

use crate::error::{ShapeMismatch, WeightsError};
use crate::names::names;
use crate::source::Source;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Tensors that were read.
    pub tensors: usize,
    /// What stands in front of every name in the file, such as `"state_dict."`; usually nothing.
    pub prefix: String,
}

/// Fills every parameter of `graph` from a `.pth`, `.pt` or `.safetensors` file; which of them it is, its content says.
///
/// The names are torchvision's for networks of the zoo that torchvision has, and otherwise the graph's own node names,
/// each with `.weight`, `.bias`, `.running_mean`, `.running_var`. A prefix that all names share is found and left out;
/// counters of batches are left out. Weights come in PyTorch's layouts, OIHW and `[out, in]`; the columns of a dense
/// layer behind a flattened picture are put from NCHW into NHWC order.
///
/// A pickle is parsed, never run: there is nothing that it could call.
///
/// # Errors
/// If the file cannot be read, lacks a tensor or has one too many or of another shape (all of them are listed), or has
/// elements that are not finite floats. The graph is then unchanged, except after elements that do not read.
pub fn load(graph: &mut Graph, path: &Path) -> Result<Loaded, WeightsError> {
    graph.validate()?;
    let source = Source::open(path)?;
    let shapes = source.shapes()?;
    let slots = slots(graph);
    let prefix = prefix(&slots, &shapes);
    compare(&slots, &prefix, &shapes)?;
    for slot in &slots {
        let name = format!("{prefix}{}", slot.name);
        let floats = source.floats(&name, slot.shape.iter().product())?;
        slot.order.store(&floats, graph.params[slot.param].values_mut());
    }
    graph.validate()?;
    Ok(Loaded { tensors: slots.len(), prefix })
}

/// Names, without a prefix, and shapes of the tensors that a file for `graph` must have, in the order of the nodes.
#[must_use]
pub fn expected(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    slots(graph).into_iter().map(|slot| (slot.name, slot.shape)).collect()
}

/// A parameter that the file must have.
struct Slot {
    /// Name in the file, without a prefix.
    name: String,
    param: ParamId,
    /// Shape in the file.
    shape: Vec<usize>,
    order: Order,
}

/// How elements in the file's order become elements in the graph's.
enum Order {
    /// As they are.
    Same,
    /// `[o, i, h, w]` to `[o, h, w, i]`, or the same within each row of a dense layer, which is `[i, h, w]` to
    /// `[h, w, i]`.
    ChannelsLast { channels: usize, area: usize },
}

impl Order {
    fn store(&self, from: &[f32], to: &mut [f32]) {
        match *self {
            Self::Same => to.copy_from_slice(from),
            Self::ChannelsLast { channels, area } => {
                let rows =
                    from.chunks_exact(channels * area).zip(to.chunks_exact_mut(channels * area));
                for (from, to) in rows {
                    for (place, pixel) in to.chunks_exact_mut(channels).enumerate() {
                        for (channel, value) in pixel.iter_mut().enumerate() {
                            *value = from[channel * area + place];
                        }
                    }
                }
            }
        }
    }
}

fn slots(graph: &Graph) -> Vec<Slot> {
    let names = names(graph);
    let mut slots: Vec<Slot> = Vec::new();
    let mut known = BTreeSet::new();
    for node in &graph.nodes {
        let Some(module) = names.get(&node.name) else { continue };
        let vectors = [
            (node.bias, "bias"),
            (node.stats.map(|(mean, _)| mean), "running_mean"),
            (node.stats.map(|(_, variance)| variance), "running_var"),
        ];
        // Shared parameters are read once, under the name of the first node that has them.
        if let Some(param) = node.weight.filter(|&param| known.insert(param)) {
            let (shape, order) = weight(graph, node, graph.params[param].shape);
            slots.push(Slot { name: format!("{module}.weight"), param, shape, order });
        }
        for (param, what) in vectors {
            if let Some(param) = param.filter(|&param| known.insert(param)) {
                let shape = graph.params[param].shape.iter().collect();
                slots.push(Slot {
                    name: format!("{module}.{what}"),
                    param,
                    shape,
                    order: Order::Same,
                });
            }
        }
    }
    slots
}

/// Shape of a weight in PyTorch, and how its elements are reordered.
fn weight(graph: &Graph, node: &Node, shape: Shape) -> (Vec<usize>, Order) {
    let dims: Vec<usize> = shape.iter().collect();
    match (&node.op, &dims[..]) {
        (Op::Conv2d(_), &[co, kh, kw, ci]) => {
            (vec![co, ci, kh, kw], Order::ChannelsLast { channels: ci, area: kh * kw })
        }
        (Op::Dense(_), _) => match flattened(graph, node) {
            Some([height, width, channels]) if height * width > 1 => {
                (dims, Order::ChannelsLast { channels, area: height * width })
            }
            _ => (dims, Order::Same),
        },
        _ => (dims, Order::Same),
    }
}

/// The picture whose elements are the columns of a dense layer, if there is one.
fn flattened(graph: &Graph, node: &Node) -> Option<[usize; 3]> {
    let mut value = *node.inputs.first()?;
    loop {
        let producer = graph.producer(value)?;
        let input = *producer.inputs.first()?;
        match producer.op {
            Op::Flatten => {
                let shape = graph.values[input].shape;
                return (shape.rank() == 4).then(|| [shape.dim(1), shape.dim(2), shape.dim(3)]);
            }
            // Element by element: the columns stay where they are.
            Op::Activation(_) => value = input,
            _ => return None,
        }
    }
}

/// What stands in front of the network's names: nothing if a name is there as it is, otherwise the shortest that any
/// name of the file has before the first of the network's.
fn prefix(slots: &[Slot], shapes: &BTreeMap<String, Vec<usize>>) -> String {
    let Some(first) = slots.first() else { return String::new() };
    if slots.iter().any(|slot| shapes.contains_key(&slot.name)) {
        return String::new();
    }
    let prefixes = shapes.keys().filter_map(|name| name.strip_suffix(&first.name));
    let whole = prefixes.filter(|prefix| prefix.ends_with('.'));
    whole.min_by_key(|prefix| prefix.len()).unwrap_or_default().to_owned()
}

/// Whether the file has exactly the tensors that are needed, apart from what other prefixes have.
fn compare(
    slots: &[Slot],
    prefix: &str,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<(), WeightsError> {
    let (mut missing, mut mismatched) = (Vec::new(), Vec::new());
    let mut known = BTreeSet::new();
    for slot in slots {
        let name = format!("{prefix}{}", slot.name);
        match shapes.get(&name) {
            None => missing.push(name.clone()),
            Some(found) if *found != slot.shape => mismatched.push(ShapeMismatch {
                tensor: name.clone(),
                found: found.clone(),
                needed: slot.shape.clone(),
            }),
            Some(_) => {}
        }
        known.insert(name);
    }
    let is_unexpected = |name: &&String| {
        name.starts_with(prefix)
            && !known.contains(*name)
            && !name.ends_with(".num_batches_tracked")
    };
    let unexpected: Vec<String> = shapes.keys().filter(is_unexpected).cloned().collect();
    if missing.is_empty() && unexpected.is_empty() && mismatched.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Mismatch { missing, unexpected, mismatched })
}
