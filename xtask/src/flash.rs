//! `cargo xtask flash`: the runner and models onto a board, so that a loss of power leaves the old version or the new one.
use crate::build;
use crate::process::{find_program, output, say};
use crate::reach::Reached;
use crate::remote::quoted;
use crate::setup;
use crate::targets::Target;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Put the runner and models onto a board, test them there, and turn to them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask board up && cargo xtask flash --board emulated --model lenet-5.embdl
  EMBDL_BOARD_RASPBERRY_PI_4=pi@10.0.0.7 cargo xtask flash --board raspberry-pi-4 --model lenet-5.embdl
  cargo xtask flash --board pi@10.0.0.7              (what the demo made)
  cargo xtask flash --board emulated --check         (is the version in use whole, and does it answer as it should?)
  cargo xtask flash --board emulated --roll-back     (the version before)

A version goes into the slot that is not in use, is tested there on a known input, and then comes into use by one rename:
FOLDER/current. A version that fails its test does not. ssh takes your configuration, and checks the board's key.")]
pub(crate) struct Args {
    /// A folder of `targets/boards/` (its address is in `EMBDL_BOARD_<NAME>`), or an address as ssh takes it.
    #[arg(long, value_name = "NAME|USER@HOST")]
    board: String,
    /// A model; without it, those that `cargo xtask demo` made.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// The page of `targets/` that a board known only by its address belongs to.
    #[arg(long, default_value = "aarch64")]
    target: String,
    /// The folder on the board; without it, `embdl` in the home folder, or on the disk of the emulated board.
    #[arg(long)]
    folder: Option<String>,
    /// Test the version in use, and change nothing.
    #[arg(long, conflicts_with_all = ["model", "roll_back"])]
    check: bool,
    /// Turn back to the version before.
    #[arg(long, conflicts_with = "model")]
    roll_back: bool,
}

/// The program that goes to a board.
const RUNNER: &str = "embdl-runner";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut board = Reached::find(&args.board, &args.target)?;
    if let Some(folder) = &args.folder {
        board.folder.clone_from(folder);
    }
    let said = if args.check {
        check(&board)?
    } else if args.roll_back {
        command(&board, "current", "roll-back")?
    } else {
        let models =
            if args.model.is_empty() { crate::bench::demo_models()? } else { args.model.clone() };
        let runner = build::runner(&board.target)?;
        let version = Version::make("version", &board.target, &runner, &models)?;
        version.send(&board)?;
        version.install(&board)?
    };
    say(format!("{}: {}", board.remote.address(), said.lines().last().unwrap_or_default()));
    Ok(())
}

/// Tests the version in use.
pub(crate) fn check(board: &Reached) -> Result<String> {
    command(board, "current", "check")
}

/// Runs a command of the runner that is in a folder of the board.
fn command(board: &Reached, folder: &str, verb: &str) -> Result<String> {
    let said = board.remote.run(&line(board, folder, verb));
    let is_missing = |error: &anyhow::Error| format!("{error:#}").contains("not found");
    said.map_err(|error| match is_missing(&error) {
        true => {
            error.context("nothing is installed there: `cargo xtask flash` without --check does so")
        }
        false => error,
    })
}

/// The line for the board's shell.
fn line(board: &Reached, folder: &str, verb: &str) -> String {
    let root = quoted(&board.folder);
    format!("{}{root}/{folder}/{RUNNER} {verb} {root}", board.environment())
}

/// All files of a version, here.
pub(crate) struct Version {
    files: Vec<PathBuf>,
}

impl Version {
    /// Of a target's runner and models: with what each model answers to a known input by the scalar reference, which runs here,
    /// emulated where it has to be, and a list of checksums.
    ///
    /// What is made for it is kept in a folder of this name.
    pub(crate) fn make(
        name: &str,
        target: &str,
        runner: &Path,
        models: &[PathBuf],
    ) -> Result<Self> {
        let folder = root().join("out/flash").join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let mut files = vec![runner.to_owned()];
        for model in models {
            let name = model.file_name().unwrap_or_default();
            if files.iter().any(|file| file.file_name() == Some(name)) {
                bail!("two models are called {}", name.display());
            }
            let answer = folder.join(name).with_extension("answer");
            say(format!("recording what {} answers", model.display()));
            let mut command = here(target, runner)?;
            command.arg("answer").arg(model).args(["--runtime", "reference"]);
            std::fs::write(&answer, output(&mut command)?)
                .with_context(|| format!("writing {}", answer.display()))?;
            files.extend([model.clone(), answer]);
        }
        let list = folder.join("SHA256SUMS");
        std::fs::write(&list, sums(&files)?)
            .with_context(|| format!("writing {}", list.display()))?;
        files.push(list);
        Ok(Self { files })
    }

    /// Sends it to where the next version arrives.
    pub(crate) fn send(&self, board: &Reached) -> Result<()> {
        let incoming = format!("{}/incoming", board.folder);
        board.remote.run(&format!("rm -rf {}", quoted(&incoming)))?;
        say(format!("sending {} files to {}", self.files.len(), board.remote.address()));
        let files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        board.remote.send(&files, &incoming)
    }

    /// Lets the runner that was sent install what was sent with it.
    pub(crate) fn install(&self, board: &Reached) -> Result<String> {
        command(board, "incoming", "install")
    }

    /// The same, as a command whose output can be followed.
    pub(crate) fn installing(&self, board: &Reached) -> Command {
        board.remote.ssh(Some(&line(board, "incoming", "install")))
    }
}

/// A command that runs a target's static program on this machine.
fn here(target: &str, program: &Path) -> Result<Command> {
    let triple = Target::read(target)?.triple;
    let machine = triple.as_deref().and_then(setup::machine);
    Ok(match machine.map(setup::emulator).transpose()?.flatten() {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        }
        None => Command::new(program),
    })
}

/// The checksums of files, by their names alone.
fn sums(files: &[PathBuf]) -> Result<String> {
    let mut command = if find_program("sha256sum").is_some() {
        Command::new("sha256sum")
    } else {
        let mut command = Command::new("shasum");
        command.args(["-a", "256"]);
        command
    };
    let text = output(command.args(files))?;
    let mut list = String::new();
    for (line, file) in text.lines().zip(files) {
        let sum = line.split(' ').next().unwrap_or_default();
        list += &format!("{sum}  {}\n", file.file_name().unwrap_or_default().display());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_names_without_folders() {
        let folder = std::env::temp_dir().join(format!("embdl-flash-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = ["a b", "c"].map(|name| folder.join(name));
        files.iter().for_each(|file| std::fs::write(file, "").unwrap());
        let list = sums(&files);
        std::fs::remove_dir_all(&folder).unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(list.unwrap(), format!("{empty}  a b\n{empty}  c\n"));
    }
}
