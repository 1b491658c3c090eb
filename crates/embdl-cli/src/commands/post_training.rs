//! `embdl compress --ptq`: integers without retraining.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use embdl_bench::open;
use embdl_compress::passes::Clipping;
use embdl_compress::{
    Calibration, EncodeOptions, FloatLayer, FloatLayers, LayerQuality, PostTraining,
    PostTrainingReport, Use, encode, quantize_post_training,
};
use serde::Serialize;

use super::{load_graph, write};
use crate::samples::{self, PreprocessArgs};
use crate::{Outcome, text};

/// Settings of post-training quantization.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PostTrainingArgs {
    /// Post-training quantization: 8-bit integers without retraining, and without the recipe.
    #[arg(long)]
    pub(crate) ptq: bool,
    /// What activations are observed on: a folder of pictures, or an .npy file of preprocessed ones, f32 [n, h, w, c].
    #[arg(long, value_name = "PATH", requires = "ptq")]
    calibration: Option<PathBuf>,
    /// Ranges of activations: mse, min-max, or percentile:SHARE with a share of outliers.
    #[arg(long, value_name = "METHOD", default_value = "mse", value_parser = calibration)]
    calibrate: Calibration,
    /// Cross-layer equalization: where-it-helps, always, never.
    #[arg(long, value_name = "WHEN", default_value = "where-it-helps",
          default_missing_value = "always", num_args = 0..=1, value_parser = when)]
    equalize: Use,
    /// ReLU6 between equalized layers: keep what the network computes, or replace it by ReLU.
    #[arg(long, value_name = "HOW", default_value = "keep", value_parser = clipping)]
    clipping: Clipping,
    /// Correction of biases: where-it-helps, always, never.
    #[arg(long, value_name = "WHEN", default_value = "where-it-helps",
          default_missing_value = "always", num_args = 0..=1, value_parser = when)]
    bias_correction: Use,
    /// Learn how to round weights (AdaRound), in so many steps a layer.
    #[arg(long, value_name = "STEPS", default_value = "0", default_missing_value = "500",
          num_args = 0..=1)]
    adaround: usize,
    /// Bits of weights, 2 to 8, for layers by pattern: 8, or fc*=4; the first match counts.
    #[arg(long, value_name = "[PATTERN=]BITS", value_parser = bits)]
    bits: Vec<(String, u8)>,
    /// One scale for a weight tensor instead of one for each output channel.
    #[arg(long)]
    per_tensor: bool,
    /// Layers that stay float, such as 'classifier*'; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Keep the layers float that win most, as the calibration pictures tell: auto for up to 10 % of the
    /// multiply-accumulates and of the weights, auto:20% for another share, auto:3 for a number of layers.
    #[arg(long, value_name = "auto[:LIMIT]", value_parser = float)]
    float: Option<FloatLayers>,
    /// Signal to error of the scores, on the calibration pictures, at which --float keeps no more layers.
    #[arg(long, value_name = "DB", requires = "float", default_value_t = FloatLayers::default().target_db)]
    float_target: f64,
    /// Also print what quantization costs in each layer.
    #[arg(long)]
    sensitivity: bool,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

impl PostTrainingArgs {
    fn settings(&self) -> PostTraining {
        let default = PostTraining::default();
        PostTraining {
            calibration: self.calibrate,
            bits: if self.bits.is_empty() { default.bits } else { self.bits.clone() },
            per_channel: !self.per_tensor,
            exclude: self.exclude.clone(),
            float: self.float.map(|budget| FloatLayers { target_db: self.float_target, ..budget }),
            equalize: self.equalize,
            clipping: self.clipping,
            bias_correction: self.bias_correction,
            rounding_steps: self.adaround,
            sensitivity: self.sensitivity,
            input: None,
        }
    }
}

#[derive(Serialize)]
struct Quantized {
    network: String,
    fp32_bytes: u64,
    file_bytes: usize,
    ratio: f64,
    report: PostTrainingReport,
    out: PathBuf,
}

pub(crate) fn run(
    model: &std::path::Path,
    args: &PostTrainingArgs,
    out: &std::path::Path,
    json: bool,
) -> Result<Outcome> {
    let Some(calibration) = &args.calibration else {
        bail!("--ptq needs --calibration: images like those that the network will see");
    };
    let mut graph = load_graph(model)?;
    let before = graph.fp32_bytes();
    graph.metadata.preprocess = args.preprocess.or(graph.metadata.preprocess.as_ref())?;
    let shape = graph.values[graph.inputs[0]].shape;
    let samples = samples::load(calibration, shape, graph.metadata.preprocess.as_ref())?;
    let runtime = open("native")?;
    let report =
        quantize_post_training(&mut graph, &*runtime, &samples, &args.settings(), &mut |step| {
            eprintln!("==> {step}");
        })
        .with_context(|| format!("quantizing {}", model.display()))?;
    let encoded = encode(&graph, EncodeOptions::default()).context("encoding the network")?;
    encoded.smaller_than(before, &graph).context("nothing was written")?;
    write(out, &encoded.bytes)?;
    let done = Quantized {
        network: graph.name.clone(),
        fp32_bytes: before,
        file_bytes: encoded.bytes.len(),
        ratio: encoded.ratio(),
        report,
        out: out.to_owned(),
    };
    if json {
        text::json(&done)?;
        return Ok(Outcome::Passed);
    }
    let rows: Vec<Vec<String>> = done
        .report
        .steps
        .iter()
        .map(|step| {
            let kept = if step.kept { "" } else { "not kept: no closer" };
            let share = format!("{:.1} %", step.agreement.top1 * 100.0);
            let sqnr = format!("{:.2} dB", step.agreement.sqnr_db);
            let seconds = format!("{:.1} s", step.seconds);
            [step.step.clone(), step.what.clone(), share, sqnr, seconds, kept.into()].to_vec()
        })
        .collect();
    print!("{}", text::columns(&["step", "", "top-1 as float", "SQNR", "time", ""], &rows));
    if !done.report.float.is_empty() {
        print!("\n{}\n", float_layers(&done.report.float));
    }
    if !done.report.layers.is_empty() {
        print!("\n{}\n", layers(&done.report.layers));
    }
    println!(
        "{}, {:.2} times smaller than fp32, in {}",
        text::bytes(done.file_bytes as u64),
        done.ratio,
        out.display()
    );
    Ok(Outcome::Passed)
}

/// The table of layers that were chosen to stay float.
fn float_layers(layers: &[FloatLayer]) -> String {
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let alone = format!("{:.1} dB", layer.alone.sqnr_db);
            vec![layer.layer.clone(), percent(layer.macs), percent(layer.weights), alone]
        })
        .collect();
    text::columns(&["stays float", "MACs", "weights", "network, if it alone is not"], &rows)
}

/// The table of single layers.
fn layers(layers: &[LayerQuality]) -> String {
    let db = |ratio: f64| format!("{ratio:.1} dB");
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            let alone = layer.alone;
            vec![
                layer.layer.clone(),
                db(layer.weight_sqnr_db),
                db(layer.activation_sqnr_db),
                db(layer.output_sqnr_db),
                db(alone.sqnr_db),
                format!("{:.1} %", alone.top1 * 100.0),
            ]
        })
        .collect();
    let titles =
        ["layer", "weights", "activations", "result", "network, it alone", "top-1 as float"];
    text::columns(&titles, &rows)
}

fn calibration(text: &str) -> Result<Calibration, String> {
    match text.split_once(':') {
        None if text == "mse" => Ok(Calibration::Mse),
        None if text == "min-max" => Ok(Calibration::MinMax),
        None if text == "percentile" => Ok(Calibration::Percentile(0.0001)),
        Some(("percentile", share)) => {
            share.parse().map(Calibration::Percentile).map_err(|error| error.to_string())
        }
        _ => Err("expected mse, min-max, or percentile:SHARE".into()),
    }
}

fn float(text: &str) -> Result<FloatLayers, String> {
    let default = FloatLayers::default();
    let limit = match text.split_once(':') {
        None if text == "auto" => return Ok(default),
        Some(("auto", limit)) => limit,
        _ => return Err("expected auto, auto:LAYERS, or auto:SHARE%".into()),
    };
    match limit.strip_suffix('%') {
        None => {
            let layers = limit.parse().map_err(|error| format!("{limit}: {error}"))?;
            Ok(FloatLayers { layers: Some(layers), share: 1.0, ..default })
        }
        Some(share) => {
            let percent: f64 = share.parse().map_err(|error| format!("{share}: {error}"))?;
            Ok(FloatLayers { share: percent / 100.0, ..default })
        }
    }
}

fn when(text: &str) -> Result<Use, String> {
    match text {
        "where-it-helps" => Ok(Use::WhereItHelps),
        "always" => Ok(Use::Always),
        "never" => Ok(Use::Never),
        _ => Err("expected where-it-helps, always, or never".into()),
    }
}

fn clipping(text: &str) -> Result<Clipping, String> {
    match text {
        "keep" => Ok(Clipping::Keep),
        "replace" => Ok(Clipping::Replace),
        _ => Err("expected keep or replace".into()),
    }
}

fn bits(text: &str) -> Result<(String, u8), String> {
    let (pattern, bits) = text.rsplit_once('=').unwrap_or(("*", text));
    bits.parse().map(|bits| (pattern.to_owned(), bits)).map_err(|error| format!("{bits}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        assert_eq!(calibration("percentile:0.01"), Ok(Calibration::Percentile(0.01)));
        assert!(calibration("entropy").is_err());
        assert_eq!(bits("4"), Ok(("*".into(), 4)));
        assert_eq!(bits("fc*=6"), Ok(("fc*".into(), 6)));
        assert!(bits("fc*=many").is_err());
        assert_eq!(when("never"), Ok(Use::Never));
        assert_eq!(float("auto"), Ok(FloatLayers::default()));
        let three = float("auto:3").unwrap();
        assert!(three.layers == Some(3) && three.share >= 1.0, "{three:?}");
        let quarter = float("auto:25%").unwrap();
        assert!((quarter.share - 0.25).abs() < 1e-9 && quarter.layers.is_none(), "{quarter:?}");
        assert!(float("auto:many").is_err() && float("3").is_err());
    }
}
