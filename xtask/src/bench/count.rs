//! The instructions that one inference takes on AArch64, and those of each layer, counted by a plug-in of qemu-user. They are
//! exact and the same on every machine, yet know nothing of caches or pipelines: records say `emulated`.
mod record;

use super::models::{Network, Precision, make_if_older};
use super::records::append;
use crate::apt;
use crate::build;
use crate::process::{find_program, output, say};
use crate::targets::Target;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use record::{Circumstances, Node, Record};
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
enum Mark {
    /// The program read the clock.
    Clock,
    /// The program ended.
    End,
}

/// Layers that a table shows, the most expensive first.
const ROWS: usize = 12;

/// Counts each file of each network, prints the tables, and appends the records.
pub(super) fn run(
    networks: &[Network],
    options: &Counting,
    isa: Option<&str>,
    json: Option<&Path>,
) -> Result<()> {
    let target = Target::read("aarch64")?;
    let cpu = match &options.cpu {
        Some(cpu) => cpu.clone(),
        None => target.emulated_cpus.last().context("aarch64.toml names no emulated-cpus")?.clone(),
    };
    let counter = Counter { qemu: qemu()?, plugin: plugin()?, cpu };
    let program = build::example("rt-arm", "count", &target)?;
    let circumstances = Circumstances::now(&counter)?;
    let mut records = Vec::new();
    for Network { name, ours, .. } in networks {
        for (precision, file) in ours {
            say(format!("counting {name} {} on {}", precision.name(), counter.cpu));
            let counted = counter.counted(&program, file, isa)?;
            let record = counted.record((name, *precision), file, &circumstances);
            print!("{}", record.layers(ROWS));
            records.push(record);
        }
    }
    println!("\n{}", record::table(&records));
    if let Some(file) = json {
        append(file, &records)?;
        say(format!("appended {} records to {}", records.len(), file.display()));
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
            self.count(&command)
        };
        // What a program does once stands in both, and drops out of their difference.
        let [(_, one), (_, three)] = [run("whole", "1")?, run("whole", "3")?];
        let (said, log) = run("nodes", "1")?;
        let nodes = nodes(&said, &log)?;
        let isa = isa.map_or_else(|| level(&nodes), str::to_owned);
        Ok(Counted { isa, whole: ended(&three)?.minus(ended(&one)?).over(2), nodes })
    }

    /// Runs a program for AArch64, and returns what it said and what was counted.
    fn count(&self, program: &Command) -> Result<(String, Vec<(Mark, Count)>)> {
        let folder = root().join("out/count");
        let log = folder.join(format!("{}.log", std::process::id()));
        let mut command = Command::new(&self.qemu);
        command.args(["-cpu", &self.cpu, "-plugin"]).arg(&self.plugin);
        command.args(["-d", "plugin", "-D"]).arg(&log);
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

    fn over(self, runs: u64) -> Self {
        Self {
            all: self.all / runs,
            memory: self.memory / runs,
            simd: self.simd / runs,
            branches: self.branches / runs,
        }
    }
}

/// The lines of the plug-in: `clock` or `end`, and four numbers.
fn read_log(text: &str) -> Result<Vec<(Mark, Count)>> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let mark = match words.next()? {
            "clock" => Mark::Clock,
            "end" => Mark::End,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        let [all, memory, simd, branches] = [number()?, number()?, number()?, number()?];
        Some((mark, Count { all, memory, simd, branches }))
    };
    let line = |line| read(line).with_context(|| format!("the plug-in wrote `{line}`"));
    text.lines().map(line).collect()
}

fn ended(log: &[(Mark, Count)]) -> Result<Count> {
    let end = log.iter().find(|(mark, _)| *mark == Mark::End);
    Ok(end.context("the plug-in counted nothing to the end")?.1)
}

/// What each layer took: the program reads the clock before and after it.
fn nodes(said: &str, log: &[(Mark, Count)]) -> Result<Vec<Node>> {
    let clocks: Vec<Count> =
        log.iter().filter(|(mark, _)| *mark == Mark::Clock).map(|(_, count)| *count).collect();
    let lines: Vec<&str> = said.lines().collect();
    if clocks.len() != 2 * lines.len() {
        bail!(
            "{} layers, and the clock was read {} times: this qemu answers it without a system call",
            lines.len(),
            clocks.len()
        );
    }
    let node = |(line, clocks): (&&str, &[Count])| {
        let mut words = line.rsplitn(3, ' ');
        let (macs, kernel, name) = (words.next(), words.next(), words.next());
        let count = clocks[1].minus(clocks[0]);
        let macs = macs.and_then(|macs| macs.parse().ok());
        let macs = macs.with_context(|| format!("the program wrote `{line}`"))?;
        Ok(Node::new(name.unwrap_or_default(), kernel.unwrap_or_default(), macs, count))
    };
    lines.iter().zip(clocks.chunks(2)).map(node).collect()
}

/// The level that kernels were chosen for, by their names: that of products, where several occur.
fn level(nodes: &[Node]) -> String {
    let levels = || nodes.iter().filter_map(|node| node.kernel.split_once("__")).map(|(_, l)| l);
    levels().find(|level| *level != "neon").or_else(|| levels().next()).unwrap_or("neon").into()
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

    const LOG: &str = "clock 100 10 20 5\nclock 350 60 120 10\nclock 400 61 121 11\nclock 500 71 171 21\nend 900 1 2 3\n";

    #[test]
    fn layers_are_between_two_looks_at_the_clock() {
        let log = read_log(LOG).unwrap();
        let said = "conv 1 conv_f32_f32_8x8__neon 2000\nfc gemm_qu8_qc8w_4x8__dotprod 30\n";
        let nodes = nodes(said, &log).unwrap();
        let found: Vec<_> =
            nodes.iter().map(|node| (node.node.as_str(), node.instructions, node.macs)).collect();
        assert_eq!(found, [("conv 1", 250, 2000), ("fc", 100, 30)]);
        assert_eq!(level(&nodes), "dotprod");
        assert_eq!(ended(&log).unwrap().all, 900);
    }

    #[test]
    fn a_clock_without_system_calls_is_noticed() {
        let error = nodes("a k 1\n", &read_log("end 900 1 2 3").unwrap()).unwrap_err();
        assert!(error.to_string().contains("0 times"), "{error:#}");
        assert!(read_log("noise").is_err() && read_log("end 1 2 3").is_err());
    }
}
