//! The pipeline: train, prune, share, quantize, encode, each step kept on disk, each step's file tested.

use std::path::{Path, PathBuf};
use std::time::Instant;

use embdl_compress::passes::{
    PruneMagnitude, QuantizeActivations, QuantizeWeights, ShareWeights, snap_centroids,
};
use embdl_compress::{
    EncodeOptions, Encoded, Pass, PassReport, PostTraining, Samples, encode,
    quantize_post_training, sensitivity,
};
use embdl_core::quant::Quant;
use embdl_data::{Split, atomic};
use embdl_graph::{Graph, fold_batch_norm, fuse_activations, zoo};
use embdl_train::Device;

use crate::error::FlowError;
use crate::layers;
use crate::progress::Progress;
use crate::recipe::{PostTrainingStep, PruneStep, QuantizeStep, Recipe, ShareStep};
use crate::record::{CompressedRecord, Fp32Record, NetworkRecord, StepRecord};
use crate::retest::{self, Foreign};
use crate::state::{StateDir, StepKey, StepState};
use crate::training::Training;

/// Validation images that sensitivity is measured on.
const SENSITIVITY_IMAGES: usize = 1000;
const SENSITIVITY_DENSITIES: [f64; 6] = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01];
/// Before the step that introduces them, files hold neither gaps nor Huffman codes: the report shows what each won.
const DENSE: EncodeOptions = EncodeOptions { sparse: false, huffman: false, names: true };
const SPARSE: EncodeOptions = EncodeOptions { sparse: true, ..DENSE };
const SENSITIVITY_BITS: [u8; 5] = [1, 2, 3, 4, 5];

/// One network, one data set, one seed.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to do.
    pub recipe: Recipe,
    /// Seed of initial weights, data order and augmentation.
    pub seed: u64,
    /// Folder for files and state; each job has one below it.
    pub out: PathBuf,
    /// Whether finished steps and checkpoints of an earlier run count.
    pub resume: bool,
    /// A network to start from instead of the zoo's; it is not trained from scratch.
    pub start: Option<Graph>,
    /// Where else to retest.
    pub foreign: Vec<Foreign>,
    /// Folder of the data set for programs that retest elsewhere.
    pub data_dir: Option<PathBuf>,
    /// Where training and the evaluations within it run; retests use the runtimes of the host.
    pub device: Device,
    /// Whether to measure sensitivity and latency for the report.
    pub details: bool,
}

impl Job {
    /// The folder of this job.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let Recipe { network, dataset, .. } = &self.recipe;
        self.out.join(format!("{network}-{dataset}-seed{}", self.seed))
    }
}

/// Runs the job's pipeline and retests its file.
///
/// # Errors
/// If a step fails; steps that are done stay on disk and count when the job is resumed.
pub fn run(job: &Job, split: &Split, progress: &dyn Progress) -> Result<NetworkRecord, FlowError> {
    job.device.check()?;
    let dir = job.dir();
    let steps = Steps {
        job,
        split,
        progress,
        state: StateDir::open(&dir.join("state"), job.resume)?,
        dir: dir.clone(),
    };
    let done = steps.all()?;
    let (first, last) = (&done[0], &done[done.len() - 1]);
    let path = dir.join(format!("{}.embdl", job.recipe.network));
    let bytes = encode(&last.graph, EncodeOptions::default())?.bytes;
    write(&path, &bytes)?;

    let test = split.test.for_report();
    let host = retest::on_host(&bytes, test, progress)?;
    let confusion = host[0].confusion.clone();
    let accuracy = host[0].accuracy;
    let mut retests: Vec<_> = host.iter().map(retest::record).collect();
    retests.extend(retest::elsewhere(job, &path, test, progress)?);
    let latencies = if job.details {
        retest::latencies(
            job,
            &[("fp32", &dir.join("train.embdl")), ("compressed", &path)],
            test,
            progress,
        )?
    } else {
        Vec::new()
    };
    let encoded = Encoded { bytes, fp32_bytes: last.graph.fp32_bytes() };
    Ok(NetworkRecord {
        name: job.recipe.network.clone(),
        dataset: job.recipe.dataset.clone(),
        seed: job.seed,
        parameters: last.graph.param_count() as u64,
        macs: last.graph.macs(),
        fp32: Fp32Record { accuracy: first.step.test_accuracy, bytes: last.graph.fp32_bytes() },
        compressed: CompressedRecord {
            accuracy,
            file_bytes: encoded.bytes.len() as u64,
            ratio: encoded.ratio(),
            path: path.display().to_string(),
        },
        retests,
        steps: done.iter().map(|state| state.step.clone()).collect(),
        layers: layers::of_file(&encoded.bytes)?,
        sensitivity: if job.details { steps.sensitivity(&first.graph)? } else { Vec::new() },
        confusion,
        classes: test.classes().to_vec(),
        latencies,
        epochs: done.into_iter().flat_map(|state| state.epochs).collect(),
    })
}

/// Does the job's first step alone: training.
///
/// # Errors
/// If it fails; its checkpoints stay on disk and count when the job is resumed.
pub fn train_only(
    job: &Job,
    split: &Split,
    progress: &dyn Progress,
) -> Result<(Graph, StepRecord), FlowError> {
    job.device.check()?;
    let dir = job.dir();
    let state = StateDir::open(&dir.join("state"), job.resume)?;
    let steps = Steps { job, split, progress, state, dir };
    let StepState { graph, step, .. } = steps.first()?.1;
    Ok((graph, step))
}

struct Steps<'a> {
    job: &'a Job,
    split: &'a Split,
    progress: &'a dyn Progress,
    state: StateDir,
    dir: PathBuf,
}

/// What a step does to the network, and what the report says of it.
struct Done {
    what: String,
    passes: Vec<PassReport>,
    epochs: Vec<crate::record::EpochRecord>,
}

impl Steps<'_> {
    /// The step that trains from scratch, and its key.
    fn first(&self) -> Result<(StepKey, StepState), FlowError> {
        let recipe = &self.job.recipe;
        let start = match &self.job.start {
            Some(graph) => graph.clone(),
            None => zoo::by_name(&recipe.network, self.job.seed).ok_or_else(|| {
                FlowError::UnknownNetwork {
                    name: recipe.network.clone(),
                    known: zoo::NAMES.join(", "),
                }
            })?,
        };
        let names = (env!("CARGO_PKG_VERSION"), &recipe.network, &recipe.dataset);
        let identity = (names, self.job.seed, recipe.validation, &self.job.start);
        let key = StepKey::root(&identity)?.then("train", &recipe.train)?;
        let state = self.step("train", &key, &start, DENSE, |graph| self.train(graph))?;
        Ok((key, state))
    }

    /// All steps in order; every one is taken from disk if it was done before under the same settings.
    fn all(&self) -> Result<Vec<StepState>, FlowError> {
        let recipe = &self.job.recipe;
        let (mut key, trained) = self.first()?;
        let mut done = vec![trained];
        let teacher = done[0].graph.clone();
        if let Some(step) = &recipe.prune {
            key = key.then("prune", step)?;
            let before = &done[done.len() - 1].graph;
            let state = self
                .step("prune", &key, before, SPARSE, |graph| self.prune(graph, step, &teacher))?;
            done.push(state);
        }
        if let Some(step) = &recipe.share {
            key = key.then("share", step)?;
            let before = &done[done.len() - 1].graph;
            let state = self
                .step("share", &key, before, SPARSE, |graph| self.share(graph, step, &teacher))?;
            done.push(state);
        }
        if let Some(step) = &recipe.quantize {
            key = key.then("quantize", step)?;
            let before = &done[done.len() - 1].graph;
            let state = self.step("quantize", &key, before, SPARSE, |graph| {
                self.quantize(graph, step, &teacher)
            })?;
            done.push(state);
        }
        if let Some(step) = &recipe.post_training {
            key = key.then("post-training", step)?;
            let before = &done[done.len() - 1].graph;
            let state = self.step("post-training", &key, before, SPARSE, |graph| {
                self.post_training(graph, step)
            })?;
            done.push(state);
        }
        key = key.then("huffman", &())?;
        let before = &done[done.len() - 1].graph;
        let state = self.step("huffman", &key, before, EncodeOptions::default(), |_| {
            Ok(Done {
                what: "Huffman codes for symbols and gaps".into(),
                passes: Vec::new(),
                epochs: Vec::new(),
            })
        })?;
        done.push(state);
        Ok(done)
    }

    /// Does one step, or takes it from disk; the step's file is written and tested either way it came.
    fn step(
        &self,
        name: &str,
        key: &StepKey,
        before: &Graph,
        options: EncodeOptions,
        work: impl FnOnce(&mut Graph) -> Result<Done, FlowError>,
    ) -> Result<StepState, FlowError> {
        let Recipe { network, dataset, .. } = &self.job.recipe;
        self.progress.begin(&format!("{network} on {dataset}, seed {}: {name}", self.job.seed));
        if let Some(state) = self.state.load(name, key) {
            write(&self.dir.join(format!("{name}.embdl")), &encode(&state.graph, options)?.bytes)?;
            self.progress.end(&format!("{}; done by an earlier run", summary(&state.step)));
            return Ok(state);
        }
        let start = Instant::now();
        let mut graph = before.clone();
        let Done { what, passes, epochs } = work(&mut graph)?;
        let encoded = encode(&graph, options)?;
        write(&self.dir.join(format!("{name}.embdl")), &encoded.bytes)?;
        let validation_accuracy = self.training().accuracy(&graph, &self.split.validation)?;
        let test = retest::native(&encoded.bytes, self.split.test.for_report(), self.progress)?;
        let step = StepRecord {
            step: name.into(),
            what,
            file_bytes: encoded.bytes.len() as u64,
            validation_accuracy,
            test_accuracy: test.accuracy,
            seconds: start.elapsed().as_secs_f64(),
            passes,
        };
        let state = StepState { graph, step, epochs };
        self.state.save(name, key, &state)?;
        // The step is safe now; a checkpoint that stays behind harms nobody.
        let _ = std::fs::remove_file(self.state.checkpoint(name));
        self.progress.end(&summary(&state.step));
        Ok(state)
    }

    fn train(&self, graph: &mut Graph) -> Result<Done, FlowError> {
        let config = &self.job.recipe.train;
        let epochs = self.training().run("train", graph, config, None, None)?;
        // What follows works on the weights that a device computes with.
        fold_batch_norm(graph)?;
        fuse_activations(graph)?;
        Ok(Done {
            what: format!("{} epochs from scratch", config.epochs),
            passes: Vec::new(),
            epochs,
        })
    }

    fn prune(
        &self,
        graph: &mut Graph,
        step: &PruneStep,
        teacher: &Graph,
    ) -> Result<Done, FlowError> {
        let epochs = self.training().run("prune", graph, &step.train, Some(step), Some(teacher))?;
        // Masks are final after the retraining, whose weights they have shaped; without one, they are still to be made.
        let report = if epochs.is_empty() {
            PruneMagnitude::new(step.sparsity.clone()).by_blocks(step.blocks).run(graph)?
        } else {
            PassReport::of("prune", graph)
        };
        let kept: usize = report.layers.iter().map(|layer| layer.kept).sum();
        let all: usize = report.layers.iter().map(|layer| layer.weights).sum();
        #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
        let share = kept as f64 / all.max(1) as f64 * 100.0;
        let what =
            format!("{share:.1} % of the weights kept, {} epochs of retraining", step.train.epochs);
        Ok(Done { what, passes: vec![report], epochs })
    }

    fn share(
        &self,
        graph: &mut Graph,
        step: &ShareStep,
        teacher: &Graph,
    ) -> Result<Done, FlowError> {
        let report = ShareWeights { bits: step.bits.clone() }.run(graph)?;
        let epochs = self.training().run("share", graph, &step.train, None, Some(teacher))?;
        let bits: Vec<String> =
            step.bits.iter().map(|(layer, bits)| format!("{layer} {bits} bits")).collect();
        let what =
            format!("k-means ({}), {} epochs of retraining", bits.join(", "), step.train.epochs);
        Ok(Done { what, passes: vec![report], epochs })
    }

    fn quantize(
        &self,
        graph: &mut Graph,
        step: &QuantizeStep,
        teacher: &Graph,
    ) -> Result<Done, FlowError> {
        let training = self.training();
        let observers = training.observe(graph, step.images)?;
        let pixels = self.pixels();
        let inputs: Vec<_> = graph.inputs.iter().map(|&id| (id, pixels)).collect();
        let activations = QuantizeActivations {
            observers: &observers,
            calibration: step.calibration,
            inputs: &inputs,
        };
        let mut passes = vec![activations.run(graph)?];
        if !step.bits.is_empty() {
            let weights =
                QuantizeWeights { bits: step.bits.clone(), per_channel: step.per_channel };
            passes.push(weights.run(graph)?);
        }
        snap_centroids(graph);
        let epochs = match &step.train {
            Some(config) => training.run("quantize", graph, config, None, Some(teacher))?,
            None => Vec::new(),
        };
        let trained = step.train.as_ref().map_or(0, |config| config.epochs);
        let what = format!("u8 activations and i8 weights, {trained} epochs of retraining");
        Ok(Done { what, passes, epochs })
    }

    fn post_training(&self, graph: &mut Graph, step: &PostTrainingStep) -> Result<Done, FlowError> {
        let images = self.split.train.head(step.images);
        let order: Vec<usize> = (0..images.len()).collect();
        let mut values = vec![0.0; images.len() * images.image_len()];
        images.fill_batch(&order, &mut values);
        let samples = Samples::new(graph.values[graph.inputs[0]].shape, values)?;
        let settings = PostTraining { input: Some(self.pixels()), ..step.settings.clone() };
        let runtime = embdl_bench::open("native")?;
        let report = quantize_post_training(graph, &*runtime, &samples, &settings, &mut |part| {
            self.progress.begin(&format!("post-training: {part}"));
        })?;
        let kept: Vec<&str> =
            report.steps.iter().filter(|step| step.kept).map(|step| step.step.as_str()).collect();
        let what = format!(
            "{} on {} images, {:.2} dB of signal to error",
            kept.join(", "),
            samples.len(),
            report.agreement.sqnr_db
        );
        Ok(Done { what, passes: vec![PassReport::of("post-training", graph)], epochs: Vec::new() })
    }

    /// Levels of raw pixels, which the input takes as they are.
    fn pixels(&self) -> Quant {
        let normalization = self.split.train.normalization();
        Quant { scale: normalization.input_scale(), zero_point: normalization.input_zero_point() }
    }

    fn sensitivity(&self, graph: &Graph) -> Result<Vec<embdl_compress::Sensitivity>, FlowError> {
        self.progress.begin("sensitivity of each layer");
        let training = self.training();
        let images = self.split.validation.head(SENSITIVITY_IMAGES);
        let measured = sensitivity(graph, &SENSITIVITY_DENSITIES, &SENSITIVITY_BITS, |changed| {
            training.accuracy(changed, &images)
        })?;
        self.progress.end(&format!(
            "{} layers on {} validation images",
            measured.len(),
            images.len()
        ));
        Ok(measured)
    }

    fn training(&self) -> Training<'_> {
        Training {
            split: self.split,
            state: &self.state,
            seed: self.job.seed,
            progress: self.progress,
            device: self.job.device,
        }
    }
}

fn summary(step: &StepRecord) -> String {
    format!(
        "{}: {} bytes, validation {:.2} %, test {:.2} %",
        step.what,
        step.file_bytes,
        step.validation_accuracy * 100.0,
        step.test_accuracy * 100.0
    )
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FlowError> {
    atomic::write(path, bytes).map_err(|source| FlowError::File { path: path.into(), source })
}
