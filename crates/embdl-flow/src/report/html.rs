//! A run as one HTML page that needs nothing else.

use core::fmt::Write as _;

use super::format::{escape, percent, ratio, thousands};
use super::verdict;
use crate::record::RunRecord;

/// One page, self-contained: no scripts, no requests.
#[must_use]
pub fn html(run: &RunRecord) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>embeddedDL: report</title></head><body>\n",
    );
    for network in &run.networks {
        let _ = writeln!(
            out,
            "<h2>{} on {}</h2><p>{} bytes, {} of fp32, accuracy {}. {}.</p>",
            escape(&network.name),
            escape(&network.dataset),
            thousands(network.compressed.file_bytes),
            ratio(network.compressed.ratio),
            percent(network.compressed.accuracy),
            escape(&verdict(network)),
        );
    }
    out.push_str("</body></html>\n");
    out
}
