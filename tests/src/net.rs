//! Builds small models in memory, weights encoded.

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, candidates, encode};
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Scales, TensorId, Value, ValueId};
use embdl_core::op::Op;
use embdl_core::quant::Quant;
use embdl_core::tensor::{DType, Shape, ValueType};

/// What the result of a node is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements {
    /// Floats.
    F32,
    /// Levels.
    U8(Quant),
    /// Accumulators of this scale.
    I32(f32),
}

/// A model under construction.
#[derive(Clone, Debug, Default)]
pub struct Net {
    values: Vec<Value>,
    nodes: Vec<Node>,
    tensors: Vec<OwnedTensor>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
}

impl Net {
    /// An empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that the caller gives.
    pub fn input(&mut self, shape: Shape, elements: Elements) -> ValueId {
        let id = self.value(shape, elements);
        self.inputs.push(id);
        id
    }

    /// A node without weights.
    pub fn node(&mut self, op: Op, inputs: &[ValueId], elements: Elements) -> ValueId {
        self.push(op, inputs, [None, None], elements)
    }

    /// A node with a weight, and with a bias if there is one.
    pub fn layer(
        &mut self,
        op: Op,
        input: ValueId,
        weight: OwnedTensor,
        bias: Option<OwnedTensor>,
        elements: Elements,
    ) -> ValueId {
        let mut tensor = |tensor: OwnedTensor| -> TensorId {
            self.tensors.push(tensor);
            self.tensors.len() - 1
        };
        let ids = [Some(tensor(weight)), bias.map(tensor)];
        self.push(op, &[input], ids, elements)
    }

    /// A value that the caller gets.
    pub fn output(&mut self, value: ValueId) {
        self.outputs.push(value);
    }

    /// Type of a value, for a batch of one.
    #[must_use]
    pub fn kind(&self, value: ValueId) -> ValueType {
        self.values[value].kind
    }

    /// The model as a file would hold it.
    #[must_use]
    pub fn model(&self) -> Model<'_> {
        Model {
            name: String::from("net"),
            values: self.values.clone(),
            nodes: self.nodes.clone(),
            tensors: self.tensors.iter().map(OwnedTensor::view).collect(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            metadata: Metadata::default(),
        }
    }

    fn push(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        [weight, bias]: [Option<TensorId>; 2],
        elements: Elements,
    ) -> ValueId {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.kind(input).shape).collect();
        let shape = op.infer(&shapes, weight.map(|id| self.tensors[id].shape));
        let output = self.value(shape.expect("the operator fits"), elements);
        let name = format!("{}{}", op.name(), self.nodes.len());
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, weight, bias });
        output
    }

    fn value(&mut self, shape: Shape, elements: Elements) -> ValueId {
        let kind = match elements {
            Elements::F32 => ValueType::f32(shape),
            Elements::U8(quant) => ValueType::u8(shape, quant),
            Elements::I32(scale) => ValueType::i32(shape, scale),
        };
        self.values.push(Value { name: format!("value{}", self.values.len()), kind });
        self.values.len() - 1
    }
}

/// Elements of a type.
#[must_use]
pub fn elements_of(kind: ValueType) -> Elements {
    match (kind.dtype, kind.quant) {
        (DType::U8, Some(quant)) => Elements::U8(quant),
        (DType::I32, Some(quant)) => Elements::I32(quant.scale),
        _ => Elements::F32,
    }
}

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Every element has a symbol.
    Dense,
    /// Zeros have none; the smallest sparse form.
    Sparse,
}

/// Floats.
#[must_use]
pub fn floats(shape: Shape, values: &[f32]) -> OwnedTensor {
    stored(shape, Scales::None, WeightData::F32(values), Store::Dense)
}

/// Integer weights.
#[must_use]
pub fn integers(shape: Shape, scales: Scales, values: &[i8], store: Store) -> OwnedTensor {
    let values: Vec<i32> = values.iter().map(|&value| i32::from(value)).collect();
    stored(shape, scales, WeightData::Int(&values), store)
}

/// An integer bias.
#[must_use]
pub fn bias(values: &[i32]) -> OwnedTensor {
    let shape = Shape::vector(values.len());
    stored(shape, Scales::None, WeightData::Int(values), Store::Dense)
}

/// Weights by codebook.
#[must_use]
pub fn codebook(
    shape: Shape,
    scales: Scales,
    codes: &[u8],
    book: Book<'_>,
    store: Store,
) -> OwnedTensor {
    stored(shape, scales, WeightData::Codebook { codes, book }, store)
}

fn stored(shape: Shape, scales: Scales, data: WeightData<'_>, store: Store) -> OwnedTensor {
    let all = candidates(shape, &scales, data, EncodeOptions::default()).expect("values fit");
    let best = all
        .iter()
        .filter(|candidate| candidate.gap_bits.is_some() == (store == Store::Sparse))
        .min_by_key(|candidate| candidate.total_bytes())
        .expect("the form is possible");
    encode(shape, scales, data, best).expect("values fit")
}
