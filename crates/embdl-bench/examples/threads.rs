//! One thread against several, in turns in one process: how much faster a model and each of its nodes become.
//!
//! `cargo run --release -p embdl-bench --example threads -- MODEL THREADS SECONDS [LEVEL]`
#![expect(clippy::print_stdout, reason = "results of a command-line program")]

use anyhow::{Context, Result};
use embdl_bench::{Input, Output, nanoseconds, open};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::{LoadOptions, Session};

/// A session and its shortest times: other programs only ever make a run longer.
struct Side {
    session: Box<dyn Session>,
    outputs: Vec<Output>,
    shortest_ns: u64,
    nodes_ns: Vec<u64>,
}

impl Side {
    fn run(&mut self, input: &Input) -> Result<()> {
        let mut views: Vec<_> = self.outputs.iter_mut().map(Output::tensor).collect();
        let start = nanoseconds();
        self.session.run(&[input.tensor()], &mut views)?;
        self.shortest_ns = self.shortest_ns.min(nanoseconds() - start);
        let nodes = &self.session.profile().context("a clock was given")?.nodes;
        self.nodes_ns.resize(nodes.len(), u64::MAX);
        for (shortest, node) in self.nodes_ns.iter_mut().zip(nodes) {
            *shortest = node.nanoseconds.min(*shortest);
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "times to show")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, threads, seconds, level @ ..] = &arguments[..] else {
        anyhow::bail!("MODEL THREADS SECONDS [LEVEL]");
    };
    let bytes = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    let model = format::read(&bytes, &Limits::default())?;
    let runtime = open("native")?;
    let load = |threads| -> Result<Side> {
        let (isa, clock) = (level.first().cloned(), Some(nanoseconds as fn() -> u64));
        let options = LoadOptions { isa, threads, clock, ..LoadOptions::default() };
        let session = runtime.load(&model, &options)?;
        let outputs = session.outputs().iter().map(|spec| Output::new(spec.kind)).collect();
        Ok(Side { session, outputs, shortest_ns: u64::MAX, nodes_ns: Vec::new() })
    };
    let mut sides = [load(1)?, load(threads.parse()?)?];
    let input = Input::random(sides[0].session.as_ref())?;
    let end = nanoseconds() + seconds.parse::<u64>()? * 1_000_000_000;
    let mut rounds = 0;
    while nanoseconds() < end || rounds < 5 {
        // Some runs in a row, so that the caches and the sleeping threads of a side are warm.
        for side in &mut sides {
            for _ in 0..3 {
                side.run(&input)?;
            }
        }
        rounds += 1;
    }
    let [alone, shared] = &sides;
    let [one, several] = [alone.shortest_ns, shared.shortest_ns].map(|ns| ns as f64 / 1e3);
    println!("{path}: {one:.0} us, {several:.0} us, {:.2} times, {rounds} rounds", one / several);
    let sum = |side: &Side| side.nodes_ns.iter().sum::<u64>() as f64 / 1e3;
    let [one, several] = [sum(alone), sum(shared)];
    println!("  sum of nodes: {one:.0} us, {several:.0} us, {:.2} times", one / several);
    // What a node loses against an even share, largest first.
    let share = threads.parse::<f64>()?.max(1.0);
    let nodes = alone.session.profile().context("a clock was given")?.nodes.iter();
    let mut lost: Vec<_> = nodes
        .zip(alone.nodes_ns.iter().zip(&shared.nodes_ns))
        .map(|(node, (&one, &several))| {
            let [one, several] = [one, several].map(|ns| ns as f64 / 1e3);
            (several - one / share, one, several, node)
        })
        .collect();
    lost.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (lost, one, several, node) in lost.into_iter().take(8) {
        let speedup = one / several.max(1e-3);
        println!(
            "  {lost:7.1} us lost: {one:7.1} -> {several:7.1} ({speedup:.2})  {} {} {}",
            node.op, node.kernel, node.name
        );
    }
    Ok(())
}
