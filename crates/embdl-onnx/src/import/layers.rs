//! Layers with weights, and what becomes part of them: batch normalization and biases that are added.

use embdl_core::op::{Activation, Conv2d, Dense, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{NodeId, ParamId, ParamRole};
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Source};
use super::pool;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::{self, Order};
use crate::tensor::Floats;

impl<'a> Importer<'a> {
    pub(super) fn conv(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
        let attributes = Attributes::new(node, &known)?;
        let count = Self::inputs(node, 2..=3, "2 or 3")?;
        let source = self.map(node, 0)?;
        let (name, weight) = self.floats(node, 1)?;
        let &[co, ci, kh, kw] = weight.dims.as_slice() else {
            return Err(misfit(name, weight, "a weight is [out, in / group, height, width]"));
        };
        let input = self.graph.values[source.value].shape;
        let window = pool::window(attributes, Some([kh, kw]), [input.dim(1), input.dim(2)])?;
        let group = attributes.int("group")?.unwrap_or(1);
        let groups = u32::try_from(group).map_err(|_| invalid("group", group, "at least 1"))?;
        let Some(shape) = Shape::new(&[co, kh, kw, ci]).filter(|shape| !shape.is_empty()) else {
            return Err(misfit(name, weight, "a dimension is zero or too large"));
        };
        let values = layout::oihw_to_ohwi(&weight.values, ci, kh * kw);
        let weight = self.param(name, ParamRole::Weight, shape, values);
        let bias = if count == 3 { Some(self.bias(node, 2, co, 1.0)?) } else { None };
        let op = Op::Conv2d(Conv2d { window, groups, activation: Activation::None });
        self.emit_layer(node, op, &[source.value], Order::Nchw, [Some(weight), bias])
    }

    pub(super) fn gemm(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["alpha", "beta", "transA", "transB"])?;
        let count = Self::inputs(node, 2..=3, "2 or 3")?;
        if attributes.flag("transA", false)? {
            return Err(invalid("transA", 1, "the batch has to be the first dimension"));
        }
        let transposed = attributes.flag("transB", false)?;
        let alpha = attributes.float("alpha")?.unwrap_or(1.0);
        let beta = attributes.float("beta")?.unwrap_or(1.0);
        let source = self.source(node, 0)?;
        let (name, mut weight) = self.floats(node, 1)?;
        if alpha != 1.0 {
            weight.values.iter_mut().for_each(|value| *value *= alpha);
        }
        let (weight, out) = self.dense_weight(node, &source, name, weight, transposed)?;
        let bias = if count == 3 { Some(self.bias(node, 2, out, beta)?) } else { None };
        self.dense(node, &source, weight, bias)
    }

    pub(super) fn mat_mul(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2")?;
        let source = self.source(node, 0)?;
        let (name, weight) = self.floats(node, 1)?;
        let (weight, _) = self.dense_weight(node, &source, name, weight, false)?;
        self.dense(node, &source, weight, None)
    }

    pub(super) fn batch_normalization(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
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
        let reason =
            "only the result of Conv, Gemm or MatMul that nothing else reads is normalized";
        let (layer, channels) = self.open_layer(&source).ok_or(NodeError::Fold { reason })?;
        let mut statistics = [const { Vec::new() }; 4];
        for (index, values) in statistics.iter_mut().enumerate() {
            let (name, floats) = self.floats(node, index + 1)?;
            if floats.dims != [channels] {
                return Err(misfit(name, floats, "it has to be one value for each channel"));
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
        self.scale_weight(layer, &scales)?;
        let bias = self.open_bias(layer, channels)?;
        let bias = self.graph.params[bias].values_mut();
        for (((bias, scale), &beta), &mean) in bias.iter_mut().zip(&scales).zip(&beta).zip(&mean) {
            *bias = narrow((f64::from(*bias) - f64::from(mean)) * scale + f64::from(beta));
        }
        self.absorb(node, source)
    }

    /// Adds constant `index` of `node` to the layer that writes `source`.
    pub(super) fn add_constant(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        index: usize,
    ) -> Result<(), NodeError> {
        let reason = "a constant is only added to the result of Conv, Gemm or MatMul that nothing else reads";
        let (layer, channels) = self.open_layer(&source).ok_or(NodeError::Fold { reason })?;
        let shape = self.graph.values[source.value].shape;
        let (name, floats) = self.floats(node, index)?;
        // The channels are dimension 1 of ONNX's two or four; dimensions broadcast from the right.
        let rank = shape.rank();
        let missing = rank.checked_sub(floats.dims.len());
        let fits = missing.is_some_and(|missing| {
            (floats.dims.iter().enumerate())
                .all(|(at, &dim)| dim == 1 || (at + missing == 1 && dim == channels))
        });
        if !fits || floats.values.is_empty() {
            return Err(misfit(name, floats, "it has to be one value, or one for each channel"));
        }
        if self.graph.nodes[layer].bias.is_none() {
            self.spend(channels)?;
            let values = (0..channels).map(|at| floats.values[at % floats.values.len()]).collect();
            let bias = self.param(name, ParamRole::Bias, Shape::vector(channels), values);
            self.set_bias(layer, bias);
        } else {
            let bias = self.open_bias(layer, channels)?;
            let values = self.graph.params[bias].values_mut();
            values
                .iter_mut()
                .zip(floats.values.iter().cycle())
                .for_each(|(bias, add)| *bias += add);
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
        let order = Order::Blocks(layout::Blocks::plain(out));
        self.emit_layer(node, op, &[source.value], order, [Some(weight), bias])
    }

    /// A dense weight as `[out, in]` in the graph's order of inputs, and `out`.
    fn dense_weight(
        &mut self,
        node: &NodeProto,
        source: &Source,
        name: &str,
        weight: Floats,
        transposed: bool,
    ) -> Result<(ParamId, usize), NodeError> {
        let shape = self.graph.values[source.value].shape;
        let Order::Blocks(blocks) = source.order.clone() else {
            let (value, reason) = (node.input[0].clone(), "only [n, features] is multiplied");
            return Err(NodeError::Layout { value, reason });
        };
        if shape.rank() != 2 {
            let (value, reason) = (node.input[0].clone(), "only [n, features] is multiplied");
            return Err(NodeError::Layout { value, reason });
        }
        let &[rows, columns] = weight.dims.as_slice() else {
            return Err(misfit(name, weight, "a weight has two dimensions"));
        };
        let (out, features) = if transposed { (rows, columns) } else { (columns, rows) };
        if features != shape.dim(1) || out == 0 {
            return Err(misfit(name, weight, "it does not fit the features of the input"));
        }
        let mut values = weight.values;
        if !transposed {
            values = layout::transpose(&values, rows, columns);
        }
        if !blocks.is_plain() {
            let places = blocks.onnx_places();
            let rows = values.chunks_exact(features);
            values = rows.flat_map(|row| places.iter().map(|&place| row[place])).collect();
        }
        let Some(shape) = Shape::new(&[out, features]) else {
            return Err(misfit(name, Floats { dims: weight.dims, values }, "it is too large"));
        };
        Ok((self.param(name, ParamRole::Weight, shape, values), out))
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
            _ => return Err(misfit(name, floats, "a bias has one value for each channel")),
        };
        if factor != 1.0 {
            values.iter_mut().for_each(|value| *value *= factor);
        }
        Ok(self.param(name, ParamRole::Bias, Shape::vector(channels), values))
    }

    /// The layer that writes `source`, if nobody else reads it and it has no activation, and its channels.
    fn open_layer(&self, source: &Source) -> Option<(NodeId, usize)> {
        let layer = self.open_writer(source)?;
        let weight = self.graph.nodes[layer].weight?;
        (source.order != Order::Nhwc).then(|| (layer, self.graph.params[weight].shape.dim(0)))
    }

    /// Multiplies each output channel of `layer`'s weight by its scale.
    fn scale_weight(&mut self, layer: NodeId, scales: &[f64]) -> Result<(), NodeError> {
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
    fn open_bias(&mut self, layer: NodeId, channels: usize) -> Result<ParamId, NodeError> {
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

fn misfit(name: &str, floats: Floats, reason: &'static str) -> NodeError {
    NodeError::Dims { value: name.into(), dims: floats.dims, reason }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is meant")]
const fn narrow(value: f64) -> f32 {
    value as f32
}
