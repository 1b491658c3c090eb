//! Why a file cannot become a graph, or a graph a file.

use std::path::PathBuf;

use embdl_core::op::OpError;
use embdl_graph::GraphError;

/// Why a file cannot become a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than the limit.
    #[error("the file has {len_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// Size of the file.
        len_bytes: u64,
        /// [`ImportOptions::max_bytes`](crate::ImportOptions::max_bytes).
        limit_bytes: u64,
    },
    /// The bytes are not protobuf: the file is cut off, damaged, or something else.
    #[error("not an ONNX file, or a damaged one: no protobuf field can be read at byte {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
    },
    /// The file has more parts than the limit.
    #[error("the file has more than {limit} parts")]
    TooManyFields {
        /// [`ImportOptions::max_fields`](crate::ImportOptions::max_fields).
        limit: usize,
    },
    /// The bytes are protobuf, but not of an ONNX model.
    #[error("not an ONNX file, or a damaged one: {0}")]
    Protobuf(#[source] prost::DecodeError),
    /// The model has no graph.
    #[error("the model has no graph")]
    NoGraph,
    /// The model does not say which operator set it uses, or uses one that is not known here.
    #[error("operator set {found:?} is not between {} and {}", crate::OPSETS.start(), crate::OPSETS.end())]
    Opset {
        /// Version of the ONNX domain in the file.
        found: Option<i64>,
    },
    /// An input of the graph is not a float tensor of known shape.
    #[error("input {name:?}: {reason}")]
    Input {
        /// Input.
        name: String,
        /// What is not known or not taken.
        reason: String,
    },
    /// An output of the graph is not an activation that a graph can give.
    #[error("output {name:?} {reason}")]
    Output {
        /// Output.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An initializer has no name, or the name of another.
    #[error("two initializers or inputs have the name {name:?}")]
    DuplicateName {
        /// Name.
        name: String,
    },
    /// A node cannot be expressed.
    #[error("node {node:?} ({op}): {source} (what is read of {op}: docs/src/operators.md)")]
    Node {
        /// Name of the node, or of its first output where it has none.
        node: String,
        /// Operator.
        op: String,
        /// What it is about.
        #[source]
        source: NodeError,
    },
    /// A property of the model that belongs to this program is not what it writes.
    #[error("the property {key} of the model cannot be read: {source}")]
    Property {
        /// Name of the property.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The result is not a graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Why a node cannot be expressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No such operator here.
    #[error("this operator of domain {domain:?} is not supported")]
    Operator {
        /// Operator domain; empty is ONNX's own.
        domain: String,
    },
    /// An attribute has a value that cannot be expressed.
    #[error("attribute {name} = {value}: {reason}")]
    Attribute {
        /// Attribute.
        name: String,
        /// Its value as text.
        value: String,
        /// What would be taken.
        reason: &'static str,
    },
    /// An attribute is missing that has no default.
    #[error("attribute {name} is missing")]
    NoAttribute {
        /// Attribute.
        name: &'static str,
    },
    /// An attribute that the operator does not have, so nobody knows what it would change.
    #[error("attribute {name} is not known for this operator")]
    UnknownAttribute {
        /// Attribute.
        name: String,
    },
    /// Too few or too many inputs or outputs.
    #[error("it has {found} {what}, not {expected}")]
    Count {
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        expected: &'static str,
    },
    /// An input that nothing has written: it is missing from the file, or the graph has a cycle.
    #[error("it reads {value:?}, which no initializer, input or earlier node provides")]
    NotWritten {
        /// Input.
        value: String,
    },
    /// An output that is written already.
    #[error("it writes {value:?}, which is written already")]
    WrittenTwice {
        /// Output.
        value: String,
    },
    /// An input that has to be constant is not.
    #[error("input {value:?} has to be a constant")]
    NotConstant {
        /// Input.
        value: String,
    },
    /// An input that has to be an activation is constant.
    #[error("input {value:?} is a constant where an activation is expected")]
    NotActivation {
        /// Input.
        value: String,
    },
    /// A constant cannot be read.
    #[error("constant {value:?}: {source}")]
    Tensor {
        /// Constant.
        value: String,
        /// What is wrong with it.
        #[source]
        source: TensorError,
    },
    /// A constant has dimensions that do not fit.
    #[error("constant {value:?} has dimensions {dims:?}: {reason}")]
    Dims {
        /// Constant.
        value: String,
        /// Its dimensions.
        dims: Vec<usize>,
        /// What would fit.
        reason: &'static str,
    },
    /// An input has dimensions, or an order of them, that cannot be expressed.
    #[error("input {value:?}: {reason}")]
    Layout {
        /// Input.
        value: String,
        /// What would be taken.
        reason: &'static str,
    },
    /// The node can only be computed as part of the layer before it, and that is not possible.
    #[error("it cannot become part of the layer before it: {reason}")]
    Fold {
        /// What stands in the way.
        reason: &'static str,
    },
    /// A shape that is asked for does not hold the elements of the input.
    #[error("{from} elements a sample cannot have the shape {to:?}")]
    Reshape {
        /// Elements of the input for a batch of one.
        from: usize,
        /// Shape asked for.
        to: Vec<i64>,
    },
    /// The constants of the file are used so often that the graph would be far larger than the file.
    #[error("the nodes use constants so often that the graph would be far larger than the file")]
    Amplified,
    /// The operator does not fit its inputs.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// Why a constant cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The values are in another file, and the model was not read from a folder.
    #[error(
        "its values are in another file ({location:?}); import the model from its folder, or save it with its weights inside"
    )]
    External {
        /// Name of that file.
        location: String,
    },
    /// The element type is not read here.
    #[error("element type {found} is not supported, only {expected}")]
    ElementType {
        /// ONNX name of the element type.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// A dimension is negative, or there are more elements than can be counted.
    #[error("its dimensions {dims:?} are not valid")]
    Dims {
        /// Dimensions in the file.
        dims: Vec<i64>,
    },
    /// The values are in another file that is not read.
    #[error("its values are in another file ({location:?}): {reason}")]
    Location {
        /// Name of that file.
        location: String,
        /// Why it is not read.
        reason: &'static str,
    },
    /// There are more or fewer values than the dimensions say.
    #[error("its dimensions {dims:?} ask for {expected} values, the file has {found}")]
    Length {
        /// Dimensions in the file.
        dims: Vec<i64>,
        /// Values the dimensions ask for.
        expected: usize,
        /// Values in the file; bytes divided by the size of an element, rounded down.
        found: usize,
    },
    /// Only the values beside zero are stored.
    #[error("it is stored sparsely")]
    Sparse,
    /// Only a part of the tensor is stored.
    #[error("only a segment of it is stored")]
    Segment,
}

/// Why a graph cannot become a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node has no equivalent in the operator set that is written.
    #[error("node {node:?} ({op}): {reason}")]
    Node {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What ONNX lacks.
        reason: &'static str,
    },
    /// Protobuf ends at 2 GiB.
    #[error("the file would have {len_bytes} bytes, protobuf ends at {}", i32::MAX)]
    TooLarge {
        /// Size of the file.
        len_bytes: usize,
    },
}
