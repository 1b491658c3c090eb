//! The instructions that one inference takes on AArch64, and those of each layer, counted by a plug-in of qemu-user. They are
//! exact and the same on every machine, yet know nothing of caches or pipelines: records say `emulated`.
mod page;
mod peers;
mod record;
mod root;

use super::models::{Network, Precision, make_if_older};
use super::{picture, records};
use crate::apt;
use crate::build;
use crate::process::{find_program, output, say};
use crate::targets::Target;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use peers::Peers;
use record::{Circumstances, Node, Peer, Record};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to count, and on which CPU.
#[derive(clap::Args)]
pub(super) struct Counting {
    /// Count instructions instead of taking times: --target aarch64 only, one thread.
    #[arg(long, conflicts_with = "board")]
    pub(super) count: bool,
    /// The CPU that is emulated for counting, by qemu's name; the first of the target's without dot products otherwise.
    #[arg(long, requires = "count")]
    cpu: Option<String>,
    /// Write the comparison with peers as tables for the book: this run's, and the newest of each in the file of --json.
    #[arg(long, value_name = "FILE", requires = "count", requires = "peers")]
    markdown: Option<PathBuf>,
}

/// What a count needs beside its options.
pub(super) struct Setting<'a> {
    pub(super) isa: Option<&'a str>,
    /// Where records are appended, each network's as soon as they are there.
    pub(super) json: Option<&'a Path>,
    /// Peers beside us, and which; none where this is absent.
    pub(super) peers: Option<&'a [String]>,
    /// Where to draw the ratios.
    pub(super) svg: Option<&'a Path>,
}

/// Instructions by class: all, loads and stores, SIMD and floating point, branches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    all: u64,
    memory: u64,
    simd: u64,
    branches: u64,
}

/// Where the log of the plug-in has a line from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The program read the clock.
    Clock,
    /// The program marked where counting begins or ends.
    Mark,
    /// The program ended.
    End,
}

/// Layers that a table shows, the most expensive first.
const ROWS: usize = 12;

/// What the picture says above the bars.
const TITLE: &str =
    "Instructions of the best peer over ours (emulated): to the right of 1 ours takes fewer";

/// Counts each file of each network, prints the tables, and appends the records.
pub(super) fn run(networks: &[Network], options: &Counting, setting: &Setting<'_>) -> Result<()> {
    let target = Target::read("aarch64")?;
    let cpu = match &options.cpu {
        Some(cpu) => cpu.clone(),
        None => target.emulated_cpus.last().context("aarch64.toml names no emulated-cpus")?.clone(),
    };
    let counter = Counter { qemu: qemu()?, plugin: plugin()?, cpu };
    let program = build::example("rt-arm", "count", &target, build::Symbols::Stripped)?;
    let peers = setting.peers.map(|names| Peers::new(&counter, names)).transpose()?;
    let circumstances = Circumstances::now(&counter)?;
    let mut found = Vec::new();
    for network in networks {
        let first = found.len();
        // What is compressed is compared with integers, so peers are counted at most twice.
        let mut of_peers: [Option<Vec<Peer>>; 2] = [None, None];
        for (precision, file) in &network.ours {
            let name = &network.name;
            say(format!("counting {name} {} on {}", precision.name(), counter.cpu));
            let counted = counter.counted(&program, file, setting.isa)?;
            let mut record = counted.record((name, *precision), file, &circumstances);
            print!("{}", record.layers(ROWS));
            if let Some(peers) = &peers {
                let is_int8 = *precision != Precision::Fp32;
                let beside = &mut of_peers[usize::from(is_int8)];
                let beside = beside.get_or_insert_with(|| peers.count(network, is_int8));
                record = record.beside(beside.clone());
            }
            found.push(record);
        }
        println!("\n{}", record::table(&found[first..]));
        if let Some(file) = setting.json {
            records::append(file, &found[first..])?;
        }
    }
    println!("\n{}", record::table(&found));
    if let Some(file) = setting.json {
        say(format!("appended {} records to {}", found.len(), file.display()));
    }
    let all = match setting.json {
        Some(json) => record::read(json)?,
        None => found,
    };
    if let Some(file) = setting.svg {
        let ratios: Vec<_> = all.iter().map(Record::ratio).collect();
        picture::write(file, TITLE, &ratios)?;
    }
    if let Some(file) = &options.markdown {
        std::fs::write(file, page::page(&all))
            .with_context(|| format!("writing {}", file.display()))?;
        say(format!("wrote {}", file.display()));
    }
    Ok(())
}

/// qemu-user with the plug-in that counts.
struct Counter {
    qemu: PathBuf,
    plugin: PathBuf,
    cpu: String,
}

impl Counter {
    /// Counts one inference of a file, and its layers.
    fn counted(&self, program: &Path, file: &Path, isa: Option<&str>) -> Result<Counted> {
        let run = |how: &str, runs: &str| {
            let mut command = Command::new(program);
            command.arg(file).args([how, runs]).args(isa);
            self.count(&command, None)
        };
        // The second run counts, as with peers.
        let (_, whole) = run("whole", "2")?;
        let (said, log) = run("nodes", "1")?;
        let nodes = nodes(&said, &log)?;
        let isa = isa.map_or_else(|| level(&nodes), str::to_owned);
        Ok(Counted { isa, whole: last_run(&whole)?, nodes })
    }

    /// Runs a program for AArch64 that sees the files below `root` first, and returns what it said and what was counted.
    fn count(
        &self,
        program: &Command,
        root_folder: Option<&Path>,
    ) -> Result<(String, Vec<(Event, Count)>)> {
        let folder = root().join("out/count");
        let log = folder.join(format!("{}.log", std::process::id()));
        let mut command = Command::new(&self.qemu);
        command.args(["-cpu", &self.cpu, "-plugin"]).arg(&self.plugin);
        command.args(["-d", "plugin", "-D"]).arg(&log);
        // `cargo run` points this to the libraries of this machine's toolchain.
        command.args(["-U", "LD_LIBRARY_PATH"]);
        if let Some(folder) = root_folder {
            command.arg("-L").arg(folder);
        }
        for (name, value) in program.get_envs() {
            let value = value.unwrap_or_default();
            command.arg("-E").arg(format!("{}={}", name.display(), value.display()));
        }
        command.arg(program.get_program()).args(program.get_args());
        let said = output(&mut command)?;
        let text =
            std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
        std::fs::remove_file(&log).with_context(|| format!("removing {}", log.display()))?;
        Ok((said, read_log(&text)?))
    }
}

/// What was counted of a file.
struct Counted {
    isa: String,
    whole: Count,
    nodes: Vec<Node>,
}

impl Counted {
    fn record(self, what: (&str, Precision), file: &Path, circumstances: &Circumstances) -> Record {
        Record::new(what, self.isa, self.whole, self.nodes, file, circumstances)
    }
}

impl Count {
    fn minus(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_sub(other.all),
            memory: self.memory.saturating_sub(other.memory),
            simd: self.simd.saturating_sub(other.simd),
            branches: self.branches.saturating_sub(other.branches),
        }
    }
}

/// The lines of the plug-in: `clock`, `mark` or `end`, and four numbers.
fn read_log(text: &str) -> Result<Vec<(Event, Count)>> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let mark = match words.next()? {
            "clock" => Event::Clock,
            "mark" => Event::Mark,
            "end" => Event::End,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        let [all, memory, simd, branches] = [number()?, number()?, number()?, number()?];
        Some((mark, Count { all, memory, simd, branches }))
    };
    let line = |line| read(line).with_context(|| format!("the plug-in wrote `{line}`"));
    text.lines().map(line).collect()
}

/// What the last run took: the program marks its beginning and its end.
fn last_run(log: &[(Event, Count)]) -> Result<Count> {
    let mut marks = log.iter().filter(|(mark, _)| *mark == Event::Mark).map(|(_, count)| *count);
    let (Some(start), Some(end)) = (marks.next(), marks.next()) else {
        bail!("the program marked no run: an old build of rt-arm's example, or of the plug-in");
    };
    Ok(end.minus(start))
}

/// What each layer took: the program reads the clock before and after it.
fn nodes(said: &str, log: &[(Event, Count)]) -> Result<Vec<Node>> {
    let clocks: Vec<Count> =
        log.iter().filter(|(mark, _)| *mark == Event::Clock).map(|(_, count)| *count).collect();
    let lines: Vec<&str> = said.lines().collect();
    if clocks.len() != 2 * lines.len() {
        bail!(
            "{} layers, and the clock was read {} times: this qemu answers it without a system call",
            lines.len(),
            clocks.len()
        );
    }
    let node = |(line, clocks): (&&str, &[Count])| {
        let mut words = line.rsplitn(4, ' ');
        let mut number = || words.next()?.parse().ok();
        let numbers = number().zip(number());
        let (bytes, macs) = numbers.with_context(|| format!("the program wrote `{line}`"))?;
        let (kernel, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let count = clocks[1].minus(clocks[0]);
        Ok(Node::new((name, kernel), [macs, bytes], count))
    };
    lines.iter().zip(clocks.chunks(2)).map(node).collect()
}

/// The level that kernels were chosen for, by their names: that of products, where several occur.
fn level(nodes: &[Node]) -> String {
    let levels = || nodes.iter().filter_map(|node| node.kernel.split_once("__")).map(|(_, l)| l);
    let is_better = |level: &&str| !["neon", "scalar"].contains(level);
    levels().find(is_better).unwrap_or("neon").into()
}

/// qemu for AArch64 programs, with plug-ins: Debian's has them, static builds have not.
fn qemu() -> Result<PathBuf> {
    let find = || find_program("qemu-aarch64").filter(|qemu| has_plugins(qemu));
    if find().is_none() {
        apt::install(&["qemu-user"], "to count instructions")?;
    }
    find().context("qemu-aarch64 is missing, or has no plug-ins: Debian's package qemu-user has")
}

fn has_plugins(qemu: &Path) -> bool {
    output(Command::new(qemu).arg("-h")).is_ok_and(|help| help.contains("-plugin"))
}

/// The plug-in, compiled for this machine.
fn plugin() -> Result<PathBuf> {
    let source = root().join("xtask/count/count.c");
    let folder = root().join("out/count");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let plugin = folder.join("count.so");
    make_if_older(&plugin, &[&source], || {
        if find_program("cc").is_none() {
            apt::install(&["gcc", "libc6-dev"], "to compile the plug-in that counts")?;
        }
        let mut command = Command::new("cc");
        command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&plugin).arg(&source);
        output(&mut command).map(drop)
    })?;
    Ok(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "clock 100 10 20 5\nclock 350 60 120 10\nclock 400 61 121 11\nclock 500 71 171 21\nmark 600 1 2 3\nmark 900 2 3 4\nend 990 1 2 3\n";

    #[test]
    fn layers_are_between_two_looks_at_the_clock() {
        let log = read_log(LOG).unwrap();
        let said = "conv 1 conv_f32_f32_8x8__neon 2000 70\nfc gemm_qu8_qc8w_4x8__dotprod 30 40\n";
        let nodes = nodes(said, &log).unwrap();
        let found: Vec<_> =
            nodes.iter().map(|node| (node.node.as_str(), node.instructions, node.macs)).collect();
        assert_eq!(found, [("conv 1", 250, 2000), ("fc", 100, 30)]);
        assert_eq!(level(&nodes), "dotprod");
        // What has no kernel of the level's own runs the reference.
        let of = |kernel: &str| Node::new(("n", kernel), [1, 1], Count::default());
        assert_eq!(level(&[of("softmax_f32_f32_1x1__scalar"), of("gemm__neon")]), "neon");
        assert_eq!(last_run(&log).unwrap(), Count { all: 300, memory: 1, simd: 1, branches: 1 });
    }

    #[test]
    fn a_clock_without_system_calls_is_noticed() {
        let error = nodes("a k 1 1\n", &read_log("end 900 1 2 3").unwrap()).unwrap_err();
        assert!(error.to_string().contains("0 times"), "{error:#}");
        assert!(read_log("noise").is_err() && read_log("end 1 2 3").is_err());
        assert!(last_run(&read_log("mark 1 1 1 1\nend 2 2 2 2").unwrap()).is_err());
    }
}
