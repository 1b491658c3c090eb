//! The state of an import: what each name of the file stands for, and the graph so far.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use embdl_core::op::{Activation, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Node, NodeId, Param, ParamId, ParamRole, Value, ValueId};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::{ImportOptions, is_onnx};
use crate::error::{ImportError, NodeError, TensorError};
use crate::layout::{Blocks, NCHW_TO_NHWC, Order};
use crate::tensor::{self, Floats, Ints, element_name};

/// Most elements of an integer constant; they only make up shapes.
const MAX_INTS: usize = 1024;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub(super) enum Binding<'a> {
    Stored(&'a TensorProto),
    StoredSparsely,
    Floats(Rc<Floats>),
    Ints(Rc<Ints>),
    Value(Source),
}

/// An activation as the file sees it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) value: ValueId,
    pub(super) order: Order,
    /// Whether it is read exactly once, so that its reader may become part of its writer.
    pub(super) read_once: bool,
}

#[derive(Debug)]
pub(super) struct Importer<'a> {
    file: &'a GraphProto,
    options: &'a ImportOptions,
    pub(super) opset: i64,
    /// Batch that the file fixes; the graph has 1.
    pub(super) batch: usize,
    pub(super) graph: Graph,
    bindings: HashMap<&'a str, Binding<'a>>,
    /// Nodes that read a name.
    readers: HashMap<&'a str, Vec<&'a NodeProto>>,
    outputs: HashSet<&'a str>,
    /// Node of the graph that writes a value.
    writers: HashMap<ValueId, NodeId>,
    names: Names,
    node_names: Names,
    params: HashMap<String, ParamId>,
    /// How many nodes use a parameter.
    param_uses: Vec<usize>,
    /// Float elements that may still be read.
    budget: usize,
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        file: &'a GraphProto,
        opset: i64,
        options: &'a ImportOptions,
        len_bytes: usize,
    ) -> Result<Self, ImportError> {
        let name = if file.name.is_empty() { "network" } else { &file.name };
        let mut own = Self {
            file,
            options,
            opset,
            batch: 1,
            graph: Graph {
                name: name.into(),
                values: Vec::new(),
                nodes: Vec::new(),
                params: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
            bindings: HashMap::new(),
            readers: HashMap::new(),
            outputs: file.output.iter().map(|output| output.name.as_str()).collect(),
            writers: HashMap::new(),
            names: Names::default(),
            node_names: Names::default(),
            params: HashMap::new(),
            param_uses: Vec::new(),
            // A model that uses each constant once reads a quarter of an element a byte.
            budget: len_bytes.saturating_mul(2).saturating_add(MAX_INTS),
        };
        for node in &file.node {
            for input in &node.input {
                own.readers.entry(input).or_default().push(node);
            }
            node.output.iter().for_each(|name| own.names.insert(name));
        }
        for tensor in &file.initializer {
            own.provide(&tensor.name, Binding::Stored(tensor))?;
        }
        for tensor in file.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()) {
            own.provide(&tensor.name, Binding::StoredSparsely)?;
        }
        Ok(own)
    }

    pub(super) fn run(mut self) -> Result<Graph, ImportError> {
        // Before IR version 4, initializers were inputs too.
        let file = self.file;
        for input in &file.input {
            if !self.bindings.contains_key(input.name.as_str()) {
                self.input(input)?;
            }
        }
        for node in &file.node {
            self.node(node).map_err(|source| ImportError::Node {
                node: name_of(node).into(),
                op: node.op_type.clone(),
                source,
            })?;
        }
        let mut fixed: HashSet<ValueId> = self.graph.inputs.iter().copied().collect();
        for output in &file.output {
            self.output(&output.name, &mut fixed)?;
        }
        self.graph.validate()?;
        Ok(self.graph)
    }

    fn provide(&mut self, name: &'a str, binding: Binding<'a>) -> Result<(), ImportError> {
        self.names.insert(name);
        match self.bindings.insert(name, binding) {
            None => Ok(()),
            Some(_) => Err(ImportError::DuplicateName { name: name.into() }),
        }
    }

    fn input(&mut self, info: &'a ValueInfoProto) -> Result<(), ImportError> {
        let name = info.name.as_str();
        let fail = |reason: String| ImportError::Input { name: name.into(), reason };
        let Some(Type::TensorType(tensor)) =
            info.r#type.as_ref().and_then(|kind| kind.value.as_ref())
        else {
            return Err(fail("it is not a tensor".into()));
        };
        if tensor.elem_type != DataType::Float as i32 {
            let found = element_name(tensor.elem_type);
            return Err(fail(format!("its element type is {found}, not FLOAT")));
        }
        let shape = tensor.shape.as_ref().ok_or_else(|| fail("its shape is not known".into()))?;
        if !(2..=4).contains(&shape.dim.len()) {
            let rank = shape.dim.len();
            return Err(fail(format!("it has {rank} dimensions, not 2 to 4 with the batch first")));
        }
        let mut dims = vec![1];
        if let Some(Dimension::DimValue(batch @ 2..)) = shape.dim[0].value {
            let batch =
                usize::try_from(batch).map_err(|_| fail(format!("its batch is {batch}")))?;
            if self.batch != 1 && self.batch != batch {
                return Err(fail(format!("its batch is {batch}, that of another {}", self.batch)));
            }
            self.batch = batch;
        }
        for (axis, dim) in shape.dim.iter().enumerate().skip(1) {
            dims.push(match &dim.value {
                Some(Dimension::DimValue(size @ 1..)) => usize::try_from(*size)
                    .map_err(|_| fail(format!("dimension {axis} is {size}")))?,
                Some(Dimension::DimParam(symbol)) if self.options.symbols.contains_key(symbol) => {
                    self.options.symbols[symbol]
                }
                Some(Dimension::DimParam(symbol)) => {
                    let why = format!("dimension {axis} is open; give a size for {symbol:?}");
                    return Err(fail(why));
                }
                _ => return Err(fail(format!("dimension {axis} is not known"))),
            });
        }
        let len = dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim));
        if len.is_none_or(|len| len == 0) {
            return Err(fail(format!("it has no elements, or too many: {dims:?}")));
        }
        let order = match dims.len() {
            4 if self.becomes_nchw(name) => Order::Nhwc,
            4 => {
                dims = NCHW_TO_NHWC.iter().map(|&axis| dims[axis]).collect();
                Order::Nchw
            }
            _ => Order::Blocks(Blocks::plain(dims.iter().product())),
        };
        let shape = Shape::new(&dims).ok_or_else(|| fail(format!("it is too large: {dims:?}")))?;
        let value = self.value(name, shape);
        self.graph.inputs.push(value);
        let read_once = self.read_once(name);
        self.provide(name, Binding::Value(Source { value, order, read_once }))
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        if !is_onnx(&node.domain) {
            return Err(NodeError::Operator { domain: node.domain.clone() });
        }
        if node.output.is_empty() || node.output[0].is_empty() {
            let found = node.output.len();
            return Err(NodeError::Count { what: "outputs", found, expected: "1" });
        }
        // A second output (a mask, indices, running means) that nobody reads does no harm.
        for (at, name) in node.output.iter().enumerate().skip(1) {
            let read = self.readers.contains_key(name.as_str());
            if !name.is_empty() && (read || self.outputs.contains(name.as_str())) {
                return Err(NodeError::Count { what: "outputs", found: at + 1, expected: "1" });
            }
        }
        match node.op_type.as_str() {
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.mat_mul(node),
            "BatchNormalization" => self.batch_normalization(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" => self.global_average_pool(node),
            "ReduceMean" => self.reduce_mean(node),
            "Relu" | "Clip" => self.activation(node),
            "Add" => self.add(node),
            "LRN" => self.lrn(node),
            "Softmax" => self.softmax(node),
            "Dropout" => self.dropout(node),
            "Identity" => self.identity(node),
            "Cast" => self.cast(node),
            "Constant" => self.constant(node),
            "Concat" => self.concat(node),
            "Flatten" => self.flatten(node),
            "Reshape" => self.reshape(node),
            "Squeeze" => self.squeeze(node),
            "Unsqueeze" => self.unsqueeze(node),
            "Transpose" => self.transpose(node),
            "Shape" => self.shape(node),
            "Gather" => self.gather(node),
            "Slice" => self.slice(node),
            _ => Err(NodeError::Operator { domain: node.domain.clone() }),
        }
    }

    fn output(&mut self, name: &str, fixed: &mut HashSet<ValueId>) -> Result<(), ImportError> {
        let fail = |reason| ImportError::Output { name: name.into(), reason };
        let source = match self.bindings.get(name) {
            Some(Binding::Value(source)) => source,
            Some(_) => return Err(fail("is a constant")),
            None => return Err(fail("is written by no node")),
        };
        if matches!(&source.order, Order::Blocks(blocks) if !blocks.is_plain()) {
            return Err(fail("is a flattened map of several channels, whose order would change"));
        }
        let value = source.value;
        // What an Identity renamed keeps the name that callers know.
        if fixed.insert(value) {
            self.graph.values[value].name = name.into();
        }
        self.graph.outputs.push(value);
        Ok(())
    }
}

/// What the operators need.
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

    /// Lets the node's output stand for `binding`.
    pub(super) fn bind(
        &mut self,
        node: &'a NodeProto,
        binding: Binding<'a>,
    ) -> Result<(), NodeError> {
        let name = node.output[0].as_str();
        match self.bindings.insert(name, binding) {
            None => Ok(()),
            Some(_) => Err(NodeError::WrittenTwice { value: name.into() }),
        }
    }

    pub(super) fn bind_ints(&mut self, node: &'a NodeProto, ints: Ints) -> Result<(), NodeError> {
        if ints.values.len() > MAX_INTS {
            let (value, reason) = (node.output[0].clone(), "shapes have few dimensions");
            return Err(NodeError::Dims { value, dims: ints.dims, reason });
        }
        self.bind(node, Binding::Ints(Rc::new(ints)))
    }

    /// Lets the node's output be `source` under another name and perhaps in another order.
    pub(super) fn alias(&mut self, node: &'a NodeProto, source: Source) -> Result<(), NodeError> {
        let read_once = source.read_once && self.read_once(&node.output[0]);
        self.bind(node, Binding::Value(Source { read_once, ..source }))
    }

    /// Adds a node without parameters to the graph.
    pub(super) fn emit(
        &mut self,
        node: &'a NodeProto,
        op: Op,
        inputs: &[ValueId],
        order: Order,
    ) -> Result<(), NodeError> {
        self.emit_layer(node, op, inputs, order, [None, None])
    }

    /// Adds a node to the graph, with weight and bias.
    pub(super) fn emit_layer(
        &mut self,
        node: &'a NodeProto,
        op: Op,
        inputs: &[ValueId],
        order: Order,
        [weight, bias]: [Option<ParamId>; 2],
    ) -> Result<(), NodeError> {
        let output = node.output[0].as_str();
        let name = self.node_names.unique(name_of(node));
        let value = self.append(name, output, op, inputs, [weight, bias])?;
        let read_once = self.read_once(output);
        self.bind(node, Binding::Value(Source { value, order, read_once }))
    }

    /// Adds a node to the graph that writes a value which the file does not know.
    pub(super) fn emit_inner(
        &mut self,
        node: &NodeProto,
        suffix: &str,
        op: Op,
        input: ValueId,
    ) -> Result<ValueId, NodeError> {
        let name = self.node_names.unique(&format!("{}.{suffix}", name_of(node)));
        let output = self.names.unique(&format!("{}.{suffix}", node.output[0]));
        self.append(name, &output, op, &[input], [None, None])
    }

    fn append(
        &mut self,
        name: String,
        output: &str,
        op: Op,
        inputs: &[ValueId],
        [weight, bias]: [Option<ParamId>; 2],
    ) -> Result<ValueId, NodeError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.graph.values[id].shape).collect();
        let shape = op.infer(&shapes, weight.map(|id| self.graph.params[id].shape))?;
        let output = self.value(output, shape);
        self.writers.insert(output, self.graph.nodes.len());
        for id in [weight, bias].into_iter().flatten() {
            self.param_uses[id] += 1;
        }
        let inputs = inputs.to_vec();
        self.graph.nodes.push(Node { name, op, inputs, output, weight, bias });
        Ok(output)
    }

    /// Adds a parameter, or finds the same one where the file uses a constant twice.
    pub(super) fn param(
        &mut self,
        name: &str,
        role: ParamRole,
        shape: Shape,
        values: Vec<f32>,
    ) -> ParamId {
        if let Some(&id) = self.params.get(name) {
            let known = &self.graph.params[id];
            if (known.role, known.shape) == (role, shape) && known.values() == values {
                return id;
            }
        }
        // Initializers are in `names` already; only a second parameter of the name needs another.
        let name = if self.params.contains_key(name) {
            self.names.unique(name)
        } else {
            self.names.insert(name);
            name.into()
        };
        let id = self.graph.params.len();
        self.params.insert(name.clone(), id);
        self.graph.params.push(Param::new(name, role, shape, values));
        self.param_uses.push(0);
        id
    }

    /// A name for a parameter that the file does not have.
    pub(super) fn fresh_name(&mut self, wish: &str) -> String {
        self.names.unique(wish)
    }

    /// Parameter `id` to be changed by the one node that asks: a copy, where others use it too.
    pub(super) fn own_param(&mut self, id: ParamId) -> Result<ParamId, NodeError> {
        if self.param_uses[id] == 1 {
            return Ok(id);
        }
        self.spend(self.graph.params[id].len())?;
        self.param_uses[id] -= 1;
        let mut param = self.graph.params[id].clone();
        param.name = self.names.unique(&param.name);
        self.graph.params.push(param);
        self.param_uses.push(1);
        Ok(self.graph.params.len() - 1)
    }

    /// Gives `layer` a bias, or another in place of its own.
    pub(super) fn set_bias(&mut self, layer: NodeId, bias: ParamId) {
        if self.graph.nodes[layer].bias.replace(bias).is_none() {
            self.param_uses[bias] += 1;
        }
    }

    /// The node that writes `source`, if nobody else reads it and it has no activation yet.
    pub(super) fn open_writer(&self, source: &Source) -> Option<NodeId> {
        let id = *self.writers.get(&source.value).filter(|_| source.read_once)?;
        let op = &self.graph.nodes[id].op;
        (op.activation() == Activation::None && !matches!(op, Op::Activation(_))).then_some(id)
    }

    /// Renames the value of a writer that took in `node`, and binds the node's output to it.
    pub(super) fn absorb(&mut self, node: &'a NodeProto, source: Source) -> Result<(), NodeError> {
        self.graph.values[source.value].name.clone_from(&node.output[0]);
        self.alias(node, source)
    }

    /// Whether every reader of `name` transposes it from `[n, h, w, c]` to `[n, c, h, w]`.
    pub(super) fn becomes_nchw(&self, name: &str) -> bool {
        let to_nchw = |node: &&NodeProto| {
            node.op_type == "Transpose"
                && node
                    .attribute
                    .iter()
                    .any(|perm| perm.name == "perm" && perm.ints == [0, 3, 1, 2])
        };
        self.readers.get(name).is_some_and(|readers| readers.iter().all(to_nchw))
    }

    fn read_once(&self, name: &str) -> bool {
        let outputs = usize::from(self.outputs.contains(name));
        self.readers.get(name).map_or(0, Vec::len) + outputs == 1
    }

    fn value(&mut self, name: &str, shape: Shape) -> ValueId {
        self.graph.values.push(Value { name: name.into(), shape, quant: None });
        self.graph.values.len() - 1
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

fn name_of(node: &NodeProto) -> &str {
    let output = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output } else { &node.name }
}

/// Names that are taken.
#[derive(Debug, Default)]
struct Names {
    taken: HashSet<String>,
    /// Highest number given to a name that was wished for more than once.
    counts: HashMap<String, usize>,
}

impl Names {
    fn insert(&mut self, name: &str) {
        self.taken.insert(name.into());
    }

    /// `wish`, or `wish.2`, `wish.3` and so on; taken from then on.
    fn unique(&mut self, wish: &str) -> String {
        if self.taken.insert(wish.into()) {
            return wish.into();
        }
        let count = self.counts.entry(wish.into()).or_insert(1);
        loop {
            *count += 1;
            let name = format!("{wish}.{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
