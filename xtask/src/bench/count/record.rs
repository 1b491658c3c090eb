//! What is kept of a count: the same keys as a comparison by time, with instructions in the place of nanoseconds.
use super::{Count, Counter, Precision};
use crate::bench::picture::Ratio;
use crate::bench::records::{self, Provenance};
use crate::process::output;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// One model in one precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) model: String,
    /// `fp32`, `int8`, or `compressed`.
    pub(super) precision: String,
    /// Ours.
    runtime: String,
    pub(super) isa: String,
    /// Counts are exact for one.
    threads: usize,
    /// `emulated`: counted, not timed.
    source: String,
    /// Of one inference.
    #[serde(flatten)]
    pub(super) instructions: Instructions,
    /// The whole file.
    file_bytes: u64,
    pub(super) nodes: Vec<Node>,
    /// On the same CPU; the keys are those of comparisons by time.
    pub(super) peers: Vec<Peer>,
    /// Instructions of the best peer over ours: above 1 ours takes fewer. Absent where no peer ran.
    pub(super) ratio_to_best_peer: Option<f64>,
    #[serde(flatten)]
    pub(super) circumstances: Circumstances,
}

/// What one inference takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Instructions {
    #[serde(rename = "instructions")]
    pub(super) all: u64,
    #[serde(rename = "memory_instructions")]
    memory: u64,
    #[serde(rename = "simd_instructions")]
    simd: u64,
    #[serde(rename = "branch_instructions")]
    branches: u64,
}

/// A peer: what it took, or why it was not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What became of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Ran(Counted),
    Failed { reason: String },
}

/// What a peer took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) instructions: Instructions,
    file_bytes: u64,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) node: String,
    pub(super) kernel: String,
    /// Multiply-accumulates as if dense and direct.
    pub(super) macs: u64,
    /// Of activations read and written, and of weights as the session holds them; 0 in records that are older.
    #[serde(default)]
    pub(super) bytes: u64,
    /// With the two looks at the clock.
    pub(super) instructions: u64,
    memory_instructions: u64,
    simd_instructions: u64,
}

/// By what, when and of what it was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Circumstances {
    pub(super) machine: Machine,
    #[serde(flatten)]
    pub(super) provenance: Provenance,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// The one that is emulated.
    pub(super) cpu: String,
    /// The emulator.
    pub(super) system: String,
}

impl From<Count> for Instructions {
    fn from(Count { all, memory, simd, branches }: Count) -> Self {
        Self { all, memory, simd, branches }
    }
}

impl Peer {
    pub(super) fn failed(name: &str, reason: &str) -> Self {
        Self { name: name.into(), outcome: Outcome::Failed { reason: reason.into() } }
    }
}

impl Counted {
    pub(super) fn new(version: String, count: Count, file_bytes: u64) -> Self {
        Self { version, instructions: count.into(), file_bytes }
    }
}

impl Circumstances {
    /// Of now, by this counter.
    pub(super) fn now(counter: &Counter) -> Result<Self> {
        let qemu = output(Command::new(&counter.qemu).arg("--version"))?;
        Ok(Self {
            machine: Machine {
                cpu: counter.cpu.clone(),
                system: qemu.lines().next().unwrap_or_default().to_owned(),
            },
            provenance: Provenance::now()?,
        })
    }
}

impl Node {
    pub(super) fn new((node, kernel): (&str, &str), [macs, bytes]: [u64; 2], count: Count) -> Self {
        Self {
            node: node.into(),
            kernel: kernel.into(),
            macs,
            bytes,
            instructions: count.all,
            memory_instructions: count.memory,
            simd_instructions: count.simd,
        }
    }
}

impl Record {
    pub(super) fn new(
        (model, precision): (&str, Precision),
        isa: String,
        count: Count,
        nodes: Vec<Node>,
        file: &Path,
        circumstances: &Circumstances,
    ) -> Self {
        Self {
            model: model.into(),
            precision: precision.name().into(),
            runtime: "arm".into(),
            isa,
            threads: 1,
            source: "emulated".into(),
            instructions: count.into(),
            file_bytes: file.metadata().map_or(0, |data| data.len()),
            nodes,
            peers: Vec::new(),
            ratio_to_best_peer: None,
            circumstances: circumstances.clone(),
        }
    }

    /// The same with peers beside it.
    pub(super) fn beside(mut self, peers: Vec<Peer>) -> Self {
        self.peers = peers;
        let best = self.best().map(|(_, counted)| counted.instructions.all);
        self.ratio_to_best_peer = best.map(|best| share(best, self.instructions.all));
        self
    }

    /// The peer that takes the fewest instructions.
    pub(super) fn best(&self) -> Option<(&str, &Counted)> {
        let ran = self.peers.iter().filter_map(|peer| match &peer.outcome {
            Outcome::Ran(counted) => Some((peer.name.as_str(), counted)),
            Outcome::Failed { .. } => None,
        });
        ran.min_by_key(|(_, counted)| counted.instructions.all)
    }

    /// What a picture shows of it.
    pub(super) fn ratio(&self) -> Ratio<'_> {
        Ratio {
            model: &self.model,
            precision: &self.precision,
            isa: &self.isa,
            threads: self.threads,
            ratio: self.ratio_to_best_peer,
            best: self.best().map_or("", |(name, _)| name),
        }
    }

    /// The instructions of the peer of this name, if it ran.
    pub(super) fn of_peer(&self, name: &str) -> Option<u64> {
        match &self.peers.iter().find(|peer| peer.name == name)?.outcome {
            Outcome::Ran(counted) => Some(counted.instructions.all),
            Outcome::Failed { .. } => None,
        }
    }

    /// The most expensive layers, and the rest together.
    pub(super) fn layers(&self, rows: usize) -> String {
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| core::cmp::Reverse(node.instructions));
        let mut text = format!(
            "{:<22} {:<38} {:>14} {:>7} {:>8} {:>6} {:>6} {:>12}\n",
            "layer", "kernel", "instructions", "share", "a MAC", "simd", "memory", "bytes"
        );
        let (shown, rest) = nodes.split_at(rows.min(nodes.len()));
        for node in shown {
            let a_mac = if node.macs == 0 {
                "-".into()
            } else {
                format!("{:.3}", share(node.instructions, node.macs))
            };
            text += &format!(
                "{:<22} {:<38} {:>14} {:>5.1} % {a_mac:>8} {:>4.0} % {:>4.0} % {:>12}\n",
                node.node,
                node.kernel,
                node.instructions,
                100.0 * share(node.instructions, self.instructions.all),
                100.0 * share(node.simd_instructions, node.instructions),
                100.0 * share(node.memory_instructions, node.instructions),
                node.bytes,
            );
        }
        if !rest.is_empty() {
            let sum: u64 = rest.iter().map(|node| node.instructions).sum();
            let of_all = 100.0 * share(sum, self.instructions.all);
            text += &format!("{:<61} {sum:>14} {of_all:>5.1} %\n", format!("{} more", rest.len()));
        }
        text
    }
}

/// The records of counts in `file`. Other benches append to such files too.
pub(super) fn read(file: &Path) -> Result<Vec<Record>> {
    let all = records::read(file)?;
    let is_ours = |record: &&serde_json::Value| record.get("instructions").is_some();
    let records = all.iter().filter(is_ours).map(Record::deserialize).collect::<Result<_, _>>();
    records.with_context(|| format!("{} holds other things than records", file.display()))
}

/// A row for each record, the peers' instructions behind ours.
pub(super) fn table(records: &[Record]) -> String {
    let names = names(records);
    let mut text = format!(
        "{:<16} {:<11} {:<8} {:<12} {:>14} {:>12} {:>14} {:>12}  {:<8}",
        "model", "precision", "isa", "CPU", "instructions", "memory", "simd", "branches", "source"
    );
    text.extend(names.iter().map(|name| format!(" {name:>14}")));
    text += if names.is_empty() { "\n" } else { "   ratio  best\n" };
    for record in records {
        let Instructions { all, memory, simd, branches } = record.instructions;
        text += &format!(
            "{:<16} {:<11} {:<8} {:<12} {all:>14} {memory:>12} {simd:>14} {branches:>12}  {:<8}",
            record.model,
            record.precision,
            record.isa,
            record.circumstances.machine.cpu,
            record.source,
        );
        for name in &names {
            let shown = record.of_peer(name).map_or_else(|| "-".into(), |all| all.to_string());
            text += &format!(" {shown:>14}");
        }
        if let Some(((best, _), ratio)) = record.best().zip(record.ratio_to_best_peer) {
            text += &format!(" {ratio:>7.2}  {best}");
        }
        text += "\n";
    }
    text
}

/// The peers that ran for one of the records at least, in the order in which they occur.
pub(super) fn names(records: &[Record]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for peer in records.iter().flat_map(|record| &record.peers) {
        let has_run = matches!(peer.outcome, Outcome::Ran(_));
        if has_run && !names.contains(&peer.name.as_str()) {
            names.push(&peer.name);
        }
    }
    names
}

#[expect(clippy::cast_precision_loss, reason = "counts of instructions are far below 2^52")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A record as a count makes it, beside peers that take so many instructions, and MNN, which does not run.
#[cfg(test)]
pub(super) fn pretend([model, precision]: [&str; 2], ours: u64, peers: &[u64]) -> Record {
    let machine = Machine { cpu: "cortex-a57".into(), system: "qemu 7".into() };
    let circumstances = Circumstances { machine, provenance: Provenance::pretend() };
    let count = Count { all: ours, memory: 300, simd: 400, branches: 50 };
    let nodes = vec![
        Node::new(("pool", "maxpool_f32_f32_1x16__neon"), [0, 8], Count { all: 100, ..count }),
        Node::new(("conv", "gemm_f32_f32_8x8__neon"), [3000, 80], Count { all: 900, ..count }),
    ];
    let precision = Precision::ALL.into_iter().find(|known| known.name() == precision);
    let what = (model, precision.unwrap_or(Precision::Fp32));
    let record =
        Record::new(what, "neon".into(), count, nodes, Path::new("no-such-file"), &circumstances);
    let ran = |(at, all): (usize, &u64)| {
        let count = Count { all: *all, ..Count::default() };
        let outcome = Outcome::Ran(Counted::new("1.2".into(), count, 9));
        Peer { name: format!("peer {at}"), outcome }
    };
    let peers = peers.iter().enumerate().map(ran);
    record.beside(peers.chain([Peer::failed("mnn", "no int8")]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_with_the_fewest_instructions_counts_and_records_are_read_again() {
        let beside = |peers: &[u64]| pretend(["lenet-5", "int8"], 1000, peers);
        let record = beside(&[3000, 1500]);
        assert_eq!(record.best().map(|(name, _)| name), Some("peer 1"));
        assert_eq!(record.ratio_to_best_peer, Some(1.5));
        assert_eq!(beside(&[]).ratio_to_best_peer, None);
        let row = table(core::slice::from_ref(&record));
        let row: Vec<&str> = row.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[8..], ["emulated", "3000", "1500", "1.50", "peer", "1"]);
        let folder = std::env::temp_dir().join(format!("embdl-counts-{}", std::process::id()));
        let file = folder.join("counts.json");
        records::append(&file, &[serde_json::json!({ "median_ns": 1 })]).unwrap();
        records::append(&file, core::slice::from_ref(&record)).unwrap();
        let all = read(&file).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(all, [record]);
    }

    #[test]
    fn a_count_is_marked_and_the_most_expensive_layer_stands_first() {
        let record = pretend(["lenet-5", "int8"], 1000, &[]);
        let text = record.layers(1);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..6], ["conv", "gemm_f32_f32_8x8__neon", "900", "90.0", "%", "0.300"]);
        assert!(text.contains("1 more"), "{text}");
        let json = serde_json::to_value(record).unwrap();
        for key in
            ["model", "precision", "runtime", "isa", "threads", "source", "instructions", "peers"]
        {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
    }
}
