//! What the last run cost: time of each node, and memory.

use embdl_bench::peak_rss_bytes;
use embdl_core::runtime::{MemoryUse, Session};
use serde::Serialize;

use crate::text;

/// What the last run cost.
#[derive(Serialize)]
pub(super) struct Profile {
    pub(super) nodes: Vec<NodeTime>,
    pub(super) memory: Memory,
}

#[derive(Serialize)]
pub(super) struct NodeTime {
    node: String,
    op: &'static str,
    kernel: &'static str,
    nanoseconds: u64,
    macs: u64,
    bytes: u64,
}

/// Bytes.
#[derive(Serialize)]
pub(super) struct Memory {
    weight_bytes: usize,
    arena_bytes: usize,
    /// The largest sum of activations that are needed at the same time.
    arena_lower_bound_bytes: usize,
    scratch_bytes: usize,
    /// The largest resident size that the process has had, reading the file included; 0 where the system does not say.
    peak_resident_bytes: u64,
}

impl Profile {
    pub(super) fn of(session: &dyn Session) -> Self {
        let nodes = session.profile().map(|profile| profile.nodes.clone()).unwrap_or_default();
        let nodes = nodes.into_iter().map(|node| NodeTime {
            node: node.name,
            op: node.op,
            kernel: node.kernel,
            nanoseconds: node.nanoseconds,
            macs: node.macs,
            bytes: node.bytes,
        });
        let MemoryUse { weight_bytes, arena_bytes, arena_lower_bound_bytes, scratch_bytes } =
            session.memory();
        let memory = Memory {
            weight_bytes,
            arena_bytes,
            arena_lower_bound_bytes,
            scratch_bytes,
            peak_resident_bytes: peak_rss_bytes(),
        };
        Self { nodes: nodes.collect(), memory }
    }

    /// Nanoseconds of all nodes.
    pub(super) fn total_ns(&self) -> u64 {
        self.nodes.iter().map(|node| node.nanoseconds).sum()
    }

    pub(super) fn describe(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let microseconds = |nanoseconds: u64| format!("{:.1}", nanoseconds as f64 / 1e3);
        let row = |node: &NodeTime| {
            let name = if node.node.is_empty() { node.op.to_owned() } else { node.node.clone() };
            vec![
                name,
                microseconds(node.nanoseconds),
                node.macs.to_string(),
                node.bytes.to_string(),
                node.kernel.to_owned(),
            ]
        };
        let mut rows: Vec<Vec<String>> = self.nodes.iter().map(row).collect();
        let macs: u64 = self.nodes.iter().map(|node| node.macs).sum();
        let total = microseconds(self.total_ns());
        rows.push(vec!["(all)".into(), total, macs.to_string(), String::new(), String::new()]);
        let memory = &self.memory;
        let bytes = |count: usize| text::bytes(count as u64);
        let mut lines = vec![
            vec!["weights".into(), bytes(memory.weight_bytes), "packed for the kernels".into()],
            vec![
                "arena".into(),
                bytes(memory.arena_bytes),
                format!("activations; lower bound {}", bytes(memory.arena_lower_bound_bytes)),
            ],
            vec!["scratch".into(), bytes(memory.scratch_bytes), "of kernels".into()],
        ];
        if memory.peak_resident_bytes > 0 {
            let peak = text::bytes(memory.peak_resident_bytes);
            lines.push(vec!["peak".into(), peak, "of the process, loading included".into()]);
        }
        format!(
            "{}\n{}",
            text::columns(&["node", "us", "MACs", "bytes", "kernel"], &rows),
            text::columns(&["memory", "size", ""], &lines)
        )
    }
}
