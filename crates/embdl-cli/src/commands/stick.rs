//! The target `myriad-ma2450`: the graph for the chip and its accuracy on an emulated stick as a pipeline's last step, and what
//! networks would take there by a model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use embdl_bench::{Machine, RuntimeChoice, retest};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::{LoadOptions, Runtime};
use embdl_data::Dataset;
use embdl_flow::progress::Progress;
use embdl_flow::record::{NetworkRecord, Retest};
use rt_myriad::Myriad;
use rt_myriad::blob;
use rt_myriad::compile::{CompileOptions, FIFO_ELEMENTS, NOT_ON_SILICON, compile};
use rt_myriad::emulator::{Arithmetic, CostModel, EmulatorConfig, Stick, steady, total};
use serde::Serialize;

use super::untrained::{Precision, shapes_of};
use super::{read, write};
use crate::{Outcome, text};

/// Cores that others have measured with.
const CORES: [u32; 4] = [12, 8, 4, 1];
/// Frames a second on those, and watts on twelve, as others have published; 0 where they have not. AlexNet and SqueezeNet are read
/// off bar charts, with the way over USB in them; which version of SqueezeNet it was is not said.
const PUBLISHED: [(&str, [f64; 4], f64); 4] = [
    ("squeezenet-1.0", [16.7, 15.1, 10.5, 3.4], 1.73),
    ("alexnet-caffe", [9.7, 9.4, 7.5, 3.4], 1.3),
    ("mobilenet-v1", [1.0 / 0.038, 0.0, 0.0, 0.0], 0.0),
    ("mobilenet-v2", [1.0 / 0.049, 0.0, 0.0, 0.0], 0.0),
];
/// How long a stick is modelled to run, in seconds: until it does not get warmer any more.
const RUN: f64 = 1200.0;

/// Samples of a run: inputs are sent while others are computed.
const BATCH: usize = 16;

/// Compiles the pipeline's file, writes the graph beside it, and adds the accuracy of an emulated stick that adds up in eight 16-bit
/// floats, as chips seem to. Gives what there is to say.
pub(crate) fn finish(
    network: &mut NetworkRecord,
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<String> {
    let path = PathBuf::from(&network.compressed.path);
    let bytes = read(&path)?;
    let model = format::read(&bytes, &Limits::default())?;
    let compiled = compile(&model, &CompileOptions::default()).with_context(|| {
        format!("{} is no graph for the MA2450: take a narrower form of it", network.name)
    })?;
    let out = path.with_extension("blob");
    let file = blob::write(&compiled.blob).context("writing the blob")?;
    write(&out, &file)?;
    let retested = on_emulated_stick(&path, test, progress)?;
    let lost = (network.fp32.accuracy - retested.accuracy) * 100.0;
    network.retests.push(retested);
    let cost = total(&compiled.blob, &CostModel::default());
    Ok(format!(
        "blob    {}: {} of the chip's memory; modelled, not measured: {:.1} ms, {:.2} W; {lost:+.2} points lost on the emulated \
         stick; {NOT_ON_SILICON}",
        out.display(),
        text::bytes(compiled.blob.ddr_bytes(FIFO_ELEMENTS) as u64),
        1e3 * cost.seconds,
        cost.watts()
    ))
}

fn on_emulated_stick(path: &Path, test: &Dataset, progress: &dyn Progress) -> Result<Retest> {
    let what = "retest on an emulated stick";
    progress.begin(what);
    let bytes = read(path)?;
    let model = format::read(&bytes, &Limits::default())?;
    let arithmetic = Arithmetic::Lanes16;
    let config = EmulatorConfig { arithmetic, ..EmulatorConfig::default() };
    let myriad = Myriad::emulated(vec![Stick::new(config.clone()), Stick::new(config)])?;
    // The last pictures would not fill a batch; runs of one take longer and serve any count.
    let batch = if test.len().is_multiple_of(BATCH) { BATCH } else { 1 };
    let options = LoadOptions { batch, ..LoadOptions::default() };
    let mut session = myriad.load(&model, &options)?;
    let isa = myriad.capabilities().isa.to_owned();
    let choice = RuntimeChoice { runtime: myriad.name().to_owned(), isa };
    let mut done = 0;
    let report = retest(session.as_mut(), &choice, test, None, |images| {
        done += images;
        progress.images(what, done, test.len());
    })?;
    progress.end(&format!("{:.2} % of {} images", report.accuracy * 100.0, report.images));
    Ok(Retest {
        runtime: report.choice.runtime,
        isa: report.choice.isa,
        emulated: true,
        machine: format!("Movidius MA2450, emulated at {}", Machine::detect().cpu),
        accuracy: report.accuracy,
        outputs_sha256: report.outputs_sha256,
        images_per_second: report.images_per_second,
    })
}

/// What a network would take, by the model.
#[derive(Serialize)]
struct Modelled {
    network: String,
    /// Graph, intermediate tensors, FIFOs.
    ddr_bytes: usize,
    /// Frames a second on 12, 8, 4 cores and one, modelled.
    modelled_fps: [f64; 4],
    /// The same as others have published; 0 where they have not.
    published_fps: [f64; 4],
    modelled_watts: f64,
    published_watts: f64,
    /// After twenty minutes of one inference after the other.
    modelled_celsius: f64,
    /// 0 none, 1 short sleeps, 2 long ones.
    modelled_throttling: u8,
    modelled_fps_when_warm: f64,
}

/// Degrees that there may be around a stick.
pub(crate) fn ambient(text: &str) -> Result<f64, String> {
    let degrees: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let possible = -40.0..=120.0;
    if possible.contains(&degrees) {
        Ok(degrees)
    } else {
        Err(format!("{degrees} is not within {possible:?}"))
    }
}

/// Prints what networks would take.
pub(crate) fn table(names: &[&str], ambient: f64, json: bool) -> Result<Outcome> {
    let model = CostModel { ambient, ..CostModel::default() };
    let rows = names.iter().map(|name| modelled(name, &model)).collect::<Result<Vec<_>>>()?;
    if json {
        text::json(&rows)?;
        return Ok(Outcome::Passed);
    }
    let pair = |modelled: f64, published: f64, digits: usize| match published {
        0.0 => format!("{modelled:.digits$}"),
        published => format!("{modelled:.digits$} ({published:.digits$})"),
    };
    let cells = |row: &Modelled| {
        let mut cells = vec![row.network.clone(), text::bytes(row.ddr_bytes as u64)];
        cells.extend((0..4).map(|at| pair(row.modelled_fps[at], row.published_fps[at], 1)));
        cells.push(pair(row.modelled_watts, row.published_watts, 2));
        cells.push(format!("{:.0}", row.modelled_celsius));
        cells.push(row.modelled_throttling.to_string());
        cells.push(format!("{:.1}", row.modelled_fps_when_warm));
        cells
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let head = [
        "network",
        "memory",
        "fps on 12",
        "on 8",
        "on 4",
        "on 1",
        "W on 12",
        "C when warm",
        "throttled",
        "fps when warm",
    ];
    println!(
        "MA2450, modelled, not measured (in brackets what others have published); warm is after 20 minutes at {ambient} C around it"
    );
    print!("{}", text::columns(&head, &cells));
    Ok(Outcome::Passed)
}

fn modelled(name: &str, model: &CostModel) -> Result<Modelled> {
    let bytes = shapes_of(name, Precision::Fp32)?;
    let compiled = compile(&format::read(&bytes, &Limits::default())?, &CompileOptions::default())
        .with_context(|| format!("compiling {name}"))?;
    let costs = CORES.map(|cores| {
        let mut blob = compiled.blob.clone();
        blob.stages.iter_mut().for_each(|stage| stage.shaves = cores);
        total(&blob, model)
    });
    let published = PUBLISHED.iter().find(|(known, ..)| *known == name);
    let (warm, celsius, throttling) = steady(&costs[0], model, RUN);
    Ok(Modelled {
        network: name.to_owned(),
        ddr_bytes: compiled.blob.ddr_bytes(FIFO_ELEMENTS),
        modelled_fps: costs.map(|cost| 1.0 / cost.seconds),
        published_fps: published.map_or([0.0; 4], |published| published.1),
        modelled_watts: costs[0].watts(),
        published_watts: published.map_or(0.0, |published| published.2),
        modelled_celsius: celsius,
        modelled_throttling: throttling,
        modelled_fps_when_warm: warm,
    })
}
