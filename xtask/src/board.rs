//! `cargo xtask board`: an emulated AArch64 board, for trying what is meant for a real one.
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;

mod cpio;
mod image;
mod machine;
mod prove;

pub(crate) use machine::Machine;
pub(crate) use prove::prove;

/// What targets/boards/emulated says.
const CPU: &str = "cortex-a57";
const CORES: u32 = 2;
const MEMORY_MIB: u32 = 512;

/// Boot, reach, cut off and shut down an emulated AArch64 board: Debian's kernel under qemu, reached by ssh.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask board up                          (boots in some seconds; the first time, fetches 25 MB of packages)
  cargo xtask board ssh                         (a shell on it)
  cargo xtask board ssh uname -a                (one command)
  cargo xtask flash --board emulated            (runner and models, as on a real board)
  cargo xtask bench --target aarch64 --board emulated
  cargo xtask board cut && cargo xtask board up (a power cut, and the same disk again)
  cargo xtask board prove --model lenet-300-100.embdl --model lenet-5.embdl

The disk is out/board/disk.img. Image and keys are in the user's cache folder; ssh checks the board's key.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Boot it, and wait until ssh answers. Does nothing where it runs already.
    Up(Up),
    /// Open a shell on it, or run a command there.
    Ssh {
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Cut its power: what was not written to its disk is lost.
    Cut,
    /// Shut it down.
    Down,
    /// Cut the power of another one at each step of installations, and see that a whole version is there afterwards.
    Prove(prove::Options),
}

/// How the machine is built.
#[derive(clap::Args)]
pub(crate) struct Up {
    /// The CPU, by qemu's name: cortex-a53, cortex-a57, cortex-a72, max.
    #[arg(long, default_value = CPU)]
    cpu: String,
    /// Its cores.
    #[arg(long, default_value_t = CORES, value_parser = clap::value_parser!(u32).range(1..=8))]
    cores: u32,
    /// Its memory in MiB.
    #[arg(long, default_value_t = MEMORY_MIB, value_parser = clap::value_parser!(u32).range(64..=4096))]
    memory: u32,
    /// Begin with an empty disk.
    #[arg(long = "fresh")]
    is_fresh: bool,
}

impl Default for Up {
    fn default() -> Self {
        Self { cpu: CPU.into(), cores: CORES, memory: MEMORY_MIB, is_fresh: false }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let machine = Machine::of_clone()?;
    match &args.action {
        Action::Up(options) => machine.up(options),
        Action::Cut => machine.cut(),
        Action::Down => machine.down(),
        Action::Prove(options) => prove::run(options),
        Action::Ssh { words } => {
            let line = words.join(" ");
            let mut ssh = machine.remote()?.ssh((!words.is_empty()).then_some(&line));
            let status = ssh.status().context("starting ssh (apt-get install openssh-client)")?;
            if !status.success() {
                bail!("the command on the board ended with {status}");
            }
            Ok(())
        }
    }
}

/// Holds a lock until the file is dropped, so that two commands do not start or change the same thing.
fn locked(path: &Path) -> Result<File> {
    let locking = || format!("locking {}", path.display());
    let file = File::create(path).with_context(locking)?;
    file.lock().with_context(locking)?;
    Ok(file)
}
