//! The ONNX project's own tests of operators, generated once into the user's cache by its PyPI package.
use crate::process::{output, say, warn};
use crate::python;
use crate::test::is_ci;
use crate::workspace::root;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// Where the generator and what it needs are listed.
const SOURCES: &str = "crates/embdl-onnx/tests/backend";

/// Sees to the node tests. Without them their test is skipped; on a build server that is an error.
pub(crate) fn node_tests() -> Result<()> {
    match generate() {
        Ok(folder) => say(format!("node tests of ONNX: {}", folder.display())),
        Err(error) if is_ci() => return Err(error.context("the node tests of ONNX")),
        Err(error) => warn(format!("node tests of ONNX SKIPPED: {error:#}")),
    }
    Ok(())
}

/// The folder of the node tests, generated where the generator or its packages have changed.
fn generate() -> Result<PathBuf> {
    let sources = root().join(SOURCES);
    let folder = python::cache()?.join("onnx/node-tests");
    let read = |name: &str| {
        let path = sources.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let stamp = folder.join("version");
    let wanted = [read("generate.py")?, read("requirements.txt")?].concat();
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(folder);
    }
    let python = python::environment("onnx", &sources.join("requirements.txt"))?;
    // Whole or not at all: what was interrupted has no stamp.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("removing {}", folder.display()))?;
    }
    say("generating the node tests of ONNX");
    let said = output(Command::new(&python).arg(sources.join("generate.py")).arg(&folder))?;
    say(said.trim());
    std::fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}
