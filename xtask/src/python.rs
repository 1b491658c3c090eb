//! Python environments in the user's cache folder: for programs that we are compared with and checked against.
use crate::apt;
use crate::process::{first_program, output, retry, run as run_shown, say};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of the environment `name`, which holds what the file `requirements` lists; made where it is missing or
/// older than the list. Errors: there is no Python, or a package cannot be had.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    environment_of(name, requirements, None)
}

/// As [`environment`], and what `alone` lists without the packages that those ask for.
pub(crate) fn environment_of(
    name: &str,
    requirements: &Path,
    alone: Option<&Path>,
) -> Result<PathBuf> {
    let folder = cache()?.join("python").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let mut wanted = String::new();
    for list in core::iter::once(requirements).chain(alone) {
        wanted += &std::fs::read_to_string(list)
            .with_context(|| format!("reading {}", list.display()))?;
    }
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    say(format!("making the Python environment {}", folder.display()));
    let make =
        |base: &Path| output(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder));
    let base = first_program(&["python3", "python"]);
    // Debian keeps venv in a package of its own.
    if base.as_deref().is_none_or(|base| make(base).is_err()) {
        apt::install(&["python3-venv"], "to make Python environments")?;
        make(&first_program(&["python3"]).context("python3 is missing")?)?;
    }
    for list in core::iter::once(requirements).chain(alone) {
        retry(3, "pip install", || {
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip.args(["--retries", "5"]).args((Some(list) == alone).then_some("--no-deps"));
            run_shown(pip.arg("--requirement").arg(list))
        })?;
    }
    std::fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(python)
}

/// Our folder in the user's cache.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = base.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("embdl"))
}
