//! The interface of all runtimes: a device (`Runtime`), a loaded model (`Session`), a run.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::model::Model;
use crate::tensor::{DType, TensorMut, TensorRef, ValueType};

/// A device that models can be loaded onto.
pub trait Runtime {
    /// Short name: "reference", "atom", "arm", "jetson", "wgpu", "myriad".
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Prepares `model` to run. Planning, packing, decoding and all allocation happen here; the session does not
    /// borrow the model.
    ///
    /// # Errors
    /// If the model needs what the runtime lacks, its weights do not decode, or it is larger than the options allow.
    fn load(
        &self,
        model: &Model<'_>,
        options: &LoadOptions,
    ) -> Result<Box<dyn Session>, RuntimeError>;
}

/// A model that is ready to run.
pub trait Session: Send {
    /// What `run` takes, in order; shapes include the batch.
    fn inputs(&self) -> &[TensorSpec];

    /// What `run` gives, in order; shapes include the batch.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs the model once. Allocates nothing on CPU runtimes.
    ///
    /// # Errors
    /// If number, element type or length of the tensors differ from the specs, or the device fails.
    fn run(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<(), RuntimeError>;

    /// Time, bytes and MACs of each node of the last run, where the load options gave a clock.
    fn profile(&self) -> Option<&Profile>;

    /// Bytes that the session holds: packed weights, arena, scratch.
    fn memory(&self) -> MemoryUse;
}

/// What a runtime can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Instruction set level in use unless the load options ask for another, such as "avx2".
    pub isa: &'static str,
    /// Instruction set levels that may be asked for here, best first.
    pub isas: Vec<&'static str>,
}

/// An input or output of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name; may be empty.
    pub name: String,
    /// Shape with the batch, element type, quantization.
    pub kind: ValueType,
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Samples a run, at least 1.
    pub batch: usize,
    /// Instruction set level to use instead of the best one. Levels that trade precision for speed, such as Arm's "fp16", are only
    /// had by asking for them here.
    pub isa: Option<String>,
    /// How dense layers with sparse or codebook weights run.
    pub weights: WeightForm,
    /// Threads of a run, the calling one included; 0 for as many as the machine has fast cores.
    pub threads: usize,
    /// Chooses kernels by measuring them at load, or by what was measured before, where estimates choose otherwise.
    pub tuner: Option<Arc<dyn Tuner>>,
    /// Is told which bytes of the file are not read again.
    pub release: Option<Arc<dyn Release>>,
    /// A monotonic clock in nanoseconds; with it, every run is profiled.
    pub clock: Option<fn() -> u64>,
    /// Largest sum of packed weights, arena and scratch that the session may allocate.
    pub max_memory_bytes: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            batch: 1,
            isa: None,
            weights: WeightForm::Auto,
            threads: 1,
            tuner: None,
            release: None,
            clock: None,
            // All that there can be where sizes have 32 bits.
            max_memory_bytes: usize::try_from(4_u64 << 30).unwrap_or(usize::MAX),
        }
    }
}

/// A clock, and a memory of which kernel was the fastest for a problem. Choices hold for one machine.
///
/// From the problems that were measured it also learns by how much estimates are wrong on this machine: a kernel's *factor*
/// is what its time, as a multiple of the usual kernel's (GEMM for convolutions, unpacked weights for dense layers), is beside
/// the same multiple by estimate. A problem that was never measured is chosen for by estimates times factors.
pub trait Tuner: fmt::Debug + Send + Sync {
    /// Nanoseconds of a monotonic clock.
    fn now_ns(&self) -> u64;

    /// The kernel that was the fastest for `problem`, if that is known.
    fn known(&self, problem: &str) -> Option<String>;

    /// Remembers the fastest kernel for `problem`.
    fn learn(&self, problem: &str, kernel: &str);

    /// Whether a problem that is not known is measured now. Without that, loading takes no longer than with estimates.
    fn measures(&self) -> bool {
        true
    }

    /// The factor of a kernel, more than 0; 1 where nothing was measured.
    fn factor(&self, _kernel: &str) -> f32 {
        1.0
    }

    /// Is told the factor of a kernel for one problem, before that is learned.
    fn observe(&self, _kernel: &str, _factor: f32) {}
}

/// Takes back the bytes of a model's file while it is loaded.
pub trait Release: fmt::Debug + Send + Sync {
    /// `encoded` are bytes of the file that loading is done with. They must stay readable, but need not stay in memory.
    fn release(&self, encoded: &[u8]);
}

/// How dense layers with sparse or codebook weights run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightForm {
    /// The form that is expected to be the fastest on the instruction set in use.
    #[default]
    Auto,
    /// Unpacked to dense i8 or f32.
    Dense,
    /// Sparse rows where the file is sparse, codebook indices where the file has a small codebook, and dense otherwise.
    Compressed,
}

/// What the last run cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// One entry a node, in execution order.
    pub nodes: Vec<NodeProfile>,
}

/// What one node cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeProfile {
    /// The node's name; may be empty.
    pub name: String,
    /// The operator's name.
    pub op: &'static str,
    /// Name of the kernel that ran.
    pub kernel: &'static str,
    /// Duration in nanoseconds.
    pub nanoseconds: u64,
    /// Multiply-accumulates of the operator as if dense.
    pub macs: u64,
    /// Bytes of activations read and written, and of packed weights read.
    pub bytes: u64,
}

/// Bytes that a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Packed weights and biases.
    pub weight_bytes: usize,
    /// Activations.
    pub arena_bytes: usize,
    /// What no arena can be smaller than: the largest sum of activations that are needed at the same time.
    pub arena_lower_bound_bytes: usize,
    /// Scratch of kernels, such as im2col rows.
    pub scratch_bytes: usize,
}

/// Why a model does not load or run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The machine lacks what the runtime needs at least.
    #[error("this machine has no {needed}, which the {runtime} runtime needs")]
    NotDetected {
        /// Name of the runtime.
        runtime: &'static str,
        /// What is missing.
        needed: &'static str,
    },
    /// A device was asked for by a name that none here has.
    #[error("no device here is called {asked:?}; there is {available:?}")]
    NoSuchDevice {
        /// What was asked for.
        asked: String,
        /// Names of those that there are.
        available: Vec<String>,
    },
    /// The device, or its driver, refused, failed or did not answer in time. The model can be loaded again.
    #[error("{device} failed at {doing}: {reason}")]
    Device {
        /// Its name.
        device: String,
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// The device is gone or was reset; sessions on it can only be dropped.
    #[error("{device} is lost: {reason}")]
    DeviceLost {
        /// Its name.
        device: String,
        /// What the driver says.
        reason: String,
    },
    /// The device has no memory left for the session.
    #[error("{device} is out of memory at {doing}")]
    DeviceMemory {
        /// Its name.
        device: String,
        /// What was being done.
        doing: &'static str,
    },
    /// An instruction set level was asked for that is unknown or absent here.
    #[error("instruction set level {asked:?} cannot be used here; there is {available:?}")]
    IsaUnavailable {
        /// What was asked for.
        asked: String,
        /// What could be asked for.
        available: Vec<&'static str>,
    },
    /// A node computes what the runtime cannot.
    #[error("node {node:?} ({op}) cannot run: {reason}")]
    Unsupported {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// The model breaks a rule that the format reader guarantees.
    #[error("the model is not valid at {at:?}: {reason}")]
    Invalid {
        /// Name of the node or value.
        at: String,
        /// The rule.
        reason: &'static str,
    },
    /// The inputs or the weight of a node do not fit its operator.
    #[error("node {node:?} does not fit its operator: {source}")]
    Operator {
        /// Node.
        node: String,
        /// What does not fit.
        #[source]
        source: crate::op::OpError,
    },
    /// A batch that no run can have.
    #[error("a batch of {batch} samples")]
    Batch {
        /// What was asked for.
        batch: usize,
    },
    /// More threads than there can be.
    #[error("{asked} threads were asked for, {allowed} can be had")]
    Threads {
        /// What was asked for.
        asked: usize,
        /// What could be asked for.
        allowed: usize,
    },
    /// A weight does not decode.
    #[error("a weight of node {node:?} does not decode: {source}")]
    Weight {
        /// Node.
        node: String,
        /// What is wrong with its bytes.
        #[source]
        source: crate::encoding::EncodingError,
    },
    /// The session would need more memory than the options allow.
    #[error("the model needs {needed} bytes, {allowed} are allowed")]
    TooLarge {
        /// Bytes needed.
        needed: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// A run got another number of tensors than the model has.
    #[error("{expected} {what} are needed, {found} were given")]
    TensorCount {
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many the model has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A run got a tensor of another element type or length.
    #[error(
        "{what} {index} needs {expected_len} elements of {expected}, {found_len} of {found} were given"
    )]
    TensorMismatch {
        /// "input" or "output".
        what: &'static str,
        /// Which one.
        index: usize,
        /// Element type needed.
        expected: DType,
        /// Element type given.
        found: DType,
        /// Elements needed.
        expected_len: usize,
        /// Elements given.
        found_len: usize,
    },
}

impl RuntimeError {
    /// Of a model in which a value is read that no node writes; `at` names the node, or the model.
    #[must_use]
    pub fn unwritten(at: &str) -> Self {
        Self::Invalid { at: at.into(), reason: "a value is read but never written" }
    }
}
