//! Quantized models: QuantizeLinear and DequantizeLinear around layers become the levels of values and the integer form
//! of weights, so that the network computes in integers. Levels of int8 are shifted by 128.

use std::rc::Rc;

use embdl_core::op::{Activation, Op, Pool, PoolKind};
use embdl_core::quant::Quant;
use embdl_graph::{Form, ValueId};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::importer::{Binding, Importer, Levels, Source};
use super::inputs::{input, misfit};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::tensor::{Constant, Data, Floats};

/// Range of 8-bit levels of a type, and what shifts them to 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    low: i64,
    high: i64,
    shift: i64,
}

const UINT8: Kind = Kind { low: 0, high: 255, shift: 0 };
const INT8: Kind = Kind { low: -128, high: 127, shift: 128 };

impl<'a> Importer<'a> {
    pub(crate) fn quantize_linear(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = ["axis", "block_size", "output_dtype", "precision", "saturate"];
        let attributes = Attributes::new(node, &known)?;
        Self::inputs(node, 2..=3, "2 or 3")?;
        if attributes.int("block_size")?.is_some_and(|size| size != 0) {
            let size = attributes.int("block_size")?;
            return Err(invalid("block_size", size, "only 0 is supported"));
        }
        let given = attributes.int("output_dtype")?.unwrap_or(0);
        let kind = self.kind_of(node, given)?;
        if self.is_constant(node, 0)? {
            return self.quantize_constant(node, attributes, kind);
        }
        let quant = self.quant(node, kind)?;
        let source = self.source(node, 0)?;
        let value = self.with_quant(node, &source, quant)?;
        let read_once = self.read_once(&node.output[0]);
        self.bind(node, Binding::Quantized(Source { value, read_once, ..source }, quant))
    }

    pub(crate) fn dequantize_linear(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis", "block_size", "output_dtype"])?;
        Self::inputs(node, 2..=3, "2 or 3")?;
        if attributes.int("block_size")?.is_some_and(|size| size != 0) {
            let size = attributes.int("block_size")?;
            return Err(invalid("block_size", size, "only 0 is supported"));
        }
        if self.is_constant(node, 0)? {
            return self.dequantize_constant(node, attributes);
        }
        let name = input(node, 0)?;
        let Binding::Quantized(source, quant) = self.binding(name)?.clone() else {
            let reason = "only what QuantizeLinear gives is turned back";
            return Err(NodeError::Layout { value: name.into(), reason });
        };
        let kind = if self.is_int8(node, 2)? { INT8 } else { UINT8 };
        if self.quant(node, kind)? != quant {
            let reason = "scale and zero point have to be those of the QuantizeLinear before it";
            return Err(NodeError::Layout { value: name.into(), reason });
        }
        self.alias(node, source)
    }

    /// The type of levels: that of the zero point, or what the attribute says; uint8 where nothing does.
    fn kind_of(&mut self, node: &'a NodeProto, given: i64) -> Result<Kind, NodeError> {
        let (int8, uint8) = (DataType::Int8 as i32, DataType::Uint8 as i32);
        if given != 0 && given != i64::from(int8) && given != i64::from(uint8) {
            return Err(invalid("output_dtype", given, "only INT8 and UINT8 are supported"));
        }
        Ok(if given == i64::from(int8) || self.is_int8(node, 2)? { INT8 } else { UINT8 })
    }

    /// Whether input `index`, a zero point, is of type int8; uint8 where it is left out.
    fn is_int8(&self, node: &NodeProto, index: usize) -> Result<bool, NodeError> {
        if !Self::has_input(node, index) {
            return Ok(false);
        }
        let name = input(node, index)?;
        match self.binding(name)? {
            Binding::Stored(proto) => match proto.data_type() {
                DataType::Int8 => Ok(true),
                DataType::Uint8 => Ok(false),
                other => Err(invalid(
                    "zero point",
                    other.as_str_name(),
                    "only types INT8 and UINT8 are supported",
                )),
            },
            Binding::Constant(_) => Ok(self.signed.contains(name)),
            _ => Err(NodeError::NotConstant { value: name.into() }),
        }
    }

    /// Scale and zero point of an activation, inputs 1 and 2.
    fn quant(&mut self, node: &'a NodeProto, kind: Kind) -> Result<Quant, NodeError> {
        let scale = self.scalar(node, 1)?;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(invalid("scale", scale, "a positive number for the whole tensor"));
        }
        let mut zero_point = 0;
        if Self::has_input(node, 2) {
            let ints = self.ints(node, 2)?;
            let &[value] = ints.values.as_slice() else {
                return Err(invalid("zero point", ints.values, "one for the whole tensor"));
            };
            zero_point = value;
        }
        let zero_point = u8::try_from(zero_point.saturating_add(kind.shift))
            .map_err(|_| invalid("zero point", zero_point, "a level of its type"))?;
        Ok(Quant { scale, zero_point })
    }

    /// The value in levels of `quant`: itself where that is how everybody reads it, a copy otherwise.
    fn with_quant(
        &mut self,
        node: &'a NodeProto,
        source: &Source,
        quant: Quant,
    ) -> Result<ValueId, NodeError> {
        let name = input(node, 0)?;
        let first = self.readers.get(name).map_or(&[][..], Vec::as_slice);
        let alike = first.iter().all(|reader| {
            reader.op_type == "QuantizeLinear" && reader.input.get(1..) == node.input.get(1..)
        });
        let alone = alike && !self.outputs.contains(name);
        let value = &mut self.graph.values[source.value];
        match value.quant {
            Some(known) if known == quant => Ok(source.value),
            None if alone => {
                value.quant = Some(quant);
                Ok(source.value)
            }
            _ => {
                let op = Op::Activation(Activation::None);
                let copy = self.emit_inner(node, "levels", op, source.value)?;
                self.graph.values[copy].quant = Some(quant);
                Ok(copy)
            }
        }
    }

    /// Levels of a constant, rounded half to even as ONNX has it.
    fn quantize_constant(
        &mut self,
        node: &'a NodeProto,
        attributes: Attributes<'_>,
        kind: Kind,
    ) -> Result<(), NodeError> {
        let (name, floats) = self.floats(node, 0)?;
        let (scales, zeros, row, _) = self.steps(node, attributes, &name, &floats.dims)?;
        let levels = floats.values.iter().enumerate().map(|(at, &value)| {
            let step = at / row % scales.len();
            let level = f64::from((value / scales[step]).round_ties_even());
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; NaN becomes zero")]
            let level = level as i64;
            level.saturating_add(zeros[step]).clamp(kind.low, kind.high)
        });
        let levels = levels.collect();
        self.spend(floats.values.len())?;
        if kind == INT8 {
            self.signed.insert(node.output[0].clone());
        }
        self.bind_constant(node, Constant::ints(floats.dims, levels))
    }

    /// Floats that remember their levels, if those are symmetric ones of 8 bits.
    fn dequantize_constant(
        &mut self,
        node: &'a NodeProto,
        attributes: Attributes<'_>,
    ) -> Result<(), NodeError> {
        let name = input(node, 0)?;
        let is_byte = match self.binding(name)? {
            Binding::Stored(proto) => {
                matches!(proto.data_type(), DataType::Int8 | DataType::Uint8)
            }
            _ => true,
        };
        let constant = self.constant(node, 0)?;
        let Data::Ints(levels) = &constant.data else {
            return Err(invalid("input", name, "integers are expected"));
        };
        self.spend(levels.len())?;
        let (scales, zeros, row, axis) = self.steps(node, attributes, name, &constant.dims)?;
        let symmetric = is_byte
            && levels.iter().enumerate().all(|(at, level)| {
                level.saturating_sub(zeros[at / row % scales.len()]).unsigned_abs() <= 127
            });
        #[expect(clippy::cast_precision_loss, reason = "ONNX computes in f32 as well")]
        let values = levels
            .iter()
            .enumerate()
            .map(|(at, level)| {
                let step = at / row % scales.len();
                level.saturating_sub(zeros[step]) as f32 * scales[step]
            })
            .collect();
        let floats = Constant::floats(constant.dims.clone(), values);
        if !symmetric {
            return self.bind_constant(node, floats);
        }
        let name = name.to_owned();
        self.bind(node, Binding::Levels(Rc::new(Levels { name, constant: floats, scales, axis })))
    }

    /// Scales and zero points of a constant, elements that share one in a row, and the axis.
    fn steps(
        &mut self,
        node: &'a NodeProto,
        attributes: Attributes<'_>,
        name: &str,
        dims: &[usize],
    ) -> Result<(Vec<f32>, Vec<i64>, usize, usize), NodeError> {
        let (_, scales) = self.floats(node, 1)?;
        let scales = scales.values;
        if !scales.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
            return Err(invalid("scale", "a scale", "positive numbers"));
        }
        let mut zeros = vec![0; scales.len()];
        if Self::has_input(node, 2) {
            zeros = self.ints(node, 2)?.values;
        }
        let fail = || {
            let floats = Floats { dims: dims.to_vec(), values: Vec::new() };
            misfit(name, floats, "one scale and zero point, or one for each index of the axis")
        };
        if scales.is_empty() || zeros.len() != scales.len() {
            return Err(fail());
        }
        if scales.len() == 1 {
            return Ok((scales, zeros, 1, 0));
        }
        let given = attributes.int("axis")?.unwrap_or(1);
        let axis = axis_of(given, dims.len()).filter(|&axis| dims[axis] == scales.len());
        let axis = axis.ok_or_else(fail)?;
        Ok((scales, zeros, dims[axis + 1..].iter().product::<usize>().max(1), axis))
    }

    /// What a quantized graph needs that the file does not say: levels pass through operators that only move or choose
    /// them, and layers whose accumulators nobody turns into levels compute in floats where integers could not be compared.
    pub(super) fn finish_levels(&mut self) {
        for at in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[at];
            let keeps = match &node.op {
                Op::Flatten | Op::Reshape(_) | Op::Transpose(_) | Op::Pad(_) => true,
                Op::Pool(Pool { kind, .. }) => *kind == PoolKind::Max,
                // Zero is a level; six need not be one.
                Op::Activation(activation) => *activation == Activation::Relu,
                _ => false,
            };
            let quant = |value: ValueId| self.graph.values[value].quant;
            if keeps && quant(node.output).is_none() && !node.inputs.is_empty() {
                let (from, to) = (quant(node.inputs[0]), node.output);
                self.graph.values[to].quant = from;
                continue;
            }
            let is_integer = node.op.is_layer() && quant(node.inputs[0]).is_some();
            if !is_integer || quant(node.output).is_some() {
                continue;
            }
            let Some(weight) = node.weight else { continue };
            let several = self.graph.params[weight].scales().is_some_and(|scales| scales.len() > 1);
            if several || node.op.activation() == Activation::Relu6 {
                self.graph.params[weight].form = Form::Free;
            }
        }
    }
}
