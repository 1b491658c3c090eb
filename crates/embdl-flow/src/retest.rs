//! Retests of a file: on every runtime of this machine, and by programs that run it elsewhere or under an emulator.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use embdl_bench::{
    Input, RetestReport, RuntimeChoice, TimingReport, choices, nanoseconds, open, retest, time,
};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::LoadOptions;
use embdl_data::Dataset;

use crate::error::FlowError;
use crate::pipeline::Job;
use crate::progress::Progress;
use crate::record::{Latency, Retest};

/// A program that retests elsewhere: `embdl-runner` under an emulator, or through ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// CPU model or board, such as "cortex-a57".
    pub label: String,
    /// Program and first arguments, to which `test MODEL --dataset NAME` is added.
    pub command: Vec<String>,
    /// Whether an emulator runs it.
    pub emulated: bool,
}

impl Foreign {
    /// From `LABEL=COMMAND`, the command split at white space; a command that begins with `qemu-` counts as emulated.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (label, command) = text.split_once('=')?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let program = Path::new(command.first()?).file_name()?.to_str()?;
        let emulated = program.starts_with("qemu-");
        (!label.is_empty()).then(|| Self { label: label.into(), emulated, command })
    }
}

/// The file on every runtime and level of this machine, the scalar reference first.
pub(crate) fn on_host(
    bytes: &[u8],
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<Vec<RetestReport>, FlowError> {
    let choices = choices();
    progress.begin(&format!("retest on {} runtimes of this machine", choices.len()));
    let reports = parallel(&choices, |choice| one(bytes, choice, test, progress))?;
    let same = reports.iter().all(|report| report.outputs_sha256 == reports[0].outputs_sha256);
    progress.end(if same {
        "all outputs are identical"
    } else {
        "outputs differ between runtimes"
    });
    Ok(reports)
}

/// The file on the fastest runtime of this machine.
pub(crate) fn native(
    bytes: &[u8],
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<RetestReport, FlowError> {
    let runtime = open("native")?;
    let isa = runtime.capabilities().isa.into();
    one(bytes, &RuntimeChoice { runtime: runtime.name().into(), isa }, test, progress)
}

/// The file through the job's programs elsewhere.
pub(crate) fn elsewhere(
    job: &Job,
    path: &Path,
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<Vec<Retest>, FlowError> {
    if job.foreign.is_empty() {
        return Ok(Vec::new());
    }
    let labels: Vec<&str> = job.foreign.iter().map(|foreign| foreign.label.as_str()).collect();
    progress.begin(&format!("retest on {} ({} images each)", labels.join(", "), test.len()));
    let reports: Vec<Vec<RetestReport>> = parallel(&job.foreign, |foreign| {
        call(job, foreign, "test", path, &[])?
            .iter()
            .map(|line| {
                serde_json::from_str(line)
                    .map_err(|error| failed(foreign, &format!("{error}: {line}")))
            })
            .collect()
    })?;
    let all: Vec<Retest> = reports.iter().flatten().map(record).collect();
    progress.end(&format!("{} retests", all.len()));
    Ok(all)
}

/// Times `files` (label and path) everywhere.
pub(crate) fn latencies(
    job: &Job,
    files: &[(&str, &PathBuf)],
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<Vec<Latency>, FlowError> {
    progress.begin("latency for one image");
    let mut all = Vec::new();
    for (label, path) in files {
        let bytes = std::fs::read(path)
            .map_err(|source| FlowError::File { path: path.to_path_buf(), source })?;
        let model = format::read(&bytes, &Limits::default())?;
        for choice in choices() {
            let options = LoadOptions {
                isa: Some(choice.isa.clone()),
                clock: Some(nanoseconds),
                ..LoadOptions::default()
            };
            let mut session = open(&choice.runtime)?.load(&model, &options)?;
            let mut input = Input::new(session.as_ref(), test, None)?;
            input.fill(test, &[0]);
            all.push(latency(label, &time(session.as_mut(), &choice, &input, 0.3)?));
        }
        for foreign in &job.foreign {
            for line in call(job, foreign, "bench", path, &["--seconds", "0.3"])? {
                let report: TimingReport = serde_json::from_str(&line)
                    .map_err(|error| failed(foreign, &format!("{error}: {line}")))?;
                all.push(latency(label, &report));
            }
        }
    }
    progress.end("timed");
    Ok(all)
}

pub(crate) fn record(report: &RetestReport) -> Retest {
    Retest {
        runtime: report.choice.runtime.clone(),
        isa: report.choice.isa.clone(),
        emulated: report.machine.emulated,
        machine: report.machine.cpu.clone(),
        accuracy: report.accuracy,
        outputs_sha256: report.outputs_sha256.clone(),
        images_per_second: report.images_per_second,
    }
}

fn latency(file: &str, report: &TimingReport) -> Latency {
    Latency {
        file: file.into(),
        runtime: report.choice.runtime.clone(),
        isa: report.choice.isa.clone(),
        emulated: report.machine.emulated,
        median_us: report.median_us,
        min_us: report.min_us,
    }
}

fn one(
    bytes: &[u8],
    choice: &RuntimeChoice,
    test: &Dataset,
    progress: &dyn Progress,
) -> Result<RetestReport, FlowError> {
    let model = format::read(bytes, &Limits::default())?;
    let options = LoadOptions { isa: Some(choice.isa.clone()), ..LoadOptions::default() };
    let mut session = open(&choice.runtime)?.load(&model, &options)?;
    let what = format!("{} {}", choice.runtime, choice.isa);
    let mut done = 0;
    Ok(retest(session.as_mut(), choice, test, None, |images| {
        done += images;
        if done % 256 == 0 || done == test.len() {
            progress.images(&what, done, test.len());
        }
    })?)
}

/// Runs a program elsewhere and gives its lines.
fn call(
    job: &Job,
    foreign: &Foreign,
    command: &str,
    model: &Path,
    more: &[&str],
) -> Result<Vec<String>, FlowError> {
    let [program, arguments @ ..] = &foreign.command[..] else {
        return Err(failed(foreign, "it names no program"));
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .arg(command)
        .arg(model)
        .args(["--dataset", &job.recipe.dataset])
        .args(more);
    if let Some(dir) = &job.data_dir {
        child.arg("--data").arg(dir);
    }
    if foreign.emulated {
        child.env("EMBDL_EMULATED", &foreign.label);
    }
    let output = child.output().map_err(|error| failed(foreign, &format!("{program}: {error}")))?;
    if !output.status.success() {
        return Err(failed(foreign, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn failed(foreign: &Foreign, reason: &str) -> FlowError {
    FlowError::Retest { label: foreign.label.clone(), reason: reason.into() }
}

/// `work` for all items on as many threads as there are cores, results in the items' order.
fn parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, FlowError> + Sync,
) -> Result<Vec<R>, FlowError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<R, FlowError>>>> =
        Mutex::new(items.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    results.lock().expect("no worker panics while it holds the lock")[at] =
                        Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("no worker panics while it holds the lock");
    results.into_iter().map(|result| result.expect("every item was worked on")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_programs_are_parsed() {
        let foreign = Foreign::parse("max=/usr/bin/qemu-aarch64 -cpu max runner").unwrap();
        assert_eq!(
            (foreign.label.as_str(), foreign.emulated, foreign.command.len()),
            ("max", true, 4)
        );
        assert!(!Foreign::parse("pi=ssh pi embdl-runner").unwrap().emulated);
        assert_eq!(Foreign::parse("nothing"), None);
        assert_eq!(Foreign::parse("x="), None);
    }

    #[test]
    fn results_keep_their_order_and_errors_come_through() {
        let items: Vec<usize> = (0..20).collect();
        assert_eq!(
            parallel(&items, |&i| Ok(i * i)).unwrap(),
            items.iter().map(|i| i * i).collect::<Vec<_>>()
        );
        let failing = parallel(&items, |&i| {
            if i == 7 {
                Err(FlowError::UnknownNetwork { name: "x".into(), known: String::new() })
            } else {
                Ok(i)
            }
        });
        assert!(failing.is_err());
    }
}
