//! Reads a file that may come from anyone.

mod tensors;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::check::Site;
use super::cursor::Cursor;
use super::error::FormatError;
use super::header::{self, FLAG_METADATA, FLAG_NAMES, HEADER_LEN};
use super::layout::TensorLayout;
use super::limits::{Limit, Limits};
use super::metadata;
use super::opcode::{Head, lists_inputs, read_shape};
use super::tensor::read_scale;
use crate::metadata::Metadata;
use crate::model::{EncodedTensor, Model, Node, Value, ValueId};
use crate::op::Op;
use crate::quant::Quant;
use crate::tensor::{DType, ValueType};

/// Reads a model; its tensors stay slices of `bytes`.
///
/// Values are numbered inputs first, then results in the order of nodes; tensors in the order of first use. All that
/// [`Model`] promises holds afterwards. The content of streams is not looked at: it is checked when a tensor is
/// decoded, or by [`verify`].
///
/// # Errors
/// If the file is not exactly what the format allows, or exceeds the limits.
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Model<'a>, FormatError> {
    parse(bytes, limits).map(|parsed| parsed.model)
}

/// Decodes every tensor of a model as the layers that use it will, to see that it can be.
///
/// # Errors
/// If one does not decode.
pub fn verify(model: &Model<'_>) -> Result<(), FormatError> {
    for node in &model.nodes {
        let is_float = model.values[node.inputs[0]].kind.dtype == DType::F32;
        if let Some(id) = node.weight {
            let weight = &model.tensors[id];
            let result = if is_float || node.op == Op::PRelu {
                weight.dequantize_blocks(VERIFIED_AT_A_TIME, |_, _| {})
            } else {
                weight.decode_i8_blocks(VERIFIED_AT_A_TIME, |_, _| {})
            };
            result.map_err(|source| FormatError::Tensor { tensor: id, source })?;
        }
        if let Some(id) = node.bias {
            let bias = &model.tensors[id];
            let result =
                if is_float { bias.decode_f32().map(drop) } else { bias.decode_i32().map(drop) };
            result.map_err(|source| FormatError::Tensor { tensor: id, source })?;
        }
    }
    Ok(())
}

/// Elements that [`verify`] decodes at a time.
const VERIFIED_AT_A_TIME: usize = 8192;

/// A model and where its bytes are.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) model: Model<'a>,
    pub(super) tensors: Vec<TensorLayout>,
    pub(super) name_bytes: usize,
    pub(super) metadata_bytes: usize,
}

pub(super) fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Parsed<'a>, FormatError> {
    let header = header::check(bytes, limits)?;
    let mut reader = Reader {
        cursor: Cursor::new(bytes, HEADER_LEN),
        limits,
        values: Vec::new(),
        tensors: Vec::new(),
        layouts: Vec::new(),
        is_read: Vec::new(),
        activation_elements: 0,
        tensor_elements: 0,
    };
    let (inputs, node_count) = reader.inputs()?;
    let mut nodes = Vec::with_capacity(node_count);
    for index in 0..node_count {
        let node = reader.node(index)?;
        nodes.push(node);
    }
    let outputs = reader.outputs(node_count, inputs.len())?;
    let names_at = reader.cursor.at();
    let mut name = String::new();
    if header.flags & FLAG_NAMES != 0 {
        name = reader.names(&mut nodes)?;
    }
    let name_bytes = reader.cursor.at() - names_at;
    let mut metadata = Metadata::default();
    if header.flags & FLAG_METADATA != 0 {
        let [input, output] = [inputs[0], outputs[0]].map(|id| reader.values[id].kind.shape);
        metadata = metadata::read(&mut reader.cursor, limits, input, output)?;
    }
    let metadata_bytes = reader.cursor.at() - names_at - name_bytes;
    reader.payload()?;
    let (values, tensors) = (reader.values, reader.tensors);
    let model = Model { name, values, nodes, tensors, inputs, outputs, metadata };
    let needed = header::version_of(&model);
    if header.version != needed {
        return Err(FormatError::Version { found: header.version, needed });
    }
    Ok(Parsed { model, tensors: reader.layouts, name_bytes, metadata_bytes })
}

struct Reader<'a, 'l> {
    cursor: Cursor<'a>,
    limits: &'l Limits,
    values: Vec<Value>,
    tensors: Vec<EncodedTensor<'a>>,
    layouts: Vec<TensorLayout>,
    /// Whether a node has read the value.
    is_read: Vec<bool>,
    activation_elements: u64,
    tensor_elements: u64,
}

impl<'a> Reader<'a, '_> {
    fn inputs(&mut self) -> Result<(Vec<ValueId>, usize), FormatError> {
        let input_count = self.cursor.varint()?;
        let node_count = self.cursor.varint()?;
        if input_count == 0 {
            return Err(FormatError::Empty { what: "inputs" });
        }
        if node_count == 0 {
            return Err(FormatError::Empty { what: "nodes" });
        }
        let value_count = u64::from(input_count) + u64::from(node_count);
        within(Limit::Nodes, u64::from(node_count), self.limits.max_nodes)?;
        within(Limit::Values, value_count, self.limits.max_values)?;
        let left = self.cursor.left();
        // An input and a node take at least a byte each.
        if value_count > left as u64 {
            return Err(FormatError::CountTooLarge { what: "values", claimed: value_count, left });
        }
        let (input_count, node_count) = (input_count as usize, node_count as usize);
        self.values.reserve_exact(input_count + node_count);
        self.is_read.reserve_exact(input_count + node_count);
        for _ in 0..input_count {
            let at = self.cursor.at();
            let flags = self.cursor.byte()?;
            if flags >> 4 != 0 {
                return Err(FormatError::NotCanonical { at, what: "an input" });
            }
            let shape = read_shape(&mut self.cursor, flags & 7, at)?;
            let kind = if flags & INPUT_IS_U8 == 0 {
                ValueType::f32(shape)
            } else {
                ValueType::u8(shape, self.quant()?)
            };
            self.push_value(kind)?;
        }
        Ok(((0..input_count).collect(), node_count))
    }

    fn push_value(&mut self, kind: ValueType) -> Result<(), FormatError> {
        let len = kind.shape.checked_len();
        let len = len.ok_or(FormatError::BadShape { what: "a value", shape: kind.shape })?;
        self.activation_elements = self.activation_elements.saturating_add(len as u64);
        within(
            Limit::ActivationElements,
            self.activation_elements,
            self.limits.max_activation_elements,
        )?;
        self.values.push(Value { name: String::new(), kind });
        self.is_read.push(false);
        Ok(())
    }

    fn quant(&mut self) -> Result<Quant, FormatError> {
        let scale = read_scale(&mut self.cursor, "an activation")?;
        Ok(Quant { scale, zero_point: self.cursor.byte()? })
    }

    fn node(&mut self, index: usize) -> Result<Node, FormatError> {
        let mut head = Head::read(&mut self.cursor)?;
        let inputs = self.operands(index, &head)?;
        let (weight, bias) = self.weights(index, &mut head, &inputs)?;
        let quant = if head.has_quant { Some(self.quant()?) } else { None };
        let kinds: Vec<ValueType> = inputs.iter().map(|&id| self.values[id].kind).collect();
        let site = Site {
            node: index,
            op: &head.op,
            inputs: &kinds,
            weight: weight.map(|id| &self.tensors[id]),
            bias: bias.map(|id| &self.tensors[id]),
            quant,
        };
        let kind = site.result()?;
        let output = self.values.len();
        self.push_value(kind)?;
        Ok(Node { name: String::new(), op: head.op, inputs, output, weight, bias })
    }

    fn operands(&mut self, node: usize, head: &Head) -> Result<Vec<ValueId>, FormatError> {
        let newest = self.values.len() - 1;
        let Some(count) = head.inputs else {
            self.is_read[newest] = true;
            return Ok(vec![newest]);
        };
        let left = self.cursor.left();
        if count as usize > left {
            let claimed = u64::from(count);
            return Err(FormatError::CountTooLarge { what: "inputs of a node", claimed, left });
        }
        let mut inputs = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let at = self.cursor.at();
            let back = self.cursor.varint()? as usize;
            if back == 0 && !lists_inputs(&head.op) {
                return Err(FormatError::NotCanonical { at, what: "an operand" });
            }
            let id = newest.checked_sub(back).ok_or(FormatError::IndexOutOfRange {
                node,
                what: "value",
                index: back,
                count: newest + 1,
            })?;
            self.is_read[id] = true;
            inputs.push(id);
        }
        Ok(inputs)
    }

    fn outputs(&mut self, node: usize, inputs: usize) -> Result<Vec<ValueId>, FormatError> {
        let count = self.cursor.varint()?;
        if count == 0 {
            return Err(FormatError::Empty { what: "outputs" });
        }
        let left = self.cursor.left();
        if count as usize > left {
            let claimed = u64::from(count);
            return Err(FormatError::CountTooLarge { what: "outputs", claimed, left });
        }
        let newest = self.values.len() - 1;
        let mut is_output = vec![false; self.values.len()];
        let mut outputs = Vec::with_capacity(count as usize);
        for index in 0..count as usize {
            let back = self.cursor.varint()? as usize;
            let id = newest.checked_sub(back).ok_or(FormatError::IndexOutOfRange {
                node,
                what: "value",
                index: back,
                count: newest + 1,
            })?;
            if id < inputs {
                let problem = "an input";
                return Err(FormatError::Dataflow { what: "output", index, problem });
            }
            if is_output[id] {
                let problem = "listed twice";
                return Err(FormatError::Dataflow { what: "output", index, problem });
            }
            is_output[id] = true;
            outputs.push(id);
        }
        let unused =
            self.is_read.iter().zip(&is_output).position(|(read, output)| !read && !output);
        if let Some(index) = unused {
            let problem = "neither read nor an output";
            return Err(FormatError::Dataflow { what: "value", index, problem });
        }
        Ok(outputs)
    }

    /// Reads all names into values and nodes, and gives that of the model.
    fn names(&mut self, nodes: &mut [Node]) -> Result<String, FormatError> {
        let at = self.cursor.at();
        let mut total = 0;
        let name = self.name(&mut total)?;
        for index in 0..self.values.len() {
            self.values[index].name = self.name(&mut total)?;
        }
        for node in nodes {
            node.name = self.name(&mut total)?;
        }
        if total == 0 {
            return Err(FormatError::NotCanonical { at, what: "a section of names" });
        }
        Ok(name)
    }

    fn name(&mut self, total: &mut u64) -> Result<String, FormatError> {
        let at = self.cursor.at();
        let len = self.cursor.varint()?;
        *total += u64::from(len);
        within(Limit::NameBytes, *total, self.limits.max_name_bytes)?;
        let field = self.cursor.take(len as usize)?;
        let text = core::str::from_utf8(field).map_err(|_| FormatError::BadName { at })?;
        if !is_name(text) {
            return Err(FormatError::BadName { at });
        }
        Ok(text.into())
    }
}

/// Flag in the first byte of an input, above the rank.
pub(super) const INPUT_IS_U8: u8 = 1 << 3;

/// Whether the text may be shown as it is: control characters could steer a terminal.
pub(super) fn is_name(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

pub(super) const fn within(limit: Limit, found: u64, allowed: u64) -> Result<(), FormatError> {
    if found > allowed { Err(FormatError::LimitExceeded { limit, found, allowed }) } else { Ok(()) }
}

/// Whether the value is of a type that models may take in.
pub(super) fn is_input_type(kind: &ValueType) -> bool {
    matches!((kind.dtype, kind.quant), (DType::F32, None) | (DType::U8, Some(_)))
}
