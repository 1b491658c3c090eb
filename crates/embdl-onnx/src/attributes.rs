//! Typed access to a node's attributes; what an operator does not know is an error, not ignored.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use crate::error::NodeError;

/// Attributes of one node.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    node: &'a NodeProto,
}

impl<'a> Attributes<'a> {
    /// The attributes of `node`, whose operator has no others than the `known` ones.
    pub(crate) fn new(node: &'a NodeProto, known: &[&str]) -> Result<Self, NodeError> {
        match node.attribute.iter().find(|attribute| !known.contains(&attribute.name.as_str())) {
            Some(unknown) => Err(NodeError::UnknownAttribute { name: unknown.name.clone() }),
            None => Ok(Self { node }),
        }
    }

    pub(crate) fn int(self, name: &str) -> Result<Option<i64>, NodeError> {
        Ok(self.typed(name, AttributeType::Int, "an integer")?.map(|attribute| attribute.i))
    }

    pub(crate) fn float(self, name: &str) -> Result<Option<f32>, NodeError> {
        Ok(self.typed(name, AttributeType::Float, "a float")?.map(|attribute| attribute.f))
    }

    pub(crate) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, NodeError> {
        let attribute = self.typed(name, AttributeType::Ints, "a list of integers")?;
        Ok(attribute.map(|attribute| attribute.ints.as_slice()))
    }

    pub(crate) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, NodeError> {
        let attribute = self.typed(name, AttributeType::Floats, "a list of floats")?;
        Ok(attribute.map(|attribute| attribute.floats.as_slice()))
    }

    pub(crate) fn string(self, name: &str) -> Result<Option<&'a str>, NodeError> {
        let Some(attribute) = self.typed(name, AttributeType::String, "a string")? else {
            return Ok(None);
        };
        core::str::from_utf8(&attribute.s).map(Some).map_err(|_| NodeError::Attribute {
            name: name.into(),
            value: String::from_utf8_lossy(&attribute.s).into_owned(),
            reason: "it is not UTF-8",
        })
    }

    pub(crate) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, NodeError> {
        let attribute = self.typed(name, AttributeType::Tensor, "a tensor")?;
        Ok(attribute.and_then(|attribute| attribute.t.as_ref()))
    }

    /// An integer that switches something on.
    pub(crate) fn flag(self, name: &str, default: bool) -> Result<bool, NodeError> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(value) => Err(invalid(name, value, "it has to be 0 or 1")),
        }
    }

    fn typed(
        self,
        name: &str,
        expected: AttributeType,
        reason: &'static str,
    ) -> Result<Option<&'a AttributeProto>, NodeError> {
        let Some(attribute) = self.node.attribute.iter().find(|attribute| attribute.name == name)
        else {
            return Ok(None);
        };
        // Files before IR version 2 do not state the type.
        if attribute.r#type != 0 && attribute.r#type != expected as i32 {
            let found = AttributeType::try_from(attribute.r#type);
            let found = found.map_or("of an unknown type", |found| found.as_str_name());
            return Err(NodeError::Attribute {
                name: name.into(),
                value: format!("({found})"),
                reason,
            });
        }
        Ok(Some(attribute))
    }
}

/// The error for an attribute whose value is not taken.
pub(crate) fn invalid(name: &str, value: impl core::fmt::Debug, reason: &'static str) -> NodeError {
    NodeError::Attribute { name: name.into(), value: format!("{value:?}"), reason }
}
