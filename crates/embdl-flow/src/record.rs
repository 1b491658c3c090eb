//! What a run found out: the schema behind the table, the JSON file and the report page.

use embdl_compress::{PassReport, Sensitivity};
use serde::{Deserialize, Serialize};

/// A whole run over one or more networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Wall time of the run, without what was resumed.
    pub seconds: f64,
    /// The command that made it, as it can be typed again.
    pub command: String,
    /// Versions and machine: what one needs to judge or repeat the numbers.
    pub provenance: Provenance,
    /// One entry for each network, data set and seed.
    pub networks: Vec<NetworkRecord>,
}

/// What made a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of embeddedDL.
    pub version: String,
    /// Commit, if it was built from a checkout.
    pub commit: Option<String>,
    /// Compiler.
    pub rustc: String,
    /// Processor model of the host.
    pub cpu: String,
    /// Threads used.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
}

/// One network: what it was, what it became, and how that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// "lenet-5".
    pub name: String,
    /// "fashion-mnist".
    pub dataset: String,
    /// Seed of initial weights, data order and augmentation.
    pub seed: u64,
    /// Parameters of the network.
    pub parameters: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// The network as trained.
    pub fp32: Fp32Record,
    /// The final file.
    pub compressed: CompressedRecord,
    /// The complete test set through the decoded final file, once for each runtime and instruction set.
    pub retests: Vec<Retest>,
    /// The pipeline's steps in order, the trained network first.
    pub steps: Vec<StepRecord>,
    /// The final file, layer by layer.
    pub layers: Vec<LayerRecord>,
    /// Accuracy on the validation set when one layer alone is compressed, without retraining.
    pub sensitivity: Vec<Sensitivity>,
    /// Test images by true class (row) and predicted class (column), from the final file.
    pub confusion: Vec<Vec<u64>>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Time for one image.
    pub latencies: Vec<Latency>,
    /// Accuracy by epoch of every training, for the curve.
    pub epochs: Vec<EpochRecord>,
}

/// The network as trained, before compression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fp32Record {
    /// Accuracy on the test set, 0 to 1, of the fp32 file on the fastest runtime of the host.
    pub accuracy: f64,
    /// Bytes of all parameters as fp32.
    pub bytes: u64,
}

/// The final file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompressedRecord {
    /// Accuracy on the test set, 0 to 1, of the decoded file in the reference runtime.
    pub accuracy: f64,
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// fp32 bytes over file bytes.
    pub ratio: f64,
    /// Where the file is.
    pub path: String,
}

/// The complete test set through one runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retest {
    /// "reference", "atom", "arm".
    pub runtime: String,
    /// "scalar", "sse41", "avx2", "neon", "dotprod", "i8mm".
    pub isa: String,
    /// Whether an emulator ran it; its CPU model is in `machine`.
    pub emulated: bool,
    /// Processor: of the host, or the emulator's model.
    pub machine: String,
    /// Accuracy, 0 to 1.
    pub accuracy: f64,
    /// SHA-256 over all outputs in order, little endian: equal where the integers are equal.
    pub outputs_sha256: String,
    /// Images a second, loading not counted.
    pub images_per_second: f64,
}

/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// "train", "prune", "share", "quantize", "huffman".
    pub step: String,
    /// What was done, in words.
    pub what: String,
    /// Bytes of the file that could be shipped after this step.
    pub file_bytes: u64,
    /// Accuracy on the validation set, 0 to 1, of the network in training arithmetic.
    pub validation_accuracy: f64,
    /// Accuracy on the test set, 0 to 1, of this step's decoded file on the fastest runtime of the host.
    pub test_accuracy: f64,
    /// Wall time of the step, retraining included; of the run that did it where this run resumed it.
    pub seconds: f64,
    /// Layer by layer.
    pub passes: Vec<PassReport>,
}

/// One layer of the final file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Name of the node.
    pub layer: String,
    /// Shape of the weight.
    pub shape: String,
    /// How it is encoded, in words.
    pub encoding: String,
    /// Weights.
    pub weights: u64,
    /// Weights that are not zero.
    pub nonzero: u64,
    /// Bytes of weight and bias as fp32.
    pub fp32_bytes: u64,
    /// Bytes in the file: descriptor, codebook, gaps, symbols, bias.
    pub file_bytes: u64,
    /// File bits for each weight.
    pub bits_per_weight: f64,
}

/// Time for one image on one runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// "fp32" or "compressed".
    pub file: String,
    /// Runtime.
    pub runtime: String,
    /// Instruction set level.
    pub isa: String,
    /// Whether an emulator ran it: its times say nothing about a device.
    pub emulated: bool,
    /// Median in microseconds.
    pub median_us: f64,
    /// Fastest in microseconds.
    pub min_us: f64,
}

/// One epoch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The step it belongs to.
    pub step: String,
    /// Epoch within the step, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the validation set, 0 to 1.
    pub validation_accuracy: f64,
    /// Images a second, evaluation not counted.
    pub images_per_second: f64,
}
