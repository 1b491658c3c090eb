//! Writes a model as a file.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::check::Site;
use super::cursor::push_varint;
use super::error::FormatError;
use super::header::{self, FLAG_METADATA, FLAG_NAMES, HEADER_LEN, Header};
use super::limits::{Limit, Limits};
use super::metadata;
use super::opcode::{Head, lists_inputs, push_shape};
use super::read::{INPUT_IS_U8, is_input_type, is_name, read};
use super::tensor;
use crate::model::{EncodedTensor, Model, Node, Value};
use crate::op::Op;
use crate::quant::Quant;
use crate::tensor::{DType, Shape, ValueType};

/// What goes into a file beside what it takes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether names of the model, its values and nodes are kept.
    pub names: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { names: true }
    }
}

/// Writes a model with its names.
///
/// Values are numbered inputs first, then in the order of nodes, tensors in the order of first use; apart from that,
/// what is written reads back as the same model. The same model always gives the same bytes.
///
/// # Errors
/// If the model is not one that a reader would accept.
pub fn write(model: &Model<'_>) -> Result<Vec<u8>, FormatError> {
    write_with(model, WriteOptions::default())
}

/// Writes a model.
///
/// # Errors
/// As for [`write()`].
pub fn write_with(model: &Model<'_>, options: WriteOptions) -> Result<Vec<u8>, FormatError> {
    let model = canonical(model, options)?;
    let mut out = vec![0; HEADER_LEN];
    push_varint(&mut out, count(Limit::Values, model.inputs.len())?);
    push_varint(&mut out, count(Limit::Nodes, model.nodes.len())?);
    for &id in &model.inputs {
        push_input(&mut out, &model.values[id].kind)?;
    }
    let mut known_tensors = 0;
    for (index, node) in model.nodes.iter().enumerate() {
        push_node(&mut out, &model, index, node, &mut known_tensors)?;
    }
    push_varint(&mut out, count(Limit::Values, model.outputs.len())?);
    let newest = model.values.len() - 1;
    for &id in &model.outputs {
        push_varint(&mut out, count(Limit::Values, newest - id)?);
    }
    let mut flags = 0;
    let names = || {
        let values = model.values.iter().map(|value| &value.name);
        [&model.name].into_iter().chain(values).chain(model.nodes.iter().map(|node| &node.name))
    };
    if names().any(|name| !name.is_empty()) {
        flags |= FLAG_NAMES;
        for name in names() {
            if !is_name(name) {
                return Err(FormatError::BadName { at: out.len() });
            }
            push_varint(&mut out, count(Limit::NameBytes, name.len())?);
            out.extend(name.as_bytes());
        }
    }
    if !model.metadata.is_empty() {
        flags |= FLAG_METADATA;
        let [input, output] =
            [model.inputs[0], model.outputs[0]].map(|id| model.values[id].kind.shape);
        metadata::push(&mut out, &model.metadata, input, output)?;
    }
    for tensor in &model.tensors {
        for stream in tensor.gaps.iter().chain([&tensor.symbols]) {
            out.extend(stream.bytes);
        }
    }
    header::fill(&mut out, Header { version: header::version_of(&model), flags })?;
    if read(&out, &Limits::none())? != model {
        return Err(FormatError::NotPreserved);
    }
    Ok(out)
}

fn count(limit: Limit, found: usize) -> Result<u32, FormatError> {
    u32::try_from(found).map_err(|_| FormatError::LimitExceeded {
        limit,
        found: found as u64,
        allowed: u64::from(u32::MAX),
    })
}

/// The same model with values and tensors in the order of the file, without names if they are not wanted.
fn canonical<'a>(model: &Model<'a>, options: WriteOptions) -> Result<Model<'a>, FormatError> {
    for (what, is_empty) in [
        ("inputs", model.inputs.is_empty()),
        ("nodes", model.nodes.is_empty()),
        ("outputs", model.outputs.is_empty()),
    ] {
        if is_empty {
            return Err(FormatError::Empty { what });
        }
    }
    let mut value_order = Renumbering::new("value", model.values.len());
    let mut tensor_order = Renumbering::new("tensor", model.tensors.len());
    for &id in &model.inputs {
        value_order.define(model.nodes.len(), id)?;
    }
    let mut nodes = Vec::with_capacity(model.nodes.len());
    for (index, node) in model.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|&id| value_order.known(index, id));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        value_order.define(index, node.output)?;
        nodes.push(Node {
            name: if options.names { node.name.clone() } else { String::new() },
            op: node.op.clone(),
            inputs,
            output: value_order.known(index, node.output)?,
            weight: node.weight.map(|id| tensor_order.first_use(index, id)).transpose()?,
            bias: node.bias.map(|id| tensor_order.first_use(index, id)).transpose()?,
        });
    }
    let outputs = model.outputs.iter().map(|&id| value_order.known(model.nodes.len(), id));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let values = value_order.finish()?.into_iter().map(|id| {
        let value = &model.values[id];
        let name = if options.names { value.name.clone() } else { String::new() };
        Value { name, kind: value.kind }
    });
    let tensors = tensor_order.finish()?.into_iter().map(|id| model.tensors[id].clone());
    Ok(Model {
        name: if options.names { model.name.clone() } else { String::new() },
        values: values.collect(),
        nodes,
        tensors: tensors.collect(),
        inputs: (0..model.inputs.len()).collect(),
        outputs,
        metadata: model.metadata.clone(),
    })
}

/// New numbers for old ones, in the order of their definition.
struct Renumbering {
    what: &'static str,
    new: Vec<Option<usize>>,
    old: Vec<usize>,
}

impl Renumbering {
    fn new(what: &'static str, count: usize) -> Self {
        Self { what, new: vec![None; count], old: Vec::with_capacity(count) }
    }

    fn slot(&mut self, node: usize, id: usize) -> Result<&mut Option<usize>, FormatError> {
        let (what, count) = (self.what, self.new.len());
        self.new.get_mut(id).ok_or(FormatError::IndexOutOfRange { node, what, index: id, count })
    }

    fn define(&mut self, node: usize, id: usize) -> Result<(), FormatError> {
        let (what, next) = (self.what, self.old.len());
        let slot = self.slot(node, id)?;
        if slot.is_some() {
            return Err(FormatError::Dataflow { what, index: id, problem: "written twice" });
        }
        *slot = Some(next);
        self.old.push(id);
        Ok(())
    }

    fn known(&mut self, node: usize, id: usize) -> Result<usize, FormatError> {
        let what = self.what;
        let problem = "read before it is written";
        self.slot(node, id)?.ok_or(FormatError::Dataflow { what, index: id, problem })
    }

    fn first_use(&mut self, node: usize, id: usize) -> Result<usize, FormatError> {
        if self.slot(node, id)?.is_none() {
            self.define(node, id)?;
        }
        self.known(node, id)
    }

    /// Old numbers in new order.
    fn finish(self) -> Result<Vec<usize>, FormatError> {
        match self.new.iter().position(Option::is_none) {
            Some(index) => {
                Err(FormatError::Dataflow { what: self.what, index, problem: "not used" })
            }
            None => Ok(self.old),
        }
    }
}

fn push_input(out: &mut Vec<u8>, kind: &ValueType) -> Result<(), FormatError> {
    let shape = kind.shape;
    if shape.rank() == 0 || shape.dim(0) != 1 || shape.is_empty() {
        return Err(FormatError::BadShape { what: "an input", shape });
    }
    if !is_input_type(kind) {
        let problem = "neither f32 nor u8 with a scale";
        return Err(FormatError::Dataflow { what: "input", index: 0, problem });
    }
    match kind.quant {
        None => push_shape(out, 0, shape),
        Some(quant) => {
            push_shape(out, INPUT_IS_U8, shape);
            push_quant(out, quant);
        }
    }
    Ok(())
}

fn push_quant(out: &mut Vec<u8>, quant: Quant) {
    out.extend(quant.scale.to_le_bytes());
    out.push(quant.zero_point);
}

fn push_node(
    out: &mut Vec<u8>,
    model: &Model<'_>,
    index: usize,
    node: &Node,
    known_tensors: &mut usize,
) -> Result<(), FormatError> {
    let kinds: Vec<ValueType> = node.inputs.iter().map(|&id| model.values[id].kind).collect();
    let stated = model.values[node.output].kind;
    let weight = node.weight.map(|id| &model.tensors[id]);
    let bias = node.bias.map(|id| &model.tensors[id]);
    let quant = stated_quant(&node.op, &kinds, &stated);
    let site = Site { node: index, op: &node.op, inputs: &kinds, weight, bias, quant };
    let derived = site.result()?;
    if derived != stated {
        return Err(FormatError::ValueType {
            value: node.output,
            stated_dtype: stated.dtype,
            stated: stated.shape,
            derived_dtype: derived.dtype,
            derived: derived.shape,
        });
    }
    let newest = node.output - 1;
    let is_explicit = lists_inputs(&node.op) || node.inputs != [newest];
    let input_count = count(Limit::Values, node.inputs.len())?;
    let tensors = || node.weight.iter().chain(&node.bias);
    let new = tensors().enumerate().all(|(at, &id)| id == *known_tensors + at);
    let head = Head {
        op: node.op.clone(),
        inputs: is_explicit.then_some(input_count),
        has_quant: quant.is_some(),
        has_bias: node.bias.is_some(),
        explicit_tensors: !new,
    };
    head.push(out);
    if is_explicit {
        for &id in &node.inputs {
            push_varint(out, count(Limit::Values, newest - id)?);
        }
    }
    for (at, &id) in tensors().enumerate() {
        let is_new = id == *known_tensors;
        if head.explicit_tensors {
            let back = if is_new { 0 } else { *known_tensors - id };
            push_varint(out, count(Limit::Tensors, back)?);
        }
        if is_new {
            *known_tensors += 1;
            push_tensor(out, id, &model.tensors[id], at == 0)?;
        }
    }
    if let Some(quant) = quant {
        push_quant(out, quant);
    }
    Ok(())
}

/// The quantization that the file must state for the result of a node.
fn stated_quant(op: &Op, inputs: &[ValueType], result: &ValueType) -> Option<Quant> {
    let input = inputs.first()?;
    match (op, input.dtype, result.dtype) {
        (Op::Quantize, ..) => result.quant,
        (
            Op::Conv2d(_) | Op::Dense(_) | Op::Add(_) | Op::Mul | Op::PRelu | Op::Unary(_),
            DType::U8,
            DType::U8,
        ) => result.quant,
        (Op::Concat(_) | Op::GlobalAveragePool | Op::Pool(_), DType::U8, _) => {
            result.quant.filter(|_| result.quant != input.quant)
        }
        _ => None,
    }
}

fn push_tensor(
    out: &mut Vec<u8>,
    index: usize,
    tensor: &EncodedTensor<'_>,
    is_weight: bool,
) -> Result<(), FormatError> {
    let error = |source| FormatError::Tensor { tensor: index, source };
    tensor.check().map_err(error)?;
    if is_weight {
        push_weight_shape(out, tensor.shape);
    }
    tensor::push(out, tensor).map_err(error)
}

/// All dimensions but the last, which the input tells.
fn push_weight_shape(out: &mut Vec<u8>, shape: Shape) {
    for dim in shape.iter().take(shape.rank() - 1) {
        push_varint(out, u32::try_from(dim).expect("dimensions are u32"));
    }
}
