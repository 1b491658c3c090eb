//! A machine at the other end of ssh: programs are run there and files put there by what every Linux has.
use crate::process::{find_program, shown};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a machine is reached.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// As ssh takes it: `user@host`, or a name of the user's configuration.
    address: String,
    options: Vec<OsString>,
}

impl Remote {
    /// A machine as the user's own configuration of ssh reaches it. Nobody is asked for a password, and a host whose key is
    /// not known is an error.
    pub(crate) fn of_user(address: &str) -> Result<Self> {
        if address.is_empty() || address.starts_with('-') || address.contains(char::is_whitespace) {
            bail!("`{address}` is no user@host");
        }
        let options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"].map(OsString::from);
        Ok(Self { address: address.to_owned(), options: options.to_vec() })
    }

    /// A machine that is reached by these options alone, whatever the user's configuration says.
    pub(crate) fn by_options(address: &str, options: Vec<OsString>) -> Self {
        Self { address: address.to_owned(), options }
    }

    /// As ssh takes it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// ssh with a line for the other shell; without one, a session.
    pub(crate) fn ssh(&self, line: Option<&str>) -> Command {
        let mut command = Command::new("ssh");
        command.args(&self.options).arg(&self.address);
        command.args(line.iter().flat_map(|line| ["--", line]));
        command
    }

    /// Runs a line of shell and returns what it wrote. Errors: it failed, or ssh did.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        let mut command = self.ssh(Some(line));
        command.stdin(Stdio::null());
        let output = command.output().with_context(|| starting(&command))?;
        self.checked(&command, output)
    }

    /// Puts files into a folder there, which is made where it is missing. What is there under their names is overwritten.
    pub(crate) fn send(&self, files: &[&Path], folder: &str) -> Result<()> {
        if find_program("tar").is_none() {
            bail!("tar is missing: apt-get install tar");
        }
        let mut pack = Command::new("tar");
        pack.args(["--create", "--file=-", "--owner=0", "--group=0"]);
        for file in files {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            pack.arg("-C").arg(parent.map_or_else(
                || std::env::current_dir().unwrap_or_default(),
                |parent| parent.canonicalize().unwrap_or_else(|_| parent.to_owned()),
            ));
            pack.arg(file.file_name().unwrap_or(OsStr::new("")));
        }
        let mut packing = pack
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| starting(&pack))?;
        let packed = packing.stdout.take().context("tar has no output")?;
        let folder = quoted(folder);
        let mut command = self.ssh(Some(&format!("mkdir -p {folder} && tar -x -f - -C {folder}")));
        command.stdin(packed);
        let output = command.output().with_context(|| starting(&command))?;
        let packed = packing.wait().with_context(|| starting(&pack))?;
        self.checked(&command, output)?;
        if !packed.success() {
            bail!("`{}` ended with {packed}", shown(&pack));
        }
        Ok(())
    }

    /// What a command of ssh wrote, or an error with what to do about it.
    pub(crate) fn checked(&self, command: &Command, output: Output) -> Result<String> {
        if output.status.success() {
            return String::from_utf8(output.stdout)
                .with_context(|| format!("{} wrote bytes, not text", self.address));
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let error = anyhow!("`{}` ended with {}: {}", shown(command), output.status, stderr.trim());
        Err(match advice(&stderr, &self.address) {
            Some(advice) => error.context(advice),
            None => error,
        })
    }
}

/// What a person can do about a message of ssh.
fn advice(stderr: &str, address: &str) -> Option<String> {
    let is = |text: &str| stderr.contains(text);
    if is("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let name = address.rsplit('@').next().unwrap_or(address);
        Some(format!(
            "the key of {address} is another one than before: if you know why, `ssh-keygen -R {name}` forgets the old one"
        ))
    } else if is("Host key verification failed") {
        Some(format!(
            "the key of {address} is not known: `ssh {address}` once, and compare what it shows"
        ))
    } else if is("Permission denied") {
        Some(format!("{address} does not let us in by a key: `ssh-copy-id {address}`"))
    } else if is("Could not resolve hostname")
        || is("Connection refused")
        || is("Connection timed out")
    {
        Some(format!("{address} does not answer: is it on, and is its address right?"))
    } else {
        None
    }
}

/// A word for the other shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn starting(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let help = if program == "ssh" { " (apt-get install openssh-client)" } else { "" };
    format!("starting {program}{help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_option_and_no_sentence() {
        for wrong in ["", "-oProxyCommand=x", "a b"] {
            assert!(Remote::of_user(wrong).is_err(), "{wrong}");
        }
        let ssh = Remote::of_user("pi@10.0.0.7").unwrap().ssh(Some("uname -a"));
        assert!(shown(&ssh).ends_with("pi@10.0.0.7 -- 'uname -a'"), "{}", shown(&ssh));
        assert!(!shown(&ssh).contains("StrictHostKeyChecking"));
    }

    #[test]
    fn messages_of_ssh_come_with_what_to_do() {
        let advice = |text: &str| advice(text, "pi@board").unwrap_or_default();
        assert!(advice("Host key verification failed.").contains("`ssh pi@board` once"));
        assert!(
            advice("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @")
                .contains("ssh-keygen -R board")
        );
        assert!(advice("pi@board: Permission denied (publickey).").contains("ssh-copy-id"));
        assert_eq!(advice("sh: 1: nonsense: not found"), "");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
