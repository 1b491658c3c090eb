//! Our runtime and its peers, taking turns on the same core: programs that wait for a number of runs and answer with their
//! times. Turns are short, so what else the machine does meets all of them alike.
use crate::process::warn;
use crate::python;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The peers that are measured, in the words of `peers/peer.py`.
const PEERS: [&str; 2] = ["onnxruntime", "openvino"];
/// Nanoseconds that one turn should take.
const TURN_NS: u64 = 60_000_000;
/// Turns that each program gets.
const TURNS: usize = 15;

/// One model in one precision, on all runtimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) model: String,
    /// `fp32`, or `int8`, as the file's name ends.
    pub(super) precision: String,
    /// Ours.
    pub(super) runtime: String,
    pub(super) isa: String,
    pub(super) threads: usize,
    /// `host`: wall time of this machine.
    pub(super) source: String,
    pub(super) median_ns: u64,
    pub(super) min_ns: u64,
    pub(super) load_ns: u64,
    pub(super) peers: Vec<Peer>,
    /// Time of the fastest peer over ours, medians: above 1 ours is faster. Absent where no peer ran.
    pub(super) ratio_to_best_peer: Option<f64>,
}

/// What a peer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) median_ns: u64,
    pub(super) min_ns: u64,
    pub(super) load_ns: u64,
}

/// Where a program of the protocol says who it is.
#[derive(Debug, Deserialize)]
struct Greeting {
    name: String,
    version: String,
    load_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Times {
    ns: Vec<u64>,
}

/// A program that waits for its turn.
struct Program {
    greeting: Greeting,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Runs a turn.
    runs: u64,
    times: Vec<u64>,
}

/// Compares `model` (`NAME.embdl`, with `NAME.onnx` beside it) on our runtime and on the peers.
pub(super) fn compare(
    runner: &Path,
    model: &Path,
    isa: Option<&str>,
    core: usize,
) -> Result<Comparison> {
    let onnx = model.with_extension("onnx");
    if !onnx.exists() {
        bail!("{} is missing: peers read ONNX (`embdl export` writes it)", onnx.display());
    }
    let python = python::environment("peers", &root().join("xtask/peers/requirements.txt"))?;
    let mut ours = pinned(core, runner);
    ours.arg("serve").arg(model).args(["--runtime", "native"]);
    if let Some(isa) = isa {
        ours.args(["--isa", isa]);
    }
    let mut programs = vec![Program::start(&mut ours)?];
    for peer in PEERS {
        let mut command = pinned(core, &python);
        command.arg(root().join("xtask/peers/peer.py")).arg(peer).arg(&onnx).arg("1");
        match Program::start(&mut command) {
            Ok(program) => programs.push(program),
            Err(error) => warn(format!("{peer} cannot run {}: {error:#}", onnx.display())),
        }
    }
    for program in &mut programs {
        program.settle()?;
    }
    for _ in 0..TURNS {
        for program in &mut programs {
            program.turn()?;
        }
    }
    comparison(model, &mut programs)
}

fn comparison(model: &Path, programs: &mut [Program]) -> Result<Comparison> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (name, precision) = match stem.strip_suffix("-int8") {
        Some(name) => (name.to_owned(), "int8"),
        None => (stem, "fp32"),
    };
    let mut results = programs.iter_mut().map(|program| {
        program.times.sort_unstable();
        let Greeting { name, version, load_ns } = &program.greeting;
        let median_ns = program.times[program.times.len() / 2];
        let (name, version) = (name.clone(), version.clone());
        Peer { name, version, median_ns, min_ns: program.times[0], load_ns: *load_ns }
    });
    let ours = results.next().context("our own program")?;
    let peers: Vec<Peer> = results.collect();
    let best = peers.iter().map(|peer| peer.median_ns).min();
    #[expect(clippy::cast_precision_loss, reason = "durations")]
    let ratio_to_best_peer = best.map(|best| best as f64 / ours.median_ns as f64);
    let (runtime, isa) = ours.name.split_once(' ').unwrap_or((&ours.name, ""));
    Ok(Comparison {
        model: name,
        precision: precision.into(),
        runtime: runtime.into(),
        isa: isa.into(),
        threads: 1,
        source: "host".into(),
        median_ns: ours.median_ns,
        min_ns: ours.min_ns,
        load_ns: ours.load_ns,
        peers,
        ratio_to_best_peer,
    })
}

/// A command that stays on one core.
fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

impl Program {
    fn start(command: &mut Command) -> Result<Self> {
        let line = crate::process::shown(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        let requests = child.stdin.take().context("a pipe")?;
        let mut answers = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut greeting = String::new();
        answers.read_line(&mut greeting)?;
        let Ok(greeting) = serde_json::from_str(&greeting) else {
            drop(requests);
            let failed = child.wait_with_output()?;
            let stderr = String::from_utf8_lossy(&failed.stderr);
            let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
            bail!("`{line}` ended with {}: {}", failed.status, last.unwrap_or_default());
        };
        Ok(Self { greeting, child, requests, answers, runs: 1, times: Vec::new() })
    }

    /// Runs until caches and clocks settle, and finds out how many runs fill a turn.
    fn settle(&mut self) -> Result<()> {
        let first = self.ask(3)?;
        let fastest = first.into_iter().min().unwrap_or(1).max(1);
        self.runs = (TURN_NS / fastest).clamp(1, 100_000);
        self.ask(self.runs)?;
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let times = self.ask(self.runs)?;
        self.times.extend(times);
        Ok(())
    }

    fn ask(&mut self, runs: u64) -> Result<Vec<u64>> {
        let failed = || format!("asking {} for {runs} runs", self.greeting.name);
        writeln!(self.requests, "{runs}").with_context(failed)?;
        self.requests.flush().with_context(failed)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).with_context(failed)?;
        let times: Times = serde_json::from_str(&line).with_context(failed)?;
        Ok(times.ns)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends by itself when its input does; killing it is quicker, and it holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The table that a person reads.
pub(super) fn table(comparisons: &[Comparison]) -> String {
    let mut text = format!(
        "{:<24} {:<5} {:<11} {:>12}  {:<28} {:>6}\n",
        "model", "", "isa", "median µs", "best peer, median µs", "ratio"
    );
    for comparison in comparisons {
        let best = comparison.peers.iter().min_by_key(|peer| peer.median_ns);
        let best = best.map_or_else(
            || "none".into(),
            |peer| format!("{} {}, {:.1}", peer.name, peer.version, micros(peer.median_ns)),
        );
        let ratio = comparison.ratio_to_best_peer.map_or_else(|| "-".into(), |r| format!("{r:.2}"));
        text += &format!(
            "{:<24} {:<5} {:<11} {:>12.1}  {best:<28} {ratio:>6}\n",
            comparison.model,
            comparison.precision,
            comparison.isa,
            micros(comparison.median_ns)
        );
    }
    for precision in ["fp32", "int8"] {
        let of = comparisons.iter().filter(|comparison| comparison.precision == precision);
        let ratios: Vec<f64> = of.filter_map(|comparison| comparison.ratio_to_best_peer).collect();
        if ratios.len() > 1 {
            let mean = geometric_mean(&ratios);
            text += &format!("{precision}: geometric mean of the ratios {mean:.2}\n");
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "durations and counts")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "durations and counts")]
fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

/// The models in a folder: each `.embdl` with an `.onnx` beside it.
pub(super) fn models(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut models: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "embdl"))
        .filter(|path| path.with_extension("onnx").exists())
        .collect();
    models.sort();
    if models.is_empty() {
        bail!("{} holds no NAME.embdl with a NAME.onnx beside it", folder.display());
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_take_turns_and_the_best_peer_counts() {
        // Programs of the protocol in a few words of shell: each run of the first takes 40 ns, of the others 60 and 90.
        let program = |name: &str, ns: u32| {
            let script = format!(
                "echo '{{\"name\":\"{name}\",\"version\":\"1\",\"load_ns\":5}}'; \
                 while read runs; do echo '{{\"ns\":[{ns},{ns}]}}'; done"
            );
            Program::start(Command::new("sh").args(["-c", &script])).unwrap()
        };
        let mut programs = [program("atom avx2", 40), program("slow", 90), program("fast", 60)];
        for program in &mut programs {
            program.settle().unwrap();
            program.turn().unwrap();
        }
        let comparison = comparison(Path::new("lenet-5-int8.embdl"), &mut programs).unwrap();
        assert_eq!((comparison.model.as_str(), comparison.precision.as_str()), ("lenet-5", "int8"));
        assert_eq!((comparison.runtime.as_str(), comparison.isa.as_str()), ("atom", "avx2"));
        assert_eq!(comparison.ratio_to_best_peer, Some(1.5));
        let text = table(&[comparison.clone(), comparison]);
        assert!(text.contains("fast 1, 0.1"), "{text}");
        assert!(text.contains("int8: geometric mean of the ratios 1.50"), "{text}");
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let script = "echo 'no such module' >&2; exit 3";
        let error = Program::start(Command::new("sh").args(["-c", script])).err().unwrap();
        assert!(error.to_string().contains("no such module"), "{error:#}");
    }
}
