//! Post-training quantization: passes put together, each kept where it helps.

use std::time::Instant;

use embdl_core::quant::Quant;
use embdl_core::runtime::Runtime;
use embdl_graph::{Graph, fold_batch_norm, fuse_activations};
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, scores};
use crate::calibrate::{Calibration, Observer};
use crate::error::CompressError;
use crate::float_layers::{FloatLayer, FloatLayers};
use crate::glob;
use crate::levels::drop_needless_levels;
use crate::observe::observe;
use crate::pass::Pass;
use crate::passes::{
    Balance, Clipping, CorrectBias, EqualizeLayers, LearnRounding, QuantizeActivations,
    QuantizeWeights,
};
use crate::quality::{LayerQuality, layer_quality};
use crate::samples::Samples;

/// Samples that steps are measured on.
const MEASURED: usize = 64;
/// Decibels that equalization has to win to be kept: its scales are fitted to the samples that it is measured on, and
/// on others some of what it wins is lost.
const EQUALIZE_WINS_DB: f64 = 1.5;
/// Samples that single layers are measured on.
const LAYER_SAMPLES: usize = 24;

/// Settings of post-training quantization; the default does all that is cheap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PostTraining {
    /// How ranges of activations are chosen.
    pub calibration: Calibration,
    /// Bits of weights, 2 to 8, by pattern of the layer's name; the first match counts.
    pub bits: Vec<(String, u8)>,
    /// One scale for each output channel instead of one for the tensor.
    pub per_channel: bool,
    /// Layers that stay float, by pattern.
    pub exclude: Vec<String>,
    /// Layers that stay float beside those, chosen by what they cost on the samples.
    pub float: Option<FloatLayers>,
    /// Cross-layer equalization.
    pub equalize: Use,
    /// What becomes of ReLU6 when layers are equalized.
    pub clipping: Clipping,
    /// Correction of biases.
    pub bias_correction: Use,
    /// Steps of learning how to round each layer's weights; zero rounds to nearest.
    pub rounding_steps: usize,
    /// Whether to measure every layer for the report, which takes two runs of some samples for each.
    pub sensitivity: bool,
    /// Scale and zero point of the input where they are known exactly, such as those of raw pixels.
    #[serde(skip)]
    pub input: Option<Quant>,
}

impl Default for PostTraining {
    fn default() -> Self {
        Self {
            calibration: Calibration::Mse,
            bits: vec![("*".into(), 8)],
            per_channel: true,
            exclude: Vec::new(),
            float: None,
            equalize: Use::WhereItHelps,
            clipping: Clipping::Keep,
            bias_correction: Use::WhereItHelps,
            rounding_steps: 0,
            sensitivity: false,
            input: None,
        }
    }
}

/// Whether a step is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// If the network's outputs come closer to those of the float network, on the samples.
    #[default]
    WhereItHelps,
    /// In any case.
    Always,
    /// Not.
    Never,
}

/// What post-training quantization did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PostTrainingReport {
    /// The steps in order.
    pub steps: Vec<PostTrainingStep>,
    /// Of the result with the float network, on calibration samples.
    pub agreement: Agreement,
    /// Layers that were chosen to stay float, the costliest first.
    #[serde(default)]
    pub float: Vec<FloatLayer>,
    /// Every layer in integers, if asked for.
    pub layers: Vec<LayerQuality>,
}

/// One step, what it cost and what it won.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostTrainingStep {
    /// Name of the pass.
    pub step: String,
    /// What it did, in words.
    pub what: String,
    /// Whether its result was kept.
    pub kept: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// With the float network after the step, on calibration samples.
    pub agreement: Agreement,
}

/// Quantizes a trained float network without training it; batch normalization is folded into the layers first.
///
/// `say` hears the name of each step before it begins.
///
/// # Errors
/// If a pattern matches no layer, the samples do not fit, or the network cannot be run or lowered.
pub fn quantize_post_training(
    graph: &mut Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
    settings: &PostTraining,
    say: &mut dyn FnMut(&str),
) -> Result<PostTrainingReport, CompressError> {
    samples.fit(graph)?;
    fold_batch_norm(graph)?;
    fuse_activations(graph)?;
    say("float network");
    let measured = samples.spread(MEASURED);
    let wanted = scores(graph, runtime, &measured)?;
    let excluded = excluded(graph, settings)?;
    let mut work =
        Work { runtime, samples, settings, measured, wanted, excluded, steps: Vec::new() };
    // What is learned is learned once, when it is known of which layers.
    let mut done = work.quantize_all(graph, settings.float.is_none(), say)?;
    let mut float = Vec::new();
    if let Some(budget) = &settings.float {
        say("choose float layers");
        let begun = Instant::now();
        let seen = (&work.measured, &work.wanted[..]);
        let (chosen, found) = budget.choose(&done.reference, &done.best, runtime, seen)?;
        work.keep_float(&chosen, found, begun);
        if !chosen.is_empty() || settings.rounding_steps > 0 {
            done = work.quantize_all(graph, true, say)?;
        }
        float = chosen;
    }
    let Done { reference, best, agreement } = done;
    let layers = if settings.sensitivity {
        say("sensitivity of each layer");
        layer_quality(&reference, &best, runtime, &samples.spread(LAYER_SAMPLES))?
    } else {
        Vec::new()
    };
    *graph = best;
    Ok(PostTrainingReport { steps: work.steps, agreement, float, layers })
}

struct Work<'a> {
    runtime: &'a dyn Runtime,
    samples: &'a Samples,
    settings: &'a PostTraining,
    measured: Samples,
    wanted: Vec<Vec<f32>>,
    /// Names of the layers that stay float.
    excluded: Vec<String>,
    steps: Vec<PostTrainingStep>,
}

/// A network in integers.
struct Done {
    /// The float network that it is compared with layer by layer.
    reference: Graph,
    best: Graph,
    agreement: Agreement,
}

impl Work<'_> {
    /// All steps, from the float network; learned rounding only if `learn` says so.
    fn quantize_all(
        &mut self,
        graph: &Graph,
        learn: bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<Done, CompressError> {
        let Self { runtime, samples, settings, .. } = *self;
        say("quantize");
        let mut begun = Instant::now();
        let mut reference = graph.clone();
        let mut best = self.quantize(&reference)?;
        let what = format!(
            "{} layers in integers, weights with a scale for each {}, ranges by {}",
            best.layers().filter(|(_, weight)| weight.scales().is_some()).count(),
            if settings.per_channel { "channel" } else { "tensor" },
            settings.calibration.name(),
        );
        let mut agreement = self.step("quantize", what, begun, &best, None)?.0;

        if settings.equalize != Use::Never {
            say("equalize");
            begun = Instant::now();
            let mut equal = reference.clone();
            let pass = EqualizeLayers {
                runtime,
                samples,
                balance: if settings.per_channel { Balance::Activations } else { Balance::Weights },
                clipping: settings.clipping,
            };
            let pairs = pass.run(&mut equal)?.layers.len();
            if pairs > 0 {
                let found = self.quantize(&equal)?;
                let what = format!("channels of {pairs} layers scaled");
                let enough =
                    Agreement { sqnr_db: agreement.sqnr_db + EQUALIZE_WINS_DB, ..agreement };
                let against = (settings.equalize == Use::WhereItHelps).then_some(enough);
                let (after, kept) = self.step("equalize", what, begun, &found, against)?;
                if kept {
                    (reference, best, agreement) = (equal, found, after);
                }
            }
        }
        if learn && settings.rounding_steps > 0 {
            say("learn rounding");
            begun = Instant::now();
            let mut rounded = best.clone();
            let steps = settings.rounding_steps;
            let pass = LearnRounding { runtime, samples, reference: &reference, steps };
            let report = pass.run(&mut rounded)?;
            let changed = report.layers.iter().filter(|layer| layer.error > 0.0).count();
            let what = format!("weights of {changed} layers rounded by learning");
            let against = Some(agreement);
            let (after, kept) = self.step("learn-rounding", what, begun, &rounded, against)?;
            if kept {
                (best, agreement) = (rounded, after);
            }
        }
        if settings.bias_correction != Use::Never {
            say("correct biases");
            begun = Instant::now();
            let mut corrected = best.clone();
            CorrectBias { runtime, samples, reference: &reference }.run(&mut corrected)?;
            let against = (settings.bias_correction == Use::WhereItHelps).then_some(agreement);
            let what = "means of each channel".to_owned();
            let (after, kept) = self.step("correct-bias", what, begun, &corrected, against)?;
            if kept {
                (best, agreement) = (corrected, after);
            }
        }
        Ok(Done { reference, best, agreement })
    }

    /// Notes which layers stay float from now on.
    fn keep_float(&mut self, float: &[FloatLayer], agreement: Agreement, begun: Instant) {
        let share = float.iter().map(|layer| layer.macs).sum::<f64>() * 100.0;
        let what = match float.len() {
            0 => "no layer: the target is met, or nothing that fits the budget wins enough".into(),
            count => format!(
                "{count} layers with {share:.1} % of the multiply-accumulates; from the start again"
            ),
        };
        self.steps.push(PostTrainingStep {
            step: "keep-float".into(),
            what,
            kept: !float.is_empty(),
            seconds: begun.elapsed().as_secs_f64(),
            agreement,
        });
        self.excluded.extend(float.iter().map(|layer| layer.layer.clone()));
    }

    /// The float network `reference` in integers, with what calibration tells.
    fn quantize(&self, reference: &Graph) -> Result<Graph, CompressError> {
        let observers = observe(reference, self.runtime, self.samples)?;
        let mut graph = reference.clone();
        quantize(&mut graph, &observers, self.settings, &self.excluded)?;
        Ok(graph)
    }

    /// Measures a step and notes it; kept unless it is worse than `against`.
    fn step(
        &mut self,
        step: &str,
        what: String,
        begun: Instant,
        graph: &Graph,
        against: Option<Agreement>,
    ) -> Result<(Agreement, bool), CompressError> {
        let seconds = begun.elapsed().as_secs_f64();
        let agreement = Agreement::of(&self.wanted, &scores(graph, self.runtime, &self.measured)?);
        let kept = against.is_none_or(|before| agreement.sqnr_db > before.sqnr_db);
        self.steps.push(PostTrainingStep { step: step.into(), what, kept, seconds, agreement });
        Ok((agreement, kept))
    }
}

/// Names of the layers that the settings exclude.
fn excluded(graph: &Graph, settings: &PostTraining) -> Result<Vec<String>, CompressError> {
    let names: Vec<String> = graph.layers().map(|(node, _)| node.name.clone()).collect();
    for pattern in &settings.exclude {
        if !names.iter().any(|name| glob::matches(pattern, name)) {
            return Err(CompressError::NoSuchLayer {
                pattern: pattern.clone(),
                layers: names.join(", "),
            });
        }
    }
    let is_excluded = |name: &String| settings.exclude.iter().any(|p| glob::matches(p, name));
    Ok(names.into_iter().filter(is_excluded).collect())
}

/// Weights and activations in integers, save what is excluded.
fn quantize(
    graph: &mut Graph,
    observers: &[Observer],
    settings: &PostTraining,
    excluded: &[String],
) -> Result<(), CompressError> {
    let bits = graph
        .layers()
        .map(|(node, _)| &node.name)
        .filter(|name| !excluded.contains(name))
        .filter_map(|name| {
            let (_, bits) = settings.bits.iter().find(|(p, _)| glob::matches(p, name))?;
            Some((name.clone(), *bits))
        })
        .collect();
    // What the input can be is known from its extremes; clipping it would win nothing.
    let inputs: Vec<_> = graph
        .inputs
        .iter()
        .filter_map(|&input| {
            let extremes = || observers.get(input)?.quant(Calibration::MinMax);
            Some((input, settings.input.or_else(extremes)?))
        })
        .collect();
    let calibration = settings.calibration;
    QuantizeActivations { observers, calibration, inputs: &inputs }.run(graph)?;
    QuantizeWeights { bits, per_channel: settings.per_channel }.run(graph)?;
    drop_needless_levels(graph);
    graph.validate()?;
    Ok(())
}
