//! Where things are: the root of the workspace, its build folder, its packages, its declared Rust version.
use crate::process::{cargo, output};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace that `cargo xtask` was called in.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable at run time too; a binary kept from another clone then still works on this one.
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The commit that is checked out, marked where files differ from it; `None` without git.
pub(crate) fn commit() -> Option<String> {
    let described =
        output(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()));
    Some(described.ok()?.trim().to_owned())
}

/// The project's folder in the user's cache, for what is fetched once.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(folder.context("neither XDG_CACHE_HOME nor HOME is set")?.join("embdl"))
}

/// What `cargo metadata` says about this workspace, reduced to what the commands use.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The packages of the workspace.
    pub(crate) packages: Vec<Package>,
    /// Where Cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    targets: Vec<PackageTarget>,
    rust_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PackageTarget {
    kind: Vec<String>,
    name: String,
}

impl Package {
    /// Whether the package has a library, hence possibly doc tests.
    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind.contains("lib")))
    }

    /// Whether the package builds a program of this name.
    pub(crate) fn has_program(&self, name: &str) -> bool {
        self.targets.iter().any(|t| t.name == name && t.kind.iter().any(|kind| kind == "bin"))
    }
}

impl Metadata {
    /// Asks Cargo; takes some 50 ms and no network.
    pub(crate) fn read() -> Result<Self> {
        let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&text).context("reading the answer of `cargo metadata`")
    }

    /// The package of this name. Errors: there is none.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.with_context(|| format!("the workspace has no package `{name}`"))
    }

    /// The oldest Rust that the workspace declares to support, as (major, minor).
    pub(crate) fn rust_version(&self) -> Option<(u32, u32)> {
        self.packages.iter().filter_map(|package| package.rust_version.as_deref()).find_map(version)
    }
}

/// The first `major.minor` in a text such as `rustc 1.95.0 (59807616e 2026-04-14)`.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    text.split([' ', '-', '+']).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_programs_print_them() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(version("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(version("1.95"), Some((1, 95)));
        assert_eq!(version("nightly"), None);
    }

    #[test]
    fn the_root_holds_this_package() {
        assert!(root().join("xtask/Cargo.toml").is_file());
    }
}
