//! Operators that keep the shape: activations, sums, normalizations, and those that do nothing in inference.

use std::rc::Rc;

use embdl_core::op::{Activation, Conv2d, Dense, Lrn, Op};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::importer::{Binding, Importer, Source};
use super::inputs::input;
use super::pool::{axis_of, is_pixel};
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::Order;
use crate::tensor::{Floats, Ints, element_name};

impl<'a> Importer<'a> {
    /// Relu, or a Clip that is a ReLU; becomes the epilogue of the layer or sum before it where it can.
    pub(super) fn activation(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let activation = if node.op_type == "Clip" {
            self.clip(node)?
        } else {
            Attributes::new(node, &[])?;
            Self::inputs(node, 1..=1, "1")?;
            Activation::Relu
        };
        let source = self.source(node, 0)?;
        if let Some(writer) = self.open_writer(&source) {
            let fused = match self.graph.nodes[writer].op {
                Op::Conv2d(conv) => Some(Op::Conv2d(Conv2d { activation, ..conv })),
                Op::Dense(_) => Some(Op::Dense(Dense { activation })),
                Op::Add(_) => Some(Op::Add(activation)),
                _ => None,
            };
            if let Some(op) = fused {
                self.graph.nodes[writer].op = op;
                return self.absorb(node, source);
            }
        }
        self.emit(node, Op::Activation(activation), &[source.value], source.order)
    }

    pub(super) fn add(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 2..=2, "2")?;
        match (self.is_constant(node, 0)?, self.is_constant(node, 1)?) {
            (true, true) => Err(NodeError::NotActivation { value: node.input[0].clone() }),
            (true, false) => self.add_constant(node, self.source(node, 1)?, 0),
            (false, true) => self.add_constant(node, self.source(node, 0)?, 1),
            (false, false) => {
                let [lhs, rhs] = [self.source(node, 0)?, self.source(node, 1)?];
                if lhs.order != rhs.order {
                    let (value, reason) = (node.input[1].clone(), "its order or shape differs");
                    return Err(NodeError::Layout { value, reason });
                }
                let op = Op::Add(Activation::None);
                self.emit(node, op, &[lhs.value, rhs.value], lhs.order)
            }
        }
    }

    pub(super) fn lrn(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
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
        self.emit(node, Op::Lrn(lrn), &[source.value], Order::Nchw)
    }

    /// Softmax over the channels; before opset 13 it was over all dimensions from `axis` on.
    pub(super) fn softmax(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        Self::inputs(node, 1..=1, "1")?;
        let Source { value, order, .. } = self.source(node, 0)?;
        let shape = self.graph.values[value].shape;
        let from_axis_on = self.opset < 13;
        let axis = attributes.int("axis")?.unwrap_or(if from_axis_on { 1 } else { -1 });
        let last = shape.rank() - 1;
        let fits = axis_of(axis, shape.rank()).is_some_and(|own| {
            let is_last = order.graph_axis(own) == last;
            let alone = !from_axis_on || own == last || (own == 1 && is_pixel(shape));
            is_last && alone
        });
        if !fits {
            return Err(invalid("axis", axis, "only softmax over the channels is supported"));
        }
        self.emit(node, Op::Softmax, &[value], order)
    }

    pub(super) fn dropout(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &["ratio", "seed"])?;
        Self::inputs(node, 1..=3, "1 to 3")?;
        if Self::has_input(node, 2) {
            let name = input(node, 2)?;
            let is_training = match self.binding(name)? {
                Binding::Stored(proto) => {
                    proto.data_type() != DataType::Bool
                        || proto.raw_data.iter().any(|&byte| byte != 0)
                        || proto.int32_data.iter().any(|&flag| flag != 0)
                }
                _ => return Err(NodeError::NotConstant { value: name.into() }),
            };
            if is_training {
                return Err(invalid("training_mode", true, "only inference is a fixed function"));
            }
        }
        let source = self.source(node, 0)?;
        self.alias(node, source)
    }

    pub(super) fn identity(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        match self.binding(input(node, 0)?)?.clone() {
            Binding::Value(source) => self.alias(node, source),
            constant => self.bind(node, constant),
        }
    }

    /// Casts of floats to floats, and of the integers that shapes are made of.
    pub(super) fn cast(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["to", "saturate", "round_mode"])?;
        Self::inputs(node, 1..=1, "1")?;
        let to = attributes.int("to")?.ok_or(NodeError::NoAttribute { name: "to" })?;
        let kind = i32::try_from(to).ok().and_then(|code| DataType::try_from(code).ok());
        let named = element_name(i32::try_from(to).unwrap_or(-1));
        match (self.binding(input(node, 0)?)?.clone(), kind) {
            (Binding::Value(source), Some(DataType::Float)) => self.alias(node, source),
            (Binding::Value(_), _) => {
                Err(invalid("to", named, "activations are of type FLOAT and stay so"))
            }
            (_, Some(DataType::Int64 | DataType::Int32)) => {
                let ints = self.ints(node, 0)?;
                let narrow = kind == Some(DataType::Int32);
                if narrow && ints.values.iter().any(|&value| i32::try_from(value).is_err()) {
                    return Err(invalid("to", named, "a value does not fit"));
                }
                self.bind_ints(node, ints)
            }
            _ => Err(invalid("to", named, "of constants, only integers to INT64 or INT32")),
        }
    }

    pub(super) fn constant(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = ["value", "value_float", "value_floats", "value_int", "value_ints"];
        let attributes = Attributes::new(node, &known)?;
        let floats = |dims, values| Binding::Floats(Rc::new(Floats { dims, values }));
        let ints = |dims, values| Binding::Ints(Rc::new(Ints { dims, values }));
        let binding = if let Some(proto) = attributes.tensor("value")? {
            Binding::Stored(proto)
        } else if let Some(value) = attributes.float("value_float")? {
            floats(vec![], vec![value])
        } else if let Some(values) = attributes.floats("value_floats")? {
            floats(vec![values.len()], values.to_vec())
        } else if let Some(value) = attributes.int("value_int")? {
            ints(vec![], vec![value])
        } else if let Some(values) = attributes.ints("value_ints")? {
            return self.bind_ints(node, Ints::vector(values.to_vec()));
        } else {
            return Err(NodeError::NoAttribute { name: "value" });
        };
        self.bind(node, binding)
    }

    /// The activation that a Clip is; bounds are attributes before opset 11 and inputs since then.
    fn clip(&mut self, node: &'a NodeProto) -> Result<Activation, NodeError> {
        let attributes = Attributes::new(node, &["min", "max"])?;
        Self::inputs(node, 1..=3, "1 to 3")?;
        let mut bounds = [attributes.float("min")?, attributes.float("max")?];
        for (index, bound) in bounds.iter_mut().enumerate() {
            if Self::has_input(node, index + 1) {
                let (name, floats) = self.floats(node, index + 1)?;
                let &[value] = floats.values.as_slice() else {
                    let reason = "a bound is one number";
                    return Err(NodeError::Dims { value: name.into(), dims: floats.dims, reason });
                };
                *bound = Some(value);
            }
        }
        match bounds {
            [Some(0.0), None | Some(f32::INFINITY | f32::MAX)] => Ok(Activation::Relu),
            [Some(0.0), Some(6.0)] => Ok(Activation::Relu6),
            [Some(0.0), max] => Err(invalid("max", max, "6 or none is supported")),
            [min, _] => Err(invalid("min", min, "only 0 is supported")),
        }
    }
}
