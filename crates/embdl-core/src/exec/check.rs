//! What walking a plan relies on. The format reader guarantees most of it; models made by hand are refused here.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::model::{Model, Node, ValueId};
use crate::op::Op;
use crate::runtime::RuntimeError;
use crate::tensor::{DType, Shape, ValueType};

/// The types of all values with the batch put in.
///
/// # Errors
/// If the model breaks a rule that executing it relies on, or no run can have so many samples.
pub fn check(model: &Model<'_>, batch: usize) -> Result<Vec<ValueType>, RuntimeError> {
    if batch == 0 || u32::try_from(batch).is_err() {
        return Err(RuntimeError::Batch { batch });
    }
    for value in &model.values {
        check_value(&value.kind).map_err(|reason| invalid(&value.name, reason))?;
    }
    check_order(model)?;
    for node in &model.nodes {
        check_node(model, node)?;
    }
    let with_batch = |kind: ValueType| ValueType { shape: kind.shape.with_batch(batch), ..kind };
    Ok(model.values.iter().map(|value| with_batch(value.kind)).collect())
}

pub(super) fn invalid(at: &str, reason: &'static str) -> RuntimeError {
    RuntimeError::Invalid { at: String::from(at), reason }
}

fn check_value(kind: &ValueType) -> Result<(), &'static str> {
    if kind.shape.rank() == 0 || kind.shape.dim(0) != 1 {
        return Err("the leading dimension of a value is not 1");
    }
    if kind.shape.checked_len().is_none_or(|len| len == 0) {
        return Err("a value has no elements, or too many");
    }
    match (kind.dtype, kind.quant) {
        (DType::F32, None) => Ok(()),
        (DType::U8 | DType::I32, Some(quant)) if quant.scale.is_finite() && quant.scale > 0.0 => {
            Ok(())
        }
        (DType::I8, _) => Err("a value is of a type that only weights have"),
        _ => Err("a float value has a scale, or a quantized one has none"),
    }
}

/// Every value is written once before it is read.
fn check_order(model: &Model<'_>) -> Result<(), RuntimeError> {
    let mut written = vec![false; model.values.len()];
    let mut write = |value: ValueId, at: &str| match written.get(value) {
        None => Err(invalid(at, "a value does not exist")),
        Some(true) => Err(invalid(at, "a value is written twice")),
        Some(false) => {
            written[value] = true;
            Ok(())
        }
    };
    for &input in &model.inputs {
        write(input, &model.name)?;
    }
    let mut reads: Vec<(&[ValueId], &str, usize)> = Vec::with_capacity(model.nodes.len() + 1);
    for node in &model.nodes {
        write(node.output, &node.name)?;
        reads.push((&node.inputs, &node.name, reads.len()));
    }
    reads.push((&model.outputs, &model.name, model.nodes.len()));
    let mut writer = vec![0; model.values.len()];
    for (index, node) in model.nodes.iter().enumerate() {
        writer[node.output] = index + 1;
    }
    for (values, at, index) in reads {
        for &value in values {
            if written.get(value) != Some(&true) || writer[value] > index {
                return Err(invalid(at, "a value is read before it is written"));
            }
        }
    }
    Ok(())
}

fn check_node(model: &Model<'_>, node: &Node) -> Result<(), RuntimeError> {
    let tensor = |id: Option<usize>| match id {
        None => Ok(None),
        Some(id) => match model.tensors.get(id) {
            None => Err(invalid(&node.name, "a tensor does not exist")),
            Some(tensor) => Ok(Some(tensor.shape)),
        },
    };
    if matches!(node.op, Op::BatchNorm(_)) {
        let reason = "it is for training; fold it into a layer first";
        let (node, op) = (node.name.clone(), node.op.name());
        return Err(RuntimeError::Unsupported { node, op, reason });
    }
    let (weight, bias) = (tensor(node.weight)?, tensor(node.bias)?);
    let shapes: Vec<Shape> =
        node.inputs.iter().map(|&input| model.values[input].kind.shape).collect();
    if shapes.is_empty() {
        return Err(invalid(&node.name, "a node has no inputs"));
    }
    let shape = node
        .op
        .infer(&shapes, weight)
        .map_err(|source| RuntimeError::Operator { node: node.name.clone(), source })?;
    if shape != model.values[node.output].kind.shape {
        return Err(invalid(&node.name, "its result has another shape than its operator gives"));
    }
    let channels = weight.map(|weight| Shape::vector(weight.dim(0)));
    if bias.is_some() && !(node.op.is_layer() && bias == channels) {
        return Err(invalid(&node.name, "its bias does not have one element an output channel"));
    }
    Ok(())
}
