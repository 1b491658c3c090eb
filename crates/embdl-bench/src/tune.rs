//! Measures the kernels of a model on this machine, and says what that changes.

use std::sync::Arc;

use embdl_core::model::Model;
use embdl_core::runtime::{LoadOptions, Session, Tuner};
use serde::{Deserialize, Serialize};

use crate::image::Input;
use crate::machine::{Machine, nanoseconds};
use crate::retest::BenchError;
use crate::runtimes::{RuntimeChoice, open};
use crate::timing::{TimingReport, time};
use crate::tuning::FileTuner;

/// Turns of the two sessions that are compared: other load on the machine meets both.
const TURNS: u32 = 3;

/// What tuning a model found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneReport {
    /// Runtime and instruction set.
    #[serde(flatten)]
    pub choice: RuntimeChoice,
    /// Threads of a run.
    pub threads: usize,
    /// Where it ran.
    pub machine: Machine,
    /// Problems that were measured now; what was known before is not measured again.
    pub measured: usize,
    /// Fastest run on the kernels that estimates choose, in microseconds: what other load does to a median is more than what
    /// kernels differ by.
    pub estimated_us: f64,
    /// Fastest run on those that were measured to be the fastest.
    pub tuned_us: f64,
    /// Nodes that run on another kernel now.
    pub changed: Vec<Changed>,
}

/// A node for which estimate and measurement differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Node.
    pub node: String,
    /// The kernel that the estimate chooses.
    pub estimated: String,
    /// The fastest one.
    pub tuned: String,
}

/// Loads `model` by estimates and with a tuner that measures what it does not know, and times both for about `seconds` each.
///
/// # Errors
/// If the model does not load or run.
pub fn tune(
    model: &Model<'_>,
    choice: &RuntimeChoice,
    threads: usize,
    tuner: &Arc<FileTuner>,
    seconds: f64,
) -> Result<TuneReport, BenchError> {
    let threads = choice.threads(threads);
    let load = |tuner: Option<Arc<dyn Tuner>>| {
        let isa = Some(choice.isa.clone());
        let clock = Some(nanoseconds as fn() -> u64);
        let options = LoadOptions { isa, threads, clock, tuner, ..LoadOptions::default() };
        open(&choice.runtime)?.load(model, &options)
    };
    let before = tuner.uses().measured;
    let mut tuned = load(Some(Arc::clone(tuner) as Arc<dyn Tuner>))?;
    let measured = tuner.uses().measured - before;
    let mut estimated = load(None)?;
    let input = Input::random(tuned.as_ref())?;
    let timed =
        |session: &mut dyn Session| time(session, choice, &input, seconds / f64::from(TURNS));
    let (mut by_estimate, mut by_measurement) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        by_estimate.push(timed(estimated.as_mut())?);
        by_measurement.push(timed(tuned.as_mut())?);
    }
    Ok(TuneReport {
        choice: choice.clone(),
        threads,
        machine: Machine::detect(),
        measured,
        estimated_us: least(&by_estimate),
        tuned_us: least(&by_measurement),
        changed: changed(&by_estimate, &by_measurement),
    })
}

/// The fastest run of all turns.
fn least(turns: &[TimingReport]) -> f64 {
    turns.iter().map(|turn| turn.min_us).fold(f64::INFINITY, f64::min)
}

fn changed(by_estimate: &[TimingReport], by_measurement: &[TimingReport]) -> Vec<Changed> {
    let nodes = |turns: &[TimingReport]| {
        let nodes = turns.iter().flat_map(|turn| &turn.nodes);
        nodes.map(|node| (node.node.clone(), node.kernel.clone())).collect::<Vec<_>>()
    };
    let mut changed: Vec<Changed> = nodes(by_estimate)
        .into_iter()
        .zip(nodes(by_measurement))
        .filter(|((_, estimated), (_, tuned))| estimated != tuned)
        .map(|((node, estimated), (_, tuned))| Changed { node, estimated, tuned })
        .collect();
    // Each turn has all nodes, in the same order.
    changed.truncate(changed.len() / by_estimate.len().max(1));
    changed
}
