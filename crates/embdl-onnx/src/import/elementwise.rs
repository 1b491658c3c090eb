//! Operators that keep the shape: activations, normalizations, and those that do nothing in inference.

use embdl_core::op::{Activation, Conv2d, Dense, Lrn, Op, Unary};
use embdl_core::tensor::Shape;
use embdl_graph::{NodeId, ParamRole};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::importer::{Binding, Importer, Pending, Source};
use super::inputs::{input, misfit};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::Order;
use crate::tensor::{Data, element_name, narrow};

impl<'a> Importer<'a> {
    pub(crate) fn relu(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        self.clamp(node, 0, 0.0, f32::INFINITY)
    }

    /// Bounds are attributes before opset 11 and inputs since then.
    pub(crate) fn clip(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["min", "max"])?;
        Self::inputs(node, 1..=3, "1 to 3")?;
        let mut bounds = [attributes.float("min")?, attributes.float("max")?];
        for (index, bound) in bounds.iter_mut().enumerate() {
            if Self::has_input(node, index + 1) {
                *bound = Some(self.scalar(node, index + 1)?);
            }
        }
        let [min, max] = bounds;
        // The smallest and the largest float stand for no bound.
        let min = min.filter(|&min| min > f32::MIN).unwrap_or(f32::NEG_INFINITY);
        let max = max.filter(|&max| max < f32::MAX).unwrap_or(f32::INFINITY);
        if min.is_nan() || max.is_nan() {
            return Err(invalid("min, max", [min, max], "bounds are numbers"));
        }
        // ONNX gives the upper bound the last word.
        self.clamp(node, 0, min.min(max), max)
    }

    /// Min or Max of an activation and one number.
    pub(crate) fn bound(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2, an activation and a number,")?;
        let at = usize::from(!self.is_constant(node, 0)?);
        let bound = self.scalar(node, at)?;
        if bound.is_nan() {
            return Err(invalid("bound", bound, "bounds are numbers"));
        }
        let (min, max) = match node.op_type.as_str() {
            "Min" => (f32::NEG_INFINITY, bound),
            _ => (bound, f32::INFINITY),
        };
        self.clamp(node, 1 - at, min, max)
    }

    /// A clamp; becomes the epilogue of the layer or sum before it where it is one of theirs.
    fn clamp(
        &mut self,
        node: &'a NodeProto,
        index: usize,
        min: f32,
        max: f32,
    ) -> Result<(), NodeError> {
        let source = self.pending(node, index)?;
        if let Some(unary) = as_hard_sigmoid(source.pending, min, max) {
            let plain = Source { pending: Pending::NONE, ..source };
            self.emit(node, Op::Unary(unary), &[plain.value], plain.order)?;
            self.wait(node, Pending { scale: f64::from(max), ..Pending::NONE });
            return Ok(());
        }
        let source = self.source(node, index)?;
        let activation = match (min, max) {
            (0.0, f32::INFINITY) => Activation::Relu,
            (0.0, 6.0) => Activation::Relu6,
            _ => return self.general_clamp(node, source, min, max),
        };
        if let Some(writer) = self.open_writer(&source)
            && self.fuse(writer, activation)
        {
            return self.absorb(node, source);
        }
        self.emit(node, Op::Activation(activation), &[source.value], source.order)
    }

    /// A clamp that is no epilogue, unless what is before it has done half of it.
    fn general_clamp(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        min: f32,
        max: f32,
    ) -> Result<(), NodeError> {
        let writer = self
            .writers
            .get(&source.value)
            .copied()
            .filter(|_| source.read_once && self.graph.values[source.value].quant.is_none());
        if let Some(writer) = writer
            && (min, max) == (f32::NEG_INFINITY, 6.0)
            && self.graph.nodes[writer].op.activation() == Activation::Relu
            && self.fuse(writer, Activation::Relu6)
        {
            return self.absorb(node, source);
        }
        self.emit(node, Op::Unary(Unary::Clip { min, max }), &[source.value], source.order)
    }

    /// Whether `writer` takes `activation` as its epilogue.
    fn fuse(&mut self, writer: NodeId, activation: Activation) -> bool {
        let op = &mut self.graph.nodes[writer].op;
        *op = match *op {
            Op::Conv2d(conv) => Op::Conv2d(Conv2d { activation, ..conv }),
            Op::Dense(_) => Op::Dense(Dense { activation }),
            Op::Add(_) => Op::Add(activation),
            _ => return false,
        };
        true
    }

    /// A function of one element, with its attributes where it has some.
    pub(crate) fn unary(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known: &[&str] = match node.op_type.as_str() {
            "HardSigmoid" => &["alpha", "beta"],
            "LeakyRelu" | "Elu" | "Swish" => &["alpha"],
            _ => &[],
        };
        let attributes = Attributes::new(node, known)?;
        Self::inputs(node, 1..=1, "1")?;
        let float = |name, default: f32| -> Result<f32, NodeError> {
            Ok(attributes.float(name)?.unwrap_or(default))
        };
        let unary = match node.op_type.as_str() {
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "HardSwish" => Unary::HardSwish,
            "HardSigmoid" => {
                Unary::HardSigmoid { alpha: float("alpha", 0.2)?, beta: float("beta", 0.5)? }
            }
            "LeakyRelu" => Unary::LeakyRelu { alpha: float("alpha", 0.01)? },
            "Elu" => Unary::Elu { alpha: float("alpha", 1.0)? },
            _ => {
                let alpha: f32 = float("alpha", 1.0)?;
                if alpha != 1.0 {
                    return Err(invalid("alpha", alpha, "only 1 is supported"));
                }
                Unary::Silu
            }
        };
        let source = self.source(node, 0)?;
        self.emit(node, Op::Unary(unary), &[source.value], source.order)
    }

    /// Slopes are one number, or one for each channel.
    pub(crate) fn prelu(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2")?;
        let source = self.source(node, 0)?;
        let (name, slopes) = self.floats(node, 1)?;
        let dims = source.order.dims();
        let wide: Vec<usize> =
            (0..slopes.dims.len()).filter(|&axis| slopes.dims[axis] != 1).collect();
        let missing = (dims.len() + 1).checked_sub(slopes.dims.len());
        let axis = match (wide.as_slice(), missing) {
            (&[], Some(_)) if !dims.is_empty() => 0,
            (&[axis], Some(missing))
                if axis + missing > 0 && dims[axis + missing - 1] == slopes.values.len() =>
            {
                axis + missing - 1
            }
            _ => return Err(misfit(&name, slopes, "a slope is one number, or one a channel")),
        };
        let channels = dims[axis];
        let mut values = slopes.values;
        if values.len() != channels {
            self.spend(channels)?;
            values = vec![values.first().copied().unwrap_or(0.0); channels];
        }
        let (value, order) = self.by_channel(node, &source, axis)?;
        let weight = self.param(&name, ParamRole::Weight, Shape::vector(channels), values);
        self.emit_layer(node, Op::PRelu, &[value], order, [Some(weight), None])
    }

    pub(crate) fn lrn(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["alpha", "beta", "bias", "size"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.map(node, 0)?;
        let size = attributes.int("size")?.ok_or(NodeError::NoAttribute { name: "size" })?;
        let lrn = Lrn {
            size: u32::try_from(size).map_err(|_| invalid("size", size, "at least 1"))?,
            alpha: attributes.float("alpha")?.unwrap_or(1e-4),
            beta: attributes.float("beta")?.unwrap_or(0.75),
            bias: attributes.float("bias")?.unwrap_or(1.0),
        };
        self.emit(node, Op::Lrn(lrn), &[source.value], source.order)
    }

    /// Softmax over one dimension; before opset 13 over all dimensions from `axis` on.
    pub(crate) fn softmax(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.source(node, 0)?;
        let from_axis_on = self.opset < 13;
        let dims = source.order.dims();
        let given = attributes.int("axis")?.unwrap_or(if from_axis_on { 1 } else { -1 });
        let axis = axis_of(given, dims.len() + 1)
            .and_then(|axis| axis.checked_sub(1))
            .ok_or_else(|| invalid("axis", given, "it cannot be the batch"))?;
        let alone = !from_axis_on || dims[axis + 1..].iter().all(|&dim| dim == 1);
        if !alone {
            let lead: usize = dims[..axis].iter().product();
            let rest: usize = dims[axis..].iter().product();
            let axes: Vec<usize> = (0..dims.len()).collect();
            let value = self.arrange(node, &source, &axes, &[1, lead, rest])?;
            return self.emit(node, Op::Softmax, &[value], Order::plain(&dims));
        }
        let shape = self.graph.values[source.value].shape;
        let is_last = match &source.order {
            Order::View(view) => view.is_last(axis),
            Order::Joined(_) => true,
        };
        if is_last && shape.dim(shape.rank() - 1) == dims[axis] && shape.rank() > 1 {
            return self.emit(node, Op::Softmax, &[source.value], source.order);
        }
        let (value, order) = self.channels_last(node, &source, axis)?;
        self.emit(node, Op::Softmax, &[value], order)
    }

    pub(crate) fn dropout(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &["ratio", "seed"])?;
        Self::inputs(node, 1..=3, "1 to 3")?;
        if Self::has_input(node, 2) {
            let mode = self.constant(node, 2)?;
            let is_training = match &mode.data {
                Data::Bools(flags) => flags.iter().any(|&flag| flag),
                Data::Floats(_) | Data::Ints(_) => true,
            };
            if is_training {
                return Err(invalid("training_mode", true, "only inference is a fixed function"));
            }
        }
        let source = self.pending(node, 0)?;
        self.alias(node, source)
    }

    pub(crate) fn identity(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        match self.binding(input(node, 0)?)?.clone() {
            Binding::Value(source) => self.alias(node, source),
            other => self.bind(node, other),
        }
    }

    /// Casts of floats to floats.
    pub(crate) fn cast(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["to", "saturate", "round_mode"])?;
        Self::inputs(node, 1..=1, "1")?;
        let to = attributes.int("to")?.ok_or(NodeError::NoAttribute { name: "to" })?;
        if to != i64::from(DataType::Float as i32) {
            let named = element_name(i32::try_from(to).unwrap_or(-1));
            return Err(invalid("to", named, "activations are of type FLOAT and stay so"));
        }
        let source = self.pending(node, 0)?;
        self.alias(node, source)
    }
}

/// `clamp(x * scale + offset, 0, max)` as `max` times a hard sigmoid.
fn as_hard_sigmoid(pending: Pending, min: f32, max: f32) -> Option<Unary> {
    let fits = pending.has_affine() && !pending.has_pads();
    let fits = fits && min == 0.0 && max > 0.0 && max.is_finite();
    let max = f64::from(max);
    fits.then(|| Unary::HardSigmoid {
        alpha: narrow(pending.scale / max),
        beta: narrow(pending.offset / max),
    })
}
