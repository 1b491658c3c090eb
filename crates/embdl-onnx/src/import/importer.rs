//! The state of an import: what each name of the file stands for, and the graph so far.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use embdl_core::metadata::Metadata;
use embdl_core::op::{Activation, Op};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, NodeId, ParamId, ValueId};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};

use super::external::Folder;
use super::names::Names;
use super::{ImportOptions, Layout, is_onnx};
use crate::error::{ImportError, NodeError};
use crate::layout::{Move, Order};
use crate::registry;
use crate::tensor::{Constant, element_name};

/// Elements of constants that even the smallest file may make.
const FREE_ELEMENTS: usize = 1 << 16;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    /// A constant as the file has it.
    Stored(Rc<TensorProto>),
    StoredSparsely,
    /// A constant that was the last to be read and is gone.
    Taken,
    Constant(Rc<Constant>),
    /// Levels of a quantized constant as floats.
    Levels(Rc<Levels>),
    Value(Source),
    /// Levels of an activation, before they are floats again.
    Quantized(Source, Quant),
}

/// Floats that are 8-bit levels times scales.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Name of the levels in the file.
    pub(super) name: String,
    pub(super) constant: Constant,
    /// One, or one for each index of `axis`.
    pub(super) scales: Vec<f32>,
    pub(super) axis: usize,
}

/// An activation as the file sees it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) value: ValueId,
    pub(super) order: Order,
    /// Whether it is read exactly once, so that its reader may become part of its writer.
    pub(super) read_once: bool,
    pub(super) pending: Pending,
}

/// What is still to be done to a value; the next operator may do it in passing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pending {
    /// The value times this,
    pub(super) scale: f64,
    /// plus this,
    pub(super) offset: f64,
    /// with that many rows and columns of zeros around it: top, left, bottom, right.
    pub(super) pads: [u32; 4],
}

impl Pending {
    pub(super) const NONE: Self = Self { scale: 1.0, offset: 0.0, pads: [0; 4] };

    pub(super) fn has_affine(&self) -> bool {
        (self.scale, self.offset) != (1.0, 0.0)
    }

    pub(super) fn has_pads(&self) -> bool {
        self.pads != [0; 4]
    }
}

/// An import in progress: names of the file on one side, the graph on the other.
#[derive(Debug)]
pub(crate) struct Importer<'a> {
    file: &'a GraphProto,
    options: &'a ImportOptions,
    pub(super) opset: i64,
    /// Where values outside the file are.
    pub(super) folder: Folder,
    /// Batch that the file fixes; the graph has 1.
    pub(super) batch: usize,
    pub(super) graph: Graph,
    pub(super) bindings: HashMap<String, Binding>,
    /// Nodes that read a name.
    pub(super) readers: HashMap<&'a str, Vec<&'a NodeProto>>,
    pub(super) outputs: HashSet<&'a str>,
    /// Names of constants of type int8.
    pub(super) signed: HashSet<String>,
    /// Node of the graph that writes a value.
    pub(super) writers: HashMap<ValueId, NodeId>,
    /// Values that are others in another order or shape.
    pub(super) arranged: HashMap<(ValueId, Vec<Move>, Shape), ValueId>,
    pub(super) names: Names,
    pub(super) node_names: Names,
    pub(super) params: HashMap<String, ParamId>,
    /// How many nodes use a parameter.
    pub(super) param_uses: Vec<usize>,
    /// Elements of constants that may still be made.
    pub(super) budget: usize,
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        file: &'a GraphProto,
        opset: i64,
        options: &'a ImportOptions,
        folder: Folder,
        len_bytes: usize,
    ) -> Self {
        let name = if file.name.is_empty() { "network" } else { &file.name };
        let mut own = Self {
            file,
            options,
            opset,
            folder,
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
            signed: HashSet::new(),
            writers: HashMap::new(),
            arranged: HashMap::new(),
            names: Names::default(),
            node_names: Names::default(),
            params: HashMap::new(),
            param_uses: Vec::new(),
            // A model that uses each constant once reads at most an element a byte.
            budget: len_bytes.saturating_mul(2).saturating_add(FREE_ELEMENTS),
        };
        for node in &file.node {
            for input in &node.input {
                own.readers.entry(input).or_default().push(node);
            }
            node.output.iter().for_each(|name| own.names.insert(name));
        }
        own
    }

    /// Reads `constants`, which belong to the file's graph, its inputs, nodes and outputs.
    pub(super) fn run(
        mut self,
        constants: Vec<TensorProto>,
        sparse: Vec<SparseTensorProto>,
    ) -> Result<(Graph, Vec<Layout>, Vec<Layout>), ImportError> {
        for mut tensor in constants {
            let name = core::mem::take(&mut tensor.name);
            if tensor.data_type == DataType::Int8 as i32 {
                self.signed.insert(name.clone());
            }
            self.provide(&name, Binding::Stored(Rc::new(tensor)))?;
        }
        for tensor in sparse.into_iter().filter_map(|sparse| sparse.values) {
            self.provide(&tensor.name, Binding::StoredSparsely)?;
        }
        // Before IR version 4, initializers were inputs too.
        let file = self.file;
        let mut inputs = Vec::new();
        for input in &file.input {
            if !self.bindings.contains_key(input.name.as_str()) {
                inputs.push(self.input(input)?);
            }
        }
        for node in &file.node {
            self.node(node).map_err(|source| in_node(node, source))?;
        }
        let mut fixed: HashSet<ValueId> = self.graph.inputs.iter().copied().collect();
        let mut outputs = Vec::new();
        for output in &file.output {
            outputs.push(self.output(&output.name, &mut fixed)?);
        }
        self.finish_levels();
        Ok((self.graph, inputs, outputs))
    }

    fn provide(&mut self, name: &str, binding: Binding) -> Result<(), ImportError> {
        self.names.insert(name);
        match self.bindings.insert(name.into(), binding) {
            None => Ok(()),
            Some(_) => Err(ImportError::DuplicateName { name: name.into() }),
        }
    }

    fn input(&mut self, info: &'a ValueInfoProto) -> Result<Layout, ImportError> {
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
        let (batch, dims) = match self.options.shapes.get(name) {
            Some(given) => (given.first().copied().unwrap_or(1), given.get(1..).map(Vec::from)),
            None => self.declared_dims(tensor.shape.as_ref()).map_err(fail)?,
        };
        let dims = dims.filter(|dims| dims.len() <= 3).ok_or_else(|| {
            let rank = tensor.shape.as_ref().map_or(0, |shape| shape.dim.len());
            fail(format!("it has {rank} dimensions, not 1 to 4 with the batch first"))
        })?;
        if batch > 1 {
            if self.batch != 1 && self.batch != batch {
                return Err(fail(format!("its batch is {batch}, that of another {}", self.batch)));
            }
            self.batch = batch;
        }
        let len = dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim));
        if len.is_none_or(|len| len == 0) {
            return Err(fail(format!("it has no elements, or too many: {dims:?}")));
        }
        let (graph_dims, order, layout) = match *dims {
            [c, h, w] if !self.becomes_nchw(name) => {
                (vec![h, w, c], Order::nchw([h, w, c]), Layout::Nhwc)
            }
            _ => (dims.clone(), Order::plain(&dims), Layout::Same),
        };
        let graph_dims: Vec<usize> = core::iter::once(1).chain(graph_dims).collect();
        let shape = Shape::new(&graph_dims)
            .ok_or_else(|| fail(format!("it is too large: {graph_dims:?}")))?;
        let value = self.value(name, shape);
        self.graph.inputs.push(value);
        let read_once = self.read_once(name);
        let source = Source { value, order, read_once, pending: Pending::NONE };
        self.provide(name, Binding::Value(source))?;
        Ok(layout)
    }

    /// The batch and the other dimensions that the file declares; none if there is not even a batch.
    fn declared_dims(
        &self,
        shape: Option<&tract_onnx::pb::TensorShapeProto>,
    ) -> Result<(usize, Option<Vec<usize>>), String> {
        let how = "give its dimensions by `ImportOptions::shapes`";
        let shape = shape.ok_or_else(|| format!("its shape is not known; {how}"))?;
        let mut batch = 1;
        if let Some(Dimension::DimValue(fixed @ 2..)) =
            shape.dim.first().and_then(|dim| dim.value.as_ref())
        {
            batch = usize::try_from(*fixed).map_err(|_| format!("its batch is {fixed}"))?;
        }
        let mut dims = Vec::new();
        for (axis, dim) in shape.dim.iter().enumerate().skip(1) {
            dims.push(match &dim.value {
                Some(Dimension::DimValue(size @ 1..)) => {
                    usize::try_from(*size).map_err(|_| format!("dimension {axis} is {size}"))?
                }
                Some(Dimension::DimParam(symbol)) if self.options.symbols.contains_key(symbol) => {
                    self.options.symbols[symbol]
                }
                Some(Dimension::DimParam(symbol)) => {
                    return Err(format!("dimension {axis} is open; give a size for {symbol:?}"));
                }
                _ => return Err(format!("dimension {axis} is not known; {how}")),
            });
        }
        Ok((batch, (!shape.dim.is_empty()).then_some(dims)))
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
        let own = if node.op_type == "Split" { usize::MAX } else { 1 };
        for (at, name) in node.output.iter().enumerate().skip(own) {
            let read = self.readers.contains_key(name.as_str());
            if !name.is_empty() && (read || self.outputs.contains(name.as_str())) {
                return Err(NodeError::Count { what: "outputs", found: at + 1, expected: "1" });
            }
        }
        let operator = registry::find(&node.op_type)
            .ok_or_else(|| NodeError::Operator { domain: node.domain.clone() })?;
        if let Some(fold) = operator.fold
            && self.is_all_constant(node)?
        {
            return self.fold(node, fold);
        }
        match operator.import {
            Some(import) => import(self, node),
            None => Err(self.not_constant(node)),
        }
    }

    fn output(&mut self, name: &str, fixed: &mut HashSet<ValueId>) -> Result<Layout, ImportError> {
        let fail = |reason| ImportError::Output { name: name.into(), reason };
        let source = match self.bindings.get(name) {
            Some(Binding::Value(source)) => source.clone(),
            Some(Binding::Quantized(..)) => return Err(fail("is made of integers")),
            Some(_) => return Err(fail("is a constant")),
            None => return Err(fail("is written by no node")),
        };
        let at = NodeProto {
            op_type: "output".into(),
            output: vec![name.into()],
            ..NodeProto::default()
        };
        let moved = |source| in_node(&at, source);
        let source = self.settle(&at, source).map_err(moved)?;
        let dims = source.order.dims();
        let Order::View(view) = &source.order else {
            return Err(fail("is several flattened maps in a row, whose order would change"));
        };
        let own = crate::layout::sample_dims(self.graph.values[source.value].shape);
        let is_map = dims.len() == 3;
        let layout =
            if (view.is_plain() && own == dims) || !is_map { Layout::Same } else { Layout::Nhwc };
        // One channel or one pixel is both; the graph's form decides.
        let axes: &[usize] = match (is_map, layout) {
            (true, Layout::Nhwc) => &[1, 2, 0],
            _ => &[0, 1, 2, 3, 4, 5, 6, 7][..dims.len().min(8)],
        };
        if axes.len() != dims.len() {
            return Err(fail("has too many dimensions"));
        }
        let target: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
        let mut value = self.arrange(&at, &source, axes, &target).map_err(moved)?;
        if self.graph.nodes.is_empty() {
            // Files have at least one node.
            let nothing = Op::Activation(Activation::None);
            value = self.emit_inner(&at, "copy", nothing, value).map_err(moved)?;
        }
        // What an Identity renamed keeps the name that callers know.
        if fixed.insert(value) {
            self.graph.values[value].name = name.into();
        }
        self.graph.outputs.push(value);
        Ok(layout)
    }
}

fn in_node(node: &NodeProto, source: NodeError) -> ImportError {
    ImportError::Node { node: name_of(node).into(), op: node.op_type.clone(), source }
}

/// Name of a node in errors, and in the graph as far as it is unique.
pub(super) fn name_of(node: &NodeProto) -> &str {
    let output = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output } else { &node.name }
}
