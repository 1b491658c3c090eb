//! Operators that move elements: concatenation, flatten, reshape, transpose.

use embdl_core::op::{Concat, Op, Reshape};
use embdl_core::tensor::Shape;
use embdl_graph::ValueId;
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Source};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::{Blocks, NCHW_TO_NHWC, NHWC_TO_NCHW, Order};
use crate::tensor::Ints;

impl<'a> Importer<'a> {
    pub(super) fn concat(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let count = Self::inputs(node, 1..=usize::MAX, "at least 1")?;
        let axis = attributes.int("axis")?.ok_or(NodeError::NoAttribute { name: "axis" })?;
        if self.is_constant(node, 0)? {
            return self.concat_ints(node, count, axis);
        }
        let sources =
            (0..count).map(|index| self.source(node, index)).collect::<Result<Vec<_>, _>>()?;
        let order = &sources[0].order;
        let rank = self.graph.values[sources[0].value].shape.rank();
        let axis_of_onnx = axis_of(axis, rank)
            .filter(|&axis| axis > 0)
            .ok_or_else(|| invalid("axis", axis, "an axis after the batch"))?;
        let order = match order {
            Order::Blocks(_) if rank == 2 => {
                let parts = sources.iter().map(|source| match &source.order {
                    Order::Blocks(blocks) => Ok(blocks),
                    _ => Err(()),
                });
                let parts = parts.collect::<Result<Vec<_>, _>>().map_err(|()| {
                    let (value, reason) = (node.input[0].clone(), "its rank differs from others'");
                    NodeError::Layout { value, reason }
                })?;
                Order::Blocks(Blocks::join(parts))
            }
            order => {
                let differs = |source: &Source| match (&source.order, order) {
                    (Order::Blocks(own), Order::Blocks(first)) => {
                        !own.is_plain() || !first.is_plain()
                    }
                    (own, first) => own != first,
                };
                if let Some(at) = sources.iter().position(differs) {
                    let (value, reason) =
                        (node.input[at].clone(), "its order differs from others'");
                    return Err(NodeError::Layout { value, reason });
                }
                order.clone()
            }
        };
        let axis = u32::try_from(order.graph_axis(axis_of_onnx)).unwrap_or(u32::MAX);
        let inputs: Vec<ValueId> = sources.iter().map(|source| source.value).collect();
        let order = match order {
            // The joined length of rank 3 follows from the shape.
            Order::Blocks(blocks) if rank != 2 => {
                let shapes: Vec<Shape> =
                    inputs.iter().map(|&id| self.graph.values[id].shape).collect();
                let shape = Op::Concat(Concat { axis }).infer(&shapes, None)?;
                debug_assert!(blocks.is_plain());
                Order::Blocks(Blocks::plain(shape.len()))
            }
            order => order,
        };
        self.emit(node, Op::Concat(Concat { axis }), &inputs, order)
    }

    pub(super) fn flatten(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.source(node, 0)?;
        let shape = self.graph.values[source.value].shape;
        let axis = attributes.int("axis")?.unwrap_or(1);
        if axis_of(axis, shape.rank()) != Some(1) {
            return Err(invalid("axis", axis, "only 1, the axis after the batch, is supported"));
        }
        let blocks = source.order.flatten(shape);
        self.emit(node, Op::Flatten, &[source.value], Order::Blocks(blocks))
    }

    pub(super) fn reshape(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["allowzero"])?;
        Self::inputs(node, 2..=2, "2")?;
        let mut to = self.ints(node, 1)?.values;
        let source = self.source(node, 0)?;
        let from = source.order.onnx_dims(self.graph.values[source.value].shape);
        if !attributes.flag("allowzero", false)? {
            for (to, &from) in to.iter_mut().zip(&from).filter(|(to, _)| **to == 0) {
                *to = i64::try_from(from).unwrap_or(i64::MAX);
            }
        }
        self.give_shape(node, source, &to)
    }

    pub(super) fn squeeze(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let axes = self.axes(node)?;
        if self.is_constant(node, 0)? {
            let ints = self.ints(node, 0)?;
            return match ints.values.as_slice() {
                [_] => self.bind_ints(node, Ints { dims: vec![], ..ints }),
                _ => Err(invalid("axes", axes, "of constants, only one element loses dimensions")),
            };
        }
        let source = self.source(node, 0)?;
        let from = source.order.onnx_dims(self.graph.values[source.value].shape);
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
        let to: Vec<i64> = to.map(|axis| i64::try_from(from[axis]).unwrap_or(i64::MAX)).collect();
        self.give_shape(node, source, &to)
    }

    pub(super) fn unsqueeze(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let axes = self.axes(node)?.ok_or(NodeError::NoAttribute { name: "axes" })?;
        if self.is_constant(node, 0)? {
            let ints = self.ints(node, 0)?;
            return if ints.dims.is_empty() && matches!(axes.as_slice(), [0 | -1]) {
                self.bind_ints(node, Ints::vector(ints.values))
            } else {
                Err(invalid("axes", axes, "of constants, only a scalar becomes a vector"))
            };
        }
        let source = self.source(node, 0)?;
        let from = source.order.onnx_dims(self.graph.values[source.value].shape);
        let fail = || invalid("axes", &axes, "at most four dimensions, the batch first");
        let rank = from.len() + axes.len();
        let added: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
        let added = added.filter(|added| rank <= 4 && !added.contains(&0)).ok_or_else(fail)?;
        let mut rest = from.iter();
        let to: Vec<i64> = (0..rank)
            .filter_map(|axis| if added.contains(&axis) { Some(&1) } else { rest.next() })
            .map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX))
            .collect();
        if to.len() != rank {
            return Err(fail());
        }
        self.give_shape(node, source, &to)
    }

    /// A Transpose between NCHW and NHWC changes how the file sees a value, not the value.
    pub(super) fn transpose(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["perm"])?;
        Self::inputs(node, 1..=1, "1")?;
        let perm = attributes.ints("perm")?;
        if self.is_constant(node, 0)? {
            return self.transpose_constant(node, perm);
        }
        let source = self.source(node, 0)?;
        let rank = self.graph.values[source.value].shape.rank();
        let perm = match perm {
            Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok()).collect(),
            None => Some((0..rank).rev().collect::<Vec<usize>>()),
        };
        let is_identity =
            perm.as_ref().is_some_and(|perm| perm.iter().copied().eq(0..rank) && !perm.is_empty());
        let order = match (&source.order, perm.as_deref()) {
            (order, Some(_)) if is_identity => order.clone(),
            (Order::Nchw, Some(perm)) if perm == NCHW_TO_NHWC => Order::Nhwc,
            (Order::Nhwc, Some(perm)) if perm == NHWC_TO_NCHW => Order::Nchw,
            _ => {
                let reason = "only changes between [n, c, h, w] and [n, h, w, c] are supported";
                return Err(invalid("perm", perm, reason));
            }
        };
        self.alias(node, Source { order, ..source })
    }

    /// Emits `source` under the ONNX shape `to`, which may have one -1.
    fn give_shape(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        to: &[i64],
    ) -> Result<(), NodeError> {
        let shape = self.graph.values[source.value].shape;
        let blocks = source.order.flatten(shape);
        let fail = || NodeError::Reshape { from: blocks.len(), to: to.to_vec() };
        let dims = sample_dims(to, self.batch, blocks.len()).ok_or_else(fail)?;
        let (dims, order) = match *dims {
            [_, c, h, w] => {
                let as_nchw = Blocks::map(c, h * w) == blocks;
                if as_nchw && !self.becomes_nchw(&node.output[0]) {
                    (vec![1, h, w, c], Order::Nchw)
                } else if blocks.is_plain() {
                    (vec![1, c, h, w], Order::Nhwc)
                } else {
                    let value = node.input[0].clone();
                    let reason = "a map of several channels cannot become another map";
                    return Err(NodeError::Layout { value, reason });
                }
            }
            // Which axis an element lies on is only lost where there is one axis.
            [_, _, _] if !blocks.is_plain() => {
                let value = node.input[0].clone();
                let reason = "a map of several channels cannot become a matrix";
                return Err(NodeError::Layout { value, reason });
            }
            _ => (dims, Order::Blocks(blocks.clone())),
        };
        let shape = Shape::new(&dims).ok_or_else(fail)?;
        self.emit(node, Op::Reshape(Reshape { shape }), &[source.value], order)
    }

    /// Axes of Squeeze and Unsqueeze: an attribute before opset 13, an input since then.
    fn axes(&self, node: &'a NodeProto) -> Result<Option<Vec<i64>>, NodeError> {
        let attributes = Attributes::new(node, &["axes"])?;
        let count = Self::inputs(node, 1..=2, "1 or 2")?;
        match (attributes.ints("axes")?, count) {
            (Some(axes), _) => Ok(Some(axes.to_vec())),
            (None, 2) => Ok(Some(self.ints(node, 1)?.values)),
            (None, _) => Ok(None),
        }
    }
}

/// `to` for a batch of one and `len` elements a sample, without its -1.
fn sample_dims(to: &[i64], batch: usize, len: usize) -> Option<Vec<usize>> {
    let (&first, rest) = to.split_first()?;
    let keeps_batch = matches!(first, -1 | 1) || usize::try_from(first) == Ok(batch);
    if !keeps_batch || !(1..=3).contains(&rest.len()) {
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
    let dims = rest.iter().map(|&dim| usize::try_from(dim).unwrap_or(rest_of));
    Some(core::iter::once(1).chain(dims).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_for_one_sample() {
        assert_eq!(sample_dims(&[-1, 400], 1, 400), Some(vec![1, 400]));
        assert_eq!(sample_dims(&[1, -1], 1, 400), Some(vec![1, 400]));
        assert_eq!(sample_dims(&[64, 16, 5, -1], 64, 400), Some(vec![1, 16, 5, 5]));
        assert_eq!(sample_dims(&[-1, 200], 1, 400), None, "two rows a sample");
        assert_eq!(sample_dims(&[-1, -1], 1, 400), None);
        assert_eq!(sample_dims(&[400], 1, 400), None, "the batch is lost");
        assert_eq!(sample_dims(&[2, 200], 1, 400), None);
        assert_eq!(sample_dims(&[1, i64::MAX, i64::MAX], 1, 400), None);
        assert_eq!(sample_dims(&[1, -2, -200], 1, 400), None);
    }
}
