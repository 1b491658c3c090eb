//! Our runtime and its peers, taking turns on the same core. Turns are short, so what else the machine does meets all of
//! them alike.
pub(super) mod kind;
mod level;
mod program;
mod record;
mod table;
mod tract;

use super::models::{Network, Precision};
use super::picture;
use crate::process::{say, warn};
use anyhow::{Context, Result};
use kind::Kind;
pub(super) use level::native_python;
use level::{Level, Peers, pinned};
pub(super) use program::Program;
#[cfg(test)]
pub(super) use program::pretend;
use record::Record;
pub(super) use record::{Circumstances, Outcome, Peer, Ran};
use std::path::{Path, PathBuf};
pub(super) use table::geometric_mean;

/// Which peers, and where to put what they took.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Compare with peers, which take turns with our runtime on one core: ONNX Runtime, OpenVINO, ncnn, MNN, LiteRT,
    /// tract; with --count, count the instructions of ONNX Runtime, ncnn, MNN and LiteRT.
    #[arg(long)]
    pub(super) peers: bool,
    /// Only these peers.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "peers")]
    pub(super) only: Vec<String>,
    /// The first core that everything is pinned to.
    #[arg(long, default_value_t = 0)]
    pub(super) core: usize,
    /// Turns that each program gets, of about 60 ms.
    #[arg(long, requires = "peers", default_value_t = 15)]
    turns: usize,
    /// Draw the ratios: those of this run, and the newest of each in the file of `--json`.
    #[arg(long, value_name = "FILE", requires = "peers")]
    pub(super) svg: Option<PathBuf>,
}

/// What a comparison needs beside its options.
pub(super) struct Setting<'a> {
    pub(super) runner: &'a Path,
    /// The level that ours is held to, and the peers with it; the best of this machine where there is none.
    pub(super) isa: Option<&'a str>,
    pub(super) threads: usize,
    /// Where records are appended, each as soon as it is there.
    pub(super) json: Option<&'a Path>,
}

/// Compares each network in each of its precisions, and prints the tables.
pub(super) fn compare(
    networks: &[Network],
    options: &Options,
    setting: &Setting<'_>,
) -> Result<()> {
    let peers = Peers::at(Level::beside(setting.isa))?;
    let bench = Bench {
        setting,
        peers,
        kinds: kind::named(&options.only)?,
        cores: cores(options.core, setting.threads),
        turns: options.turns.max(1),
    };
    let has_integers = |network: &Network| network.ours.iter().any(|(p, _)| *p != Precision::Fp32);
    if networks.iter().any(has_integers) {
        bench.peers.tell_overflows(&bench.cores)?;
    }
    let mut records = Vec::new();
    for network in networks {
        // What is compressed is compared with integers, so both take turns with the same programs.
        let (floats, integers): (Vec<_>, Vec<_>) =
            network.ours.iter().partition(|(precision, _)| *precision == Precision::Fp32);
        for ours in [floats, integers].iter().filter(|ours| !ours.is_empty()) {
            let found = bench.group(network, ours)?;
            print!("{}", table::table(&found));
            if let Some(file) = setting.json {
                super::records::append(file, &found)?;
            }
            records.extend(found);
        }
    }
    println!("\n{}\n{}", table::table(&records), table::files(&records));
    if let Some(file) = setting.json {
        say(format!("appended {} records to {}", records.len(), file.display()));
    }
    if let Some(file) = &options.svg {
        let drawn = match setting.json {
            Some(json) => record::read(json)?,
            None => records,
        };
        let ratios: Vec<_> = drawn.iter().map(Record::ratio).collect();
        picture::write(file, TITLE, &ratios)?;
    }
    Ok(())
}

/// What the picture says above the bars.
const TITLE: &str = "Time of the fastest peer over ours: to the right of 1 ours is faster";

struct Bench<'a> {
    setting: &'a Setting<'a>,
    peers: Peers,
    kinds: Vec<&'static Kind>,
    cores: String,
    turns: usize,
}

/// A peer's program, or why there is none.
struct Entry {
    name: &'static str,
    started: Result<(Program, u64)>,
}

impl Bench<'_> {
    /// Some of our files of a network, and the peers' one, in turns.
    fn group(&self, network: &Network, ours: &[&(Precision, PathBuf)]) -> Result<Vec<Record>> {
        let is_int8 = ours[0].0 != Precision::Fp32;
        say(format!("{} {}, in turns with peers", network.name, ours[0].0.name()));
        let circumstances = Circumstances::now()?;
        let mut mine = Vec::new();
        for (_, file) in ours {
            mine.push(self.start_ours(file)?);
        }
        let mut theirs: Vec<Entry> = self
            .kinds
            .iter()
            .map(|kind| Entry { name: kind.name, started: self.start(kind, network, is_int8) })
            .collect();
        let mut programs: Vec<&mut Program> = mine.iter_mut().collect();
        programs.extend(
            theirs.iter_mut().filter_map(|entry| Some(&mut entry.started.as_mut().ok()?.0)),
        );
        for program in &mut programs {
            program.settle()?;
        }
        for _ in 0..self.turns {
            for program in &mut programs {
                program.turn()?;
            }
        }
        let peers: Vec<Peer> = theirs.iter_mut().map(Entry::result).collect();
        let files = ours.iter().zip(&mut mine);
        let records = files.map(|((precision, file), program)| {
            self.record(&network.name, *precision, file, program, &peers, &circumstances)
        });
        Ok(records.collect())
    }

    fn start_ours(&self, file: &Path) -> Result<Program> {
        let mut command = pinned(&self.cores, self.setting.runner);
        command.arg("serve").arg(file).args(["--runtime", "native", "--untuned"]);
        if let Some(isa) = self.setting.isa {
            command.args(["--isa", isa]);
        }
        if self.setting.threads > 1 {
            command.args(["--threads", &self.setting.threads.to_string()]);
        }
        Program::start(&mut command).with_context(|| format!("ours on {}", file.display()))
    }

    fn start(&self, kind: &Kind, network: &Network, is_int8: bool) -> Result<(Program, u64)> {
        let file = kind.file(network, is_int8)?;
        let mut command = if kind.name == kind::TRACT {
            tract::command(&self.peers, &self.cores)?
        } else {
            self.peers.prove(kind.name, network, &file)?;
            let mut command = self.peers.command(&self.cores, "peer.py");
            command.arg(kind.name);
            command
        };
        command.arg(&file).arg(self.setting.threads.to_string());
        let program = Program::start(&mut command)?;
        self.peers.check(&program)?;
        Ok((program, kind::len_bytes(&file)))
    }

    fn record(
        &self,
        model: &str,
        precision: Precision,
        file: &Path,
        program: &mut Program,
        peers: &[Peer],
        circumstances: &Circumstances,
    ) -> Record {
        let (median_ns, min_ns) = program.median_and_min();
        let name = &program.greeting.name;
        let (runtime, isa) = name.split_once(' ').unwrap_or((name, ""));
        Record {
            model: model.into(),
            precision: precision.name().into(),
            runtime: runtime.into(),
            isa: isa.into(),
            threads: self.setting.threads,
            source: "host".into(),
            median_ns,
            min_ns,
            load_ns: program.greeting.load_ns,
            file_bytes: kind::len_bytes(file),
            peak_rss: program.greeting.peak_rss,
            peers_isa: self.peers.level.name().into(),
            peers: peers.to_vec(),
            ratio_to_best_peer: None,
            circumstances: circumstances.clone(),
        }
        .with_ratio()
    }
}

impl Entry {
    fn result(&mut self) -> Peer {
        let outcome = match &mut self.started {
            Ok((program, file_bytes)) => {
                let (median_ns, min_ns) = program.median_and_min();
                Outcome::Ran(Ran {
                    version: program.greeting.version.clone(),
                    median_ns,
                    min_ns,
                    load_ns: program.greeting.load_ns,
                    file_bytes: *file_bytes,
                    peak_rss: program.greeting.peak_rss,
                })
            }
            Err(error) => {
                let reason = format!("{error:#}");
                warn(format!("{}: {reason}", self.name));
                Outcome::Failed { reason }
            }
        };
        Peer { name: self.name.into(), outcome }
    }
}

/// As many cores as threads, as `taskset` wants them.
fn cores(first: usize, threads: usize) -> String {
    if threads <= 1 { first.to_string() } else { format!("{first}-{}", first + threads - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_as_many_as_threads() {
        assert_eq!([cores(1, 1), cores(0, 2), cores(2, 4)], ["1", "0-1", "2-5"]);
    }
}
