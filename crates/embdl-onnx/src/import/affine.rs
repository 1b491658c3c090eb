//! Sums, differences, products and quotients: of two activations, or of one and constants, which become part of the
//! layer before, wait for the next operator, or become a depthwise convolution of one tap.

use embdl_core::op::{Activation, Op, Unary};
use embdl_core::tensor::Shape;
use embdl_graph::{NodeId, ParamRole, ValueId};
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Pending, Source, name_of};
use super::inputs::misfit;
use crate::attributes::Attributes;
use crate::error::NodeError;
use crate::layout::{Order, sample_dims};
use crate::tensor::narrow;

/// Relative error of f32, within which a factor counts as one, and a constant as what it stands for.
const NEAR: f64 = 2.4e-7;

impl<'a> Importer<'a> {
    pub(crate) fn add(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        self.with_constant(node, |_, constant| Some((1.0, constant)))
    }

    pub(crate) fn sub(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        self.with_constant(node, |is_first, constant| {
            Some(if is_first { (-1.0, constant) } else { (1.0, -constant) })
        })
    }

    pub(crate) fn mul(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        self.with_constant(node, |_, constant| Some((constant, 0.0)))
    }

    pub(crate) fn div(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        self.with_constant(node, |is_first, constant| (!is_first).then(|| (1.0 / constant, 0.0)))
    }

    pub(crate) fn neg(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.pending(node, 0)?;
        self.scale_by(node, source, 0, -1.0, 0.0)
    }

    /// Any number of activations of one shape.
    pub(crate) fn sum(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        let count = Self::inputs(node, 1..=usize::MAX, "at least 1")?;
        let mut sum = self.source(node, 0)?;
        if count == 1 {
            return self.alias(node, sum);
        }
        for index in 1..count {
            let next = self.source(node, index)?;
            let ([lhs, rhs], order) = self.aligned(node, [sum, next], false)?;
            if index + 1 == count {
                return self.emit(node, Op::Add(Activation::None), &[lhs, rhs], order);
            }
            let value = self.emit_inner_sum(node, [lhs, rhs])?;
            sum = Source { value, order, read_once: true, pending: Pending::NONE };
        }
        Ok(())
    }

    /// A node of two inputs. Where one is a constant, `factors` gives what an element of it does to the other input, as
    /// factor and summand; its first argument says whether the constant comes first.
    fn with_constant(
        &mut self,
        node: &'a NodeProto,
        factors: impl Fn(bool, f64) -> Option<(f64, f64)>,
    ) -> Result<(), NodeError> {
        // Before opset 7 broadcasting was an attribute; what it can say beyond today's rule is not taken.
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2")?;
        let at = match (self.is_constant(node, 0)?, self.is_constant(node, 1)?) {
            (true, _) => 0,
            (_, true) => 1,
            _ => return self.of_activations(node),
        };
        let source = self.pending(node, 1 - at)?;
        let (name, floats) = self.floats(node, at)?;
        let factors: Option<Vec<(f64, f64)>> =
            floats.values.iter().map(|&value| factors(at == 0, f64::from(value))).collect();
        let Some(factors) = factors else {
            return Err(misfit(&name, floats, "a constant is not divided by an activation"));
        };
        if factors.iter().any(|(scale, offset)| !scale.is_finite() || !offset.is_finite()) {
            return Err(misfit(&name, floats, "an element of it is not finite, or zero"));
        }
        let dims = source.order.dims();
        // The constant's dimensions are counted from the last; the value has its batch in front.
        let missing = (dims.len() + 1).checked_sub(floats.dims.len());
        let Some(missing) = missing.filter(|_| !factors.is_empty()) else {
            return Err(misfit(&name, floats, "it has more dimensions than the other input"));
        };
        let wide: Vec<usize> =
            (0..floats.dims.len()).filter(|&axis| floats.dims[axis] != 1).collect();
        match *wide {
            [] => self.scale_by(node, source, at, factors[0].0, factors[0].1),
            [axis] if axis + missing > 0 && dims[axis + missing - 1] == factors.len() => {
                let (scales, offsets): (Vec<f64>, Vec<f64>) = factors.into_iter().unzip();
                self.scale_axis(node, source, axis + missing - 1, &scales, &offsets, &name)
            }
            _ => Err(misfit(&name, floats, "it has to be one value, or one for each channel")),
        }
    }

    /// A factor and a summand for all elements; `constant` is the input that they come from.
    fn scale_by(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        constant: usize,
        scale: f64,
        offset: f64,
    ) -> Result<(), NodeError> {
        if let Some((layer, channels)) = self.open_layer(&source) {
            let name = node.input[constant].clone();
            let [scales, offsets] = [scale, offset].map(|value| vec![value; channels]);
            return self.fold_affine(node, source, layer, &scales, &offsets, &name);
        }
        let source = if source.pending.has_pads() { self.settle(node, source)? } else { source };
        let mut pending = Pending {
            scale: source.pending.scale * scale,
            offset: source.pending.offset * scale + offset,
            pads: [0; 4],
        };
        if (pending.scale - 1.0).abs() < NEAR {
            pending.scale = 1.0;
        }
        self.alias(node, Source { pending, ..source })
    }

    /// A factor and a summand for each index of dimension `axis`, the batch not counted.
    pub(super) fn scale_axis(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        axis: usize,
        scales: &[f64],
        offsets: &[f64],
        name: &str,
    ) -> Result<(), NodeError> {
        if let Some((layer, channels)) = self.open_layer(&source)
            && channels == scales.len()
            && source.order.is_channel(axis)
        {
            return self.fold_affine(node, source, layer, scales, offsets, name);
        }
        let source = self.settle(node, source)?;
        self.spend(scales.len().saturating_mul(2))?;
        let (value, order) = self.channels_last(node, &source, axis)?;
        let value = self.emit_affine(node, value, scales, offsets)?;
        self.bind_value(node, value, order)
    }

    /// Multiplies and adds in the weight and the bias of `layer`, which writes `source`.
    fn fold_affine(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        layer: NodeId,
        scales: &[f64],
        offsets: &[f64],
        name: &str,
    ) -> Result<(), NodeError> {
        let channels = scales.len();
        if scales.iter().any(|&scale| scale != 1.0) {
            self.scale_weight(layer, scales)?;
            if self.graph.nodes[layer].bias.is_some() {
                let bias = self.open_bias(layer, channels)?;
                let values = self.graph.params[bias].values_mut();
                for (bias, scale) in values.iter_mut().zip(scales) {
                    *bias = narrow(f64::from(*bias) * scale);
                }
            }
        }
        if offsets.iter().any(|&offset| offset != 0.0) || scales.iter().all(|&scale| scale == 1.0) {
            if self.graph.nodes[layer].bias.is_none() {
                self.spend(channels)?;
                let values = offsets.iter().map(|&offset| narrow(offset)).collect();
                let bias = self.param(name, ParamRole::Bias, Shape::vector(channels), values);
                self.set_bias(layer, bias);
            } else {
                let bias = self.open_bias(layer, channels)?;
                let values = self.graph.params[bias].values_mut();
                for (bias, &offset) in values.iter_mut().zip(offsets) {
                    *bias += narrow(offset);
                }
            }
        }
        self.absorb(node, source)
    }

    /// Add, Sub, Mul and Div of two activations.
    fn of_activations(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        match node.op_type.as_str() {
            "Mul" => self.product(node),
            "Div" => Err(NodeError::NotConstant { value: node.input[1].clone() }),
            _ => {
                let lhs = self.source(node, 0)?;
                let mut rhs = self.source(node, 1)?;
                if node.op_type == "Sub" {
                    rhs.pending.scale = -1.0;
                    rhs = self.settle(node, rhs)?;
                }
                let ([lhs, rhs], order) = self.aligned(node, [lhs, rhs], false)?;
                self.emit(node, Op::Add(Activation::None), &[lhs, rhs], order)
            }
        }
    }

    /// The product of two activations; that of `x` and its sigmoid is SiLU, that with its hard sigmoid hard-swish.
    fn product(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let sources = [self.pending(node, 0)?, self.pending(node, 1)?];
        for (x, gate) in [(&sources[0], &sources[1]), (&sources[1], &sources[0])] {
            if let Some((writer, unary)) = self.gate(x, gate) {
                let name = self.node_names.unique(name_of(node));
                let writer = &mut self.graph.nodes[writer];
                (writer.op, writer.name) = (Op::Unary(unary), name);
                return self.absorb(node, gate.clone());
            }
        }
        // A factor of all elements may as well wait for the product.
        let mut waiting = 1.0;
        let mut settled = Vec::with_capacity(2);
        for source in sources {
            let Pending { scale, offset, pads } = source.pending;
            if offset == 0.0 && pads == [0; 4] {
                waiting *= scale;
                settled.push(Source { pending: Pending::NONE, ..source });
            } else {
                settled.push(self.settle(node, source)?);
            }
        }
        settled.sort_by_key(|source| core::cmp::Reverse(source.order.len()));
        let [lhs, rhs] = [settled[0].clone(), settled[1].clone()];
        let (values, order) = self.aligned(node, [lhs, rhs], true)?;
        self.emit(node, Op::Mul, &values, order)?;
        self.wait(node, Pending { scale: waiting, ..Pending::NONE });
        Ok(())
    }

    /// The node that computes `gate` from `x` for this product alone, and what it is with the product.
    fn gate(&self, x: &Source, gate: &Source) -> Option<(NodeId, Unary)> {
        if !gate.read_once || x.pending != Pending::NONE || gate.pending.offset != 0.0 {
            return None;
        }
        let writer = *self.writers.get(&gate.value)?;
        let node = &self.graph.nodes[writer];
        let is_alone = self.graph.values[gate.value].quant.is_none();
        let fits = is_alone && node.inputs == [x.value] && gate.order == x.order;
        let unary = match node.op {
            Op::Unary(Unary::Sigmoid) => Unary::Silu,
            Op::Unary(Unary::HardSigmoid { alpha, beta })
                if (f64::from(alpha) * 6.0 - 1.0).abs() < NEAR && beta == 0.5 =>
            {
                Unary::HardSwish
            }
            _ => return None,
        };
        fits.then_some((writer, unary))
    }

    /// Two activations in one order, and that order; with `broadcast` the second may have one element a channel.
    pub(super) fn aligned(
        &mut self,
        node: &NodeProto,
        sources: [Source; 2],
        broadcast: bool,
    ) -> Result<([ValueId; 2], Order), NodeError> {
        let [lhs, rhs] = sources;
        let shape = |own: &Self, source: &Source| own.graph.values[source.value].shape;
        if lhs.order == rhs.order && shape(self, &lhs) == shape(self, &rhs) {
            return Ok(([lhs.value, rhs.value], lhs.order));
        }
        let [dims, other] = [&lhs, &rhs].map(|source| source.order.dims());
        let fail = |reason| {
            let value = node.input.get(1).cloned().unwrap_or_default();
            Err(NodeError::Layout { value, reason })
        };
        if dims.len() != other.len() {
            return fail("it has another number of dimensions than the first input");
        }
        let axes = self.memory_axes(&lhs);
        let channel = axes.last().copied().unwrap_or(0);
        let a_channel =
            (0..dims.len()).all(|axis| other[axis] == if axis == channel { dims[axis] } else { 1 });
        if dims != other && !(broadcast && dims.len() == 3 && a_channel) {
            return fail("its dimensions differ from the first input's");
        }
        let target = |dims: &[usize]| -> Vec<usize> {
            let sizes = axes.iter().map(|&axis| dims[axis]);
            if dims.len() <= 3 { sizes.collect() } else { vec![sizes.product()] }
        };
        let [lhs_dims, rhs_dims] = [target(&dims), target(&other)];
        let lhs = self.arrange(node, &lhs, &axes, &lhs_dims)?;
        let rhs = self.arrange(node, &rhs, &axes, &rhs_dims)?;
        Ok(([lhs, rhs], super::arrange::arranged_order(&dims, &axes)))
    }

    /// The order of dimensions that is nearest to how memory has them: height, width, channels for a map.
    pub(super) fn memory_axes(&self, source: &Source) -> Vec<usize> {
        let dims = source.order.dims();
        let own = sample_dims(self.graph.values[source.value].shape);
        let natural: Vec<usize> = (0..dims.len()).collect();
        match dims.as_slice() {
            &[c, h, w] => {
                let is_plain = own == dims && source.order.is_plain();
                // A cube has the sizes of both; only one element has the order of both.
                let is_map = own == [h, w, c] && c * h * w == 1;
                if is_plain && !is_map { natural } else { vec![1, 2, 0] }
            }
            _ => natural,
        }
    }
}
