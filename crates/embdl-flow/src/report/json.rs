//! The summary that scripts read.

use serde_json::{Value, json};

use crate::record::{NetworkRecord, RunRecord};

/// What a script needs to judge a run; the whole record is [`RunRecord`] itself, serialized.
#[must_use]
pub fn summary_json(run: &RunRecord) -> Value {
    json!({
        "seconds": run.seconds,
        "networks": run.networks.iter().map(network_json).collect::<Vec<_>>(),
    })
}

fn network_json(network: &NetworkRecord) -> Value {
    let retests: Vec<Value> = network
        .retests
        .iter()
        .map(|retest| {
            json!({
                "runtime": retest.runtime,
                "isa": retest.isa,
                "emulated": retest.emulated,
                "accuracy": retest.accuracy,
                "outputs_sha256": retest.outputs_sha256,
            })
        })
        .collect();
    json!({
        "name": network.name,
        "dataset": network.dataset,
        "seed": network.seed,
        "fp32": { "accuracy": network.fp32.accuracy, "bytes": network.fp32.bytes },
        "compressed": {
            "accuracy": network.compressed.accuracy,
            "file_bytes": network.compressed.file_bytes,
            "ratio": network.compressed.ratio,
        },
        "retests": retests,
    })
}
