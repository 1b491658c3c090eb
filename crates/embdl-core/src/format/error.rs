//! Why a file cannot be read, or a model not be written.

use super::limits::Limit;
use crate::encoding::EncodingError;
use crate::metadata::MetadataError;
use crate::op::OpError;
use crate::tensor::{DType, Shape};

/// Why a file cannot be read, or a model not be written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file is of another kind.
    #[error("not an .embdl file: starts with {found:02x?}")]
    BadMagic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// The file was written by a newer build.
    #[error("file format {found} is newer than the {supported} that this build reads")]
    TooNew {
        /// Version of the file.
        found: u16,
        /// Newest version that this build reads.
        supported: u16,
    },
    /// There is no version zero.
    #[error("file format 0 does not exist")]
    VersionZero,
    /// The header has flags of which this version knows nothing.
    #[error("unknown flags in {flags:#06x}")]
    UnknownFlags {
        /// All flags.
        flags: u16,
    },
    /// The file is cut off or has something appended.
    #[error("the header says {claimed} bytes, the file has {found}")]
    FileLength {
        /// Length in the header.
        claimed: u64,
        /// Length of the file.
        found: u64,
    },
    /// The file is damaged.
    #[error("the checksum is {computed:#010x}, the header says {stored:#010x}")]
    Checksum {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the file.
        computed: u32,
    },
    /// A field is cut off.
    #[error("the file ends at a field of {needed} bytes at byte {at}")]
    UnexpectedEnd {
        /// Where the field starts.
        at: usize,
        /// Its length.
        needed: usize,
    },
    /// An integer does not fit 32 bits.
    #[error("the integer at byte {at} does not fit 32 bits")]
    VarintTooLarge {
        /// Where it starts.
        at: usize,
    },
    /// Something is written in another form than the only one.
    #[error("{what} at byte {at} is not in its only form")]
    NotCanonical {
        /// Where it starts.
        at: usize,
        /// What it is.
        what: &'static str,
    },
    /// Bytes follow the last payload.
    #[error("{left} bytes at byte {at} belong to nothing")]
    TrailingBytes {
        /// Where they start.
        at: usize,
        /// How many there are.
        left: usize,
    },
    /// The file asks for more than the reader allows.
    #[error("{found} {limit}, {allowed} are allowed")]
    LimitExceeded {
        /// What there is too much of.
        limit: Limit,
        /// How much the file asks for.
        found: u64,
        /// How much is allowed.
        allowed: u64,
    },
    /// More things are announced than bytes follow.
    #[error("{claimed} {what} are announced where {left} bytes are left")]
    CountTooLarge {
        /// What is counted.
        what: &'static str,
        /// How many.
        claimed: u64,
        /// Bytes that follow.
        left: usize,
    },
    /// A model needs inputs, nodes and outputs.
    #[error("the model has no {what}")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// A code that this version does not know.
    #[error("{what} {code} at byte {at} is unknown")]
    UnknownCode {
        /// What is coded.
        what: &'static str,
        /// The code.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// A shape has a dimension of zero, too many dimensions, a batch other than one, or too many elements.
    #[error("{what} has an impossible shape {shape}")]
    BadShape {
        /// What it is the shape of.
        what: &'static str,
        /// The shape, as far as it is known.
        shape: Shape,
    },
    /// A name is not UTF-8 or has control characters, which could steer a terminal.
    #[error("the name at byte {at} is not text")]
    BadName {
        /// Where it starts.
        at: usize,
    },
    /// A scale is not positive and finite.
    #[error("{what} has the scale {scale}")]
    BadScale {
        /// What it is the scale of.
        what: &'static str,
        /// The scale.
        scale: f32,
    },
    /// A float attribute or a centroid is not finite.
    #[error("{what} is {value}")]
    NotFinite {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A value, or a tensor, does not exist where it is used.
    #[error("node {node} uses {what} {index}, of which there are {count} by then")]
    IndexOutOfRange {
        /// The node; the number of nodes for outputs of the model.
        node: usize,
        /// "value" or "tensor".
        what: &'static str,
        /// Index, or distance back from the newest.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A value is written twice, or not at all, or a tensor or value is not used.
    #[error("{what} {index} is {problem}")]
    Dataflow {
        /// "value", "tensor", "input", "output".
        what: &'static str,
        /// Which one.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Shapes or attributes do not fit the operator.
    #[error("node {node}: {source}")]
    Op {
        /// The node.
        node: usize,
        /// What does not fit.
        #[source]
        source: OpError,
    },
    /// Element types or quantization do not fit the operator.
    #[error("node {node} ({op}): {problem}")]
    Types {
        /// The node.
        node: usize,
        /// The operator.
        op: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
    /// Sums of an integer layer could leave i32.
    #[error("node {node} sums {taps} products, integer layers may sum {allowed}")]
    TooManyTaps {
        /// The node.
        node: usize,
        /// Products a result.
        taps: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The step from accumulators to the result is out of the range of requantization.
    #[error("node {node} would requantize by {ratio}")]
    ScaleRatio {
        /// The node.
        node: usize,
        /// Scale of the accumulator by scale of the result.
        ratio: f64,
    },
    /// A value states another type than the operator gives it.
    #[error(
        "value {value} is stated as {stated_dtype} {stated}, its node gives {derived_dtype} {derived}"
    )]
    ValueType {
        /// The value.
        value: usize,
        /// Stated element type.
        stated_dtype: DType,
        /// Stated shape.
        stated: Shape,
        /// Element type by the operator.
        derived_dtype: DType,
        /// Shape by the operator.
        derived: Shape,
    },
    /// A weight or bias cannot be what it says.
    #[error("tensor {tensor}: {source}")]
    Tensor {
        /// The tensor.
        tensor: usize,
        /// What is wrong.
        #[source]
        source: EncodingError,
    },
    /// Preprocessing or labels do not fit the network.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The file could have been written in an older version, and so must be.
    #[error("the file says version {found} and needs version {needed}")]
    Version {
        /// Version of the file.
        found: u16,
        /// The oldest that can express it.
        needed: u16,
    },
    /// What was written reads back as another model.
    #[error("the model does not survive writing")]
    NotPreserved,
}
