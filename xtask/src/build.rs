//! `cargo xtask build`: the programs that go to a target, with their sizes against the target's budget.
mod compiler;
mod tarball;

use crate::elf;
use crate::process::{output, run as run_shown};
use crate::targets::{Size, Target};
use crate::workspace::{self, Metadata, root};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

pub(crate) use compiler::Libc;

/// The package and the program that goes to a board.
const RUNNER: (&str, &str) = ("embdl-bench", "embdl-runner");
/// The package and the program for the host.
const HOST: (&str, &str) = ("embdl-cli", "embdl");

/// The profile of programs that go to a board: small, and a panic ends them.
const BOARD: &str = "board";
/// That of all others.
const RELEASE: &str = "release";

/// Build the programs of a target, and check their size.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask build                                  (`embdl` and the runner for this machine)
  cargo xtask build --target aarch64 --static        (a runner for any 64-bit Arm Linux: it needs no library there)
  cargo xtask build --target aarch64 --glibc 2.27
  cargo xtask build --target jetson-tx2              (glibc 2.27, with the CUDA runtime)
  cargo xtask build --target jetson-tx2 --model lenet-5.embdl --model vgg-16.embdl
                                                     (the same, with these in the archive that goes to the board)
  cargo xtask build --target armv6 --static          (a runner for a Raspberry Pi Zero, which speaks to a Neural Compute Stick)")]
pub(crate) struct Args {
    /// A page of `targets/`: host, aarch64, atom.
    #[arg(long, default_value = "host")]
    target: String,
    /// Cargo's profile; without it, `release` for the host and `board` for others.
    #[arg(long)]
    profile: Option<String>,
    /// The oldest glibc to run on, such as 2.27; the linker for it, zig, is fetched from PyPI.
    #[arg(long, value_name = "VERSION", conflicts_with = "is_static")]
    glibc: Option<String>,
    /// A model for the archive that targets with a GPU get beside the runner, whose run.sh times all of them there.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// A program that needs no library of the board: with musl, or else with glibc in it.
    #[arg(long = "static")]
    is_static: bool,
}

/// What was built.
pub(crate) struct Programs {
    /// The small program that runs models on a board.
    pub(crate) runner: PathBuf,
    /// The `embdl` command, on the host.
    pub(crate) embdl: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let target = Target::read(&args.target)?;
    let script = tarball::script(&target);
    if script.is_none() && !args.model.is_empty() {
        bail!(
            "--model is for targets with an archive; `cargo xtask flash` puts models onto {}",
            args.target
        );
    }
    let libc = match args.glibc.as_ref().or(target.glibc.as_ref()) {
        _ if args.is_static => Libc::Static,
        Some(version) => Libc::Glibc(version),
        None => Libc::OfCompiler,
    };
    let usual = if target.triple.is_some() { BOARD } else { RELEASE };
    let profile = args.profile.as_deref().unwrap_or(usual);
    let programs = build(&args.target, &target, profile, libc)?;
    for program in core::iter::once(&programs.runner).chain(&programs.embdl) {
        let file =
            std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
        let (len, text) = (Size(file.len() as u64), elf::text_len_bytes(&file).map(Size));
        let shown = text.map_or_else(|| "unknown".into(), |text| text.to_string());
        let needs = elf::needs(&file);
        println!("{}: file {len}, text {shown}, {needs}", program.display());
        // The budgets are the board's, so they hold for what goes to a board.
        if program == &programs.runner {
            let file = target.max_size.file.map(|most| ("file", Some(len), most));
            for (what, found, most) in
                [("text", text, target.max_size.text)].into_iter().chain(file)
            {
                if let Some(found) = found.filter(|&found| found > most) {
                    bail!(
                        "{what} of {} is {found}, the budget of {} is {most}",
                        RUNNER.1,
                        args.target
                    );
                }
            }
        }
        if let (Libc::Glibc(wanted), elf::Needs::Glibc(major, minor)) = (libc, needs)
            && workspace::version(wanted).is_some_and(|wanted| (major, minor) > wanted)
        {
            bail!("{} needs glibc {major}.{minor}, not {wanted}", program.display());
        }
        if libc == Libc::Static && needs != elf::Needs::Nothing && program == &programs.runner {
            bail!("{} is not static: {needs}", program.display());
        }
    }
    if let Some(script) = script {
        tarball::pack(&args.target, &programs.runner, &args.model, script)?;
    }
    Ok(())
}

/// Builds what a target of this name needs.
pub(crate) fn programs(name: &str) -> Result<Programs> {
    build(name, &Target::read(name)?, RELEASE, Libc::OfCompiler)
}

/// Whether a program keeps the names of its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbols {
    Kept,
    Stripped,
}

/// Builds an example of a package as the programs that go to a board.
pub(crate) fn example(
    package: &str,
    name: &str,
    target: &Target,
    symbols: Symbols,
) -> Result<PathBuf> {
    let (mut compiler, triple) = compiler::compiler(target, BOARD, Libc::Static)?;
    if symbols == Symbols::Kept {
        compiler.env("CARGO_PROFILE_BOARD_STRIP", "none");
    }
    compiler.args(["--package", package, "--example", name, "--profile", BOARD]);
    run_shown(compiler.current_dir(root()))?;
    let mut folder = Metadata::read()?.target_directory;
    folder.extend(triple);
    Ok(folder.join(BOARD).join("examples").join(name))
}

/// Builds the runner that goes to a board: static, since a board may have any C library.
pub(crate) fn runner(name: &str) -> Result<PathBuf> {
    let target = Target::read(name)?;
    let libc = target.glibc.as_deref().map_or(Libc::Static, Libc::Glibc);
    Ok(build_programs(&[RUNNER], &target, BOARD, libc)?.swap_remove(0))
}

/// Builds the programs for this machine with a feature of the runner that they go without elsewhere; `embdl` only where it is
/// asked for, since it takes minutes.
pub(crate) fn host_with(feature: &str, has_command: bool) -> Result<Programs> {
    let mut target = Target::read("host")?;
    target.runner_features.push(feature.to_owned());
    of_programs(build_programs(wanted(has_command), &target, RELEASE, Libc::OfCompiler)?)
}

fn build(name: &str, target: &Target, profile: &str, libc: Libc<'_>) -> Result<Programs> {
    of_programs(build_programs(wanted(name == "host"), target, profile, libc)?)
}

const fn wanted(has_command: bool) -> &'static [(&'static str, &'static str)] {
    if has_command { &[RUNNER, HOST] } else { &[RUNNER] }
}

fn of_programs(built: Vec<PathBuf>) -> Result<Programs> {
    let mut built = built.into_iter();
    let runner = built.next().context("no runner was built")?;
    Ok(Programs { runner, embdl: built.next() })
}

/// Builds programs, each of its package, and says where they are.
fn build_programs(
    wanted: &[(&str, &str)],
    target: &Target,
    profile: &str,
    libc: Libc<'_>,
) -> Result<Vec<PathBuf>> {
    let (mut compiler, triple) = compiler::compiler(target, profile, libc)?;
    let metadata = Metadata::read()?;
    for (package, program) in wanted {
        if !metadata.package(package)?.has_program(program) {
            bail!("the package {package} has no program {program}");
        }
        compiler.args(["--package", package, "--bin", program]);
    }
    if target.runtime == "rt-myriad" {
        compiler.args(["--features", "embdl-bench/myriad,rt-myriad/usb"]);
    }
    if !target.faster_levels {
        compiler.arg("--no-default-features");
    }
    for feature in &target.runner_features {
        compiler.args(["--features", &format!("{}/{feature}", RUNNER.0)]);
    }
    // Reports name what made them.
    if let Some(commit) = workspace::commit() {
        compiler.env("EMBDL_COMMIT", commit);
    }
    let rustc = output(Command::new("rustc").arg("--version"))?;
    compiler.env("EMBDL_RUSTC", rustc.trim());
    run_shown(compiler.args(["--profile", profile]).current_dir(root()))?;
    let mut folder = metadata.target_directory;
    folder.extend(triple);
    folder.push(if profile == "dev" { "debug" } else { profile });
    let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    Ok(wanted.iter().map(|(_, name)| program(name)).collect())
}
