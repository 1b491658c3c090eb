//! Power cuts while a version is installed: afterwards the board has to have the old version or the new one, whole and fit.
use super::{Machine, Up};
use crate::build;
use crate::flash::{self, Version};
use crate::process::say;
use crate::reach::Reached;
use crate::workspace::root;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What is installed in turns, and how often power is cut.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A model; each of the two versions has one of them.
    #[arg(long, value_name = "FILE", required = true)]
    model: Vec<PathBuf>,
    /// Power cuts, each at another step of an installation.
    #[arg(long, default_value_t = 8)]
    cuts: usize,
}

/// What the runner prints while it installs a version of three files and its list, and how often.
const STEPS: [(&str, usize); 6] =
    [("emptied", 1), ("placed", 3), ("tested", 1), ("listed", 1), ("turned", 1), ("{", 1)];

/// Runs the command.
pub(super) fn run(options: &Options) -> Result<()> {
    let [first, second] = &options.model[..] else { bail!("give --model twice") };
    // Not the machine that somebody may have on.
    let machine = Machine::at(root().join("out/board/proof"))?;
    let proved = prove(&machine, [first, second], options.cuts);
    machine.cut()?;
    proved
}

/// Cuts power so many times while one of two models takes the place of the other.
pub(crate) fn prove(machine: &Machine, models: [&Path; 2], cuts: usize) -> Result<()> {
    machine.cut()?;
    machine.up(&Up { is_fresh: true, ..Up::default() })?;
    let runner = build::runner("aarch64")?;
    let mut versions = Vec::new();
    for (folder, model) in ["first", "second"].into_iter().zip(models) {
        let version = Version::make(folder, "aarch64", &runner, &[model.to_owned()])?;
        versions.push((name(model), version));
    }
    let board = || Reached::emulated(machine);
    versions[0].1.send(&board()?)?;
    versions[0].1.install(&board()?)?;
    let mut current = 0;
    for (cut, lines) in moments(cuts).into_iter().enumerate() {
        let next = 1 - current;
        let (name, version) = &versions[next];
        version.send(&board()?)?;
        let mut ssh = version.installing(&board()?);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut installing = ssh.spawn().context("starting ssh")?;
        let said = BufReader::new(installing.stdout.take().context("ssh has no output")?);
        let said: Vec<String> = said.lines().take(lines).map_while(Result::ok).collect();
        machine.cut()?;
        // The connection went with the power.
        let _ = installing.kill();
        installing.wait().context("waiting for ssh")?;
        let last = said.last().map_or("the start", String::as_str);
        let is_done = last.starts_with('{');
        machine.up(&Up::default())?;
        let found = flash::check(&board()?).with_context(|| {
            format!("after a power cut at `{last}` the board has no whole version")
        })?;
        let is_there = |name: &str| found.contains(&format!("\"{name}\""));
        let is_new = is_there(name);
        ensure!(is_new || is_there(&versions[current].0), "the board has another version: {found}");
        ensure!(is_new || !is_done, "{name} was reported as installed, and is not there");
        let which = if is_new { "new" } else { "old" };
        say(format!("power cut {} of {cuts}, at `{last}`: the {which} version is whole", cut + 1));
        if is_new {
            current = next;
        }
    }
    Ok(())
}

/// After how many lines power is cut: at every step in turn, the last ones first, since there it matters most.
fn moments(cuts: usize) -> Vec<usize> {
    let lines: usize = STEPS.iter().map(|(_, count)| count).sum();
    (0..cuts).map(|cut| lines - cut % (lines + 1)).collect()
}

fn name(model: &Path) -> String {
    model.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_cut_at_every_step() {
        assert_eq!(moments(3), [8, 7, 6]);
        assert_eq!(moments(9), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(moments(10)[9], 8);
    }
}
