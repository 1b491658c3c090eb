//! Where the runner is started: here, by an emulator, or on a board.
use super::sensors::Sensors;
use crate::process::{output, say};
use crate::reach::Reached;
use crate::remote::quoted;
use crate::setup;
use crate::targets::Target;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One place.
pub(super) enum Place {
    /// Here, by a command that goes before the program (empty: none).
    Here { label: String, prefix: Vec<String>, is_emulated: bool },
    /// On a board, by ssh.
    Board(Box<Reached>),
}

impl Place {
    /// The board that is asked for, or else all places here for a target.
    pub(super) fn all(target: &str, board: Option<&str>) -> Result<Vec<Self>> {
        if let Some(name) = board {
            let board = Reached::find(name, target)?;
            if board.target != target {
                bail!("{name} belongs to the target {}, not {target}", board.target);
            }
            return Ok(vec![Self::Board(Box::new(board))]);
        }
        let triple = Target::read(target)?.triple;
        if let Some(machine) = triple.as_deref().and_then(setup::machine) {
            let runners = setup::cross(machine)?.runners.into_iter();
            return Ok(runners
                .map(|runner| Self::Here {
                    prefix: runner.command.split(' ').map(str::to_owned).collect(),
                    label: runner.label,
                    is_emulated: runner.is_emulated,
                })
                .collect());
        }
        Ok(vec![Self::Here { label: "native".into(), prefix: Vec::new(), is_emulated: false }])
    }

    /// The emulated CPU, `native`, or `ssh`.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Here { label, .. } => label,
            Self::Board(board) => board.emulated.as_deref().unwrap_or("ssh"),
        }
    }

    pub(super) fn is_emulated(&self) -> bool {
        match self {
            Self::Here { is_emulated, .. } => *is_emulated,
            Self::Board(board) => board.emulated.is_some(),
        }
    }

    /// What a number from there is: of a board, of this machine, or of an emulator.
    pub(super) fn source(&self) -> &'static str {
        match self {
            _ if self.is_emulated() => "emulated",
            Self::Here { .. } => "host",
            Self::Board(_) => "device",
        }
    }

    /// Runs the benchmark of one model with options of the runner; its records, and what a board's sensors said.
    pub(super) fn bench(
        &self,
        runner: &Path,
        model: &Path,
        options: &[String],
    ) -> Result<(Vec<Value>, Sensors)> {
        say(format!("{} on {}", model.display(), self.label()));
        let text = match self {
            Self::Here { prefix, .. } => {
                let mut words =
                    prefix.iter().map(Into::into).chain([runner.as_os_str().to_owned()]);
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words).arg("bench").arg(model).args(options);
                output(&mut command)?
            }
            Self::Board(board) => on_board(board, runner, model, options)?,
        };
        let is_record = |line: &&str| line.starts_with('{');
        let records = text.lines().filter(is_record).map(serde_json::from_str);
        let records: Vec<Value> = records
            .collect::<Result<_, _>>()
            .with_context(|| format!("reading the records of {}", model.display()))?;
        Ok((records, Sensors::read(&text)))
    }
}

/// The same in a folder of a board that is there for this only.
fn on_board(board: &Reached, runner: &Path, model: &Path, options: &[String]) -> Result<String> {
    let folder = board.remote.run("mktemp -d")?;
    let folder = folder.trim();
    let script = root().join("xtask/board/bench.sh");
    board.remote.send(&[&script, runner, model], folder)?;
    let name = |file: &Path| quoted(&file.file_name().unwrap_or_default().to_string_lossy());
    let line = format!(
        "cd {folder} && {}sh ./bench.sh ./{} bench ./{} {}; code=$?; rm -r {folder}; exit $code",
        board.environment(),
        name(runner),
        name(model),
        options.join(" "),
        folder = quoted(folder),
    );
    board.remote.run(&line)
}
