//! Operators that move elements: concatenation, flatten, reshape, transpose.

use std::rc::Rc;

use embdl_core::op::{Concat, Op, Reshape};
use embdl_core::tensor::Shape;
use embdl_graph::ValueId;
use tract_onnx::pb::NodeProto;

use super::arrange::arranged_order;
use super::importer::{Importer, Pending, Source};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::{Order, View, sample_dims};
use crate::tensor::Constant;

impl<'a> Importer<'a> {
    pub(crate) fn concat(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let count = Self::inputs(node, 1..=usize::MAX, "at least 1")?;
        let given = attributes.int("axis")?.ok_or(NodeError::NoAttribute { name: "axis" })?;
        let sources =
            (0..count).map(|index| self.source(node, index)).collect::<Result<Vec<_>, _>>()?;
        let dims = sources[0].order.dims();
        let axis = axis_of(given, dims.len() + 1)
            .and_then(|axis| axis.checked_sub(1))
            .ok_or_else(|| invalid("axis", given, "an axis after the batch"))?;
        for (source, name) in sources.iter().zip(&node.input) {
            let own = source.order.dims();
            let differs = |at: usize| at != axis && own[at] != dims[at];
            if own.len() != dims.len() || (0..own.len()).any(differs) {
                let reason = "its dimensions differ from the first input's";
                return Err(NodeError::Layout { value: name.clone(), reason });
            }
        }
        if dims.len() == 1 && sources.iter().any(|source| !source.order.is_plain()) {
            return self.concat_rows(node, &sources);
        }
        let is_map = dims.len() == 3 && sources.iter().any(|source| self.is_nhwc(source));
        let axes: Vec<usize> = if is_map { vec![1, 2, 0] } else { (0..dims.len()).collect() };
        let at = axes.iter().position(|&own| own == axis).unwrap_or(axis);
        let mut inputs = Vec::with_capacity(sources.len());
        let mut joined = dims;
        joined[axis] = 0;
        for source in &sources {
            let own = source.order.dims();
            joined[axis] += own[axis];
            let sizes: Vec<usize> = axes.iter().map(|&axis| own[axis]).collect();
            let target = if sizes.len() <= 3 {
                sizes
            } else {
                vec![sizes[..at].iter().product(), sizes[at..].iter().product()]
            };
            inputs.push(self.arrange(node, source, &axes, &target)?);
        }
        let axis = if joined.len() <= 3 { at + 1 } else { 2 };
        let axis = u32::try_from(axis).unwrap_or(u32::MAX);
        self.emit(node, Op::Concat(Concat { axis }), &inputs, arranged_order(&joined, &axes))
    }

    /// Rows of features, each in its own order, one after the other.
    fn concat_rows(&mut self, node: &'a NodeProto, sources: &[Source]) -> Result<(), NodeError> {
        let mut parts = Vec::new();
        let mut inputs: Vec<ValueId> = Vec::with_capacity(sources.len());
        for source in sources {
            inputs.push(self.reshape_to(node, source.value, &[source.order.len()])?);
            parts.extend_from_slice(source.order.parts());
        }
        // A row that is joined with itself again and again has many parts.
        self.spend(parts.len())?;
        let order = Order::Joined(Rc::new(parts));
        self.emit(node, Op::Concat(Concat { axis: 1 }), &inputs, order)
    }

    /// Whether the graph has a value that is `[n, c, h, w]` in the file as `[n, h, w, c]`.
    fn is_nhwc(&self, source: &Source) -> bool {
        let own = sample_dims(self.graph.values[source.value].shape);
        match (&source.order, source.order.dims().as_slice()) {
            (Order::View(view), &[c, h, w]) => view.is_in_order(&[1, 2, 0]) && own == [h, w, c],
            _ => false,
        }
    }

    pub(crate) fn flatten(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.unpadded(node, 0)?;
        let axis = attributes.int("axis")?.unwrap_or(1);
        if axis_of(axis, source.order.dims().len() + 1) != Some(1) {
            return Err(invalid("axis", axis, "only 1, the axis after the batch, is supported"));
        }
        let len = i64::try_from(source.order.len()).unwrap_or(i64::MAX);
        self.give_shape(node, source, &[1, len])
    }

    pub(crate) fn reshape(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["allowzero"])?;
        Self::inputs(node, 2..=2, "2")?;
        let mut to = self.ints(node, 1)?.values;
        let source = self.unpadded(node, 0)?;
        let from = self.file_dims(&source);
        if !attributes.flag("allowzero", false)? {
            for (to, &from) in to.iter_mut().zip(&from).filter(|(to, _)| **to == 0) {
                *to = from;
            }
        }
        self.give_shape(node, source, &to)
    }

    pub(crate) fn squeeze(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let axes = self.axes(node)?;
        let source = self.unpadded(node, 0)?;
        let mut from = self.file_dims(&source);
        from[0] = 1;
        let dropped: Option<Vec<usize>> = match &axes {
            Some(axes) => axes.iter().map(|&axis| axis_of(axis, from.len())).collect(),
            None => Some((1..from.len()).filter(|&axis| from[axis] == 1).collect()),
        };
        let dropped = dropped
            .filter(|dropped| dropped.iter().all(|&axis| axis > 0 && from[axis] == 1))
            .ok_or_else(|| {
                invalid("axes", axes, "only dimensions of 1 after the batch are lost")
            })?;
        let to = (0..from.len()).filter(|axis| !dropped.contains(axis));
        let to: Vec<i64> = to.map(|axis| from[axis]).collect();
        self.give_shape(node, source, &to)
    }

    pub(crate) fn unsqueeze(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let axes = self.axes(node)?.ok_or(NodeError::NoAttribute { name: "axes" })?;
        let source = self.unpadded(node, 0)?;
        let from = self.file_dims(&source);
        let fail = || invalid("axes", &axes, "dimensions after the batch, each once");
        let rank = from.len() + axes.len();
        let added: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
        let added = added.filter(|added| rank <= 8 && !added.contains(&0)).ok_or_else(fail)?;
        let mut rest = from.iter();
        let mut to: Vec<i64> = (0..rank)
            .filter_map(|axis| if added.contains(&axis) { Some(&1) } else { rest.next() })
            .copied()
            .collect();
        if to.len() != rank {
            return Err(fail());
        }
        to[0] = 1;
        self.give_shape(node, source, &to)
    }

    /// A Transpose changes how the file sees a value, not the value.
    pub(crate) fn transpose(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["perm"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.unpadded(node, 0)?;
        let rank = source.order.dims().len() + 1;
        let given = attributes.ints("perm")?;
        let perm: Option<Vec<usize>> = match given {
            Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok()).collect(),
            None => Some((0..rank).rev().collect()),
        };
        let is_permutation = |perm: &Vec<usize>| {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            sorted.iter().copied().eq(0..rank) && perm[0] == 0
        };
        let perm = perm
            .filter(is_permutation)
            .ok_or_else(|| invalid("perm", given, "all axes once, the batch first"))?;
        let axes: Vec<usize> = perm[1..].iter().map(|axis| axis - 1).collect();
        let order = match source.order {
            Order::View(view) => Order::View(view.permuted(&axes)),
            joined @ Order::Joined(_) => joined,
        };
        self.alias(node, Source { order, ..source })
    }

    /// Dimensions of an activation, for arithmetic.
    pub(crate) fn shape(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["start", "end"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.unpadded(node, 0)?;
        let dims = self.file_dims(&source);
        let start = place(attributes.int("start")?.unwrap_or(0), dims.len());
        let end = place(attributes.int("end")?.unwrap_or(i64::MAX), dims.len());
        let dims = dims.get(start..end).unwrap_or_default().to_vec();
        self.bind_constant(node, Constant::vector(dims))
    }

    /// Number of elements of an activation.
    pub(crate) fn size(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.unpadded(node, 0)?;
        let len = self.file_dims(&source).iter().fold(1_i64, |len, &dim| len.saturating_mul(dim));
        self.bind_constant(node, Constant::ints(vec![], vec![len]))
    }

    /// An activation whose pads are there; a factor may wait.
    fn unpadded(&mut self, node: &'a NodeProto, index: usize) -> Result<Source, NodeError> {
        let source = self.pending(node, index)?;
        if source.pending.has_pads() { self.source(node, index) } else { Ok(source) }
    }

    /// Dimensions in the file, its batch included.
    fn file_dims(&self, source: &Source) -> Vec<i64> {
        let dims = source.order.dims();
        let dims = core::iter::once(self.batch).chain(dims);
        dims.map(|dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect()
    }

    /// Lets the node's output be `source` under the ONNX shape `to`, which may have one -1.
    fn give_shape(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        to: &[i64],
    ) -> Result<(), NodeError> {
        let fail = || NodeError::Reshape { from: source.order.len(), to: to.to_vec() };
        let dims = own_dims(to, self.batch, source.order.len()).ok_or_else(fail)?;
        let Order::View(view) = &source.order else {
            if dims.len() == 1 {
                return self.alias(node, source);
            }
            let value = node.input[0].clone();
            let reason = "several flattened maps in a row, which only a dense layer reads";
            return Err(NodeError::Layout { value, reason });
        };
        let Some(view) = view.reshaped(&dims) else {
            // Elements that are cut across have to be moved first.
            let old = source.order.dims();
            let axes: Vec<usize> = (0..old.len()).collect();
            let len: usize = old.iter().product();
            let value = self.arrange(node, &source, &axes, &[len])?;
            let plain = Source { value, order: Order::plain(&[len]), ..source };
            return self.give_shape(node, plain, to);
        };
        let shape = self.shape_in_graph(node, &view, &dims);
        let Some(shape) = shape else {
            return self.alias(node, Source { order: Order::View(view), ..source });
        };
        let all: Vec<usize> = core::iter::once(1).chain(shape).collect();
        let shape = Shape::new(&all).ok_or_else(fail)?;
        let op =
            if node.op_type == "Flatten" { Op::Flatten } else { Op::Reshape(Reshape { shape }) };
        let pending = source.pending;
        self.emit(node, op, &[source.value], Order::View(view))?;
        if pending != Pending::NONE {
            self.wait(node, pending);
        }
        Ok(())
    }

    /// The shape in which the graph gets a value of dimensions `dims`; none where elements would have to move.
    fn shape_in_graph(&self, node: &NodeProto, view: &View, dims: &[usize]) -> Option<Vec<usize>> {
        match *dims {
            [len] => Some(vec![len]),
            [c, h, w] if view.is_in_order(&[1, 2, 0]) && !self.becomes_nchw(&node.output[0]) => {
                Some(vec![h, w, c])
            }
            _ if view.is_plain() && dims.len() <= 3 => Some(dims.to_vec()),
            _ => None,
        }
    }

    /// Axes of Squeeze and Unsqueeze: an attribute before opset 13, an input since then.
    pub(super) fn axes(&mut self, node: &'a NodeProto) -> Result<Option<Vec<i64>>, NodeError> {
        let attributes = Attributes::new(node, &["axes"])?;
        let count = Self::inputs(node, 1..=2, "1 or 2")?;
        match (attributes.ints("axes")?, count) {
            (Some(axes), _) => Ok(Some(axes.to_vec())),
            (None, 2) => Ok(Some(self.ints(node, 1)?.values)),
            (None, _) => Ok(None),
        }
    }
}

/// Where ONNX's `bound` of a slice lies in a vector of `len` elements.
pub(super) fn place(bound: i64, len: usize) -> usize {
    let from_end = if bound < 0 { i64::try_from(len).unwrap_or(i64::MAX) } else { 0 };
    usize::try_from(bound.saturating_add(from_end)).unwrap_or(0).min(len)
}

/// `to` without its batch and its -1, for `len` elements a sample.
fn own_dims(to: &[i64], batch: usize, len: usize) -> Option<Vec<usize>> {
    let (&first, rest) = to.split_first()?;
    let keeps_batch = matches!(first, -1 | 1) || usize::try_from(first) == Ok(batch);
    if !keeps_batch || rest.len() > 8 {
        return None;
    }
    let open = rest.iter().filter(|&&dim| dim == -1).count();
    let known = rest
        .iter()
        .filter(|&&dim| dim != -1)
        .try_fold(1_usize, |known, &dim| known.checked_mul(usize::try_from(dim).ok()?))?;
    let rest_of = match open {
        0 => (known == len).then_some(1)?,
        1 if first != -1 && known > 0 && len.is_multiple_of(known) => len / known,
        _ => return None,
    };
    Some(rest.iter().map(|&dim| usize::try_from(dim).unwrap_or(rest_of)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_clamped() {
        assert_eq!([place(-1, 4), place(-9, 4), place(i64::MAX, 4), place(2, 4)], [3, 0, 4, 2]);
        assert_eq!(place(i64::MIN, 4), 0);
    }

    #[test]
    fn shapes_are_for_one_sample() {
        assert_eq!(own_dims(&[-1, 400], 1, 400), Some(vec![400]));
        assert_eq!(own_dims(&[1, -1], 1, 400), Some(vec![400]));
        assert_eq!(own_dims(&[64, 16, 5, -1], 64, 400), Some(vec![16, 5, 5]));
        assert_eq!(own_dims(&[-1, 200], 1, 400), None, "two rows a sample");
        assert_eq!(own_dims(&[-1, -1], 1, 400), None);
        assert_eq!(own_dims(&[400], 1, 400), None, "the batch is lost");
        assert_eq!(own_dims(&[2, 200], 1, 400), None);
        assert_eq!(own_dims(&[1, i64::MAX, i64::MAX], 1, 400), None);
        assert_eq!(own_dims(&[1, -2, -200], 1, 400), None);
    }
}
