//! Where activations live: lifetimes, aliases, work in place, and offsets in one arena.
//!
//! Values that a node hands through unchanged (flatten, reshape) share a buffer, and so do input and result of nodes
//! that can work in place where nothing reads the input afterwards. The remaining buffers get offsets greedily, each in
//! the smallest gap between the buffers that live at the same time. Source: Pisarchyk and Lee 2020, "Efficient Memory
//! Management for Deep Neural Net Inference", §5 (greedy by size).

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use crate::model::{Model, Node};
use crate::op::{Activation, Op};
use crate::tensor::{DType, ValueType};

/// Every buffer starts at a multiple of this many bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// Number of buffers beyond which only the cheapest order of placement is tried.
const MANY_BUFFERS: usize = 2048;

/// Where a value lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the caller's input of this index.
    Input(usize),
    /// In these bytes of the arena.
    Arena(Range<usize>),
}

/// Where all values of a model live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Place of each value. Values that nothing writes have none.
    pub places: Vec<Option<Place>>,
    /// For each node the input that it writes its result over, if any.
    pub in_place: Vec<Option<usize>>,
    /// Size of the arena.
    pub arena_bytes: usize,
    /// What no arena can be smaller than: the largest sum of buffers that live at the same time.
    pub lower_bound_bytes: usize,
}

impl Plan {
    /// Plans `model`, whose values have `types` (batch included); `None` if the sizes cannot be counted.
    ///
    /// # Panics
    /// If the model is not valid, or there is not one type a value.
    #[must_use]
    pub fn new(model: &Model<'_>, types: &[ValueType]) -> Option<Self> {
        assert!(types.len() == model.values.len(), "{} types of values", types.len());
        let lens: Vec<usize> = types.iter().map(len_bytes).collect::<Option<_>>()?;
        let sharing = Sharing::new(model, types, &lens);
        let buffers = sharing.buffers(model, &lens)?;
        let (offsets, arena_bytes) = place(&buffers)?;
        let mut offset_of = vec![None; types.len()];
        for (buffer, &offset) in buffers.iter().zip(&offsets) {
            offset_of[buffer.group] = Some(offset);
        }
        let place_of = |value: usize| {
            let group = sharing.root(value);
            if let Some(input) = sharing.input_of[group] {
                return Some(Place::Input(input));
            }
            offset_of[group].map(|offset| Place::Arena(offset..offset + lens[value]))
        };
        Some(Self {
            places: (0..types.len()).map(place_of).collect(),
            arena_bytes,
            lower_bound_bytes: lower_bound(&buffers, model.nodes.len())?,
            in_place: sharing.in_place,
        })
    }
}

/// What a node may do with the buffers of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    /// The result is the first input.
    Alias,
    /// The result can be written over one of the first so many inputs.
    InPlace(usize),
    /// The result needs its own buffer.
    Fresh,
}

fn reuse(node: &Node, types: &[ValueType]) -> Reuse {
    let (from, to) = (&types[node.inputs[0]], &types[node.output]);
    match node.op {
        Op::Flatten | Op::Reshape(_) | Op::Activation(Activation::None)
            if from.dtype == to.dtype && from.quant == to.quant =>
        {
            Reuse::Alias
        }
        Op::Flatten | Op::Reshape(_) | Op::Activation(_) | Op::Unary(_) | Op::Mul | Op::PRelu => {
            Reuse::InPlace(1)
        }
        Op::Add(_) => Reuse::InPlace(2),
        _ => Reuse::Fresh,
    }
}

/// Which values share a buffer, as a forest: a value's group is its root.
#[derive(Debug)]
struct Sharing {
    parent: Vec<usize>,
    /// The caller's input that a group lives in; by root.
    input_of: Vec<Option<usize>>,
    /// Last node that reads a group, the number of nodes for results, `None` where nothing does; by root.
    last_read: Vec<Option<usize>>,
    in_place: Vec<Option<usize>>,
}

impl Sharing {
    fn new(model: &Model<'_>, types: &[ValueType], lens: &[usize]) -> Self {
        let count = model.values.len();
        let mut sharing = Self {
            parent: (0..count).collect(),
            input_of: vec![None; count],
            last_read: vec![None; count],
            in_place: vec![None; model.nodes.len()],
        };
        for (input, &value) in model.inputs.iter().enumerate() {
            sharing.input_of[value] = Some(input);
        }
        let aliases = |node: &Node| reuse(node, types) == Reuse::Alias;
        for node in model.nodes.iter().filter(|node| aliases(node)) {
            sharing.parent[node.output] = sharing.root(node.inputs[0]);
        }
        for (index, node) in model.nodes.iter().enumerate().filter(|(_, node)| !aliases(node)) {
            for &input in &node.inputs {
                let group = sharing.root(input);
                sharing.last_read[group] = sharing.last_read[group].max(Some(index));
            }
        }
        for &output in &model.outputs {
            let group = sharing.root(output);
            sharing.last_read[group] = Some(model.nodes.len());
        }
        for (index, node) in model.nodes.iter().enumerate() {
            if let Reuse::InPlace(candidates) = reuse(node, types) {
                sharing.try_in_place(index, node, candidates, lens);
            }
        }
        sharing
    }

    /// Lets `node` write over one of its first inputs, if that one dies there and is not read as another input too.
    fn try_in_place(&mut self, index: usize, node: &Node, candidates: usize, lens: &[usize]) {
        let groups: Vec<usize> = node.inputs.iter().map(|&input| self.root(input)).collect();
        let chosen = (0..candidates.min(groups.len())).find(|&at| {
            let group = groups[at];
            self.input_of[group].is_none()
                && self.last_read[group] == Some(index)
                && lens[node.inputs[at]] == lens[node.output]
                && groups.iter().filter(|&&other| other == group).count() == 1
        });
        if let Some(at) = chosen {
            self.in_place[index] = Some(at);
            self.last_read[groups[at]] = self.last_read[node.output].max(Some(index));
            self.parent[node.output] = groups[at];
        }
    }

    fn root(&self, value: usize) -> usize {
        let mut at = value;
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    /// One buffer for each group that a node writes first, in order of that.
    fn buffers(&self, model: &Model<'_>, lens: &[usize]) -> Option<Vec<Buffer>> {
        let mut buffers = Vec::new();
        for (index, node) in model.nodes.iter().enumerate() {
            let group = self.root(node.output);
            if group == node.output {
                let len = lens[group].checked_next_multiple_of(ALIGNMENT)?;
                let last = self.last_read[group].unwrap_or(index);
                buffers.push(Buffer { group, len, first: index, last });
            }
        }
        Some(buffers)
    }
}

/// A part of the arena that is in use from node `first` to node `last`.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    group: usize,
    len: usize,
    first: usize,
    last: usize,
}

impl Buffer {
    const fn lives_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offset of each buffer and the size of the arena, by the better of two orders.
fn place(buffers: &[Buffer]) -> Option<(Vec<usize>, usize)> {
    let in_time: Vec<usize> = (0..buffers.len()).collect();
    let by_time = place_in_order(buffers, &in_time)?;
    if buffers.len() > MANY_BUFFERS {
        return Some(by_time);
    }
    let mut in_size = in_time;
    in_size.sort_by_key(|&at| Reverse(buffers[at].len));
    let by_size = place_in_order(buffers, &in_size)?;
    Some(if by_size.1 < by_time.1 { by_size } else { by_time })
}

fn place_in_order(buffers: &[Buffer], order: &[usize]) -> Option<(Vec<usize>, usize)> {
    let mut offsets: Vec<usize> = vec![0; buffers.len()];
    let mut total = 0;
    // Placed buffers, by ascending offset.
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    for &at in order {
        let buffer = &buffers[at];
        let mut best: Option<(usize, usize)> = None;
        let mut free_from = 0;
        for &other in placed.iter().filter(|&&other| buffers[other].lives_with(buffer)) {
            let room = offsets[other].saturating_sub(free_from);
            if room >= buffer.len && best.is_none_or(|(smallest, _)| room < smallest) {
                best = Some((room, free_from));
            }
            free_from = free_from.max(offsets[other] + buffers[other].len);
        }
        let offset = best.map_or(free_from, |(_, offset)| offset);
        offsets[at] = offset;
        total = total.max(offset.checked_add(buffer.len)?);
        let position = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(position, at);
    }
    Some((offsets, total))
}

fn lower_bound(buffers: &[Buffer], nodes: usize) -> Option<usize> {
    let mut changes = vec![(0_usize, 0_usize); nodes + 2];
    for buffer in buffers {
        changes[buffer.first].0 = changes[buffer.first].0.checked_add(buffer.len)?;
        changes[buffer.last + 1].1 += buffer.len;
    }
    let (mut live, mut largest) = (0_usize, 0);
    for (born, dead) in changes {
        live = (live - dead).checked_add(born)?;
        largest = largest.max(live);
    }
    Some(largest)
}

fn len_bytes(kind: &ValueType) -> Option<usize> {
    kind.shape.checked_len()?.checked_mul(DType::size_bytes(kind.dtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;
    use crate::op::{Concat, Pool, PoolKind, Window};
    use crate::quant::Quant;
    use crate::tensor::Shape;
    use alloc::string::String;

    /// A model without weights: `(operator, inputs)` per node; value 0 is the input, value `i + 1` node `i`'s result.
    fn model(kinds: &[ValueType], nodes: &[(Op, &[usize])], outputs: &[usize]) -> Model<'static> {
        let value = |&kind: &ValueType| Value { name: String::new(), kind };
        let node = |(index, (op, inputs)): (usize, &(Op, &[usize]))| Node {
            name: String::new(),
            op: op.clone(),
            inputs: inputs.to_vec(),
            output: index + 1,
            weight: None,
            bias: None,
        };
        Model {
            name: String::new(),
            values: kinds.iter().map(value).collect(),
            nodes: nodes.iter().enumerate().map(node).collect(),
            tensors: Vec::new(),
            inputs: vec![0],
            outputs: outputs.to_vec(),
            metadata: crate::metadata::Metadata::default(),
        }
    }

    fn plan(kinds: &[ValueType], nodes: &[(Op, &[usize])], outputs: &[usize]) -> Plan {
        let model = model(kinds, nodes, outputs);
        let plan = Plan::new(&model, kinds).unwrap();
        check_disjoint(&model, &plan);
        plan
    }

    /// Replays the model and checks that no value is overwritten before its last read.
    fn check_disjoint(model: &Model<'_>, plan: &Plan) {
        let mut owner: Vec<Option<usize>> = vec![None; plan.arena_bytes];
        let range = |value: usize| match &plan.places[value] {
            Some(Place::Arena(range)) => range.clone(),
            _ => 0..0,
        };
        for (index, node) in model.nodes.iter().enumerate() {
            let aliases = reuse(node, &kinds_of(model)) == Reuse::Alias;
            let out = range(node.output);
            for (at, &input) in node.inputs.iter().enumerate() {
                let read = range(input);
                assert!(owner[read.clone()].iter().all(|&o| o == Some(input)), "node {index}");
                let overlaps = read.start < out.end && out.start < read.end;
                let allowed = aliases || plan.in_place[index] == Some(at);
                assert!(!overlaps || allowed, "node {index} writes over input {at}");
            }
            owner[out].fill(Some(node.output));
        }
        for &output in &model.outputs {
            assert!(owner[range(output)].iter().all(|&o| o == Some(output)), "output {output}");
        }
    }

    fn kinds_of(model: &Model<'_>) -> Vec<ValueType> {
        model.values.iter().map(|value| value.kind).collect()
    }

    fn floats(len: usize) -> ValueType {
        ValueType::f32(Shape::matrix(1, len))
    }

    const RELU: Op = Op::Activation(Activation::Relu);

    #[test]
    fn a_chain_works_in_place() {
        let kinds = [floats(32); 4];
        let nodes: [(Op, &[usize]); 3] = [(Op::Softmax, &[0]), (RELU, &[1]), (Op::Flatten, &[2])];
        let plan = plan(&kinds, &nodes, &[3]);
        assert_eq!(plan.arena_bytes, 128);
        assert_eq!(plan.in_place, [None, Some(0), None]);
        assert_eq!(plan.places[0], Some(Place::Input(0)));
        assert!(plan.places[1..].iter().all(|place| *place == Some(Place::Arena(0..128))));
    }

    #[test]
    fn inputs_and_values_still_needed_are_not_written_over() {
        let kinds = [floats(16); 4];
        // relu(input), then relu of that while it is a result too, then their sum.
        let nodes: [(Op, &[usize]); 3] =
            [(RELU, &[0]), (RELU, &[1]), (Op::Add(Activation::None), &[1, 2])];
        let plan = plan(&kinds, &nodes, &[1, 3]);
        assert_eq!(plan.in_place, [None, None, Some(1)]);
        assert_eq!(plan.arena_bytes, 128);
    }

    #[test]
    fn a_value_added_to_itself_is_not_written_over() {
        let kinds = [floats(16); 3];
        let nodes: [(Op, &[usize]); 2] =
            [(Op::Softmax, &[0]), (Op::Add(Activation::None), &[1, 1])];
        assert_eq!(plan(&kinds, &nodes, &[2]).in_place, [None, None]);
    }

    #[test]
    fn an_alias_keeps_the_buffer_alive() {
        let kinds = [floats(16), floats(16), floats(16), floats(16), floats(16)];
        // The flattened value is read after a relu that could otherwise work in place.
        let nodes: [(Op, &[usize]); 4] = [
            (Op::Softmax, &[0]),
            (Op::Flatten, &[1]),
            (RELU, &[1]),
            (Op::Add(Activation::None), &[2, 3]),
        ];
        let model = model(&kinds, &nodes, &[4]);
        let plan = Plan::new(&model, &kinds).unwrap();
        assert_eq!(plan.in_place[2], None);
        assert_eq!(plan.places[1], plan.places[2]);
        assert_ne!(plan.places[3], plan.places[1]);
    }

    #[test]
    fn other_levels_need_a_table_and_so_no_alias() {
        let quant = |scale| Quant { scale, zero_point: 0 };
        let kinds = [0.5, 0.5, 0.25].map(|s| ValueType::u8(Shape::matrix(1, 8), quant(s)));
        let nodes: [(Op, &[usize]); 2] = [(RELU, &[0]), (Op::Flatten, &[1])];
        assert_eq!(plan(&kinds, &nodes, &[2]).in_place, [None, Some(0)]);
    }

    #[test]
    fn arenas_are_close_to_the_lower_bound() {
        let pool = || {
            let kind = PoolKind::Average { include_pads: false };
            Op::Pool(Pool { kind, window: Window::square(2, 2), ceil: false })
        };
        let concat = || Op::Concat(Concat { axis: 1 });
        // Lengths as in LeNet-5, in a network with skips, and in one with branches as inception modules have.
        let chain: [(Op, &[usize]); 6] = core::array::from_fn(|i| {
            const INPUTS: [[usize; 1]; 6] = [[0], [1], [2], [3], [4], [5]];
            (pool(), &INPUTS[i][..])
        });
        let skips: [(Op, &[usize]); 6] = [
            (pool(), &[0]),
            (pool(), &[1]),
            (concat(), &[1, 2]),
            (pool(), &[3]),
            (concat(), &[1, 4]),
            (pool(), &[5]),
        ];
        let branches: [(Op, &[usize]); 7] = [
            (pool(), &[0]),
            (pool(), &[1]),
            (pool(), &[1]),
            (pool(), &[1]),
            (pool(), &[3]),
            (concat(), &[2, 4, 5]),
            (pool(), &[6]),
        ];
        type Nodes<'a> = &'a [(Op, &'a [usize])];
        let cases: [(&[usize], Nodes<'_>); 3] = [
            (&[784, 11_520, 2880, 3200, 800, 500, 10], &chain),
            (&[100, 5000, 2500, 7500, 900, 5900, 10], &skips),
            (&[100, 4000, 1000, 300, 2000, 700, 3700, 10], &branches),
        ];
        for (lens, nodes) in cases {
            let kinds: Vec<ValueType> = lens.iter().map(|&len| floats(len)).collect();
            let plan = plan(&kinds, nodes, &[nodes.len()]);
            let bound = plan.lower_bound_bytes;
            assert!(plan.arena_bytes >= bound, "{plan:?}");
            assert!(plan.arena_bytes * 10 <= bound * 11, "{} of {bound}", plan.arena_bytes);
        }
    }

    #[test]
    fn sizes_that_cannot_be_counted_are_refused() {
        let kinds = [floats(16), floats(u32::MAX as usize), floats(u32::MAX as usize)];
        let huge = |kind: &ValueType| ValueType { shape: kind.shape.with_batch(1 << 31), ..*kind };
        let nodes: [(Op, &[usize]); 2] = [(Op::Softmax, &[0]), (Op::Softmax, &[1])];
        let model = model(&kinds, &nodes, &[2]);
        let kinds: Vec<ValueType> = kinds.iter().map(huge).collect();
        assert_eq!(Plan::new(&model, &kinds), None);
    }
}
