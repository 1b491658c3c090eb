//! Cargo with the compiler, the linker, the C library and the flags for a target.
use crate::process::{cargo, find_program, say};
use crate::targets::Target;
use crate::toolchain::{self, Compiler};
use crate::workspace::root;
use crate::{python, setup};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Where a program has its C library from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Libc<'a> {
    /// From the system, which has to be as new as the compiler's.
    OfCompiler,
    /// From a system with a glibc of this version or a newer one.
    Glibc(&'a str),
    /// It is in the program.
    Static,
}

/// What unwinding needs; where a panic ends the program, nothing does.
const NO_UNWINDING: &str = "-Cforce-unwind-tables=no";

/// `cargo build` for a target, and the triple that it builds for; none is this machine's.
pub(super) fn compiler(
    target: &Target,
    profile: &str,
    libc: Libc<'_>,
) -> Result<(Command, Option<String>)> {
    let Some(triple) = target.triple.as_deref() else {
        if libc != Libc::OfCompiler {
            bail!("--glibc and --static are for a target with a triple of its own");
        }
        let mut command = cargo();
        command.arg("build");
        return Ok((command, None));
    };
    let (mut command, built, more) = match libc {
        Libc::OfCompiler => (of_compiler(triple)?, triple.to_owned(), String::new()),
        Libc::Glibc(version) => {
            let active = toolchain::active(triple).or_else(|_| toolchain::compiled(triple))?;
            let compiler = small(active, profile);
            let flags = if compiler.builds_std() { NO_UNWINDING } else { "" };
            let command = zig(&compiler, &format!("{triple}.{version}"))?;
            (command, triple.to_owned(), flags.to_owned())
        }
        Libc::Static => with_libc(triple, profile)?,
    };
    let flags = format!("{} {more}", target.rustflags());
    if !flags.trim().is_empty() {
        command.env(format!("CARGO_TARGET_{}_RUSTFLAGS", variable(&built)), flags.trim());
    }
    Ok((command, Some(built)))
}

/// Cargo for a triple with the C library that comes with its compiler.
fn of_compiler(triple: &str) -> Result<Command> {
    if let Some(machine) = setup::machine(triple) {
        return Ok(setup::cross(machine)?.compiler.cargo(&["build"]));
    }
    let compiler = toolchain::pick(triple)?;
    say(&compiler.explanation);
    Ok(compiler.cargo(&["build"]))
}

/// Cargo for programs with musl in them, or glibc where there is no musl; the triple, and flags.
fn with_libc(triple: &str, profile: &str) -> Result<(Command, String, String)> {
    let musl = triple.replace("-gnu", "-musl");
    let compiler = match toolchain::active(&musl) {
        Ok(compiler) => compiler,
        // Debian's C library and compiler are for newer CPUs than some boards have; zig brings one for any.
        Err(error) if setup::machine(triple).is_none() => {
            say(format!("no musl ({error:#}), so zig brings it"));
            let compiler = toolchain::compiled(&musl)?;
            let flags = format!("{NO_UNWINDING} -Clink-self-contained=no");
            return Ok((zig(&compiler, &musl)?, musl, flags));
        }
        Err(error) => {
            say(format!("no musl ({error:#}), so glibc goes into the program"));
            let flags = "-Ctarget-feature=+crt-static".to_owned();
            return Ok((of_compiler(triple)?, triple.to_owned(), flags));
        }
    };
    let compiler = small(compiler, profile);
    // Generic code is often the same for several types; the linker keeps one copy.
    let mut flags = vec!["-Clink-arg=--icf=all".to_owned()];
    if compiler.builds_std() {
        flags.push(NO_UNWINDING.to_owned());
        // musl needs 128-bit floats, which only the compiled copy of the compiler's own library has.
        flags.extend(compiler.builtins()?.map(|file| format!("-Clink-arg={}", file.display())));
    }
    say(&compiler.explanation);
    let mut command = compiler.cargo(&["build"]);
    // The toolchain brings the C library and its own linker, so no cross compiler is needed.
    command.env(format!("CARGO_TARGET_{}_LINKER", variable(&musl)), "rust-lld");
    Ok((command, musl, flags.join(" ")))
}

/// The compiled standard library has a quarter of a megabyte for showing backtraces; for a board it is compiled without,
/// where its sources are.
fn small(compiler: Compiler, profile: &str) -> Compiler {
    if profile == super::BOARD { compiler.with_own_std() } else { compiler }
}

/// Cargo for a triple with zig's C library: musl, or glibc of any version, which is written behind the triple.
fn zig(compiler: &Compiler, triple: &str) -> Result<Command> {
    say(&compiler.explanation);
    let mut command = cargo();
    command.args(["zigbuild", "--target", triple]);
    compiler.build_std(&mut command);
    if find_program("cargo-zigbuild").is_none() {
        let list = root().join("xtask/zig/requirements.txt");
        let python = python::environment("zig", &list)?;
        let folder = python.parent().context("the Python environment has no folder")?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = core::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        command.env("CARGO_ZIGBUILD_PYTHON_PATH", &python);
    }
    Ok(command)
}

/// A triple as the names of variables have it.
fn variable(triple: &str) -> String {
    triple.to_uppercase().replace('-', "_")
}
