//! `cargo xtask build`: the programs that go to a target, with their sizes against the target's budget.
use crate::process::{cargo, find_program, output, run as run_shown, say};
use crate::targets::{Size, Target};
use crate::toolchain::AARCH64;
use crate::workspace::{self, Metadata, root};
use crate::{elf, setup};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The package and the program that goes to a board.
const RUNNER: (&str, &str) = ("embdl-bench", "embdl-runner");
/// The package and the program for the host.
const HOST: (&str, &str) = ("embdl-cli", "embdl");

/// Build the programs of a target, and check their size.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A page of `targets/`: host, aarch64, atom.
    #[arg(long, default_value = "host")]
    target: String,
    /// Cargo's profile.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The oldest glibc to run on, such as 2.27 for a Jetson TX2; needs cargo-zigbuild.
    #[arg(long, value_name = "VERSION")]
    glibc: Option<String>,
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
    let compiler = compiler(&target, args.glibc.as_deref())?;
    let programs = build(&args.target, &target, &args.profile, compiler)?;
    for program in core::iter::once(&programs.runner).chain(&programs.embdl) {
        let file =
            std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
        let text = elf::text_len_bytes(&file).map(Size);
        let shown = text.map_or_else(|| "unknown".into(), |text| text.to_string());
        println!("{}: file {}, text {shown}", program.display(), Size(file.len() as u64));
        // The budget is the board's, so it holds for what goes to a board.
        if let Some(text) =
            text.filter(|&text| program == &programs.runner && text > target.max_size.text)
        {
            bail!(
                "text of {} is {text}, the budget of {} is {}",
                RUNNER.1,
                args.target,
                target.max_size.text
            );
        }
    }
    Ok(())
}

/// Builds what a target of this name needs with the default compiler for it.
pub(crate) fn programs(name: &str, profile: &str) -> Result<Programs> {
    let target = Target::read(name)?;
    let compiler = compiler(&target, None)?;
    build(name, &target, profile, compiler)
}

/// Cargo with the compiler, the linker and the flags for a target.
fn compiler(target: &Target, glibc: Option<&str>) -> Result<Command> {
    let triple = target.triple.as_deref();
    let mut command = match (triple, glibc) {
        (None, Some(_)) => bail!("--glibc is for a target with a triple of its own"),
        (None, None) => {
            let mut command = cargo();
            command.arg("build");
            command
        }
        (Some(triple), Some(glibc)) => {
            if find_program("cargo-zigbuild").is_none() {
                bail!(
                    "--glibc needs cargo-zigbuild and zig: `cargo install cargo-zigbuild`, `pip install ziglang`"
                );
            }
            let mut command = cargo();
            command.args(["zigbuild", "--target", &format!("{triple}.{glibc}")]);
            command
        }
        (Some(AARCH64), None) => setup::aarch64()?.compiler.cargo(&["build"]),
        (Some(triple), None) => {
            let compiler = crate::toolchain::pick(triple)?;
            say(&compiler.explanation);
            compiler.cargo(&["build"])
        }
    };
    let flags = target.rustflags();
    if let (Some(triple), false) = (triple, flags.is_empty()) {
        let triple = triple.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_TARGET_{triple}_RUSTFLAGS"), flags);
    }
    Ok(command)
}

fn build(name: &str, target: &Target, profile: &str, mut compiler: Command) -> Result<Programs> {
    let metadata = Metadata::read()?;
    let is_host = name == "host";
    let mut wanted = vec![RUNNER];
    if is_host {
        wanted.push(HOST);
    }
    for (package, program) in wanted {
        if !metadata.package(package)?.has_program(program) {
            bail!("the package {package} has no program {program}");
        }
        compiler.args(["--package", package, "--bin", program]);
    }
    // Reports name what made them.
    if let Some(commit) = workspace::commit() {
        compiler.env("EMBDL_COMMIT", commit);
    }
    let rustc = output(Command::new("rustc").arg("--version"))?;
    compiler.env("EMBDL_RUSTC", rustc.trim());
    run_shown(compiler.args(["--profile", profile]).current_dir(root()))?;
    let mut folder = metadata.target_directory;
    folder.extend(target.triple.as_deref());
    folder.push(if profile == "dev" { "debug" } else { profile });
    let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    Ok(Programs { runner: program(RUNNER.1), embdl: is_host.then(|| program(HOST.1)) })
}
