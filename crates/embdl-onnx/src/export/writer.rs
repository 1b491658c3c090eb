//! Writes nodes, initializers and names of an ONNX graph.

use std::collections::{HashMap, HashSet};

use embdl_graph::ParamId;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::layout::Order;

/// Nodes and initializers so far.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
    taken: HashSet<String>,
    params: HashMap<ParamId, Vec<(Option<Order>, String)>>,
    scalars: HashMap<u32, String>,
}

impl Writer {
    /// A name that nothing else has: `wish` where it can be had.
    pub(super) fn name(&mut self, wish: &str, what: &str) -> String {
        let wish = if wish.is_empty() { what } else { wish };
        let mut name = wish.to_owned();
        let mut count = 1_usize;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wish}.{count}");
        }
        name
    }

    /// Keeps `name` from being given to anything else.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.into());
    }

    pub(super) fn node(
        &mut self,
        name: &str,
        op: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input,
            output: vec![output.into()],
            name: name.into(),
            op_type: op.into(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// Name of the initializer for parameter `id` in `order`; written by the first who asks.
    pub(super) fn param(
        &mut self,
        id: ParamId,
        order: Option<Order>,
        wish: &str,
        values: impl FnOnce() -> (Vec<usize>, Vec<f32>),
    ) -> String {
        let known = self.params.get(&id).and_then(|all| all.iter().find(|known| known.0 == order));
        if let Some((_, name)) = known {
            return name.clone();
        }
        let name = self.name(wish, "parameter");
        let (dims, values) = values();
        self.floats(&name, &dims, &values);
        self.params.entry(id).or_default().push((order, name.clone()));
        name
    }

    /// Name of an initializer for one number.
    pub(super) fn scalar(&mut self, value: f32) -> String {
        if let Some(name) = self.scalars.get(&value.to_bits()) {
            return name.clone();
        }
        let name = self.name(&format!("constant.{value}"), "constant");
        self.floats(&name, &[], &[value]);
        self.scalars.insert(value.to_bits(), name.clone());
        name
    }

    /// Name of an initializer for a shape, or for other integers.
    pub(super) fn shape(&mut self, wish: &str, dims: &[usize]) -> String {
        let bytes = dims.iter().flat_map(|&dim| wide(dim).to_le_bytes()).collect();
        self.constant(wish, DataType::Int64, &[dims.len()], bytes)
    }

    /// Name of an initializer of any type.
    pub(super) fn constant(
        &mut self,
        wish: &str,
        kind: DataType,
        dims: &[usize],
        raw_data: Vec<u8>,
    ) -> String {
        let name = self.name(wish, "constant");
        self.initializers.push(TensorProto {
            dims: dims.iter().map(|&dim| wide(dim)).collect(),
            data_type: kind as i32,
            raw_data,
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.initializers.push(TensorProto {
            dims: dims.iter().map(|&dim| wide(dim)).collect(),
            data_type: DataType::Float as i32,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            name: name.into(),
            ..TensorProto::default()
        });
    }
}

pub(super) fn int_attribute(name: &str, value: i64) -> AttributeProto {
    let r#type = AttributeType::Int as i32;
    AttributeProto { name: name.into(), r#type, i: value, ..AttributeProto::default() }
}

pub(super) fn string_attribute(name: &str, value: &str) -> AttributeProto {
    let r#type = AttributeType::String as i32;
    AttributeProto { name: name.into(), r#type, s: value.into(), ..AttributeProto::default() }
}

pub(super) fn float_attribute(name: &str, value: f32) -> AttributeProto {
    let r#type = AttributeType::Float as i32;
    AttributeProto { name: name.into(), r#type, f: value, ..AttributeProto::default() }
}

pub(super) fn ints_attribute<T: TryInto<i64>, const N: usize>(
    name: &str,
    values: [T; N],
) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    let ints = values.into_iter().map(|value| value.try_into().unwrap_or(i64::MAX)).collect();
    AttributeProto { name: name.into(), r#type, ints, ..AttributeProto::default() }
}

/// An input or output of floats; the batch is symbolic.
pub(super) fn tensor_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("N".into());
    let rest = dims.iter().skip(1).map(|&dim| dimension::Value::DimValue(wide(dim)));
    let dim = core::iter::once(batch)
        .chain(rest)
        .map(|value| Dimension { value: Some(value), ..Dimension::default() })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim }),
    };
    let kind =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// Dimensions are at most `u32`.
fn wide(dim: usize) -> i64 {
    i64::try_from(dim).unwrap_or(i64::MAX)
}
