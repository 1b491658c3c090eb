//! Layers with weights, and what becomes part of them: batch normalization.

use embdl_core::op::{Activation, Conv2d, Dense, Op, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Form, NodeId, ParamId, ParamRole};
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Pending, Source};
use super::inputs::{Scales, misfit};
use super::pool;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::{self, Order};
use crate::tensor::{Floats, narrow};

impl<'a> Importer<'a> {
    pub(crate) fn conv(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
        let attributes = Attributes::new(node, &known)?;
        let count = Self::inputs(node, 2..=3, "2 or 3")?;
        let source = self.pending(node, 0)?;
        let (name, mut weight, scales) = self.weight(node, 1)?;
        let &[co, ci, kh, kw] = weight.dims.as_slice() else {
            return Err(misfit(&name, weight, "a weight is [out, in / group, height, width]"));
        };
        let Some(shape) = Shape::new(&[co, kh, kw, ci]).filter(|shape| !shape.is_empty()) else {
            return Err(misfit(&name, weight, "a dimension is zero or too large"));
        };
        let (source, waiting) = self.conv_input(node, source, scales.is_none(), attributes)?;
        let input = self.graph.values[source.value].shape;
        let mut window = pool::window(attributes, Some([kh, kw]), [input.dim(1), input.dim(2)])?;
        for (pad, more) in window.pads.iter_mut().zip(waiting.pads) {
            *pad = pad.saturating_add(more);
        }
        let group = attributes.int("group")?.unwrap_or(1);
        let groups = u32::try_from(group).map_err(|_| invalid("group", group, "at least 1"))?;
        if waiting.scale != 1.0 {
            scale_all(&mut weight.values, waiting.scale);
        }
        let values = layout::oihw_to_ohwi(&weight.values, ci, kh * kw);
        drop(weight);
        let weight = self.weight_param(
            &name,
            shape,
            values,
            scales.filter(|(all, axis)| all.len() == 1 || *axis == 0),
        );
        let bias = if count == 3 { Some(self.bias(node, 2, co, 1.0)?) } else { None };
        let op = Op::Conv2d(Conv2d { window, groups, activation: Activation::None });
        let order = pool::map_order(op.infer(&[input], Some(shape))?);
        self.emit_layer(node, op, &[source.value], order, [Some(weight), bias])
    }

    /// The map that a convolution reads, and what it does in passing: pads of its own kind, and a factor.
    fn conv_input(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        is_scaled: bool,
        attributes: Attributes<'_>,
    ) -> Result<(Source, Pending), NodeError> {
        let automatic = pool::is_automatic(attributes)?;
        let fits = source.pending.offset == 0.0
            && (is_scaled || source.pending.scale == 1.0)
            && !(automatic && source.pending.has_pads());
        if !fits {
            return Ok((self.map(node, 0)?, Pending::NONE));
        }
        let waiting = source.pending;
        let source = Source { pending: Pending::NONE, ..source };
        Ok((self.as_map(node, 0, source)?, waiting))
    }

    pub(crate) fn gemm(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["alpha", "beta", "transA", "transB"])?;
        let count = Self::inputs(node, 2..=3, "2 or 3")?;
        if attributes.flag("transA", false)? {
            return Err(invalid("transA", 1, "the batch has to be the first dimension"));
        }
        let transposed = attributes.flag("transB", false)?;
        let alpha = attributes.float("alpha")?.unwrap_or(1.0);
        let beta = attributes.float("beta")?.unwrap_or(1.0);
        let source = self.source(node, 0)?;
        let (name, mut weight, mut scales) = self.weight(node, 1)?;
        if alpha != 1.0 {
            weight.values.iter_mut().for_each(|value| *value *= alpha);
            scales = None;
        }
        let source = self.flat(node, source)?;
        let (weight, out) = self.dense_weight(&source, &name, weight, transposed, scales)?;
        let bias = if count == 3 { Some(self.bias(node, 2, out, beta)?) } else { None };
        self.dense(node, &source, weight, bias)
    }

    /// The product with a constant matrix; over more dimensions than features, a convolution of one tap.
    pub(crate) fn mat_mul(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2")?;
        let source = self.source(node, 0)?;
        let (name, weight, scales) = self.weight(node, 1)?;
        let mut dims = source.order.dims();
        if dims.len() < 2 {
            let source = self.flat(node, source)?;
            let (weight, _) = self.dense_weight(&source, &name, weight, false, scales)?;
            return self.dense(node, &source, weight, None);
        }
        let &[features, out] = weight.dims.as_slice() else {
            return Err(misfit(&name, weight, "a weight has two dimensions"));
        };
        let last = dims.len() - 1;
        let shape =
            Shape::new(&[out, 1, 1, features]).filter(|_| dims[last] == features && out > 0);
        let Some(shape) = shape else {
            return Err(misfit(&name, weight, "it does not fit the features of the input"));
        };
        let (value, _) = self.channels_last(node, &source, last)?;
        let values = layout::transpose(&weight.values, features, out);
        drop(weight);
        let scales = scales.filter(|(all, axis)| all.len() == 1 || *axis == 1);
        let weight = self.weight_param(&name, shape, values, scales);
        let window = Window::square(1, 1);
        let op = Op::Conv2d(Conv2d { window, groups: 1, activation: Activation::None });
        dims[last] = out;
        self.emit_layer(node, op, &[value], Order::plain(&dims), [Some(weight), None])
    }

    pub(crate) fn batch_normalization(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = ["epsilon", "momentum", "spatial", "training_mode"];
        let attributes = Attributes::new(node, &known)?;
        Self::inputs(node, 5..=5, "5")?;
        if attributes.flag("training_mode", false)? {
            return Err(invalid("training_mode", 1, "only inference is a fixed function"));
        }
        if !attributes.flag("spatial", true)? {
            return Err(invalid("spatial", 0, "only statistics of channels are supported"));
        }
        let epsilon = attributes.float("epsilon")?.unwrap_or(1e-5);
        let source = self.source(node, 0)?;
        let Some(&channels) = source.order.dims().first() else {
            let (value, reason) = (node.input[0].clone(), "it has no channels");
            return Err(NodeError::Layout { value, reason });
        };
        let mut statistics = [const { Vec::new() }; 4];
        for (index, values) in statistics.iter_mut().enumerate() {
            let (name, floats) = self.floats(node, index + 1)?;
            if floats.dims != [channels] {
                return Err(misfit(&name, floats, "it has to be one value for each channel"));
            }
            *values = floats.values;
        }
        let [gamma, beta, mean, variance] = statistics;
        let scales: Vec<f64> = (gamma.iter().zip(&variance))
            .map(|(&gamma, &variance)| {
                f64::from(gamma) / (f64::from(variance) + f64::from(epsilon)).sqrt()
            })
            .collect();
        if scales.iter().any(|scale| !scale.is_finite()) {
            return Err(NodeError::Fold { reason: "a channel has no finite scale" });
        }
        let offsets: Vec<f64> = (beta.iter().zip(&mean).zip(&scales))
            .map(|((&beta, &mean), scale)| f64::from(beta) - f64::from(mean) * scale)
            .collect();
        self.normalize(node, source, &scales, &offsets)
    }

    /// Scales and shifts channels in the layer before, or in one of its own.
    fn normalize(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        scales: &[f64],
        offsets: &[f64],
    ) -> Result<(), NodeError> {
        let open = self.open_layer(&source).filter(|(_, channels)| *channels == scales.len());
        let Some((layer, channels)) = open else {
            return self.scale_axis(node, source, 0, scales, offsets, "");
        };
        self.scale_weight(layer, scales)?;
        let bias = self.open_bias(layer, channels)?;
        let bias = self.graph.params[bias].values_mut();
        for ((bias, scale), offset) in bias.iter_mut().zip(scales).zip(offsets) {
            *bias = narrow(f64::from(*bias) * scale + offset);
        }
        self.absorb(node, source)
    }

    /// Emits a dense layer.
    fn dense(
        &mut self,
        node: &'a NodeProto,
        source: &Source,
        weight: ParamId,
        bias: Option<ParamId>,
    ) -> Result<(), NodeError> {
        let op = Op::Dense(Dense { activation: Activation::None });
        let out = self.graph.params[weight].shape.dim(0);
        let order = Order::plain(&[out]);
        self.emit_layer(node, op, &[source.value], order, [Some(weight), bias])
    }

    /// The value as `[n, features]`.
    fn flat(&mut self, node: &NodeProto, source: Source) -> Result<Source, NodeError> {
        let reason = "only [n, features] is multiplied";
        let fail = || NodeError::Layout { value: node.input[0].clone(), reason };
        let &[features] = source.order.dims().as_slice() else { return Err(fail()) };
        // The weight takes the order of memory; only the shape has to be that of a row.
        let value = self.reshape_to(node, source.value, &[features])?;
        Ok(Source { value, ..source })
    }

    /// A dense weight as `[out, in]` in the graph's order of inputs, and `out`.
    fn dense_weight(
        &mut self,
        source: &Source,
        name: &str,
        weight: Floats,
        transposed: bool,
        scales: Scales,
    ) -> Result<(ParamId, usize), NodeError> {
        let &[rows, columns] = weight.dims.as_slice() else {
            return Err(misfit(name, weight, "a weight has two dimensions"));
        };
        let (out, features) = if transposed { (rows, columns) } else { (columns, rows) };
        if features != source.order.len() || out == 0 {
            return Err(misfit(name, weight, "it does not fit the features of the input"));
        }
        let Some(shape) = Shape::new(&[out, features]) else {
            return Err(misfit(name, weight, "it is too large"));
        };
        let out_axis = usize::from(!transposed);
        let scales = scales.filter(|(all, axis)| all.len() == 1 || *axis == out_axis);
        let mut values = weight.values;
        if !transposed {
            values = layout::transpose(&values, rows, columns);
        }
        if !source.order.is_plain() {
            let places = source.order.onnx_places();
            let mut own = vec![0.0; features];
            for row in values.chunks_exact_mut(features) {
                own.copy_from_slice(row);
                row.iter_mut().zip(&places).for_each(|(value, &place)| *value = own[place]);
            }
        }
        Ok((self.weight_param(name, shape, values, scales), out))
    }

    /// A weight; of integers where its scales are known.
    fn weight_param(
        &mut self,
        name: &str,
        shape: Shape,
        values: Vec<f32>,
        scales: Scales,
    ) -> ParamId {
        let Some((scales, _)) = scales else {
            return self.param(name, ParamRole::Weight, shape, values);
        };
        let form = Form::Integer { bits: 8, scales };
        let known = self.params.get(name).map(|&id| (id, &self.graph.params[id]));
        if let Some((id, param)) = known
            && (param.shape, &param.form) == (shape, &form)
            && param.values() == values
        {
            return id;
        }
        let name = if known.is_some() { self.fresh_name(name) } else { name.into() };
        let id = self.param(&name, ParamRole::Weight, shape, values);
        self.graph.params[id].form = form;
        id
    }

    /// Input `index` times `factor` as a bias of `channels` elements.
    fn bias(
        &mut self,
        node: &'a NodeProto,
        index: usize,
        channels: usize,
        factor: f32,
    ) -> Result<ParamId, NodeError> {
        let (name, floats) = self.floats(node, index)?;
        let leading = floats.dims.iter().rev().skip(1).all(|&dim| dim == 1);
        let mut values = match floats.values.as_slice() {
            values if leading && values.len() == channels => floats.values,
            &[value] if leading => {
                self.spend(channels)?;
                vec![value; channels]
            }
            _ => return Err(misfit(&name, floats, "a bias has one value for each channel")),
        };
        if factor != 1.0 {
            values.iter_mut().for_each(|value| *value *= factor);
        }
        Ok(self.param(&name, ParamRole::Bias, Shape::vector(channels), values))
    }

    /// Multiplies each output channel of `layer`'s weight by its scale.
    pub(super) fn scale_weight(&mut self, layer: NodeId, scales: &[f64]) -> Result<(), NodeError> {
        let Some(weight) = self.graph.nodes[layer].weight else { return Ok(()) };
        let weight = self.own_param(weight)?;
        self.graph.nodes[layer].weight = Some(weight);
        let values = self.graph.params[weight].values_mut();
        let row = values.len() / scales.len();
        for (row, scale) in values.chunks_exact_mut(row).zip(scales) {
            row.iter_mut().for_each(|value| *value = narrow(f64::from(*value) * scale));
        }
        Ok(())
    }

    /// A bias of `layer` that may be changed; zeros where it had none.
    pub(super) fn open_bias(
        &mut self,
        layer: NodeId,
        channels: usize,
    ) -> Result<ParamId, NodeError> {
        let bias = if let Some(bias) = self.graph.nodes[layer].bias {
            self.own_param(bias)?
        } else {
            self.spend(channels)?;
            let name = self.fresh_name(&format!("{}.bias", self.graph.nodes[layer].name));
            self.param(&name, ParamRole::Bias, Shape::vector(channels), vec![0.0; channels])
        };
        self.set_bias(layer, bias);
        Ok(bias)
    }
}

fn scale_all(values: &mut [f32], scale: f64) {
    values.iter_mut().for_each(|value| *value = narrow(f64::from(*value) * scale));
}
