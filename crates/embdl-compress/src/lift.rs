//! From a model back to a graph with the values that the file stands for.

use embdl_core::encoding::EncodingError;
use embdl_core::model::{EncodedTensor, Model, Scales, Values};
use embdl_core::op::Op;
use embdl_core::tensor::DType;
use embdl_graph::{Form, Graph, Node, Param, ParamRole, Value};

/// Why a model does not become a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiftError {
    /// A tensor does not decode.
    #[error("a tensor of node {node:?} does not decode: {source}")]
    Tensor {
        /// Node.
        node: String,
        /// What is wrong.
        #[source]
        source: EncodingError,
    },
    /// The result is not valid.
    #[error(transparent)]
    Graph(#[from] embdl_graph::GraphError),
}

/// Decodes `model` into a graph: integer weights keep their scales as constraints, quantized activations their
/// levels, and zeros of sparse tensors a mask. `encode` of the result gives the same numbers.
///
/// # Errors
/// If a tensor does not decode.
pub fn lift(model: &Model<'_>) -> Result<Graph, LiftError> {
    let mut graph = Graph {
        name: model.name.clone(),
        values: Vec::new(),
        nodes: Vec::new(),
        params: Vec::new(),
        inputs: model.inputs.clone(),
        outputs: model.outputs.clone(),
        metadata: model.metadata.clone(),
    };
    for (at, value) in model.values.iter().enumerate() {
        let quant = value.kind.quant.filter(|_| value.kind.dtype == DType::U8);
        let name = if value.name.is_empty() { format!("value{at}") } else { value.name.clone() };
        graph.values.push(Value { name, shape: value.kind.shape, quant });
    }
    // Conversions between levels and floats are implied by the values' quants: readers read the source.
    let mut stands_for: Vec<usize> = (0..model.values.len()).collect();
    for (at, node) in model.nodes.iter().enumerate() {
        let name = if node.name.is_empty() {
            format!("{}{at}", node.op.name())
        } else {
            node.name.clone()
        };
        let inputs: Vec<usize> = node.inputs.iter().map(|&id| stands_for[id]).collect();
        if matches!(node.op, Op::Quantize | Op::Dequantize) {
            if node.op == Op::Quantize {
                graph.values[inputs[0]].quant = graph.values[node.output].quant;
            }
            stands_for[node.output] = inputs[0];
            continue;
        }
        let failed = |source| LiftError::Tensor { node: name.clone(), source };
        let weight =
            node.weight.map(|id| weight(&name, &model.tensors[id])).transpose().map_err(failed)?;
        // Slopes are not what compression works on.
        let weight = weight.map(|param| match node.op {
            Op::PRelu => Param::new(
                format!("{name}.slope"),
                ParamRole::Bias,
                param.shape,
                param.effective().to_vec(),
            ),
            _ => param,
        });
        let input_scale = graph.values[inputs[0]].quant.map_or(1.0, |quant| quant.scale);
        let bias = node
            .bias
            .map(|id| bias(&name, &model.tensors[id], weight.as_ref(), input_scale))
            .transpose()
            .map_err(failed)?;
        let mut add = |param: Param| {
            graph.params.push(param);
            graph.params.len() - 1
        };
        let (weight, bias) = (weight.map(&mut add), bias.map(&mut add));
        graph.nodes.push(Node {
            name,
            op: node.op.clone(),
            inputs,
            output: node.output,
            weight,
            bias,
            stats: None,
        });
    }
    graph.outputs.iter_mut().for_each(|id| *id = stands_for[*id]);
    drop_unused_values(&mut graph);
    graph.validate()?;
    Ok(graph)
}

fn weight(node: &str, tensor: &EncodedTensor<'_>) -> Result<Param, EncodingError> {
    let values = tensor.dequantize()?;
    let form = match (&tensor.scales, &tensor.values) {
        (Scales::None, Values::CodebookF32(book)) => {
            let at = |value: &f32| book.iter().position(|entry| entry == value).unwrap_or(0);
            let codes = values.iter().map(|value| u8::try_from(at(value)).unwrap_or(0)).collect();
            Form::Shared { centroids: book.clone(), codes, step: None }
        }
        (Scales::None, _) => Form::Free,
        (Scales::PerTensor(scale), _) => Form::Integer { bits: 8, scales: vec![*scale] },
        (Scales::PerChannel(scales), _) => Form::Integer { bits: 8, scales: scales.clone() },
    };
    let mask = values.contains(&0.0).then(|| values.iter().map(|&w| w != 0.0).collect());
    Ok(Param {
        mask,
        form,
        ..Param::new(format!("{node}.weight"), ParamRole::Weight, tensor.shape, values)
    })
}

fn bias(
    node: &str,
    tensor: &EncodedTensor<'_>,
    weight: Option<&Param>,
    input_scale: f32,
) -> Result<Param, EncodingError> {
    let scales = weight.and_then(Param::scales);
    let values = match (&tensor.values, scales) {
        (Values::Int { .. }, Some(scales)) => {
            let scale_of =
                |channel: usize| scales[if scales.len() == 1 { 0 } else { channel }] * input_scale;
            #[expect(
                clippy::cast_precision_loss,
                reason = "a bias that was a float before it was rounded"
            )]
            tensor
                .decode_i32()?
                .iter()
                .enumerate()
                .map(|(at, &level)| level as f32 * scale_of(at))
                .collect()
        }
        _ => tensor.dequantize()?,
    };
    Ok(Param::new(format!("{node}.bias"), ParamRole::Bias, tensor.shape, values))
}

/// Removes values that no node and no edge of the graph refers to any more.
fn drop_unused_values(graph: &mut Graph) {
    let mut used = vec![false; graph.values.len()];
    let referred = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain([&node.output]));
    for &id in referred.chain(&graph.inputs).chain(&graph.outputs) {
        used[id] = true;
    }
    let mut next = 0;
    let renumbered: Vec<usize> = used
        .iter()
        .map(|&used| {
            next += usize::from(used);
            next.saturating_sub(1)
        })
        .collect();
    let mut keep = used.iter();
    graph.values.retain(|_| *keep.next().expect("one flag a value"));
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain([&mut node.output]).for_each(|id| *id = renumbered[*id]);
    }
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(|id| *id = renumbered[*id]);
}
