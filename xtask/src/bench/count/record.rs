//! What is kept of a count: the same keys as a comparison by time, with instructions in the place of nanoseconds.
use super::{Count, Counter, Precision};
use crate::bench::records::Provenance;
use crate::process::output;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::process::Command;

/// One model in one precision.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    pub(super) model: String,
    /// `fp32`, `int8`, or `compressed`.
    pub(super) precision: String,
    /// Ours.
    runtime: &'static str,
    isa: String,
    /// Counts are exact for one.
    threads: u32,
    /// `emulated`: counted, not timed.
    source: &'static str,
    /// Of one inference.
    instructions: u64,
    memory_instructions: u64,
    simd_instructions: u64,
    branch_instructions: u64,
    /// The whole file.
    file_bytes: u64,
    nodes: Vec<Node>,
    /// No peer is counted yet; the keys are those of comparisons by time.
    peers: [(); 0],
    ratio_to_best_peer: Option<f64>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Node {
    pub(super) node: String,
    pub(super) kernel: String,
    /// Multiply-accumulates as if dense and direct.
    pub(super) macs: u64,
    /// With the two looks at the clock.
    pub(super) instructions: u64,
    memory_instructions: u64,
    simd_instructions: u64,
}

/// By what, when and of what it was counted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Circumstances {
    machine: Machine,
    #[serde(flatten)]
    provenance: Provenance,
}

#[derive(Clone, Debug, Serialize)]
struct Machine {
    /// The one that is emulated.
    cpu: String,
    /// The emulator.
    system: String,
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
    pub(super) fn new(node: &str, kernel: &str, macs: u64, count: Count) -> Self {
        Self {
            node: node.into(),
            kernel: kernel.into(),
            macs,
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
            runtime: "arm",
            isa,
            threads: 1,
            source: "emulated",
            instructions: count.all,
            memory_instructions: count.memory,
            simd_instructions: count.simd,
            branch_instructions: count.branches,
            file_bytes: file.metadata().map_or(0, |data| data.len()),
            nodes,
            peers: [],
            ratio_to_best_peer: None,
            circumstances: circumstances.clone(),
        }
    }

    /// The most expensive layers, and the rest together.
    pub(super) fn layers(&self, rows: usize) -> String {
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| core::cmp::Reverse(node.instructions));
        let mut text = format!(
            "{:<22} {:<38} {:>14} {:>7} {:>8} {:>6} {:>6}\n",
            "layer", "kernel", "instructions", "share", "a MAC", "simd", "memory"
        );
        let (shown, rest) = nodes.split_at(rows.min(nodes.len()));
        for node in shown {
            let a_mac = if node.macs == 0 {
                "-".into()
            } else {
                format!("{:.3}", share(node.instructions, node.macs))
            };
            text += &format!(
                "{:<22} {:<38} {:>14} {:>5.1} % {a_mac:>8} {:>4.0} % {:>4.0} %\n",
                node.node,
                node.kernel,
                node.instructions,
                100.0 * share(node.instructions, self.instructions),
                100.0 * share(node.simd_instructions, node.instructions),
                100.0 * share(node.memory_instructions, node.instructions),
            );
        }
        if !rest.is_empty() {
            let sum: u64 = rest.iter().map(|node| node.instructions).sum();
            let of_all = 100.0 * share(sum, self.instructions);
            text += &format!("{:<61} {sum:>14} {of_all:>5.1} %\n", format!("{} more", rest.len()));
        }
        text
    }
}

/// A row for each record.
pub(super) fn table(records: &[Record]) -> String {
    let mut text = format!(
        "{:<16} {:<11} {:<8} {:<12} {:>14} {:>12} {:>14} {:>12}  source\n",
        "model", "precision", "isa", "CPU", "instructions", "memory", "simd", "branches",
    );
    for record in records {
        text += &format!(
            "{:<16} {:<11} {:<8} {:<12} {:>14} {:>12} {:>14} {:>12}  {}\n",
            record.model,
            record.precision,
            record.isa,
            record.circumstances.machine.cpu,
            record.instructions,
            record.memory_instructions,
            record.simd_instructions,
            record.branch_instructions,
            record.source,
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of instructions are far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let machine = Machine { cpu: "cortex-a57".into(), system: "qemu 7".into() };
        let circumstances = Circumstances { machine, provenance: Provenance::pretend() };
        let count = Count { all: 1000, memory: 300, simd: 400, branches: 50 };
        let nodes = vec![
            Node::new("pool", "maxpool_f32_f32_1x16__neon", 0, Count { all: 100, ..count }),
            Node::new("conv", "gemm_f32_f32_8x8__neon", 3000, Count { all: 900, ..count }),
        ];
        Record::new(
            ("lenet-5", Precision::Int8),
            "neon".into(),
            count,
            nodes,
            Path::new("no-such-file"),
            &circumstances,
        )
    }

    #[test]
    fn a_count_is_marked_and_the_most_expensive_layer_stands_first() {
        let text = record().layers(1);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..6], ["conv", "gemm_f32_f32_8x8__neon", "900", "90.0", "%", "0.300"]);
        assert!(text.contains("1 more"), "{text}");
        assert!(table(&[record()]).trim_end().ends_with("emulated"));
        let json = serde_json::to_value(record()).unwrap();
        for key in
            ["model", "precision", "runtime", "isa", "threads", "source", "instructions", "peers"]
        {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
    }
}
