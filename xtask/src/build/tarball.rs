//! What goes to a board without a way to it from here: the runner, models, and a script that times them there, in one archive.
use crate::process::{find_program, run as run_shown, say};
use crate::targets::{Size, Target};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script of a board whose models run on an NVIDIA GPU.
const ON_NVIDIA: &str = include_str!("run-nvidia.sh");

/// The script for a target; none for those whose boards are reached by ssh alone.
pub(super) fn script(target: &Target) -> Option<&'static str> {
    (target.runtime == "rt-jetson").then_some(ON_NVIDIA)
}

/// Packs a target's runner, models and script into `embdl-TARGET.tar.gz` beside the runner. The same files give the same bytes.
///
/// # Errors
/// If `tar` is missing, a file cannot be read, or two models have one name.
pub(super) fn pack(
    target: &str,
    runner: &Path,
    models: &[PathBuf],
    script: &str,
) -> Result<PathBuf> {
    if find_program("tar").is_none() {
        bail!("tar is missing: apt-get install tar");
    }
    let name = format!("embdl-{target}");
    let beside = runner.parent().context("the runner is in no folder")?;
    let staging = beside.join("tarball");
    let folder = staging.join(&name);
    let making = || format!("packing {}", folder.display());
    match std::fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(making);
        }
        _ => {}
    }
    std::fs::create_dir_all(folder.join("models")).with_context(making)?;
    copy(runner, &folder.join("embdl-runner"), 0o755)?;
    for model in models {
        let file = model.file_name().with_context(|| format!("{} is no file", model.display()))?;
        let to = folder.join("models").join(file);
        if to.exists() {
            bail!("two models are called {}", file.display());
        }
        copy(model, &to, 0o644)?;
    }
    let run = folder.join("run.sh");
    std::fs::write(&run, script).with_context(making)?;
    permit(&run, 0o755)?;
    let archive = beside.join(format!("{name}.tar.gz"));
    let unfinished = archive.with_extension("unfinished");
    let mut tar = Command::new("tar");
    // Neither times nor names of users of this machine go into it.
    tar.args(["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0"])
        .args(["--numeric-owner", "--use-compress-program=gzip -n -9"])
        .arg("--file")
        .arg(&unfinished)
        .arg("-C")
        .arg(&staging)
        .arg(&name);
    run_shown(&mut tar)?;
    std::fs::rename(&unfinished, &archive)
        .with_context(|| format!("writing {}", archive.display()))?;
    let len = archive.metadata().with_context(making)?.len();
    say(format!("{}: {} models, {}", archive.display(), models.len(), Size(len)));
    Ok(archive)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    std::fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    permit(to, mode)
}

fn permit(file: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("changing the mode of {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::output;
    use std::process::Output;

    /// A runner that has a GPU if there is a file `gpu`, and fails on models called `bad`.
    const RUNNER: &str = r#"#!/bin/sh
if [ ! -e "$(dirname "$0")/gpu" ]; then
    echo "Error: this machine has no driver of an NVIDIA GPU" >&2
    exit 1
fi
case "$*" in
    *bad*) echo "Error: no such file" >&2; exit 1 ;;
    list*) echo '{"runtime":"jetson","isa":"sm62"}' ;;
    *) echo "{\"arguments\":\"$*\"}" ;;
esac
"#;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder that stays in the way of nobody.
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("embdl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn packed(folder: &Folder, models: &[&str]) -> Result<PathBuf> {
        let runner = folder.0.join("embdl-runner");
        std::fs::write(&runner, RUNNER).unwrap();
        let models: Vec<PathBuf> = models.iter().map(|name| folder.0.join(name)).collect();
        for model in &models {
            std::fs::create_dir_all(model.parent().unwrap()).unwrap();
            std::fs::write(model, "a model").unwrap();
        }
        pack("jetson-tx2", &runner, &models, ON_NVIDIA)
    }

    fn run(unpacked: &Path) -> Output {
        let mut script = Command::new(unpacked.join("run.sh"));
        // From elsewhere, and to where nothing can be written by a mistake.
        script.current_dir("/").env("EMBDL_SECONDS", "0.5").output().unwrap()
    }

    #[test]
    fn the_archive_has_runner_models_and_script_and_is_the_same_again() {
        let folder = folder("tarball");
        let archive = packed(&folder, &["b.embdl", "a.embdl"]).unwrap();
        let listed = output(Command::new("tar").arg("-tzf").arg(&archive)).unwrap();
        let names: Vec<&str> = listed.lines().collect();
        let wanted = ["", "embdl-runner", "models/", "models/a.embdl", "models/b.embdl", "run.sh"];
        assert_eq!(names, wanted.map(|name| format!("embdl-jetson-tx2/{name}")));
        let first = std::fs::read(&archive).unwrap();
        packed(&folder, &["b.embdl", "a.embdl"]).unwrap();
        assert!(first == std::fs::read(&archive).unwrap(), "the same files gave other bytes");
        let error = packed(&folder, &["x/a.embdl", "y/a.embdl"]).unwrap_err();
        assert!(error.to_string().contains("two models are called a.embdl"), "{error:#}");
    }

    #[test]
    fn the_script_asks_for_a_driver_and_writes_a_record_a_run() {
        let folder = folder("script");
        let archive = packed(&folder, &["lenet 5.embdl", "bad.embdl"]).unwrap();
        output(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&folder.0)).unwrap();
        let unpacked = folder.0.join("embdl-jetson-tx2");
        let none = run(&unpacked);
        let said = String::from_utf8_lossy(&none.stderr).into_owned();
        assert_eq!(none.status.code(), Some(3), "{said}");
        assert!(said.contains("no driver") && !unpacked.join("records.jsonl").exists(), "{said}");
        std::fs::write(unpacked.join("gpu"), "").unwrap();
        let bench = run(&unpacked);
        let said = String::from_utf8_lossy(&bench.stderr).into_owned();
        // The other model is timed, and that one failed is not forgotten.
        assert_eq!(bench.status.code(), Some(1), "{said}");
        assert!(said.contains("models/bad.embdl"), "{said}");
        let records = std::fs::read_to_string(unpacked.join("records.jsonl")).unwrap();
        let lines: Vec<&str> = records.lines().collect();
        assert_eq!(lines.len(), 4, "two levels, batch 1 and 8: {records}");
        let first = "bench models/lenet 5.embdl --runtime jetson --isa sm62 --batch 1";
        assert!(
            lines[0].contains(first) && lines[0].contains("\"model\":\"lenet 5\""),
            "{records}"
        );
        assert!(lines[3].contains("--isa fp16 --batch 8"), "{records}");
        assert!(unpacked.join("board.txt").exists());
    }
}
