//! The project's commands, one file each, run as `cargo xtask <command>`. Never depends on one of our crates.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command speaks to the person who ran it")]

mod apt;
mod bench;
mod board;
mod build;
mod ci;
mod codegen;
mod demo;
mod elf;
mod flash;
mod gpu_test;
mod mca;
mod onnx;
mod photographs;
mod process;
mod python;
mod reach;
mod remote;
mod setup;
mod targets;
mod test;
mod tidy;
mod toolchain;
mod udev;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

/// The commands of embeddedDL: from a fresh machine to a compressed network that runs on two instruction sets.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Command {
    Setup(setup::Args),
    Demo(demo::Args),
    Test(test::Args),
    Ci(ci::Args),
    Codegen(codegen::Args),
    Build(build::Args),
    Bench(Box<bench::Args>),
    Board(board::Args),
    Flash(flash::Args),
    GpuTest(gpu_test::Args),
    Mca(mca::Args),
    Tidy(tidy::Args),
    Udev(udev::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    let done = match Command::parse() {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Codegen(args) => codegen::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Board(args) => board::run(&args),
        Command::Flash(args) => flash::run(&args),
        Command::GpuTest(args) => return gpu_test::run(&args),
        Command::Mca(args) => mca::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Udev(args) => udev::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::Command;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_sound_arguments() {
        Command::command().debug_assert();
    }
}
