//! A run as people read it: terminal tables, a JSON summary, and one HTML page.

mod format;
mod json;
mod page;
mod plot;
mod seeds;
mod svg;
mod table;

use crate::record::{NetworkRecord, RunRecord};

pub use json::summary_json;
pub use page::html;
pub use table::table;

/// Whether all retests of each network gave the same outputs, bit for bit.
#[must_use]
pub fn consistent(run: &RunRecord) -> bool {
    run.networks.iter().all(|network| differing(network).is_empty())
}

/// The retests, as "runtime/isa", whose outputs are not those of the first one of the reference runtime (or, without
/// it, of the first retest).
fn differing(network: &NetworkRecord) -> Vec<String> {
    let retests = &network.retests;
    let Some(base) =
        retests.iter().find(|retest| retest.runtime == "reference").or_else(|| retests.first())
    else {
        return Vec::new();
    };
    retests
        .iter()
        .filter(|retest| retest.outputs_sha256 != base.outputs_sha256)
        .map(|retest| format!("{}/{}", retest.runtime, retest.isa))
        .collect()
}

/// One sentence about what the retests of a network have shown.
fn verdict(network: &NetworkRecord) -> String {
    let differing = differing(network);
    match (network.retests.len(), differing.len()) {
        (0, _) => "no retests".into(),
        (1, _) => "1 retest, nothing to compare it with".into(),
        (n, 0) => format!("{n} retests, outputs identical bit for bit"),
        (n, d) => format!("{n} retests, outputs DIFFER in {d}: {}", differing.join(", ")),
    }
}
