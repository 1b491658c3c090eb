//! A model for tests.

use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Value};
use embdl_core::op::Op;
use embdl_core::tensor::{Shape, ValueType};

/// Softmax of four floats.
pub(crate) fn softmax() -> Model<'static> {
    let kind = ValueType::f32(Shape::matrix(1, 4));
    let value = |name: &str| Value { name: name.into(), kind };
    Model {
        name: "softmax".into(),
        values: vec![value("in"), value("out")],
        nodes: vec![Node {
            name: "softmax".into(),
            op: Op::Softmax,
            inputs: vec![0],
            output: 1,
            weight: None,
            bias: None,
        }],
        tensors: vec![],
        inputs: vec![0],
        outputs: vec![1],
        metadata: Metadata::default(),
    }
}
