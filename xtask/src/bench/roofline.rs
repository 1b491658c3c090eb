//! What each layer reaches of what the core can do: multiply-accumulates against the peak of its arithmetic, bytes against
//! what caches and memory deliver. Peaks are measured, by an example program of rt-atom.
use super::models::Network;
use crate::process::{cargo, output, run as run_shown, say};
use crate::workspace::Metadata;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// Layers that a table shows.
const ROWS: usize = 12;

/// What one core can do at one level: multiply-accumulates and bytes in a nanosecond.
#[derive(Debug, Deserialize)]
struct Peak {
    isa: String,
    f32_gmacs: f64,
    int8_gmacs: f64,
    l2_gbps: f64,
    memory_gbps: f64,
}

/// The part of the runner's record that counts.
#[derive(Debug, Deserialize)]
struct Timing {
    isa: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    node: String,
    kernel: String,
    min_us: f64,
    macs: u64,
    bytes: u64,
}

/// Prints a table for each file of each network.
pub(super) fn run(
    networks: &[Network],
    runner: &Path,
    isa: Option<&str>,
    core: usize,
) -> Result<()> {
    run_shown(cargo().args(["build", "--release", "-p", "rt-atom", "--example", "peak"]))?;
    let program = Metadata::read()?.target_directory.join("release/examples/peak");
    let core = core.to_string();
    let pinned = |program: &Path| {
        let mut command = Command::new("taskset");
        command.args(["-c", &core]).arg(program);
        command
    };
    let mut peaks: Vec<Peak> = Vec::new();
    for network in networks {
        for (precision, file) in &network.ours {
            let mut command = pinned(runner);
            command.arg("bench").arg(file).args(["--runtime", "native", "--seconds", "2"]);
            let text = output(command.args(isa.iter().flat_map(|isa| ["--isa", isa])))?;
            let timing: Timing = serde_json::from_str(&text)
                .with_context(|| format!("reading the record of {}", file.display()))?;
            if !peaks.iter().any(|peak| peak.isa == timing.isa) {
                say(format!("measuring the peaks at {}", timing.isa));
                let text = output(pinned(&program).arg(&timing.isa))?;
                peaks.push(serde_json::from_str(&text).context("reading the peaks")?);
            }
            let peak = peaks.iter().find(|peak| peak.isa == timing.isa);
            let peak = peak.with_context(|| format!("no peaks are known at {}", timing.isa))?;
            println!("{} {}\n{}", network.name, precision.name(), table(&timing, peak));
        }
    }
    Ok(())
}

/// The most expensive layers first.
fn table(timing: &Timing, peak: &Peak) -> String {
    let mut nodes: Vec<&Node> = timing.nodes.iter().collect();
    nodes.sort_by(|a, b| b.min_us.total_cmp(&a.min_us));
    let total: f64 = nodes.iter().map(|node| node.min_us).sum();
    let mut text = format!(
        "{}: layers take {total:.1} µs; peaks {:.0} GMAC/s f32, {:.0} int8; reads {:.0} GB/s from L2, {:.1} from memory\n\
         {:<22} {:<38} {:>9} {:>6} {:>8} {:>6} {:>7} {:>6} {:>7}\n",
        timing.isa,
        peak.f32_gmacs,
        peak.int8_gmacs,
        peak.l2_gbps,
        peak.memory_gbps,
        "layer",
        "kernel",
        "µs",
        "share",
        "GMAC/s",
        "peak",
        "GB/s",
        "L2",
        "memory"
    );
    let (shown, rest) = nodes.split_at(ROWS.min(nodes.len()));
    for node in shown {
        let best = if node.kernel.contains("_qu8_") { peak.int8_gmacs } else { peak.f32_gmacs };
        let [gmacs, gbps] = [node.macs, node.bytes].map(|count| rate(count, node.min_us));
        let percent = |part: f64, whole: f64| format!("{:.0} %", 100.0 * part / whole);
        let (gmacs_shown, of_best) = if node.macs == 0 {
            ("-".into(), "-".into())
        } else {
            (format!("{gmacs:.1}"), percent(gmacs, best))
        };
        text += &format!(
            "{:<22} {:<38} {:>9.1} {:>6} {gmacs_shown:>8} {of_best:>6} {gbps:>7.1} {:>6} {:>7}\n",
            node.node,
            node.kernel,
            node.min_us,
            percent(node.min_us, total),
            percent(gbps, peak.l2_gbps),
            percent(gbps, peak.memory_gbps),
        );
    }
    if !rest.is_empty() {
        let time: f64 = rest.iter().map(|node| node.min_us).sum();
        let name = format!("{} more", rest.len());
        text += &format!("{name:<61} {time:>9.1} {:>4.0} %\n", 100.0 * time / total);
    }
    text
}

/// Billions in a second.
#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
fn rate(count: u64, micros: f64) -> f64 {
    count as f64 / (micros * 1e3).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_expensive_layer_stands_first_and_beside_its_own_peak() {
        let node = |name: &str, kernel: &str, min_us: f64, macs: u64| Node {
            node: name.into(),
            kernel: kernel.into(),
            min_us,
            macs,
            bytes: 20_000,
        };
        let mut nodes = vec![
            node("pool", "maxpool_f32_f32_1x8__avx2", 10.0, 0),
            node("conv", "gemm_f32_f32_6x16__avx2", 20.0, 1_000_000),
            node("fc", "gemm_qu8_qc8w_4x8__avx2", 30.0, 1_500_000),
        ];
        nodes.extend((0..ROWS).map(|at| node(&format!("small{at}"), "alias", 1.0, 0)));
        let timing = Timing { isa: "avx2".into(), nodes };
        let peak = Peak {
            isa: "avx2".into(),
            f32_gmacs: 100.0,
            int8_gmacs: 200.0,
            l2_gbps: 10.0,
            memory_gbps: 2.0,
        };
        let text = table(&timing, &peak);
        let row =
            |at: usize| -> Vec<&str> { text.lines().nth(at).unwrap().split_whitespace().collect() };
        assert_eq!(row(2)[..1], ["fc"]);
        assert_eq!(row(2)[5..8], ["50.0", "25", "%"], "{text}");
        assert_eq!(row(3)[5..8], ["50.0", "50", "%"], "{text}");
        assert_eq!(row(4)[5..8], ["-", "-", "2.0"], "{text}");
        assert!(text.contains("3 more"), "{text}");
    }
}
