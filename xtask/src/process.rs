//! Starting other programs: shown before they run, checked after, repeated where a network is involved.
use anyhow::{Context, Result, bail};
use core::time::Duration;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says what is being done, in a form that stands out between the output of other programs.
pub(crate) fn say(message: impl AsRef<str>) {
    println!("xtask: {}", message.as_ref());
}

/// Says loudly that something is left out, and why.
pub(crate) fn warn(message: impl AsRef<str>) {
    println!("xtask: WARNING: {}", message.as_ref());
}

/// Runs a command to its end with its output shown. Errors: it cannot be started, or it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("$ {line}");
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns what it wrote to standard output. Errors: as [`run`], with its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` ended with {}: {}", output.status, stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote bytes, not text"))
}

/// Calls `attempt` up to `times` times with a growing pause, for what goes over a network.
pub(crate) fn retry<T>(times: u32, what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let pause = |tried: u32| Duration::from_secs(u64::from(tried * tried));
    retry_after(pause, times, what, attempt)
}

/// As [`retry`], with the pause after so many attempts given.
fn retry_after<T>(
    pause: impl Fn(u32) -> Duration,
    times: u32,
    what: &str,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut tried = 1;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if tried >= times => {
                return Err(error.context(format!("{what}: gave up after {tried} attempts")));
            }
            Err(error) => {
                let pause = pause(tried);
                warn(format!("{what}: {error:#}; trying again in {} s", pause.as_secs()));
                std::thread::sleep(pause);
                tried += 1;
            }
        }
    }
}

/// The path of a program on `PATH`, if it is there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// The first of these programs that is on `PATH`.
pub(crate) fn first_program(names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| find_program(name))
}

/// The cargo that runs this command, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::workspace::root());
    command
}

/// The command as a person would type it, the environment that was set for it included.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.display(), quoted(&value.to_string_lossy())));
        }
    }
    let program = Path::new(command.get_program());
    let is_cargo = program.file_name().is_some_and(|name| name == "cargo");
    words.push(if is_cargo { "cargo".into() } else { quoted(&program.to_string_lossy()) });
    words.extend(command.get_args().map(|argument| quoted(&argument.to_string_lossy())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_command_as_it_would_be_typed() {
        let mut command = Command::new("qemu-aarch64");
        command.env("EMBDL_ISA", "neon").args(["-cpu", "cortex-a57", "a b", "it's", ""]);
        assert_eq!(
            shown(&command),
            r"EMBDL_ISA=neon qemu-aarch64 -cpu cortex-a57 'a b' 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let error = output(&mut Command::new("false")).unwrap_err().to_string();
        assert!(error.contains("`false` ended with"), "{error}");
    }

    #[test]
    fn retry_returns_the_first_success_and_the_last_error() {
        let mut calls = 0;
        let result = retry_after(
            |_| Duration::ZERO,
            2,
            "counting",
            || {
                calls += 1;
                if calls == 2 { Ok(calls) } else { bail!("not yet") }
            },
        );
        assert_eq!(result.unwrap(), 2);
        let never = || -> Result<()> { bail!("never") };
        let error = retry_after(|_| Duration::ZERO, 3, "counting", never).unwrap_err();
        assert!(format!("{error:#}").contains("gave up after 3 attempts: never"), "{error:#}");
    }
}
