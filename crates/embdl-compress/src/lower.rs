//! From a graph to the bytes of an `.embdl` file: which values become integers, how each tensor is written.

mod tensors;

use embdl_core::encoding::OwnedTensor;
use embdl_core::format;
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, TensorId, Value, ValueId};
use embdl_core::op::Op;
use embdl_core::quant::Quant;
use embdl_core::tensor::{DType, ValueType};
use embdl_graph::Graph;

use crate::error::CompressError;

/// What the encoder may use. The smallest encoding that is allowed wins, tensor by tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Relative-index sparse layouts.
    pub sparse: bool,
    /// Huffman codes for symbols and gaps.
    pub huffman: bool,
    /// Names of nodes and values, which take a few bytes each.
    pub names: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { sparse: true, huffman: true, names: true }
    }
}

/// A file, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes of the `.embdl` file.
    pub bytes: Vec<u8>,
    /// Bytes of the network's parameters as fp32.
    pub fp32_bytes: u64,
}

impl Encoded {
    /// fp32 bytes over whole-file bytes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "byte counts")]
    pub fn ratio(&self) -> f64 {
        self.fp32_bytes as f64 / self.bytes.len() as f64
    }

    /// Refuses a file that is not smaller than `before` bytes.
    ///
    /// # Errors
    /// [`CompressError::Grew`] with the probable cause.
    pub fn smaller_than(&self, before: u64, graph: &Graph) -> Result<(), CompressError> {
        let after = self.bytes.len() as u64;
        if after < before {
            return Ok(());
        }
        let free =
            graph.layers().filter(|(_, weight)| weight.mask.is_none() && weight.levels().is_none());
        let names: Vec<&str> = free.map(|(node, _)| node.name.as_str()).collect();
        let reason = if names.is_empty() {
            "the network is so small that the file's own structure outweighs what was saved"
                .to_owned()
        } else {
            format!(
                "these layers hold plain floats: {}; prune, share or quantize them",
                names.join(", ")
            )
        };
        Err(CompressError::Grew { before, after, reason })
    }
}

/// Writes `graph` as an `.embdl` file.
///
/// A layer computes in integers exactly where its input is quantized and its weights have levels; quantize and
/// dequantize nodes are put where the kinds change. Biases of integer layers are rounded to the accumulator's step.
///
/// # Errors
/// If a node cannot be expressed, such as integer logits with a scale for each class.
pub fn encode(graph: &Graph, options: EncodeOptions) -> Result<Encoded, CompressError> {
    let lowered = lower(graph, options)?;
    let names = format::WriteOptions { names: options.names };
    let bytes = format::write_with(&lowered.model(), names)?;
    Ok(Encoded { bytes, fp32_bytes: graph.fp32_bytes() })
}

/// A graph as a model whose tensors have bytes of their own.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    name: String,
    values: Vec<Value>,
    nodes: Vec<Node>,
    tensors: Vec<OwnedTensor>,
    inputs: usize,
    outputs: Vec<ValueId>,
    metadata: Metadata,
}

impl Lowered {
    /// The model, to be written or loaded.
    pub(crate) fn model(&self) -> Model<'_> {
        Model {
            name: self.name.clone(),
            values: self.values.clone(),
            nodes: self.nodes.clone(),
            tensors: self.tensors.iter().map(OwnedTensor::view).collect(),
            inputs: (0..self.inputs).collect(),
            outputs: self.outputs.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// Turns `graph` into a model without writing it.
pub(crate) fn lower(graph: &Graph, options: EncodeOptions) -> Result<Lowered, CompressError> {
    graph.validate()?;
    let mut lowering = Lowering::new(graph, options);
    lowering.inputs();
    for node in &graph.nodes {
        lowering.node(node)?;
    }
    let outputs = graph.outputs.iter().map(|&id| lowering.any(id)).collect();
    let Lowering { values, nodes, tensors, .. } = lowering;
    let (name, inputs) = (graph.name.clone(), graph.inputs.len());
    let metadata = graph.metadata.clone();
    Ok(Lowered { name, values, nodes, tensors, inputs, outputs, metadata })
}

/// The forms in which a graph's value exists in the model.
#[derive(Clone, Copy, Debug, Default)]
struct Forms {
    /// As u8 levels or as i32 accumulators.
    integer: Option<ValueId>,
    /// As f32.
    float: Option<ValueId>,
}

struct Lowering<'a> {
    graph: &'a Graph,
    options: EncodeOptions,
    forms: Vec<Forms>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    tensors: Vec<OwnedTensor>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, options: EncodeOptions) -> Self {
        let forms = vec![Forms::default(); graph.values.len()];
        Self { graph, options, forms, values: Vec::new(), nodes: Vec::new(), tensors: Vec::new() }
    }

    fn inputs(&mut self) {
        for &input in &self.graph.inputs {
            let value = &self.graph.values[input];
            match value.quant {
                Some(quant) => {
                    self.forms[input].integer = Some(self.value(&value.name, u8_of(value, quant)))
                }
                None => {
                    self.forms[input].float =
                        Some(self.value(&value.name, ValueType::f32(value.shape)))
                }
            }
        }
    }

    fn node(&mut self, node: &embdl_graph::Node) -> Result<(), CompressError> {
        let refuse =
            |reason| CompressError::Lower { node: node.name.clone(), op: node.op.name(), reason };
        let quants: Option<Vec<Quant>> =
            node.inputs.iter().map(|&id| self.graph.values[id].quant).collect();
        let output = &self.graph.values[node.output];
        if matches!(node.op, Op::Quantize | Op::Dequantize) {
            return Err(refuse("a graph says it with the quant of its values"));
        }
        if matches!(node.op, Op::BatchNorm(_)) {
            return Err(refuse("it is for training; fold it into the layer before it first"));
        }
        let integer = self.graph.computes_in_integers(node);
        let inputs: Vec<ValueId> = node
            .inputs
            .iter()
            .map(|&id| if integer { self.levels(id) } else { self.float(id) })
            .collect();
        let weight =
            node.weight.map(|id| self.weight(id, integer && node.op.is_layer())).transpose()?;
        let bias = match (node.bias, integer, &quants) {
            (Some(id), true, Some(quants)) => Some(self.integer_bias(node, id, quants[0])?),
            (Some(id), _, _) => Some(self.float_bias(id)?),
            _ => None,
        };
        let kind = match (integer, output.quant) {
            (false, _) => ValueType::f32(output.shape),
            (true, Some(quant)) => u8_of(output, quant),
            (true, None) => {
                let scales =
                    node.weight.and_then(|id| self.graph.params[id].scales()).unwrap_or_default();
                let [scale] = scales[..] else {
                    return Err(refuse(
                        "accumulators that nothing requantizes need one scale for the tensor",
                    ));
                };
                ValueType::i32(output.shape, scale * quants.map_or(1.0, |quants| quants[0].scale))
            }
        };
        let id = self.value(&output.name, kind);
        let form = &mut self.forms[node.output];
        *(if integer { &mut form.integer } else { &mut form.float }) = Some(id);
        self.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            output: id,
            weight,
            bias,
        });
        Ok(())
    }

    /// The value in whatever form it was made.
    fn any(&self, id: usize) -> ValueId {
        let form = self.forms[id];
        form.integer.or(form.float).expect("valid graphs write values before they are read")
    }

    /// The value as u8 levels.
    fn levels(&mut self, id: usize) -> ValueId {
        if let Some(have) = self.forms[id].integer {
            return have;
        }
        let value = &self.graph.values[id];
        let quant = value.quant.expect("integer nodes read values with a quant");
        let from = self.float(id);
        let to =
            self.convert(Op::Quantize, from, format!("{}.levels", value.name), u8_of(value, quant));
        self.forms[id].integer = Some(to);
        to
    }

    /// The value as floats.
    fn float(&mut self, id: usize) -> ValueId {
        if let Some(have) = self.forms[id].float {
            return have;
        }
        let value = &self.graph.values[id];
        let from = self.any(id);
        let kind = ValueType::f32(value.shape);
        let to = self.convert(Op::Dequantize, from, format!("{}.float", value.name), kind);
        self.forms[id].float = Some(to);
        to
    }

    fn convert(&mut self, op: Op, from: ValueId, name: String, kind: ValueType) -> ValueId {
        let output = self.value(&name, kind);
        self.nodes.push(Node { name, op, inputs: vec![from], output, weight: None, bias: None });
        output
    }

    fn value(&mut self, name: &str, kind: ValueType) -> ValueId {
        debug_assert!(kind.dtype != DType::I8, "activations are f32, u8 or i32");
        self.values.push(Value { name: name.to_owned(), kind });
        self.values.len() - 1
    }

    fn tensor(&mut self, tensor: OwnedTensor) -> TensorId {
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }
}

fn u8_of(value: &embdl_graph::Value, quant: Quant) -> ValueType {
    ValueType::u8(value.shape, quant)
}
