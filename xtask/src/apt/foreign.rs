//! Packages of another architecture, fetched and unpacked without installing them or changing what apt knows.
use crate::process::{output, retry, run, say, warn};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Debian has for another architecture.
///
/// Installed beside this machine's own, dependencies would bring a second C library into the loader's default path.
pub(crate) struct Foreign<'a> {
    architecture: &'a str,
    /// Where packages are unpacked.
    folder: &'a Path,
    /// Lists of packages, removed at the end.
    state: PathBuf,
}

impl<'a> Foreign<'a> {
    /// Fetches the lists of packages of an architecture, to unpack some of them into a folder.
    pub(crate) fn open(architecture: &'a str, folder: &'a Path) -> Result<Self> {
        let state = folder.join("apt");
        let lists = state.join("lists/partial");
        std::fs::create_dir_all(&lists).with_context(|| format!("creating {}", lists.display()))?;
        let foreign = Self { architecture, folder, state };
        retry(3, "apt-get update", || {
            // A source without this architecture fails to update; what counts is whether packages are then known.
            let updated = run(foreign.apt("apt-get").arg("update"));
            let has_lists = lists.parent().is_some_and(has_files);
            match updated {
                Err(error) if has_lists => {
                    warn(format!("{error:#}"));
                    Ok(())
                }
                other => other,
            }
        })?;
        Ok(foreign)
    }

    /// The first package that this one depends on: the true one behind a name that moves from version to version.
    pub(crate) fn first_dependency(&self, package: &str) -> Result<String> {
        let text = output(self.apt("apt-cache").args(["depends", package]))?;
        let found = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(found.with_context(|| format!("{package} depends on nothing"))?.to_owned())
    }

    /// Packages and all that they depend on, however deep.
    pub(crate) fn with_dependencies(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.apt("apt-get");
        command.args(["--simulate", "--no-install-recommends", "install"]).args(packages);
        Ok(planned(&output(&mut command)?))
    }

    /// Unpacks packages, each as `name` or `name=version`.
    pub(crate) fn unpack(&self, packages: &[&str]) -> Result<()> {
        let (list, folder) = (packages.join(" "), self.folder);
        say(format!("fetching {list} for {} into {}", self.architecture, folder.display()));
        retry(3, "apt-get download", || run(self.apt("apt-get").arg("download").args(packages)))?;
        let archives = std::fs::read_dir(folder)
            .with_context(|| format!("listing {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
        for archive in archives {
            run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder))?;
            std::fs::remove_file(&archive)
                .with_context(|| format!("removing {}", archive.display()))?;
        }
        Ok(())
    }

    /// Removes the lists.
    pub(crate) fn close(self) -> Result<()> {
        std::fs::remove_dir_all(&self.state)
            .with_context(|| format!("removing {}", self.state.display()))
    }

    fn apt(&self, program: &str) -> Command {
        let (state, architecture) = (self.state.display(), self.architecture);
        let mut command = Command::new(program);
        command.current_dir(self.folder).arg("-q");
        for option in [
            "Acquire::Retries=5".to_owned(),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={state}"),
            format!("Dir::Cache={state}"),
            // No installed packages: what this machine has is of another architecture.
            "Dir::State::status=/dev/null".to_owned(),
            // Neither translations nor descriptions for shops of applications.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // No user of apt's own, who may not write here.
            "APT::Sandbox::User=".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The packages that a simulated installation would bring.
fn planned(plan: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("Inst ")?.split(' ').next()?.to_owned());
    plan.lines().filter_map(name).collect()
}

fn has_files(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().is_file() && entry.file_name() != "lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_what_it_brings() {
        let plan = "Inst libc6 (2.36 Debian:12 [arm64]) []\nInst zlib1g (1:1.2 [arm64])\nConf libc6 (2.36)\n";
        assert_eq!(planned(plan), ["libc6", "zlib1g"]);
    }
}
