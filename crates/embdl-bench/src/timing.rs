//! The timing protocol: warm up, repeat, report minimum, median and spread.

use embdl_core::runtime::{MemoryUse, Session};
use serde::{Deserialize, Serialize};

use crate::image::Input;
use crate::machine::{Machine, nanoseconds, peak_rss_bytes};
use crate::output::Output;
use crate::retest::BenchError;
use crate::runtimes::RuntimeChoice;

/// Runs that are not counted, so that caches and clocks settle.
const WARM_UP: usize = 20;

/// What one run of a model takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingReport {
    /// Runtime and instruction set.
    #[serde(flatten)]
    pub choice: RuntimeChoice,
    /// Where it ran. Emulated times say nothing about a device.
    pub machine: Machine,
    /// Samples of a run.
    #[serde(default = "one")]
    pub batch: usize,
    /// Runs counted.
    pub runs: usize,
    /// Median in microseconds.
    pub median_us: f64,
    /// Fastest in microseconds.
    pub min_us: f64,
    /// Nine of ten runs take no longer, in microseconds.
    pub p90_us: f64,
    /// 99 of 100 runs take no longer, in microseconds.
    pub p99_us: f64,
    /// Median absolute deviation from the median in microseconds.
    pub mad_us: f64,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// Bytes of the arena of activations.
    pub arena_bytes: usize,
    /// Bytes of kernels' scratch.
    pub scratch_bytes: usize,
    /// The most memory that the process has held, in bytes: program, file and session. 0 where the system does not say.
    pub peak_rss_bytes: u64,
    /// Median time of each node, where the session was loaded with a clock.
    pub nodes: Vec<NodeTime>,
}

/// Of records that were written before there was a choice.
const fn one() -> usize {
    1
}

/// What one node of a model takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeTime {
    /// Node.
    pub node: String,
    /// Operator.
    pub op: String,
    /// Kernel that ran.
    pub kernel: String,
    /// Median in microseconds.
    pub median_us: f64,
    /// Fastest in microseconds.
    pub min_us: f64,
    /// Multiply-accumulates as if dense.
    pub macs: u64,
    /// Bytes of activations read and written, and of packed weights read.
    pub bytes: u64,
}

/// Times `session` on one input for about `seconds`, but no fewer than ten runs and no more than 100,000.
///
/// # Errors
/// If a run fails.
pub fn time(
    session: &mut dyn Session,
    choice: &RuntimeChoice,
    input: &Input,
    seconds: f64,
) -> Result<TimingReport, BenchError> {
    let mut outputs: Vec<Output> =
        session.outputs().iter().map(|spec| Output::new(spec.kind)).collect();
    let mut times = Vec::new();
    let mut nodes: Vec<Vec<f64>> = Vec::new();
    let mut total = 0.0;
    let mut done = 0_usize;
    while done < WARM_UP + 10 || (total < seconds * 1e9 && times.len() < 100_000) {
        let mut views: Vec<_> = outputs.iter_mut().map(Output::tensor).collect();
        let start = nanoseconds();
        session.run(&[input.tensor()], &mut views)?;
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let elapsed = nanoseconds().saturating_sub(start) as f64;
        total += elapsed;
        done += 1;
        if done <= WARM_UP && total < seconds * 5e8 {
            continue;
        }
        times.push(elapsed / 1e3);
        if let Some(profile) = session.profile() {
            nodes.resize(profile.nodes.len(), Vec::new());
            #[expect(clippy::cast_precision_loss, reason = "a duration")]
            nodes
                .iter_mut()
                .zip(&profile.nodes)
                .for_each(|(all, node)| all.push(node.nanoseconds as f64 / 1e3));
        }
    }
    let names = session.profile().map(|profile| profile.nodes.clone()).unwrap_or_default();
    let nodes = names
        .into_iter()
        .zip(&mut nodes)
        .map(|(node, times)| NodeTime {
            node: node.name,
            op: node.op.into(),
            kernel: node.kernel.into(),
            median_us: median(times),
            min_us: times.first().copied().unwrap_or_default(),
            macs: node.macs,
            bytes: node.bytes,
        })
        .collect();
    let median_us = median(&mut times);
    let mut deviations: Vec<f64> = times.iter().map(|time| (time - median_us).abs()).collect();
    let MemoryUse { weight_bytes, arena_bytes, scratch_bytes, .. } = session.memory();
    Ok(TimingReport {
        choice: choice.clone(),
        machine: Machine::of(choice),
        batch: session.inputs().first().map_or(1, |input| input.kind.shape.dim(0)),
        runs: times.len(),
        median_us,
        min_us: times.iter().copied().fold(f64::MAX, f64::min),
        p90_us: percentile(&times, 90),
        p99_us: percentile(&times, 99),
        mad_us: median(&mut deviations),
        weight_bytes,
        arena_bytes,
        scratch_bytes,
        peak_rss_bytes: peak_rss_bytes(),
        nodes,
    })
}

fn median(times: &mut [f64]) -> f64 {
    if times.is_empty() {
        return 0.0;
    }
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The smallest of the times that so many percent of them do not exceed. They are in order.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn percentiles_are_of_times_in_order() {
        let times: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([percentile(&times, 90), percentile(&times, 99)], [180.0, 198.0]);
        assert_eq!([percentile(&[7.0], 99), percentile(&[], 99)], [7.0, 0.0]);
    }

    #[test]
    fn median_is_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!(median(&mut []).abs() < 1e-12);
    }
}
