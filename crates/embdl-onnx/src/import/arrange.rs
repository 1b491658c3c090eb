//! Brings values into the order that an operator reads, and does what is pending.

use embdl_core::op::{Activation, Conv2d, Op, Pad, Reshape, Transpose, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{ParamRole, ValueId};
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Pending, Source};
use crate::error::NodeError;
use crate::layout::{Order, View, sample_dims};
use crate::tensor::narrow;

impl Importer<'_> {
    /// The value of `source` with its dimensions in the order `axes`, under the sizes `target`; the batch not counted.
    pub(super) fn arrange(
        &mut self,
        node: &NodeProto,
        source: &Source,
        axes: &[usize],
        target: &[usize],
    ) -> Result<ValueId, NodeError> {
        let fail = |reason| NodeError::Layout {
            value: node.input.first().cloned().unwrap_or_default(),
            reason,
        };
        let Order::View(view) = &source.order else {
            return Err(fail("several flattened maps in a row, which only a dense layer reads"));
        };
        let own = self.graph.values[source.value].shape;
        let dims: Vec<usize> = core::iter::once(1).chain(target.iter().copied()).collect();
        let shape =
            Shape::new(&dims).ok_or_else(|| fail("it has too many or too large dimensions"))?;
        if own == shape && view.is_in_order(axes) {
            return Ok(source.value);
        }
        let moves = view.moves(axes).ok_or_else(|| fail("its dimensions are mixed too much"))?;
        let key = (source.value, moves, shape);
        if let Some(&known) = self.arranged.get(&key) {
            return Ok(known);
        }
        let mut value = source.value;
        for step in &key.1 {
            // The axes that are more than one.
            let kept: Vec<usize> = (0..3).filter(|&axis| step.sizes[axis] > 1).collect();
            let sizes: Vec<usize> = kept.iter().map(|&axis| step.sizes[axis]).collect();
            value = self.reshape_to(node, value, &sizes)?;
            let order =
                step.order.iter().filter_map(|axis| kept.iter().position(|kept| kept == axis));
            let order: Vec<usize> = core::iter::once(0).chain(order.map(|at| at + 1)).collect();
            let transpose =
                Transpose::new(&order).ok_or_else(|| fail("its dimensions are mixed too much"))?;
            value = self.emit_inner(node, "transposed", Op::Transpose(transpose), value)?;
        }
        let value = self.reshape_to(node, value, target)?;
        self.arranged.insert(key, value);
        Ok(value)
    }

    /// `value` under another shape.
    pub(super) fn reshape_to(
        &mut self,
        node: &NodeProto,
        value: ValueId,
        dims: &[usize],
    ) -> Result<ValueId, NodeError> {
        if sample_dims(self.graph.values[value].shape) == dims {
            return Ok(value);
        }
        let all: Vec<usize> = core::iter::once(1).chain(dims.iter().copied()).collect();
        let shape = Shape::new(&all).ok_or_else(|| NodeError::Dims {
            value: node.output[0].clone(),
            dims: all,
            reason: "more than four dimensions, or too large",
        })?;
        self.emit_inner(node, "shaped", Op::Reshape(Reshape { shape }), value)
    }

    /// The source with nothing pending.
    pub(super) fn settle(&mut self, node: &NodeProto, source: Source) -> Result<Source, NodeError> {
        let mut source = source;
        let Pending { scale, offset, pads } = source.pending;
        if source.pending.has_affine() {
            source.pending = Pending { pads, ..Pending::NONE };
            let channels = self.graph.values[source.value].shape;
            let channels = channels.iter().last().unwrap_or(1);
            self.spend(channels.saturating_mul(2))?;
            let scales = vec![scale; channels];
            let offsets = vec![offset; channels];
            source.value = self.emit_affine(node, source.value, &scales, &offsets)?;
        }
        if source.pending.has_pads() {
            source.pending = Pending::NONE;
            source = self.as_map(node, 0, source)?;
            let [top, left, bottom, right] = pads.map(|pad| pad as usize);
            let pad = Op::Pad(Pad { top, left, bottom, right });
            source.value = self.emit_inner(node, "padded", pad, source.value)?;
            let dims = sample_dims(self.graph.values[source.value].shape);
            source.order = Order::nchw([dims[0], dims[1], dims[2]]);
        }
        Ok(source)
    }

    /// A depthwise convolution of one tap that multiplies the last axis of `value` by `scales` and adds `offsets`.
    pub(super) fn emit_affine(
        &mut self,
        node: &NodeProto,
        value: ValueId,
        scales: &[f64],
        offsets: &[f64],
    ) -> Result<ValueId, NodeError> {
        let channels = scales.len();
        let dims = sample_dims(self.graph.values[value].shape);
        let input = if dims.len() == 3 {
            value
        } else {
            let len: usize = dims.iter().product();
            self.reshape_to(node, value, &[1, len / channels.max(1), channels])?
        };
        let groups = u32::try_from(channels).map_err(|_| NodeError::Amplified)?;
        let shape = Shape::new(&[channels, 1, 1, 1]).ok_or(NodeError::Amplified)?;
        let all = |values: &[f64]| values.iter().map(|&value| narrow(value)).collect::<Vec<f32>>();
        let name = self.fresh_name(&format!("{}.scale", node.output[0]));
        let weight = self.param(&name, ParamRole::Weight, shape, all(scales));
        let name = self.fresh_name(&format!("{}.offset", node.output[0]));
        let bias = self.param(&name, ParamRole::Bias, Shape::vector(channels), all(offsets));
        let window = Window::square(1, 1);
        let op = Op::Conv2d(Conv2d { window, groups, activation: Activation::None });
        self.emit_inner_layer(node, "affine", op, input, [Some(weight), Some(bias)])
    }

    /// The value with dimension `axis` last, as it is or as `[n, h, w, size]`, and the order of its elements.
    pub(super) fn by_channel(
        &mut self,
        node: &NodeProto,
        source: &Source,
        axis: usize,
    ) -> Result<(ValueId, Order), NodeError> {
        let own = self.graph.values[source.value].shape;
        let size = source.order.dims()[axis];
        if source.order.is_channel(axis) && own.rank() > 1 && own.dim(own.rank() - 1) == size {
            return Ok((source.value, source.order.clone()));
        }
        self.channels_last(node, source, axis)
    }

    /// The value with dimension `axis` last, as `[n, h, w, size]`, and the order of its elements.
    pub(super) fn channels_last(
        &mut self,
        node: &NodeProto,
        source: &Source,
        axis: usize,
    ) -> Result<(ValueId, Order), NodeError> {
        let dims = source.order.dims();
        let others: Vec<usize> = (0..dims.len()).filter(|&other| other != axis).collect();
        let mut axes = others.clone();
        axes.push(axis);
        let target = match *others {
            [first, second] => [dims[first], dims[second], dims[axis]],
            _ => [1, others.iter().map(|&other| dims[other]).product(), dims[axis]],
        };
        let value = self.arrange(node, source, &axes, &target)?;
        Ok((value, arranged_order(&dims, &axes)))
    }
}

/// The order of a value whose memory has the dimensions `dims` in the order `axes`.
pub(super) fn arranged_order(dims: &[usize], axes: &[usize]) -> Order {
    let sizes: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
    let mut back = vec![0; axes.len()];
    axes.iter().enumerate().for_each(|(at, &axis)| back[axis] = at);
    Order::View(View::plain(&sizes).permuted(&back))
}
