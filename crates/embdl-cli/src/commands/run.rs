//! `embdl run`.

mod photos;
mod profile;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use embdl_bench::{FileTuner, Tune, chosen, classify, nanoseconds, open, stay_on_fast_cores};
use embdl_core::format::{self, Limits};
use embdl_core::op::Op;
use embdl_core::runtime::{LoadOptions, Session, Tuner};
use embdl_file::ModelFile;
use serde::Serialize;

use crate::data::{self, DataArgs, TestImages};
use crate::metadata::MetadataArgs;
use crate::{Outcome, text};
use photos::{Options, Photos};
use profile::Profile;

/// Arguments of `embdl run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl run mobilenet-v2.embdl cat.jpg cup.png
  embdl run mobilenet-v2.embdl photos/*.jpg --top 3 --json
  embdl run mobilenet-v2.embdl cat.jpg --tune --profile      (the fastest kernel of each layer, measured)
  embdl run mobilenet-v2.embdl cat.jpg --profile             (time of each layer, kernels, memory)
  embdl run other.embdl cat.jpg --preprocess caffe --labels names.txt
  embdl run mobilenet-v2.embdl input.raw                     (bytes of a picture or f32, NHWC, at the input's size)
  embdl run lenet-5.embdl --dataset mnist --index 7          (an image of a test set)
  embdl run lenet-5.embdl --runtime atom --isa sse41 --json
  EMBDL_WGPU_ADAPTER=intel embdl run mobilenet-v2.embdl cat.jpg --runtime wgpu      (built with the feature run-wgpu)")]
pub(crate) struct Args {
    /// The file.
    model: PathBuf,
    /// Photographs: JPEG, PNG, or raw. Without any, an image of the data set.
    pictures: Vec<PathBuf>,
    /// Classes to print, most probable first.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    #[command(flatten)]
    metadata: MetadataArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Which test image.
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Runtime: reference, atom, arm, wgpu, jetson, or native for the fastest one of this CPU.
    #[arg(long, default_value = "native")]
    runtime: String,
    /// Instruction set level instead of the best one.
    #[arg(long)]
    isa: Option<String>,
    /// Print the time of each node, and memory.
    #[arg(long)]
    profile: bool,
    /// Threads; 0 for as many as the machine has fast cores.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Measure the kernels that this machine is not tuned for yet; `embdl tune` does so for many models.
    #[arg(long)]
    tune: bool,
    /// Choose kernels by estimates, whatever was measured here before.
    #[arg(long, conflicts_with = "tune")]
    untuned: bool,
}

#[derive(Serialize)]
struct Classified {
    runtime: String,
    label: String,
    class: String,
    scores: Vec<(String, f32)>,
    profile: Profile,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let path = args.model.display();
    let file = ModelFile::open(&args.model).with_context(|| format!("reading {path}"))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {path}"))?;
    file.release_all();
    let mut metadata = model.metadata.clone();
    args.metadata.apply(&mut metadata)?;
    let shape_of = |ids: &[usize]| model.values[ids[0]].kind.shape;
    metadata.check(shape_of(&model.inputs), shape_of(&model.outputs))?;
    let last = model.nodes.iter().find(|node| node.output == model.outputs[0]);
    let is_probability = last.is_some_and(|node| node.op == Op::Softmax);

    // Of several levels the best, which stands last.
    let choice = chosen(Some(&args.runtime), args.isa.as_deref())?.pop();
    let choice = choice.context("there is a runtime")?;
    stay_on_fast_cores();
    let clock = Some(nanoseconds as fn() -> u64);
    let how = if args.tune { Tune::Measure } else { Tune::Remember };
    let tuner =
        (!args.untuned).then(|| Arc::new(FileTuner::of_this_machine(how)) as Arc<dyn Tuner>);
    let isa = Some(choice.isa.clone());
    let threads = args.threads;
    let release = Some(file.releaser());
    let options = LoadOptions { isa, threads, clock, tuner, release, ..LoadOptions::default() };
    let mut session = open(&choice.runtime)?.load(&model, &options)?;
    let input = shape_of(&model.inputs);
    // The session keeps what it needs: weights are not held twice.
    drop(model);
    drop((options, file));
    if args.pictures.is_empty() {
        let images = data::load_test(&args.data, input, &metadata)?;
        return test_image(args, session.as_mut(), &images, &choice.runtime, json);
    }
    let (top, profile) = (args.top, args.profile);
    let options = Options { metadata: &metadata, is_probability, top, profile };
    let names = [choice.runtime.as_str(), &choice.isa];
    let photos = Photos::run(session.as_mut(), names, &args.pictures, &options)?;
    if json {
        text::json(&photos)?
    } else {
        print!("{}", photos.describe())
    }
    Ok(Outcome::Passed)
}

/// Runs the network on an image of the data set.
fn test_image(
    args: &Args,
    session: &mut dyn Session,
    images: &TestImages,
    runtime: &str,
    json: bool,
) -> Result<Outcome> {
    let TestImages { dataset: test, preprocess } = images;
    if args.index >= test.len() {
        bail!("there is no test image {}; there are {}", args.index, test.len());
    }
    let prediction = classify(session, test, preprocess.as_ref(), args.index)?;
    let mut scores: Vec<(String, f32)> =
        test.classes().iter().cloned().zip(prediction.scores.iter().copied()).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let result = Classified {
        runtime: runtime.into(),
        label: test.classes()[usize::from(test.label(args.index))].clone(),
        class: test.classes()[prediction.class].clone(),
        scores,
        profile: Profile::of(session),
    };
    if json {
        text::json(&result)?;
        return Ok(Outcome::Passed);
    }
    println!("test image {}: {} (labelled {})", args.index, result.class, result.label);
    let rows: Vec<Vec<String>> = result
        .scores
        .iter()
        .take(args.top)
        .map(|(class, score)| vec![class.clone(), format!("{score:.3}")])
        .collect();
    print!("{}", text::columns(&["class", "score"], &rows));
    if args.profile {
        print!("\n{}", result.profile.describe());
    }
    Ok(Outcome::Passed)
}
