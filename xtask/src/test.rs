//! `cargo xtask test`: all tests, on the host and, by an emulator, on AArch64.
use crate::onnx;
use crate::photographs;
use crate::process::{cargo, run as run_shown, say, warn};
use crate::setup::{self, AARCH64_LINUX, ARMV7_LINUX, Cross};
use crate::targets::Target;
use crate::workspace::Metadata;
use anyhow::Result;
use std::process::Command;

/// The packages whose tests also run on AArch64; the others never reach a board.
const ON_AARCH64: [&str; 3] = ["embdl-core", "rt-arm", "embdl-tests"];
/// Those of them that choose code by the CPU, and so run on every CPU that the target names.
const BY_CPU: [&str; 2] = ["rt-arm", "embdl-tests"];
/// The packages whose tests also run on 32-bit Arm: kernels, and what they are compared by.
const ON_ARMV7: [&str; 2] = ["rt-arm", "embdl-tests"];
/// Which of them, by parts of their names: kernels, and what depends on the length of a pointer. Whole networks take minutes in
/// the emulator, and AArch64 runs them.
const KERNELS: [&str; 6] = ["_f32", "_q8", "_u8", "boundaries", "conversions", "levels"];
/// The packages whose tests also run on the emulated Atom.
const ON_ATOM: [&str; 2] = ["rt-atom", "embdl-tests"];
/// Features of that CPU that the emulator lacks, none of which kernels use: it would warn of each at every thread.
const NOT_EMULATED: &str = "-x2apic,-tsc-deadline,-rdseed,-sha-ni,-spec-ctrl,-arch-capabilities,-ssbd,\
    -3dnowprefetch,-xsavec,-rdctl-no,-skip-l1dfl-vmentry";
/// Tests with this in their path need a board or a device, and are left out here.
const HARDWARE: &str = "hardware::";

/// Run all tests: host, doc tests, and Arm of 64 and 32 bits under qemu-user.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this machine.
    #[arg(long, conflicts_with = "aarch64_only")]
    host_only: bool,
    /// Only AArch64.
    #[arg(long)]
    aarch64_only: bool,
    /// Only these packages.
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let aarch64 = if args.host_only { None } else { Some(setup::cross(&AARCH64_LINUX)?) };
    if !args.aarch64_only {
        host(&args.package)?;
        atom(&args.package)?;
    }
    if let Some(aarch64) = aarch64 {
        emulated(&aarch64, &args.package)?;
        if !args.aarch64_only {
            emulated(&setup::cross(&ARMV7_LINUX)?, &args.package)?;
        }
    }
    say("all tests passed");
    Ok(())
}

/// The tests of these packages, or of all, on this machine.
pub(crate) fn host(only: &[String]) -> Result<()> {
    let metadata = Metadata::read()?;
    if only.is_empty() || only.iter().any(|name| name == "embdl-onnx") {
        onnx::node_tests()?;
    }
    if only.is_empty() || only.iter().any(|name| name == "embdl-cli") {
        photographs::photographs()?;
        setup::dataset();
    }
    let mut selection = selection(only);
    selection.extend(gpu(only));
    if setup::has_nextest() {
        run_shown(nextest(&mut cargo(), &selection))?;
    } else {
        warn(
            "cargo-nextest is missing, so `cargo test` runs the tests; `cargo xtask setup --nextest` compiles it",
        );
        run_shown(
            cargo()
                .args(["test", "--tests", "--no-fail-fast"])
                .args(&selection)
                .args(["--", "--skip", HARDWARE]),
        )?;
    }
    let mut with_library = Vec::new();
    for name in only {
        if metadata.package(name)?.has_library() {
            with_library.push(name.clone());
        }
    }
    if only.is_empty() || !with_library.is_empty() {
        run_shown(cargo().args(["test", "--doc"]).args(self::selection(&with_library)))?;
    }
    Ok(())
}

/// Cargo's arguments that add what is about GPUs, where its package is tested: the command's model of a Jetson TX2; the suite on
/// NVIDIA's runtime by an interpreter, on the other one where a Vulkan driver can be had.
fn gpu(only: &[String]) -> Vec<String> {
    let is_tested = |package: &str| only.is_empty() || only.iter().any(|name| name == package);
    let mut features = Vec::new();
    if is_tested("embdl-cli") {
        features.push("embdl-cli/jetson");
    }
    if is_tested("embdl-tests") {
        features.push("embdl-tests/jetson");
        match setup::vulkan() {
            None => features.push("embdl-tests/wgpu"),
            Some(reason) => {
                warn(format!("the suite on the GPU runtime `wgpu` is SKIPPED: {reason}"));
            }
        }
    }
    if features.is_empty() { Vec::new() } else { vec!["--features".into(), features.join(",")] }
}

/// The tests that choose code by the CPU, on the oldest x86 CPU that we serve: an instruction that it lacks ends them.
/// Gives the reason where they are left out.
pub(crate) fn atom(only: &[String]) -> Result<Option<&'static str>> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Ok(Some("this machine is no x86-64 Linux"));
    }
    let packages: Vec<String> = (ON_ATOM.iter().map(|&name| name.to_owned()))
        .filter(|name| only.is_empty() || only.contains(name))
        .collect();
    if packages.is_empty() {
        return Ok(Some("no package that chooses code by the CPU is asked for"));
    }
    let qemu = setup::x86_emulator()?;
    for cpu in Target::read("atom")?.emulated_cpus {
        say(format!("x86 tests on {cpu} (emulated): {}", packages.join(", ")));
        let mut command = cargo();
        let runner =
            format!("{} -cpu {cpu},{NOT_EMULATED} -E EMBDL_EMULATED={cpu}", qemu.display());
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
        if setup::has_nextest() {
            nextest(&mut command, &selection(&packages));
        } else {
            command.args(["test", "--tests", "--no-fail-fast"]).args(selection(&packages));
            command.args(["--", "--skip", HARDWARE]);
        }
        run_shown(&mut command)?;
    }
    Ok(None)
}

/// The tests that make sense on another machine, on the most capable CPU first, then what depends on it on the others.
pub(crate) fn emulated(cross: &Cross, only: &[String]) -> Result<()> {
    let machine = cross.machine;
    let flags = Target::read(machine.target)?.rustflags();
    let is_32_bit = machine == &ARMV7_LINUX;
    let first: &[&str] = if is_32_bit { &ON_ARMV7 } else { &ON_AARCH64 };
    let filters: &[&str] = if is_32_bit { &KERNELS } else { &[] };
    let variable = machine.triple.to_uppercase().replace('-', "_");
    for (index, runner) in cross.runners.iter().enumerate() {
        let wanted = if index == 0 { first } else { &BY_CPU };
        let packages: Vec<String> = wanted
            .iter()
            .map(|&name| name.to_owned())
            .filter(|name| only.is_empty() || only.contains(name))
            .collect();
        if packages.is_empty() {
            continue;
        }
        let mark = if runner.is_emulated { " (emulated)" } else { "" };
        let target = machine.target;
        say(format!("{target} tests on {}{mark}: {}", runner.label, packages.join(", ")));
        let verb: &[&str] =
            if setup::has_nextest() { &["nextest", "run"] } else { &["test", "--no-fail-fast"] };
        let mut command = cross.compiler.cargo(verb);
        command.env(format!("CARGO_TARGET_{variable}_RUNNER"), &runner.command);
        command.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), &flags);
        command.args(selection(&packages));
        if setup::has_nextest() {
            command.args(["--profile", profile(), "--no-tests=pass"]).args(filters);
        } else {
            command.args(["--tests", "--", "--skip", HARDWARE]).args(filters);
        }
        run_shown(&mut command)?;
    }
    Ok(())
}

fn nextest<'a>(command: &'a mut Command, selection: &[String]) -> &'a mut Command {
    let command = command.args(["nextest", "run", "--no-tests=pass"]);
    command.args(["--profile", profile()]).args(selection)
}

/// The profile of `.config/nextest.toml`: on a build server every failure is worth reporting.
fn profile() -> &'static str {
    if is_ci() { "ci" } else { "default" }
}

/// Whether a build server runs this.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Cargo's arguments for these packages, or for all.
fn selection(packages: &[String]) -> Vec<String> {
    if packages.is_empty() {
        return vec!["--workspace".into()];
    }
    packages.iter().flat_map(|name| ["--package".into(), name.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_packages_or_all() {
        assert_eq!(selection(&[]), ["--workspace"]);
        assert_eq!(selection(&["a".into(), "b".into()]), ["--package", "a", "--package", "b"]);
    }

    #[test]
    fn every_package_of_the_emulated_run_exists() {
        let metadata = Metadata::read().unwrap();
        for name in ON_AARCH64.iter().chain(&ON_ARMV7).chain(&BY_CPU).chain(&ON_ATOM) {
            assert!(metadata.package(name).is_ok(), "{name}");
        }
    }
}
