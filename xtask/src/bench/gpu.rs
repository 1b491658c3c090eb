//! Our runtime on an NVIDIA GPU and what Python has for that GPU, taking turns on the same models.
use super::models::{Network, Precision};
use super::peers::{Circumstances, Outcome, Peer, Program, Ran};
use crate::build::Programs;
use crate::process::{say, warn};
use crate::workspace::root;
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The level of our runtime, and the end of peers' names, that compute in 16 bits.
const HALVES: [&str; 2] = ["fp16", "-half"];
/// Peers, by their names in `gpu.py`.
const PEERS: [&str; 5] =
    ["torch", "torch-compile", "torch-half", "torch-compile-half", "onnxruntime"];

/// What is to be timed.
pub(crate) struct Setting<'a> {
    /// A runner with the runtime, and the command that makes models.
    pub(crate) programs: &'a Programs,
    /// The best level of the GPU.
    pub(crate) level: &'a str,
    /// Networks of the zoo.
    pub(crate) networks: Vec<String>,
    /// Samples of a run.
    pub(crate) batches: &'a [usize],
    /// Turns of about 60 ms that each program gets.
    pub(crate) turns: usize,
    /// The Python that has the peers; none leaves them out.
    pub(crate) python: Option<&'a Path>,
    /// `device`, or `emulated` for a driver that has no GPU.
    pub(crate) source: &'static str,
}

/// One of our files at one level, beside the peers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) kind: &'static str,
    pub(crate) model: String,
    pub(crate) precision: &'static str,
    pub(crate) isa: String,
    pub(crate) batch: usize,
    pub(crate) source: &'static str,
    pub(crate) median_ns: u64,
    min_ns: u64,
    load_ns: u64,
    file_bytes: u64,
    peers: Vec<Peer>,
    /// The fastest peer that computes in as many bits, or in more.
    pub(crate) best_peer: Option<String>,
    /// Its time over ours, medians: above 1 ours is faster.
    pub(crate) ratio_to_best_peer: Option<f64>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

/// Times each network at each batch. Calls `each` with the records of one network and batch as soon as they are there.
pub(crate) fn compare(
    setting: &Setting<'_>,
    mut each: impl FnMut(&[Record]) -> Result<()>,
) -> Result<()> {
    let networks = if setting.networks.is_empty() {
        super::models::ZOO.map(str::to_owned).to_vec()
    } else {
        setting.networks.clone()
    };
    for name in &networks {
        let network =
            Network::of_zoo(name, &[Precision::Fp32, Precision::Compressed], setting.programs)?;
        for &batch in setting.batches {
            say(format!("{name}, batch {batch}, in turns with peers"));
            each(&group(setting, &network, batch)?)?;
        }
    }
    Ok(())
}

/// One of ours while it waits for its turn.
struct Ours {
    precision: Precision,
    isa: String,
    file: PathBuf,
    program: Program,
}

fn group(setting: &Setting<'_>, network: &Network, batch: usize) -> Result<Vec<Record>> {
    let circumstances = Circumstances::now()?;
    let mut ours = Vec::new();
    for (precision, file) in &network.ours {
        // Compressed files are in integers, which have no form of 16 bits.
        let levels = [setting.level, HALVES[0]];
        let levels = if *precision == Precision::Fp32 { &levels[..] } else { &levels[..1] };
        for &isa in levels {
            let mut command = Command::new(&setting.programs.runner);
            command.arg("serve").arg(file).args(["--runtime", "jetson", "--isa", isa]);
            command.args(["--batch", &batch.to_string()]);
            let program = Program::start(&mut command)
                .with_context(|| format!("{} at {isa}", file.display()))?;
            let (isa, file) = (isa.to_owned(), file.clone());
            ours.push(Ours { precision: *precision, isa, file, program });
        }
    }
    let mut theirs = start_peers(setting, network, batch);
    let running = theirs.iter_mut().filter_map(|(_, started)| started.as_mut().ok());
    let mut programs: Vec<&mut Program> =
        ours.iter_mut().map(|ours| &mut ours.program).chain(running).collect();
    for program in &mut programs {
        program.settle()?;
    }
    for _ in 0..setting.turns.max(1) {
        for program in &mut programs {
            program.turn()?;
        }
    }
    let file_bytes = |file: &Path| file.metadata().map_or(0, |data| data.len());
    let onnx_bytes = file_bytes(&network.onnx);
    let peers: Vec<Peer> =
        theirs.into_iter().map(|(name, started)| peer(name, started, onnx_bytes)).collect();
    let records = ours.into_iter().map(|mut ours| {
        let (median_ns, min_ns) = ours.program.median_and_min();
        let best = best(&peers, ours.isa == HALVES[0]);
        #[expect(clippy::cast_precision_loss, reason = "durations")]
        let ratio = best.map(|(_, best)| best as f64 / median_ns.max(1) as f64);
        Record {
            kind: "bench",
            model: network.name.clone(),
            precision: ours.precision.name(),
            isa: ours.isa,
            batch,
            source: setting.source,
            median_ns,
            min_ns,
            load_ns: ours.program.greeting.load_ns,
            file_bytes: file_bytes(&ours.file),
            peers: peers.clone(),
            best_peer: best.map(|(name, _)| name.to_owned()),
            ratio_to_best_peer: ratio,
            circumstances: circumstances.clone(),
        }
    });
    Ok(records.collect())
}

fn start_peers(
    setting: &Setting<'_>,
    network: &Network,
    batch: usize,
) -> Vec<(&'static str, Result<Program>)> {
    let Some(python) = setting.python else { return Vec::new() };
    let script = root().join("xtask/peers/gpu.py");
    let start = |name| {
        let mut command = Command::new(python);
        command.arg(&script).arg(name).arg(&network.onnx).arg(batch.to_string());
        let started = Program::start(&mut command);
        if let Err(error) = &started {
            warn(format!("{name}: {error:#}"));
        }
        (name, started)
    };
    PEERS.into_iter().map(start).collect()
}

fn peer(name: &str, started: Result<Program>, file_bytes: u64) -> Peer {
    let outcome = match started {
        Ok(mut program) => {
            let (median_ns, min_ns) = program.median_and_min();
            Outcome::Ran(Ran {
                version: program.greeting.version.clone(),
                median_ns,
                min_ns,
                load_ns: program.greeting.load_ns,
                file_bytes,
                peak_rss: program.greeting.peak_rss,
            })
        }
        Err(error) => Outcome::Failed { reason: format!("{error:#}") },
    };
    Peer { name: name.into(), outcome }
}

/// Name and median of the fastest peer; those in 16 bits count where ours is in 16 bits too.
fn best(peers: &[Peer], is_half: bool) -> Option<(&str, u64)> {
    let ran = peers.iter().filter_map(|peer| match &peer.outcome {
        Outcome::Ran(ran) => Some((peer.name.as_str(), ran.median_ns)),
        Outcome::Failed { .. } => None,
    });
    ran.filter(|(name, _)| is_half || !name.ends_with(HALVES[1])).min_by_key(|&(_, median)| median)
}

/// A row a record.
pub(crate) fn table(records: &[Record]) -> String {
    let mut text = format!(
        "{:<16} {:<10} {:<6} {:>5} {:>12} {:>22} {:>7}  source\n",
        "model", "precision", "isa", "batch", "median µs", "best peer", "ratio"
    );
    for record in records {
        #[expect(clippy::cast_precision_loss, reason = "durations")]
        let median = record.median_ns as f64 / 1e3;
        let ratio = record.ratio_to_best_peer.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        text += &format!(
            "{:<16} {:<10} {:<6} {:>5} {median:>12.1} {:>22} {ratio:>7}  {}\n",
            record.model,
            record.precision,
            record.isa,
            record.batch,
            record.best_peer.as_deref().unwrap_or("-"),
            record.source
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::pretend;

    #[test]
    fn halves_are_compared_with_all_and_floats_with_floats() {
        let ran = |name: &str, ns| {
            peer(
                name,
                {
                    let mut program = pretend(name, ns);
                    program.turn().unwrap();
                    Ok(program)
                },
                1,
            )
        };
        let failed = peer("onnxruntime", Err(anyhow::anyhow!("no CUDA")), 1);
        let peers = [ran("torch", 50), ran("torch-compile", 40), ran("torch-half", 30), failed];
        assert_eq!(best(&peers, false), Some(("torch-compile", 40)));
        assert_eq!(best(&peers, true), Some(("torch-half", 30)));
        assert_eq!(best(&peers[3..], true), None);
    }
}
