//! What records of all benches share: where a number comes from, and the files that they are appended to.
use crate::process::output;
use crate::workspace;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Of what, by which compiler, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    pub(crate) commit: String,
    pub(crate) rustc: String,
    /// UTC.
    pub(crate) date: String,
}

impl Provenance {
    pub(crate) fn now() -> Result<Self> {
        Ok(Self {
            commit: workspace::commit().unwrap_or_else(|| "unknown".into()),
            rustc: output(Command::new("rustc").arg("--version"))?.trim().to_owned(),
            date: output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))?.trim().into(),
        })
    }

    /// That of a record that nobody measured.
    #[cfg(test)]
    pub(super) fn pretend() -> Self {
        let date = "2026-01-01T00:00:00Z".into();
        Self { commit: "abc".into(), rustc: "rustc 1".into(), date }
    }
}

/// All records in `file`; none where it does not exist yet.
pub(super) fn read(file: &Path) -> Result<Vec<Value>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} holds other things than records", file.display()))
}

/// Adds `records` behind those that `file` holds: an array with a record a line.
pub(crate) fn append(file: &Path, records: &[impl Serialize]) -> Result<()> {
    let mut all = read(file)?;
    for record in records {
        all.push(serde_json::to_value(record)?);
    }
    let lines: Vec<String> =
        all.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
    let writing = || format!("writing {}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(writing)?;
    }
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, format!("[\n{}\n]\n", lines.join(",\n"))).with_context(writing)?;
    std::fs::rename(&unfinished, file).with_context(writing)
}
