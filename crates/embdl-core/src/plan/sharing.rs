//! Which values share a buffer, and for how long it is needed.

use alloc::vec;
use alloc::vec::Vec;

use super::ALIGNMENT;
use super::offsets::Buffer;
use crate::model::{Model, Node};
use crate::op::{Activation, Op};
use crate::tensor::{DType, ValueType};

/// What a node may do with the buffers of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The result is the first input.
    Alias,
    /// The result can be written over one of the first so many inputs.
    InPlace(usize),
    /// The result needs its own buffer.
    Fresh,
}

pub(super) fn reuse(node: &Node, types: &[ValueType]) -> Reuse {
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
#[derive(Clone, Debug)]
pub(super) struct Sharing {
    parent: Vec<usize>,
    /// The caller's input that a group lives in; by root.
    pub(super) input_of: Vec<Option<usize>>,
    /// Last node that reads a group, the number of nodes for results, `None` where nothing does; by root.
    last_read: Vec<Option<usize>>,
    pub(super) in_place: Vec<Option<usize>>,
    /// The concatenation that a value is written into; by value.
    pub(super) part_of: Vec<Option<Part>>,
}

/// Where in a concatenation a value lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The concatenation's result.
    pub(super) whole: usize,
    /// Bytes of the parts before it in a row.
    pub(super) at: usize,
    /// Bytes of a row of the result.
    pub(super) row_bytes: usize,
}

impl Sharing {
    pub(super) fn new(model: &Model<'_>, types: &[ValueType], lens: &[usize]) -> Self {
        let count = model.values.len();
        let mut sharing = Self {
            parent: (0..count).collect(),
            input_of: vec![None; count],
            last_read: vec![None; count],
            in_place: vec![None; model.nodes.len()],
            part_of: vec![None; count],
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

    /// The same with results of convolutions written into the concatenation of channels that alone reads them, where their
    /// part of a row is whole granules.
    pub(super) fn joined(mut self, model: &Model<'_>, types: &[ValueType], granule: usize) -> Self {
        let mut readers = vec![0_usize; types.len()];
        let reads = model.nodes.iter().flat_map(|node| &node.inputs).chain(&model.outputs);
        reads.for_each(|&value| readers[value] += 1);
        let mut is_convolution = vec![false; types.len()];
        for node in &model.nodes {
            if let Op::Conv2d(conv) = &node.op {
                let channels = types[node.inputs[0]].shape.dim(3);
                is_convolution[node.output] = !conv.is_depthwise(channels);
            }
        }
        for node in &model.nodes {
            let Op::Concat(concat) = &node.op else { continue };
            let whole = &types[node.output];
            if concat.axis as usize + 1 != whole.shape.rank() {
                continue;
            }
            let row_of = |value: usize| {
                types[value].shape.dim(concat.axis as usize) * types[value].dtype.size_bytes()
            };
            let mut at = 0;
            for &input in &node.inputs {
                let kind = &types[input];
                if is_convolution[input]
                    && readers[input] == 1
                    && matches!(kind.dtype, DType::F32 | DType::U8)
                    && [at, row_of(input), row_of(node.output)]
                        .iter()
                        .all(|bytes| bytes.is_multiple_of(granule))
                    && (kind.dtype, kind.quant) == (whole.dtype, whole.quant)
                {
                    let row_bytes = row_of(node.output);
                    self.part_of[input] = Some(Part { whole: node.output, at, row_bytes });
                }
                at += row_of(input);
            }
        }
        self
    }

    pub(super) fn root(&self, value: usize) -> usize {
        let mut at = value;
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    /// One buffer for each group that a node writes first, in order of that.
    pub(super) fn buffers(&self, model: &Model<'_>, lens: &[usize]) -> Option<Vec<Buffer>> {
        let mut buffers = Vec::new();
        // Where the first part of a concatenation is written.
        let mut first_part = vec![usize::MAX; lens.len()];
        for (index, node) in model.nodes.iter().enumerate() {
            if let Some(part) = self.part_of[node.output] {
                first_part[part.whole] = first_part[part.whole].min(index);
            }
        }
        for (index, node) in model.nodes.iter().enumerate() {
            let group = self.root(node.output);
            if group == node.output && self.part_of[group].is_none() {
                let len = lens[group].checked_next_multiple_of(ALIGNMENT)?;
                let last = self.last_read[group].unwrap_or(index);
                buffers.push(Buffer { group, len, first: first_part[group].min(index), last });
            }
        }
        Some(buffers)
    }
}
