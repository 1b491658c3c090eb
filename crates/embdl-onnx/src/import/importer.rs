//! The state of an import: what each name of the file stands for, and the graph so far.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use embdl_core::metadata::Metadata;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, NodeId, ParamId, ValueId};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::inputs::MAX_INTS;
use super::names::Names;
use super::{ImportOptions, is_onnx};
use crate::error::{ImportError, NodeError};
use crate::layout::{Blocks, NCHW_TO_NHWC, Order};
use crate::tensor::{Floats, Ints, element_name};

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

/// An import in progress: names of the file on one side, the graph on the other.
#[derive(Debug)]
pub(super) struct Importer<'a> {
    file: &'a GraphProto,
    options: &'a ImportOptions,
    pub(super) opset: i64,
    /// Batch that the file fixes; the graph has 1.
    pub(super) batch: usize,
    pub(super) graph: Graph,
    pub(super) bindings: HashMap<&'a str, Binding<'a>>,
    /// Nodes that read a name.
    pub(super) readers: HashMap<&'a str, Vec<&'a NodeProto>>,
    pub(super) outputs: HashSet<&'a str>,
    /// Node of the graph that writes a value.
    pub(super) writers: HashMap<ValueId, NodeId>,
    pub(super) names: Names,
    pub(super) node_names: Names,
    pub(super) params: HashMap<String, ParamId>,
    /// How many nodes use a parameter.
    pub(super) param_uses: Vec<usize>,
    /// Float elements that may still be read.
    pub(super) budget: usize,
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
                metadata: Metadata::default(),
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

/// Name of a node in errors, and in the graph as far as it is unique.
pub(super) fn name_of(node: &NodeProto) -> &str {
    let output = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output } else { &node.name }
}
