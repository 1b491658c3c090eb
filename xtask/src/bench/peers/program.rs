//! A program that waits for its turn: it is asked for a number of runs and answers with their times.
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Nanoseconds that one turn should take.
const TURN_NS: u64 = 60_000_000;
/// Most runs of one turn.
const MAX_RUNS: u64 = 100_000;

/// Where a program says who it is.
#[derive(Debug, Deserialize)]
pub(in crate::bench) struct Greeting {
    pub(in crate::bench) name: String,
    pub(in crate::bench) version: String,
    pub(in crate::bench) load_ns: u64,
    #[serde(default)]
    pub(in crate::bench) peak_rss: u64,
    /// Vector extensions that the process sees, where it looked.
    #[serde(default)]
    pub(in crate::bench) features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Times {
    ns: Vec<u64>,
}

/// A program of the protocol.
pub(in crate::bench) struct Program {
    pub(in crate::bench) greeting: Greeting,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Runs a turn.
    runs: u64,
    times: Vec<u64>,
}

impl Program {
    /// Starts a program and waits until its model is loaded. Errors: it ends instead; with the last that it said.
    pub(in crate::bench) fn start(command: &mut Command) -> Result<Self> {
        let line = crate::process::shown(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        let requests = child.stdin.take().context("a pipe")?;
        let mut answers = BufReader::new(child.stdout.take().context("a pipe")?);
        // What a library prints while it loads is no greeting.
        let mut greeting = String::new();
        let greeting = loop {
            greeting.clear();
            if answers.read_line(&mut greeting)? == 0 {
                break None;
            }
            if let Ok(greeting) = serde_json::from_str(&greeting) {
                break Some(greeting);
            }
        };
        let Some(greeting) = greeting else {
            drop(requests);
            let failed = child.wait_with_output()?;
            let stderr = String::from_utf8_lossy(&failed.stderr);
            let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
            bail!("{}: {}", failed.status, last.unwrap_or_default().trim());
        };
        // Nobody reads what it says from now on, and a full pipe would stop it.
        if let Some(mut stderr) = child.stderr.take() {
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        Ok(Self { greeting, child, requests, answers, runs: 1, times: Vec::new() })
    }

    /// Runs until caches and clocks settle, and finds out how many runs fill a turn.
    pub(in crate::bench) fn settle(&mut self) -> Result<()> {
        let fastest = self.ask(3)?.into_iter().min().unwrap_or(1).max(1);
        self.runs = (TURN_NS / fastest).clamp(1, MAX_RUNS);
        self.ask(self.runs)?;
        Ok(())
    }

    /// One run more, as a proof that it runs.
    pub(in crate::bench) fn run_once(&mut self) -> Result<()> {
        self.ask(1).map(drop)
    }

    /// One turn, whose times count.
    pub(in crate::bench) fn turn(&mut self) -> Result<()> {
        let times = self.ask(self.runs)?;
        self.times.extend(times);
        Ok(())
    }

    /// Median and minimum of all turns so far, in nanoseconds.
    pub(in crate::bench) fn median_and_min(&mut self) -> (u64, u64) {
        self.times.sort_unstable();
        let at = |index: usize| self.times.get(index).copied().unwrap_or_default();
        (at(self.times.len() / 2), at(0))
    }

    fn ask(&mut self, runs: u64) -> Result<Vec<u64>> {
        let failed = || format!("asking {} for {runs} runs", self.greeting.name);
        writeln!(self.requests, "{runs}").with_context(failed)?;
        self.requests.flush().with_context(failed)?;
        // What a library prints while it runs is no answer.
        let mut line = String::new();
        while self.answers.read_line(&mut line).with_context(failed)? > 0 {
            if let Ok(times) = serde_json::from_str::<Times>(&line) {
                return Ok(times.ns);
            }
            line.clear();
        }
        bail!("{}, and it ended", failed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends by itself when its input does; killing it is quicker, and it holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in a few words of shell, each of whose runs takes `ns`.
#[cfg(test)]
pub(in crate::bench) fn pretend(name: &str, ns: u32) -> Program {
    let script = format!(
        "echo hello; echo '{{\"name\":\"{name}\",\"version\":\"1\",\"load_ns\":5}}'; \
         while read runs; do echo '{{\"ns\":[{ns},{ns}]}}'; done"
    );
    Program::start(Command::new("sh").args(["-c", &script])).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_when_it_is_asked() {
        let mut program = pretend("atom avx2", 40);
        assert_eq!((program.greeting.name.as_str(), program.greeting.load_ns), ("atom avx2", 5));
        program.settle().unwrap();
        program.turn().unwrap();
        assert_eq!(program.median_and_min(), (40, 40));
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let script = "echo 'no such module' >&2; exit 3";
        let error = Program::start(Command::new("sh").args(["-c", script])).err().unwrap();
        assert!(error.to_string().contains("3: no such module"), "{error:#}");
    }
}
