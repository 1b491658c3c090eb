//! Why a training cannot start or go on.

use std::path::PathBuf;

use crate::device::Device;

/// Why a training or an evaluation fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A node cannot be run or differentiated.
    #[error("node {node:?}: {op} cannot be trained: {reason}")]
    Unsupported {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is in the way.
        reason: &'static str,
    },
    /// Training knows one image and one row of logits.
    #[error("{graph:?} has {inputs} inputs and {outputs} outputs; training takes one of each")]
    Ends {
        /// Graph.
        graph: String,
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// Images do not fit the graph's input.
    #[error("{graph:?} takes {expected} elements an image, {dataset:?} has {found}")]
    Image {
        /// Graph.
        graph: String,
        /// Elements of its input.
        expected: usize,
        /// Data set.
        dataset: String,
        /// Elements of an image.
        found: usize,
    },
    /// Labels do not fit the graph's output.
    #[error("{graph:?} tells {outputs} classes apart, {dataset:?} has {classes}")]
    Classes {
        /// Graph.
        graph: String,
        /// Elements of its output.
        outputs: usize,
        /// Data set.
        dataset: String,
        /// Number of classes.
        classes: usize,
    },
    /// There is nothing to train on or to evaluate.
    #[error("{dataset:?} has no images")]
    NoImages {
        /// Data set.
        dataset: String,
    },
    /// A setting is outside of what it means.
    #[error("training cannot use {setting} = {value}; it must be {range}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What would do.
        range: &'static str,
    },
    /// An augmentation is outside of what it means.
    #[error(transparent)]
    Augmentation(#[from] embdl_data::augment::AugmentationError),
    /// Distillation is set but there is no teacher.
    #[error("distillation needs a teacher network")]
    NoTeacher,
    /// The loss or a gradient is not a finite number any more.
    #[error(
        "training diverged in epoch {epoch}, at step {step}: the {what} became {value}; a smaller learning-rate (it is \
         {learning_rate} there), a smaller clip-norm (it is {clip_norm}, 0 for none) or a longer warm-up may help"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step since the start, from 0.
        step: usize,
        /// "loss", or "norm of the gradients".
        what: &'static str,
        /// What it became.
        value: f64,
        /// Learning rate of the step.
        learning_rate: f32,
        /// Largest norm of the gradients.
        clip_norm: f32,
    },
    /// No device has this name.
    #[error("there is no device {name:?}; there are cpu, cuda, cuda:N, wgpu")]
    UnknownDevice {
        /// What was asked for.
        name: String,
    },
    /// The program lacks the device's backend.
    #[error(
        "this program was built without {device}; build it with: cargo build --release -p embdl-cli --features {feature}"
    )]
    DeviceNotBuilt {
        /// Device.
        device: Device,
        /// Feature that has it.
        feature: &'static str,
    },
    /// The machine lacks the device.
    #[error("cannot train on {device}: {reason}")]
    NoDevice {
        /// Device.
        device: Device,
        /// What its runtime says.
        reason: String,
    },
    /// A device failed while it was in use.
    #[error("the device failed: {reason}")]
    Device {
        /// What its runtime says.
        reason: String,
    },
    /// A hook failed.
    #[error("at step {step}: {source}")]
    Hook {
        /// Step.
        step: usize,
        /// Cause.
        #[source]
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// A hook left a graph that is not valid.
    #[error(transparent)]
    Graph(#[from] embdl_graph::GraphError),
    /// Threads could not be started.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many.
        threads: usize,
        /// Cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// A checkpoint cannot be written or read.
    #[error("checkpoint {}: {source}", .path.display())]
    Checkpoint {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: CheckpointError,
    },
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// It is something else.
    #[error("not a checkpoint of this version of embeddedDL")]
    Magic,
    /// It is cut off or was changed.
    #[error("its checksum is {found:08x}, its content gives {expected:08x}")]
    Damaged {
        /// Recorded.
        found: u32,
        /// Computed.
        expected: u32,
    },
    /// It belongs to a training with other settings, data or initial weights.
    #[error("it belongs to another training: settings, data or initial weights differ")]
    OtherTraining,
    /// The content does not parse though its checksum is right.
    #[error("its content is not a checkpoint: {0}")]
    Content(#[from] postcard::Error),
}
