//! What made the numbers, and what they mean.

use core::fmt::Write as _;

use super::super::format::{escape, seconds};
use crate::record::RunRecord;

const MEANING: &[(&str, &str)] = &[
    (
        "Ratio",
        "bytes of all parameters as fp32, divided by the bytes of the whole file: weights, codebooks, header, graph \
         and checksums included.",
    ),
    (
        "Accuracy",
        "share of the complete test set that the decoded file gets right in a shipped runtime; not a simulation of it \
         in training.",
    ),
    (
        "The test set",
        "chose nothing: whatever the run selected, it selected by validation images held back from training.",
    ),
    (
        "Loss",
        "accuracy of the fp32 network minus that of the compressed file, in percentage points; a negative loss is a \
         gain.",
    ),
    (
        "Emulated",
        "instructions of another processor, run by an emulator: its outputs count, its times do not.",
    ),
];

/// "How this was made".
pub(super) fn provenance(out: &mut String, run: &RunRecord) {
    let provenance = &run.provenance;
    let seeds: Vec<String> = run
        .networks
        .iter()
        .map(|network| format!("{} on {}: {}", network.name, network.dataset, network.seed))
        .collect();
    let version = match &provenance.commit {
        Some(commit) => format!("{}, commit {commit}", provenance.version),
        None => provenance.version.clone(),
    };
    let files: Vec<String> =
        run.networks.iter().map(|network| network.compressed.path.clone()).collect();
    let threads = provenance.threads;
    let rows = [
        ("embeddedDL", version),
        ("Compiler", provenance.rustc.clone()),
        ("Processor", provenance.cpu.clone()),
        ("Threads", if threads > 0 { threads.to_string() } else { String::new() }),
        ("System", provenance.system.clone()),
        ("Seeds", seeds.join("; ")),
        ("Final files", files.join("; ")),
        ("Wall time", format!("{} (without what was resumed)", seconds(run.seconds))),
    ];
    let _ = writeln!(
        out,
        "<section id=\"how\">\n<h2>How this was made</h2>\n<p>This command made it:</p>\n<pre><code>{}</code></pre>",
        escape(&run.command),
    );
    list(out, rows.iter().map(|(term, text)| (*term, text.as_str())));
    out.push_str("<h3>What the numbers mean</h3>\n");
    list(out, MEANING.iter().copied());
    out.push_str("</section>\n");
}

fn list<'a>(out: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push_str("<dl>\n");
    for (term, text) in rows.filter(|(_, text)| !text.is_empty()) {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(term), escape(text));
    }
    out.push_str("</dl>\n");
}
