//! What a node reads: activations, and constants as far as the file's size allows.

use tract_onnx::pb::NodeProto;

use super::importer::{Binding, Importer, Source};
use crate::error::{NodeError, TensorError};
use crate::layout::Order;
use crate::tensor::{self, Floats, Ints};

/// Most elements of an integer constant; they only make up shapes.
pub(super) const MAX_INTS: usize = 1024;

impl<'a> Importer<'a> {
    /// Number of inputs of `node`, those that are left out at the end not counted.
    pub(super) fn inputs(
        node: &NodeProto,
        range: core::ops::RangeInclusive<usize>,
        expected: &'static str,
    ) -> Result<usize, NodeError> {
        let found = node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        if range.contains(&found) {
            Ok(found)
        } else {
            Err(NodeError::Count { what: "inputs", found, expected })
        }
    }

    /// Whether `node` has input `index`.
    pub(super) fn has_input(node: &NodeProto, index: usize) -> bool {
        node.input.get(index).is_some_and(|name| !name.is_empty())
    }

    pub(super) fn binding(&self, name: &str) -> Result<&Binding<'a>, NodeError> {
        self.bindings.get(name).ok_or_else(|| NodeError::NotWritten { value: name.into() })
    }

    /// The activation that is input `index`.
    pub(super) fn source(&self, node: &NodeProto, index: usize) -> Result<Source, NodeError> {
        let name = input(node, index)?;
        match self.binding(name)? {
            Binding::Value(source) => Ok(source.clone()),
            _ => Err(NodeError::NotActivation { value: name.into() }),
        }
    }

    /// The activation that is input `index`, which has to be `[n, c, h, w]`.
    pub(super) fn map(&self, node: &NodeProto, index: usize) -> Result<Source, NodeError> {
        let source = self.source(node, index)?;
        let reason = match source.order {
            Order::Nchw => return Ok(source),
            Order::Nhwc => {
                "its dimensions are in the order [n, h, w, c] where [n, c, h, w] is read"
            }
            Order::Blocks(_) => "it does not have the four dimensions [n, c, h, w]",
        };
        Err(NodeError::Layout { value: node.input[index].clone(), reason })
    }

    /// Whether input `index` is a constant.
    pub(super) fn is_constant(&self, node: &NodeProto, index: usize) -> Result<bool, NodeError> {
        Ok(!matches!(self.binding(input(node, index)?)?, Binding::Value(_)))
    }

    /// The float constant that is input `index`, with its name.
    pub(super) fn floats(
        &mut self,
        node: &'a NodeProto,
        index: usize,
    ) -> Result<(&'a str, Floats), NodeError> {
        let name = input(node, index)?;
        let fail = |source| NodeError::Tensor { value: name.into(), source };
        let binding = self.binding(name)?.clone();
        let len = match &binding {
            Binding::Stored(proto) => tensor::dims(proto).map_err(fail)?.1,
            Binding::Floats(floats) => floats.values.len(),
            _ => 0,
        };
        // A length that lies is an error of the tensor, not of its use.
        let floats = match binding {
            Binding::Stored(proto) => {
                self.spend(len.min(proto.raw_data.len() / 4 + proto.float_data.len()))?;
                tensor::floats(proto).map_err(fail)?
            }
            Binding::Floats(floats) => {
                self.spend(len)?;
                Floats::clone(&floats)
            }
            Binding::StoredSparsely => return Err(fail(TensorError::Sparse)),
            Binding::Ints(_) => {
                let found = "INT64".into();
                return Err(fail(TensorError::ElementType { found, expected: "FLOAT" }));
            }
            Binding::Value(_) => return Err(NodeError::NotConstant { value: name.into() }),
        };
        Ok((name, floats))
    }

    /// The integer constant that is input `index`.
    pub(super) fn ints(&self, node: &NodeProto, index: usize) -> Result<Ints, NodeError> {
        let name = input(node, index)?;
        let fail = |source| NodeError::Tensor { value: name.into(), source };
        match self.binding(name)? {
            Binding::Stored(proto) => {
                let (dims, len) = tensor::dims(proto).map_err(fail)?;
                if len > MAX_INTS {
                    let reason = "shapes have few dimensions";
                    return Err(NodeError::Dims { value: name.into(), dims, reason });
                }
                tensor::ints(proto).map_err(fail)
            }
            Binding::Ints(ints) => Ok(Ints::clone(ints)),
            Binding::StoredSparsely => Err(fail(TensorError::Sparse)),
            Binding::Floats(_) => {
                let found = "FLOAT".into();
                Err(fail(TensorError::ElementType { found, expected: "INT64 or INT32" }))
            }
            Binding::Value(_) => Err(NodeError::NotConstant { value: name.into() }),
        }
    }

    /// Counts elements that are copied out of the file.
    pub(super) fn spend(&mut self, elements: usize) -> Result<(), NodeError> {
        self.budget = self.budget.checked_sub(elements).ok_or(NodeError::Amplified)?;
        Ok(())
    }
}

/// Name of input `index`.
pub(super) fn input(node: &NodeProto, index: usize) -> Result<&str, NodeError> {
    let found = node.input.len();
    node.input
        .get(index)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .ok_or(NodeError::Count { what: "inputs", found, expected: "more" })
}
