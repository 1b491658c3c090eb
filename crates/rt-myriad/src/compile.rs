//! The graph compiler: a model as a blob for the chip, in 16-bit floats.
//!
//! It makes the choices that the vendor's compiler makes for this chip, as far as they are known from its Apache-2.0
//! source, and is checked against the reader and the emulated device of this crate, which follow the same facts. No blob of
//! it has run on silicon yet.

mod builder;
mod constants;
mod layers;
mod pointwise;
mod values;

use embdl_core::encoding::EncodingError;
use embdl_core::exec;
use embdl_core::model::{Model, Node};
use embdl_core::op::{Activation, Op};
use embdl_core::runtime::RuntimeError;
use embdl_core::tensor::DType;

use crate::blob::{self, Blob, BlobError, MAX_DDR_BYTES, MAX_GRAPH_BYTES, SHAVES};
use builder::Builder;

/// What a note about a native blob says until one has run on a chip.
pub const NOT_ON_SILICON: &str = "not yet run on silicon";
/// Elements of each of the two FIFOs, as the vendor's host makes them for this chip.
pub const FIFO_ELEMENTS: usize = 4;

/// How to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileOptions {
    /// Cores that the graph wants, 1 to 12; as many slices of the scratchpad go with them.
    pub shaves: u32,
    /// Bytes of chip memory that there are.
    pub ddr_bytes: usize,
    /// Whether levels of quantized values are left away, so that their real values are computed in 16-bit floats. Results
    /// differ from the integer model's by up to the rounding that is not done any more.
    pub drop_levels: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { shaves: SHAVES, ddr_bytes: MAX_DDR_BYTES, drop_levels: false }
    }
}

/// A compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What the chip gets.
    pub blob: Blob<'static>,
    /// For each stage the node that it is a part of, or `None` for copies to outputs.
    pub nodes: Vec<Option<usize>>,
}

/// Why a model is no graph for this chip.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A node computes what the chip, or what is known of it, cannot.
    #[error("node {node:?} ({op}) cannot run on the chip: {reason}")]
    Unsupported {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// More than the chip has.
    #[error(
        "{what}: {needed} bytes, the chip takes {allowed}; {}",
        "use a smaller network such as squeezenet-1.1 or mobilenet-v2, fewer channels or a smaller picture: \
         pruned and shared weights take as much room on this chip as others"
    )]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes that there may be.
        allowed: usize,
    },
    /// A weight does not decode.
    #[error("a weight of node {node:?} does not decode: {source}")]
    Weight {
        /// Node.
        node: String,
        /// What is wrong with its bytes.
        #[source]
        source: EncodingError,
    },
    /// A weight is beyond what 16-bit floats hold.
    #[error("a weight of node {node:?} is {value:e}, beyond ±65504")]
    WeightRange {
        /// Node.
        node: String,
        /// The weight.
        value: f32,
    },
    /// An option that cannot be had.
    #[error("{asked} cores were asked for, the chip has 1 to {SHAVES}")]
    Shaves {
        /// What was asked for.
        asked: u32,
    },
    /// The model breaks a rule of models.
    #[error(transparent)]
    Model(#[from] RuntimeError),
    /// The blob cannot be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Compiles a model for a batch of one. Weights that are pruned, shared or integers are unpacked to 16-bit floats.
///
/// Inputs and outputs are 16-bit floats, maps with innermost channels.
///
/// # Errors
/// If the chip cannot compute a node, a value is of levels and these are not left away, or the graph is too large.
pub fn compile(model: &Model<'_>, options: &CompileOptions) -> Result<Compiled, CompileError> {
    if !(1..=SHAVES).contains(&options.shaves) {
        return Err(CompileError::Shaves { asked: options.shaves });
    }
    let types = exec::check(model, 1)?;
    for node in &model.nodes {
        let values = node.inputs.iter().chain([&node.output]);
        let is_float = |&value: &usize| model.values[value].kind.dtype == DType::F32;
        if !options.drop_levels && !values.clone().all(is_float) {
            let reason = "the chip computes in 16-bit floats, and this model in integers";
            return Err(unsupported(node, reason));
        }
    }
    check_weights(model, options)?;
    let mut builder = Builder::new(model, types, options)?;
    for (index, node) in model.nodes.iter().enumerate() {
        builder.start(index);
        emit(&mut builder, node)?;
    }
    builder.finish()
}

/// Compiles a model and writes the blob.
///
/// # Errors
/// As [`compile`].
pub fn compile_to_bytes(
    model: &Model<'_>,
    options: &CompileOptions,
) -> Result<Vec<u8>, CompileError> {
    Ok(blob::write(&compile(model, options)?.blob)?)
}

/// Before any weight is unpacked: do all of them fit a graph file?
fn check_weights(model: &Model<'_>, options: &CompileOptions) -> Result<(), CompileError> {
    let bytes = |tensor: &embdl_core::model::EncodedTensor<'_>| {
        tensor.shape.checked_len().and_then(|len| len.checked_mul(2))
    };
    let total =
        model.tensors.iter().try_fold(0_usize, |sum, tensor| sum.checked_add(bytes(tensor)?));
    let needed = total.unwrap_or(usize::MAX);
    let allowed = MAX_GRAPH_BYTES.min(options.ddr_bytes);
    if needed > allowed {
        return Err(CompileError::TooLarge { what: "weights in 16-bit floats", needed, allowed });
    }
    Ok(())
}

fn emit(builder: &mut Builder<'_>, node: &Node) -> Result<(), CompileError> {
    match &node.op {
        Op::Conv2d(conv) => layers::conv(builder, node, conv),
        Op::Dense(dense) => layers::dense(builder, node, *dense),
        Op::Pool(pool) => layers::pool(builder, node, pool),
        Op::GlobalAveragePool => {
            layers::global_average(builder, node);
            Ok(())
        }
        // Other names of the same bytes; levels that are left away are these as well.
        Op::Activation(Activation::None)
        | Op::Flatten
        | Op::Reshape(_)
        | Op::Quantize
        | Op::Dequantize => Ok(()),
        Op::Concat(_) => {
            builder.join(node);
            Ok(())
        }
        _ => pointwise::emit(builder, node),
    }
}

fn unsupported(node: &Node, reason: &'static str) -> CompileError {
    CompileError::Unsupported { node: node.name.clone(), op: node.op.name(), reason }
}
