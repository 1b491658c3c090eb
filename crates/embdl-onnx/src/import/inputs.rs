//! What a node reads: activations, and constants as far as the file's size allows.

use std::rc::Rc;

use tract_onnx::pb::NodeProto;

use super::importer::{Binding, Importer, Pending, Source};
use crate::error::{NodeError, TensorError};
use crate::layout::Order;
use crate::tensor::{self, Constant, Data, Floats, Ints};

/// Most elements of a constant that is kept once it is read; larger ones are weights, which few nodes share.
const MAX_KEPT: usize = 1024;

/// Scales of a weight that is made of levels, and the axis they belong to.
pub(super) type Scales = Option<(Vec<f32>, usize)>;

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

    pub(super) fn binding(&self, name: &str) -> Result<&Binding, NodeError> {
        self.bindings.get(name).ok_or_else(|| NodeError::NotWritten { value: name.into() })
    }

    /// The activation that is input `index`, with whatever is still to be done to it.
    pub(super) fn pending(&self, node: &NodeProto, index: usize) -> Result<Source, NodeError> {
        let name = input(node, index)?;
        match self.binding(name)? {
            Binding::Value(source) => Ok(source.clone()),
            Binding::Quantized(..) => {
                let reason = "it is made of integers, which only DequantizeLinear takes";
                Err(NodeError::Layout { value: name.into(), reason })
            }
            _ => Err(NodeError::NotActivation { value: name.into() }),
        }
    }

    /// The activation that is input `index`.
    pub(super) fn source(&mut self, node: &NodeProto, index: usize) -> Result<Source, NodeError> {
        let source = self.pending(node, index)?;
        if source.pending == Pending::NONE {
            return Ok(source);
        }
        let source = self.settle(node, source)?;
        self.bindings.insert(node.input[index].clone(), Binding::Value(source.clone()));
        Ok(source)
    }

    /// The activation that is input `index`, `[n, c, h, w]` in the file, as `[n, h, w, c]`.
    pub(super) fn map(&mut self, node: &NodeProto, index: usize) -> Result<Source, NodeError> {
        let source = self.source(node, index)?;
        self.as_map(node, index, source)
    }

    /// [`map`](Self::map) of a source that may have something pending, which stays so.
    pub(super) fn as_map(
        &mut self,
        node: &NodeProto,
        index: usize,
        source: Source,
    ) -> Result<Source, NodeError> {
        let dims = source.order.dims();
        let &[c, h, w] = dims.as_slice() else {
            let reason = "it does not have the four dimensions [n, c, h, w]";
            return Err(NodeError::Layout { value: node.input[index].clone(), reason });
        };
        let value = self.arrange(node, &source, &[1, 2, 0], &[h, w, c])?;
        Ok(Source { value, order: Order::nchw([h, w, c]), ..source })
    }

    /// Whether input `index` is a constant.
    pub(super) fn is_constant(&self, node: &NodeProto, index: usize) -> Result<bool, NodeError> {
        let binding = self.binding(input(node, index)?)?;
        Ok(!matches!(binding, Binding::Value(_) | Binding::Quantized(..)))
    }

    /// Whether `node` reads constants only.
    pub(super) fn is_all_constant(&self, node: &NodeProto) -> Result<bool, NodeError> {
        for (index, name) in node.input.iter().enumerate() {
            if !name.is_empty() && !self.is_constant(node, index)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The error of an operator that is only computed on constants.
    pub(super) fn not_constant(&self, node: &NodeProto) -> NodeError {
        let is_value = |name: &&String| !matches!(self.is_constant_name(name), Ok(true));
        let value = node.input.iter().find(is_value).cloned().unwrap_or_default();
        NodeError::NotConstant { value }
    }

    fn is_constant_name(&self, name: &str) -> Result<bool, NodeError> {
        let binding = self.binding(name)?;
        Ok(!matches!(binding, Binding::Value(_) | Binding::Quantized(..)))
    }

    /// The constant that is input `index`.
    pub(super) fn constant(
        &mut self,
        node: &NodeProto,
        index: usize,
    ) -> Result<Rc<Constant>, NodeError> {
        let name = input(node, index)?;
        let fail = |source| NodeError::Tensor { value: name.into(), source };
        let proto = match self.binding(name)? {
            Binding::Constant(constant) => return Ok(Rc::clone(constant)),
            Binding::Levels(levels) => return Ok(Rc::new(levels.constant.clone())),
            Binding::StoredSparsely => return Err(fail(TensorError::Sparse)),
            Binding::Value(_) | Binding::Quantized(..) => {
                return Err(NodeError::NotConstant { value: name.into() });
            }
            Binding::Taken => return Err(NodeError::NotWritten { value: name.into() }),
            Binding::Stored(proto) => Rc::clone(proto),
        };
        let constant = if tensor::is_external(&proto) {
            let inside = self.folder.load(&proto).map_err(fail)?;
            self.budget = self.budget.saturating_add(2 * tensor::held(&inside));
            self.spend(tensor::held(&inside))?;
            Constant::read(&inside).map_err(fail)?
        } else {
            // A length that lies is an error of the tensor, not of its use.
            let (_, len) = tensor::dims(&proto).map_err(fail)?;
            self.spend(len.min(tensor::held(&proto)))?;
            Constant::read(&proto).map_err(fail)?
        };
        drop(proto);
        let constant = Rc::new(constant);
        if self.read_once(name) {
            self.bindings.insert(name.into(), Binding::Taken);
        } else if constant.len() <= MAX_KEPT {
            self.bindings.insert(name.into(), Binding::Constant(Rc::clone(&constant)));
        }
        Ok(constant)
    }

    /// The float constant that is input `index`, with its name.
    pub(super) fn floats(
        &mut self,
        node: &'a NodeProto,
        index: usize,
    ) -> Result<(String, Floats), NodeError> {
        let (name, floats, _) = self.weight(node, index)?;
        Ok((name, floats))
    }

    /// The float constant that is input `index`, with its name, and with its scales where it is made of levels.
    pub(super) fn weight(
        &mut self,
        node: &'a NodeProto,
        index: usize,
    ) -> Result<(String, Floats, Scales), NodeError> {
        let name = input(node, index)?;
        let read_once = self.read_once(name);
        if let Binding::Levels(levels) = self.binding(name)? {
            let mut levels = Rc::clone(levels);
            if read_once {
                self.bindings.insert(name.into(), Binding::Taken);
            } else {
                self.spend(levels.constant.len())?;
            }
            let levels = core::mem::replace(
                Rc::make_mut(&mut levels),
                super::importer::Levels {
                    name: String::new(),
                    constant: Constant::vector(vec![]),
                    scales: vec![],
                    axis: 0,
                },
            );
            let super::importer::Levels { name, constant, scales, axis } = levels;
            let floats = as_floats(&name, constant)?;
            return Ok((name, floats, Some((scales, axis))));
        }
        let constant = self.constant(node, index)?;
        let constant = match Rc::try_unwrap(constant) {
            Ok(constant) => constant,
            Err(shared) => {
                self.spend(shared.len())?;
                Constant::clone(&shared)
            }
        };
        Ok((name.into(), as_floats(name, constant)?, None))
    }

    /// The single float that input `index` is.
    pub(super) fn scalar(&mut self, node: &'a NodeProto, index: usize) -> Result<f32, NodeError> {
        let (name, floats) = self.floats(node, index)?;
        match floats.values.as_slice() {
            &[value] => Ok(value),
            _ => Err(misfit(&name, floats, "one number is expected")),
        }
    }

    /// The integer constant that is input `index`.
    pub(super) fn ints(&mut self, node: &NodeProto, index: usize) -> Result<Ints, NodeError> {
        let name = input(node, index)?;
        let constant = self.constant(node, index)?;
        match &constant.data {
            Data::Ints(values) => Ok(Ints { dims: constant.dims.clone(), values: values.clone() }),
            Data::Floats(_) | Data::Bools(_) => {
                let found = if matches!(constant.data, Data::Bools(_)) { "BOOL" } else { "FLOAT" };
                let source =
                    TensorError::ElementType { found: found.into(), expected: "INT64 or INT32" };
                Err(NodeError::Tensor { value: name.into(), source })
            }
        }
    }

    /// Counts elements that are copied out of the file or made of what is in it.
    pub(super) fn spend(&mut self, elements: usize) -> Result<(), NodeError> {
        self.budget = self.budget.checked_sub(elements).ok_or(NodeError::Amplified)?;
        Ok(())
    }
}

fn as_floats(name: &str, constant: Constant) -> Result<Floats, NodeError> {
    match constant.data {
        Data::Floats(values) => Ok(Floats { dims: constant.dims, values }),
        Data::Ints(_) | Data::Bools(_) => {
            let source =
                TensorError::ElementType { found: "an integer type".into(), expected: "FLOAT" };
            Err(NodeError::Tensor { value: name.into(), source })
        }
    }
}

/// The error for a constant whose dimensions do not fit.
pub(super) fn misfit(name: &str, floats: Floats, reason: &'static str) -> NodeError {
    NodeError::Dims { value: name.into(), dims: floats.dims, reason }
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
