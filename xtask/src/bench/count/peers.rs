//! Peers beside us: each in its own Python program, one inference between two marks, by the same plug-in on the same CPU.
use super::record::{Counted, Outcome, Peer};
use super::root::Root;
use super::{Count, Counter, Event};
use crate::bench::models::Network;
use crate::bench::peers::kind::{self, Kind};
use crate::process::{say, warn};
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::process::Command;

/// Peers that are not counted, and why.
const NOT_COUNTED: [(&str, &str); 2] = [
    ("openvino", "its CPU plug-in ends with a segmentation fault under qemu 7.2"),
    (kind::TRACT, "it comes as source alone, whose build takes longer than all that is counted"),
];

/// Peers that are counted, and where they run.
pub(super) struct Peers<'a> {
    counter: &'a Counter,
    root: Root,
    kinds: Vec<&'static Kind>,
}

/// What `count.py` says of the peer.
#[derive(Deserialize)]
struct Greeting {
    version: String,
}

impl<'a> Peers<'a> {
    /// The peers of these names, or all that there are wheels of.
    pub(super) fn new(counter: &'a Counter, names: &[String]) -> Result<Self> {
        let kinds = kind::named(names)?;
        Ok(Self { counter, root: Root::on(&counter.cpu)?, kinds })
    }

    /// Counts each peer on a network, in floats or in integers.
    pub(super) fn count(&self, network: &Network, is_int8: bool) -> Vec<Peer> {
        let count = |kind: &&'static Kind| {
            if let Some((name, reason)) = NOT_COUNTED.iter().find(|(name, _)| *name == kind.name) {
                return Peer::failed(name, reason);
            }
            let precision = if is_int8 { "int8" } else { "fp32" };
            say(format!("counting {} {precision} on {}", network.name, kind.name));
            self.one(kind, network, is_int8).unwrap_or_else(|error| {
                let reason = format!("{error:#}");
                let last = reason.lines().last().unwrap_or_default().trim();
                warn(format!("{}: {last}", kind.name));
                Peer::failed(kind.name, last)
            })
        };
        self.kinds.iter().map(count).collect()
    }

    fn one(&self, kind: &Kind, network: &Network, is_int8: bool) -> Result<Peer> {
        let file = kind.file(network, is_int8)?;
        let mut program = Command::new(&self.root.python);
        // No packages of this machine, and nothing written beside the sources.
        program.args(["-S", "-B"]).arg(root().join("xtask/peers/count.py"));
        program.arg(kind.name).arg(&file);
        program.env("PYTHONPATH", &self.root.site);
        // The order of sets and the number of threads are the same in each run.
        for (variable, value) in
            [("PYTHONHASHSEED", "0"), ("OMP_NUM_THREADS", "1"), ("OPENBLAS_NUM_THREADS", "1")]
        {
            program.env(variable, value);
        }
        let (said, log) = self.counter.count(&program, Some(&self.root.folder))?;
        let greeting = said.lines().find_map(|line| serde_json::from_str::<Greeting>(line).ok());
        let version = greeting.context("it does not say its version")?.version;
        let count = between_marks(&log)?;
        let counted = Counted::new(version, count, kind::len_bytes(&file));
        Ok(Peer { name: kind.name.into(), outcome: Outcome::Ran(counted) })
    }
}

/// What an inference takes without Python's own part: four marks, the first two around nothing.
fn between_marks(log: &[(Event, Count)]) -> Result<Count> {
    let marks: Vec<Count> =
        log.iter().filter(|(mark, _)| *mark == Event::Mark).map(|(_, count)| *count).collect();
    let [before, after, start, end] = marks[..] else {
        bail!("{} marks where 4 are expected", marks.len());
    };
    Ok(end.minus(start).minus(after.minus(before)))
}

#[cfg(test)]
mod tests {
    use super::super::read_log;
    use super::*;

    #[test]
    fn what_python_takes_is_left_out() {
        let log = "clock 1 0 0 0\nmark 100 1 1 1\nmark 130 4 1 2\nmark 140 5 1 2\nclock 150 9 9 9\nmark 1170 50 31 13\nend 9999 9 9 9\n";
        let count = between_marks(&read_log(log).unwrap()).unwrap();
        assert_eq!(count, Count { all: 1000, memory: 42, simd: 30, branches: 10 });
        let error = between_marks(&read_log("mark 1 1 1 1\n").unwrap()).unwrap_err();
        assert!(error.to_string().contains("1 marks"), "{error}");
    }
}
