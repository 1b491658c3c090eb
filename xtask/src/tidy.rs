//! `cargo xtask tidy`: the rules of this project that no compiler checks. Every finding is reported, with its place.
mod book;
mod data;
mod kernels;
mod manifests;
mod paths;
mod rust;
mod source;

use crate::process::{output, say};
use crate::workspace::root;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Check the rules that no compiler checks: module headers, file length, SAFETY, dependencies, pages of data.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

/// A tracked text file: its path from the root, with `/`, and what it holds.
struct TextFile {
    path: String,
    text: String,
}

/// Runs the command.
pub(crate) fn run(_: &Args) -> Result<()> {
    check()
}

/// Checks every file. Errors: there is a finding; all of them have been printed.
pub(crate) fn check() -> Result<()> {
    let files = text_files(&root());
    let findings = findings(&files);
    for Finding { file, line, message } in &findings {
        println!("{file}:{line}: {message}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    say(format!("tidy: {} files, nothing to say", files.len()));
    Ok(())
}

fn findings(files: &[TextFile]) -> Vec<Finding> {
    let grammar = kernels::Grammar::read(files);
    let mut findings = Vec::new();
    let mut runtimes = Vec::new();
    for file in files {
        findings.extend(paths::check(file));
        if file.path.ends_with(".rs") {
            let source = source::Source::new(&file.text);
            findings.extend(rust::check(&file.path, &source));
            if file.path.starts_with("crates/rt-") {
                findings.extend(grammar.check(&file.path, &source));
                runtimes.push(source);
            }
        }
        if file.path.starts_with("targets/") {
            findings.extend(data::check(file));
        }
    }
    findings.extend(grammar.check_page(&runtimes));
    findings.extend(manifests::check(files));
    findings.extend(book::check(files));
    findings.sort();
    findings
}

/// The tracked text files that are there; without git, all files that are not built or hidden.
fn text_files(root: &Path) -> Vec<TextFile> {
    let listed = output(Command::new("git").args(["ls-files", "-z"]).current_dir(root));
    let paths = match listed {
        Ok(names) => names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect(),
        Err(error) => {
            say(format!(
                "tidy: walking the folders, since git does not list the files ({error:#})"
            ));
            walk(root)
        }
    };
    let mut files: Vec<TextFile> = paths
        .into_iter()
        .filter_map(|path| {
            // What is no text has no lines to check; what was deleted but not yet committed is gone.
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(TextFile { path: path.to_string_lossy().replace('\\', "/"), text })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != "out" && name != ".git" {
                    folders.push(path);
                }
            } else if let Ok(path) = path.strip_prefix(root) {
                files.push(path.to_path_buf());
            }
        }
    }
    files
}

/// A finding; `index` is the line counted from 0.
fn finding(file: &str, index: usize, message: impl Into<String>) -> Finding {
    Finding { file: file.to_owned(), line: index + 1, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_in_the_order_of_files_and_lines() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [
            file(
                "crates/rt-arm/src/b.rs",
                "//! Kernels of made-up things.\nfn gemm_qu8__neon() {}\n",
            ),
            file("crates/embdl-core/src/a.rs", "fn main() {\n    todo!()\n}\n"),
        ];
        let found = findings(&files);
        let places: Vec<(&str, usize)> = found.iter().map(|f| (f.file.as_str(), f.line)).collect();
        let core = "crates/embdl-core/src/a.rs";
        assert_eq!(places, [(core, 1), (core, 2), ("crates/rt-arm/src/b.rs", 2)]);
    }

    #[test]
    fn walking_finds_what_git_would_list() {
        let found = walk(&root().join("xtask"));
        assert!(found.contains(&PathBuf::from("src/tidy.rs")));
        assert!(found.contains(&PathBuf::from("Cargo.toml")));
    }
}
