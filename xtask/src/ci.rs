//! `cargo xtask ci`: the one door that every change passes, the cheap checks first.
use crate::board::{self, Machine};
use crate::process::{cargo, find_program, run as run_shown, say, warn};
use crate::{apt, codegen, setup, test, tidy, toolchain, workspace};
use anyhow::{Context, Result, bail};
use core::time::Duration;
use std::process::Command;
use std::time::Instant;

/// Everything that a change has to pass: format, tidy, clippy, tests, docs, no_std, AArch64, licences, book.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on after a failure, to see all of them.
    #[arg(long)]
    keep_going: bool,
    /// Only this step, by its name in the table, such as `emulated board`.
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
}

/// What became of a step.
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    Skipped(&'static str),
    NotReached,
}

/// One step: a name and what it does; `Ok(Some(reason))` means that it was left out.
struct Step {
    name: &'static str,
    action: fn() -> Result<Option<&'static str>>,
}

/// In the order of their cost.
const STEPS: [Step; 13] = [
    Step { name: "format", action: format },
    Step { name: "tidy", action: tidied },
    Step { name: "clippy", action: clippy },
    Step { name: "tests on the host", action: host },
    Step { name: "CUDA kernels", action: cuda_kernels },
    Step { name: "docs", action: docs },
    Step { name: "core without std", action: no_std },
    Step { name: "tests on an Atom", action: || test::atom(&[]) },
    Step { name: "tests on AArch64", action: aarch64 },
    Step { name: "tests on ARMv7", action: armv7 },
    Step { name: "emulated board", action: emulated_board },
    Step { name: "licences", action: deny },
    Step { name: "book", action: book },
];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let is_wanted = |step: &Step| args.only.as_ref().is_none_or(|only| only == step.name);
    if !STEPS.iter().any(is_wanted) {
        bail!("there is no such step: {}", STEPS.map(|step| step.name).join(", "));
    }
    let mut outcomes = Vec::new();
    let mut has_failed = false;
    for step in &STEPS {
        if (has_failed && !args.keep_going) || !is_wanted(step) {
            outcomes.push(Outcome::NotReached);
            continue;
        }
        say(format!("── {} ──", step.name));
        let start = Instant::now();
        let outcome = match (step.action)() {
            Ok(None) => Outcome::Passed(start.elapsed()),
            Ok(Some(reason)) => {
                warn(format!("{} SKIPPED: {reason}", step.name));
                Outcome::Skipped(reason)
            }
            Err(error) => {
                say(format!("{} FAILED: {error:#}", step.name));
                has_failed = true;
                Outcome::Failed(start.elapsed())
            }
        };
        if let Outcome::Passed(time) = &outcome {
            say(format!("{} passed in {:.1} s", step.name, time.as_secs_f64()));
        }
        outcomes.push(outcome);
    }
    println!("\n{}", table(&outcomes));
    if has_failed {
        bail!("not every step passed");
    }
    Ok(())
}

fn format() -> Result<Option<&'static str>> {
    setup::component("fmt")?;
    run_shown(cargo().args(["fmt", "--all", "--", "--check"]))?;
    Ok(None)
}

fn tidied() -> Result<Option<&'static str>> {
    tidy::check()?;
    Ok(None)
}

fn clippy() -> Result<Option<&'static str>> {
    setup::component("clippy")?;
    // What is left out of builds by default is looked at all the same.
    let features = "embdl-tests/gpu,embdl-tests/jetson,embdl-tests/wgpu,embdl-bench/wgpu,embdl-bench/jetson,embdl-cli/jetson,embdl-bench/myriad,rt-myriad/usb";
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets"]).args(["--features", features]);
    run_shown(command.args(["--", "-Dwarnings"]))?;
    Ok(None)
}

fn host() -> Result<Option<&'static str>> {
    test::host(&[])?;
    Ok(None)
}

/// The kernels without a GPU: their PTX is fresh, assembles for all chips, and computes what the reference does, and so does
/// their source as C++.
fn cuda_kernels() -> Result<Option<&'static str>> {
    let clang = codegen::clang()?;
    let left_out = codegen::check()?;
    let mut command = cargo();
    command.env("EMBDL_CLANG", clang).args(["test", "--package", "rt-jetson"]);
    run_shown(command.args(["--test", "kernels"]))?;
    Ok(left_out)
}

fn docs() -> Result<Option<&'static str>> {
    let mut command = cargo();
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    run_shown(command.args(["doc", "--workspace", "--no-deps"]))?;
    Ok(None)
}

/// A target that has no std at all proves that embdl-core uses none.
fn no_std() -> Result<Option<&'static str>> {
    let compiler = toolchain::pick(toolchain::BARE_METAL)?;
    say(&compiler.explanation);
    let mut command = compiler.cargo(&["build"]);
    // The quickest profile: where core itself has to be compiled, optimizing it would take minutes and prove nothing more.
    let profile = ["--profile", "xtask"];
    run_shown(command.args(["--package", "embdl-core", "--no-default-features"]).args(profile))?;
    Ok(None)
}

fn aarch64() -> Result<Option<&'static str>> {
    test::emulated(&setup::cross(&setup::AARCH64_LINUX)?, &[])?;
    Ok(None)
}

fn armv7() -> Result<Option<&'static str>> {
    test::emulated(&setup::cross(&setup::ARMV7_LINUX)?, &[])?;
    Ok(None)
}

/// Installs on the emulated board, cuts its power meanwhile, and takes times there.
fn emulated_board() -> Result<Option<&'static str>> {
    if !apt::is_debian() {
        return Ok(Some("the emulated board is made of Debian's packages, and this is not Debian"));
    }
    if let Err(error) = Machine::see_to_programs() {
        warn(format!("{error:#}"));
        return Ok(Some("qemu-system-aarch64 or ssh is missing and cannot be installed"));
    }
    let folder = workspace::root().join("out/ci");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // The tests on the host have built the command; built alone, it would be with other features, and take minutes.
    let embdl = workspace::Metadata::read()?.target_directory.join("debug/embdl");
    if !embdl.exists() {
        run_shown(cargo().args(["build", "--package", "embdl-cli", "--bin", "embdl"]))?;
    }
    let models = ["lenet-300-100", "lenet-5"].map(|name| folder.join(format!("{name}-int8.embdl")));
    for (name, model) in ["lenet-300-100", "lenet-5"].iter().zip(&models) {
        let mut command = Command::new(&embdl);
        command.args(["zoo", name, "--precision", "int8", "--out"]).arg(model);
        run_shown(&mut command)?;
    }
    let this = || std::env::current_exe().map(Command::new).context("looking for this program");
    run_shown(this()?.args(["build", "--target", "aarch64", "--static"]))?;
    let machine = Machine::at(workspace::root().join("out/board/proof"))?;
    let proved = board::prove(&machine, [&models[0], &models[1]], 3).and_then(|()| {
        let mut bench = this()?;
        bench.args(["bench", "--target", "aarch64", "--board", "emulated", "--model"]);
        let (variable, value) = machine.variable();
        run_shown(bench.arg(&models[1]).env(variable, value))
    });
    machine.cut()?;
    proved.map(|()| None)
}

fn deny() -> Result<Option<&'static str>> {
    if find_program("cargo-deny").is_none() {
        return Ok(Some("cargo-deny is not installed"));
    }
    run_shown(cargo().args(["deny", "check"]))?;
    Ok(None)
}

fn book() -> Result<Option<&'static str>> {
    if find_program("mdbook").is_none() {
        return Ok(Some("mdbook is not installed"));
    }
    let to = workspace::Metadata::read()?.target_directory.join("book");
    let mut command = Command::new("mdbook");
    command.arg("build").arg(workspace::root().join("docs")).arg("--dest-dir").arg(to);
    run_shown(&mut command)?;
    Ok(None)
}

fn table(outcomes: &[Outcome]) -> String {
    let row = |(step, outcome): (&Step, &Outcome)| {
        let text = match outcome {
            Outcome::Passed(time) => format!("passed   {:>7.1} s", time.as_secs_f64()),
            Outcome::Failed(time) => format!("FAILED   {:>7.1} s", time.as_secs_f64()),
            Outcome::Skipped(reason) => format!("SKIPPED  {reason}"),
            Outcome::NotReached => "not reached".into(),
        };
        format!("{:<20}{text}\n", step.name)
    };
    STEPS.iter().zip(outcomes).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_left_out() {
        let text = table(&[
            Outcome::Passed(Duration::from_millis(1500)),
            Outcome::Failed(Duration::from_secs(2)),
            Outcome::Skipped("no such program"),
            Outcome::NotReached,
        ]);
        let expected = "format              passed       1.5 s\ntidy                FAILED       2.0 s\n\
                        clippy              SKIPPED  no such program\ntests on the host   not reached\n";
        assert_eq!(text, expected);
    }
}
