//! Graph to ONNX: opset 17, NCHW, weights as the network computes with them, in fp32 or as levels.

mod elementwise;
mod levels;
mod writer;

use embdl_core::op::{Activation, Op, Pool, PoolKind, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Node, ValueId};
use prost::Message as _;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    ValueInfoProto,
};

use crate::error::ExportError;
use crate::layout::{self, NCHW_TO_NHWC, NHWC_TO_NCHW, Order, View, sample_dims};
use crate::metadata;
use writer::{Writer, float_attribute, int_attribute, ints_attribute, tensor_info};

/// Operator set that is written.
const OPSET: i64 = 17;
/// Version of the file format that is written, the first that ONNX published with that operator set.
const IR_VERSION: i64 = 8;

/// What is written into the file beside the network.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Free text: where the network comes from.
    pub doc: String,
    /// Keys and values: data set, accuracy, seed, command and so on.
    pub metadata: Vec<(String, String)>,
    /// Whether integers stay integers: levels of values between QuantizeLinear and DequantizeLinear, weights of layers that
    /// compute in integers as int8, their biases as int32. Otherwise everything is fp32, and values are not rounded.
    pub quantized: bool,
}

/// Writes a graph as an ONNX model.
///
/// Weights are [effective](embdl_graph::Param::effective): pruned ones zero, shared ones their centroid, integers
/// their level times scale. The batch is the symbolic dimension `N`. Levels of activations
/// ([`Value::quant`](embdl_graph::Value::quant)) are written if [`ExportOptions::quantized`] asks for them. Preprocessing
/// and labels become properties of the model, `embdl.preprocess` and `embdl.labels`, as JSON. Reading the
/// file back gives the same graph, with free weights where they are written as floats, and with batch normalization in the
/// layers before it.
///
/// # Errors
/// If the graph is not valid, or has a node that opset 17 cannot express.
pub fn export(graph: &Graph) -> Result<Vec<u8>, ExportError> {
    export_with(graph, &ExportOptions::default())
}

/// [`export`], with words about where the network comes from.
///
/// # Errors
/// Those of [`export`].
pub fn export_with(graph: &Graph, options: &ExportOptions) -> Result<Vec<u8>, ExportError> {
    graph.validate()?;
    let mut properties = metadata::properties(&graph.metadata);
    properties.extend(
        options
            .metadata
            .iter()
            .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() }),
    );
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "embeddedDL".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: options.doc.clone(),
        metadata_props: properties,
        graph: Some(Exporter::new(graph, options.quantized).run()?),
        ..ModelProto::default()
    };
    let len_bytes = model.encoded_len();
    if i32::try_from(len_bytes).is_err() {
        return Err(ExportError::TooLarge { len_bytes });
    }
    Ok(model.encode_to_vec())
}

struct Exporter<'a> {
    graph: &'a Graph,
    writer: Writer,
    /// Name of each value in the file, in NCHW order where it has four dimensions.
    names: Vec<String>,
    /// Order of the elements of a sample of each value that is a row of features.
    orders: Vec<Order>,
    /// Values that leave the graph under the name they have there.
    is_output: Vec<bool>,
    /// Whether every reader is a dense layer, whose weight can take any order of inputs.
    only_dense: Vec<bool>,
    /// Whether levels are written.
    quantized: bool,
    /// Name of a value that is floats for some readers and levels for others, as the others read it.
    rounded: Vec<Option<String>>,
}

impl<'a> Exporter<'a> {
    fn new(graph: &'a Graph, quantized: bool) -> Self {
        let mut is_output = vec![false; graph.values.len()];
        graph.outputs.iter().for_each(|&value| is_output[value] = true);
        let mut only_dense: Vec<bool> = is_output.iter().map(|&is_output| !is_output).collect();
        for node in &graph.nodes {
            for &input in &node.inputs {
                only_dense[input] &= matches!(node.op, Op::Dense(_));
            }
        }
        let mut writer = Writer::default();
        let names = graph.values.iter().map(|value| writer.name(&value.name, "value")).collect();
        // Some programs, tract among them, know nodes and constants by names of one kind.
        graph.nodes.iter().for_each(|node| writer.reserve(&node.name));
        let orders = graph.values.iter().map(|value| Order::plain(&sample_dims(value.shape)));
        Self {
            graph,
            writer,
            names,
            orders: orders.collect(),
            is_output,
            only_dense,
            quantized,
            rounded: vec![None; graph.values.len()],
        }
    }

    fn run(mut self) -> Result<GraphProto, ExportError> {
        let graph = self.graph;
        let input = graph.inputs.iter().map(|&id| self.info(id, &self.names[id])).collect();
        for &id in &graph.inputs {
            self.levels(id, true, None);
        }
        for node in &graph.nodes {
            let is_integer = graph.computes_in_integers(node);
            let output = if is_integer { self.float_name(node.output) } else { None };
            if is_integer {
                self.swap_rounded(node);
            }
            self.node(node)?;
            if is_integer {
                self.swap_rounded(node);
            }
            self.levels(node.output, is_integer, output);
        }
        let mut seen = vec![false; graph.values.len()];
        let mut output = Vec::new();
        for &id in &graph.outputs {
            // An output of the file is written by a node, and once.
            let name = if seen[id] || graph.inputs.contains(&id) {
                let copy = self.writer.name(&format!("{}.output", self.names[id]), "output");
                self.writer.node("", "Identity", vec![self.names[id].clone()], &copy, vec![]);
                copy
            } else {
                self.names[id].clone()
            };
            seen[id] = true;
            output.push(self.info(id, &name));
        }
        let Writer { nodes, initializers, .. } = self.writer;
        let name = graph.name.clone();
        Ok(GraphProto {
            node: nodes,
            name,
            initializer: initializers,
            input,
            output,
            ..GraphProto::default()
        })
    }

    fn node(&mut self, node: &Node) -> Result<(), ExportError> {
        let unsupported =
            |reason| ExportError::Node { node: node.name.clone(), op: node.op.name(), reason };
        let shape = self.graph.values[node.output].shape;
        match &node.op {
            Op::Conv2d(conv) => {
                let mut attributes = window_attributes(&conv.window, true);
                attributes.push(int_attribute("group", conv.groups.into()));
                self.layer(node, "Conv", attributes);
            }
            Op::Dense(_) => self.layer(node, "Gemm", vec![int_attribute("transB", 1)]),
            Op::Pool(pool) => self.pool(node, pool)?,
            Op::GlobalAveragePool => self.simple(node, "GlobalAveragePool", vec![]),
            Op::Activation(activation) => {
                let input = self.names[node.inputs[0]].clone();
                self.activation(node, *activation, input, &node.name);
            }
            Op::Add(_) => {
                let inputs = node.inputs.iter().map(|&id| self.names[id].clone()).collect();
                self.with_activation(node, "Add", inputs, vec![]);
            }
            Op::Concat(concat) => {
                let axis = match shape.rank() {
                    4 => NCHW_TO_NHWC[concat.axis as usize],
                    _ => concat.axis as usize,
                };
                #[expect(clippy::cast_possible_wrap, reason = "an axis is at most 3")]
                self.simple(node, "Concat", vec![int_attribute("axis", axis as i64)]);
            }
            Op::Lrn(lrn) => {
                let mut attributes = vec![int_attribute("size", lrn.size.into())];
                let floats = [("alpha", lrn.alpha), ("beta", lrn.beta), ("bias", lrn.bias)];
                attributes.extend(floats.map(|(name, value)| float_attribute(name, value)));
                self.simple(node, "LRN", attributes);
            }
            Op::Softmax => {
                // The last dimension of the graph is the channels, ONNX's second.
                let axis = if shape.rank() == 4 { 1 } else { -1 };
                self.simple(node, "Softmax", vec![int_attribute("axis", axis)]);
            }
            Op::Flatten => self.flatten(node),
            Op::Reshape(_) => self.reshape(node, shape),
            Op::BatchNorm(norm) if shape.rank() != 3 => self.batch_norm(node, norm.epsilon),
            Op::BatchNorm(_) => {
                return Err(unsupported("the channels have to be ONNX's second dimension"));
            }
            Op::Unary(unary) => self.unary(node, *unary),
            Op::Mul => self.simple(node, "Mul", vec![]),
            Op::PRelu => self.prelu(node),
            Op::Resize(resize) => self.resize(node, resize),
            Op::Pad(pad) => self.pad(node, pad),
            Op::Transpose(transpose) => self.transpose(node, transpose),
            Op::Quantize | Op::Dequantize => {
                return Err(unsupported(
                    "levels are rounded otherwise in ONNX; export before them",
                ));
            }
        }
        Ok(())
    }

    /// A convolution or a dense layer.
    fn layer(&mut self, node: &Node, op: &str, attributes: Vec<AttributeProto>) {
        let graph = self.graph;
        let mut inputs = vec![self.names[node.inputs[0]].clone()];
        if let Some(integer) = self.integer_layer(node) {
            inputs.extend(self.integer_params(node, &integer));
            return self.with_activation(node, op, inputs, attributes);
        }
        if let Some(id) = node.weight {
            let param = &graph.params[id];
            let order = self.columns(node);
            let name = self.writer.param(id, order.clone(), &param.name, || {
                in_file_order(&param.effective(), param.shape, order.as_ref())
            });
            inputs.push(name);
        }
        if let Some(id) = node.bias {
            let param = &graph.params[id];
            let values = || (vec![param.len()], param.effective());
            inputs.push(self.writer.param(id, None, &param.name, values));
        }
        self.with_activation(node, op, inputs, attributes);
    }

    /// The order of a dense layer's inputs, where it is not that of the file.
    fn columns(&self, node: &Node) -> Option<Order> {
        let order = &self.orders[node.inputs[0]];
        (matches!(node.op, Op::Dense(_)) && !order.is_plain()).then(|| order.clone())
    }

    fn pool(&mut self, node: &Node, pool: &Pool) -> Result<(), ExportError> {
        let is_max = pool.kind == PoolKind::Max;
        if !is_max && pool.window.dilation != [1; 2] {
            let reason = "AveragePool of opset 17 has no dilations";
            return Err(ExportError::Node { node: node.name.clone(), op: node.op.name(), reason });
        }
        let mut attributes = window_attributes(&pool.window, is_max);
        // Programs disagree about windows that would start on the trailing pad; where ceil mode changes nothing, it is
        // not asked for.
        let floor = Op::Pool(Pool { ceil: false, ..*pool });
        let input = self.graph.values[node.inputs[0]].shape;
        let is_same = floor.infer(&[input], None) == Ok(self.graph.values[node.output].shape);
        attributes.push(int_attribute("ceil_mode", (pool.ceil && !is_same).into()));
        if let PoolKind::Average { include_pads } = pool.kind {
            attributes.push(int_attribute("count_include_pad", include_pads.into()));
        }
        self.simple(node, if is_max { "MaxPool" } else { "AveragePool" }, attributes);
        Ok(())
    }

    /// Dense layers take ONNX's order of a map; everything else gets the graph's.
    fn flatten(&mut self, node: &Node) {
        let input = node.inputs[0];
        let shape = self.graph.values[input].shape;
        let mut name = self.names[input].clone();
        if shape.rank() == 4 {
            let dims = sample_dims(shape);
            let flat = View::plain(&dims).permuted(&[2, 0, 1]).reshaped(&[shape.len()]);
            let order = flat.map_or_else(|| Order::plain(&[shape.len()]), Order::View);
            if self.only_dense[node.output] {
                self.orders[node.output] = order;
            } else if !order.is_plain() {
                name = self.transposed(&name, "nhwc", &NCHW_TO_NHWC);
            }
        }
        let output = self.names[node.output].clone();
        self.writer.node(
            &node.name,
            "Flatten",
            vec![name],
            &output,
            vec![int_attribute("axis", 1)],
        );
    }

    fn reshape(&mut self, node: &Node, to: Shape) {
        let input = node.inputs[0];
        let from = self.graph.values[input].shape;
        let mut name = self.names[input].clone();
        if from.rank() == 4 && !nchw_is_nhwc(from) {
            name = self.transposed(&name, "nhwc", &NCHW_TO_NHWC);
        }
        let output = self.names[node.output].clone();
        let is_moved = to.rank() == 4 && !nchw_is_nhwc(to);
        let mut dims: Vec<usize> = to.iter().collect();
        if to.rank() == 4 && !is_moved {
            dims = NHWC_TO_NCHW.iter().map(|&axis| dims[axis]).collect();
        }
        // 0 keeps the batch as it is.
        dims[0] = 0;
        let shape = self.writer.shape(&format!("{output}.shape"), &dims);
        if is_moved && self.is_output[node.output] {
            let inner = self.writer.name(&format!("{output}.nhwc"), "value");
            self.writer.node(&node.name, "Reshape", vec![name, shape], &inner, vec![]);
            let perm = vec![ints_attribute("perm", NHWC_TO_NCHW)];
            self.writer.node("", "Transpose", vec![inner], &output, perm);
        } else {
            self.writer.node(&node.name, "Reshape", vec![name, shape], &output, vec![]);
            if is_moved {
                self.names[node.output] = self.transposed(&output, "nchw", &NHWC_TO_NCHW);
            }
        }
    }

    fn simple(&mut self, node: &Node, op: &str, attributes: Vec<AttributeProto>) {
        let inputs = node.inputs.iter().map(|&id| self.names[id].clone()).collect();
        let output = self.names[node.output].clone();
        self.writer.node(&node.name, op, inputs, &output, attributes);
    }

    /// A node and, behind it, its activation.
    fn with_activation(
        &mut self,
        node: &Node,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) {
        let output = self.names[node.output].clone();
        let activation = node.op.activation();
        if activation == Activation::None {
            self.writer.node(&node.name, op, inputs, &output, attributes);
        } else {
            let inner = self.writer.name(&format!("{output}.linear"), "value");
            self.writer.node(&node.name, op, inputs, &inner, attributes);
            let name = self.writer.name(&format!("{}.activation", node.name), "activation");
            self.activation(node, activation, inner, &name);
        }
    }

    fn activation(&mut self, node: &Node, activation: Activation, input: String, name: &str) {
        let output = self.names[node.output].clone();
        match activation {
            Activation::None => self.writer.node(name, "Identity", vec![input], &output, vec![]),
            Activation::Relu => self.writer.node(name, "Relu", vec![input], &output, vec![]),
            Activation::Relu6 => {
                let bounds = [0.0, 6.0].map(|bound| self.writer.scalar(bound));
                let inputs = core::iter::once(input).chain(bounds).collect();
                self.writer.node(name, "Clip", inputs, &output, vec![]);
            }
        }
    }

    fn transposed(&mut self, name: &str, suffix: &str, perm: &[usize; 4]) -> String {
        let output = self.writer.name(&format!("{name}.{suffix}"), "value");
        let perm = vec![ints_attribute("perm", *perm)];
        self.writer.node("", "Transpose", vec![name.into()], &output, perm);
        output
    }

    fn info(&self, id: ValueId, name: &str) -> ValueInfoProto {
        let mut dims: Vec<usize> = self.graph.values[id].shape.iter().collect();
        if dims.len() == 4 {
            dims = NHWC_TO_NCHW.iter().map(|&axis| dims[axis]).collect();
        }
        tensor_info(name, &dims)
    }
}

fn window_attributes(window: &Window, dilations: bool) -> Vec<AttributeProto> {
    let mut attributes = vec![
        ints_attribute("kernel_shape", window.kernel),
        ints_attribute("strides", window.stride),
        ints_attribute("pads", window.pads),
    ];
    if dilations {
        attributes.push(ints_attribute("dilations", window.dilation));
    }
    attributes
}

/// Whether a map has the same order in both layouts.
fn nchw_is_nhwc(shape: Shape) -> bool {
    Order::nchw([shape.dim(1), shape.dim(2), shape.dim(3)]).is_plain()
}

/// Dimensions and elements of a weight as the file has them; `columns` are the inputs of a dense layer.
fn in_file_order<T: Copy + Default>(
    values: &[T],
    shape: Shape,
    columns: Option<&Order>,
) -> (Vec<usize>, Vec<T>) {
    let dims: Vec<usize> = shape.iter().collect();
    match (dims.as_slice(), columns) {
        (&[co, kh, kw, ci], _) => (vec![co, ci, kh, kw], layout::ohwi_to_oihw(values, ci, kh * kw)),
        (&[_, features], Some(order)) => {
            let places = order.onnx_places();
            let mut own = vec![T::default(); values.len()];
            let rows = own.chunks_exact_mut(features).zip(values.chunks_exact(features));
            for (own, row) in rows {
                places.iter().zip(row).for_each(|(&place, &value)| own[place] = value);
            }
            (dims, own)
        }
        _ => (dims, values.to_vec()),
    }
}
