//! Debian's and Ubuntu's package manager: installs what is missing, and refuses what would remove something.
use crate::process::{find_program, output, retry, run, say, warn};
use anyhow::{Result, bail};
use std::process::Command;

mod foreign;

pub(crate) use foreign::Foreign;

/// Whether this machine has apt and we may use it: as root, or by a sudo that asks no password.
pub(crate) fn is_usable() -> bool {
    find_program("apt-get").is_some() && elevated("true").is_some()
}

/// Whether the machine runs Debian itself. Derivatives keep other architectures on other servers.
pub(crate) fn is_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line.trim() == "ID=debian")
}

/// Installs packages. Errors: apt is not usable, a package is unknown, or something installed would have to go.
pub(crate) fn install(packages: &[&str], reason: &str) -> Result<()> {
    if !is_usable() {
        bail!("please install, as root: {} ({reason})", packages.join(" "));
    }
    say(format!("installing {} with apt-get: {reason}", packages.join(" ")));
    retry(3, "apt-get install", || {
        // The lists of packages may be missing (a fresh container) or old (a 404): then they are fetched, then it is tried again.
        let planned = match plan(packages) {
            Ok(planned) => planned,
            Err(_) => {
                update();
                plan(packages)?
            }
        };
        let removed = removals(&planned);
        if !removed.is_empty() {
            bail!("apt-get would remove {}; that is yours to decide", removed.join(", "));
        }
        run(&mut apt_get(&["-qq", "install"], packages)).inspect_err(|_| update())
    })
}

/// The version of a package that is installed.
pub(crate) fn installed(package: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    output(query.args(["--show", "--showformat=${Version}", package])).ok()
}

/// The version that apt would install, if it knows the package.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = output(Command::new("apt-cache").args(["policy", package])).ok()?;
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (line != "(none)").then(|| line.to_owned())
}

/// Fetches the lists of packages. A list that cannot be had is only a warning: the others may suffice.
pub(crate) fn update() {
    if let Err(error) = run(&mut apt_get(&["-qq", "update"], &[])) {
        warn(format!("{error:#}"));
    }
}

/// A command that runs as root; `None` where that needs a password.
fn elevated(program: &str) -> Option<Command> {
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return Some(Command::new(program));
    }
    output(Command::new("sudo").args(["-n", "true"])).ok()?;
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    Some(command)
}

fn apt_get(words: &[&str], packages: &[&str]) -> Command {
    // Through `env`, since sudo does not pass an environment on.
    let mut command = elevated("env").unwrap_or_else(|| Command::new("env"));
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--no-install-recommends"]);
    command.args(["-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300"]);
    command.args(words).args(packages);
    command
}

fn plan(packages: &[&str]) -> Result<String> {
    output(&mut apt_get(&["--simulate", "install"], packages))
}

/// The packages that a simulated run would remove.
fn removals(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Remv "))
        .filter_map(|rest| rest.split(' ').next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_a_plan_removes() {
        let plan =
            "Inst qemu-user (1:7.2 Debian:12 [amd64])\nRemv rustup [1.27]\nConf qemu-user (1:7.2)";
        assert_eq!(removals(plan), ["rustup"]);
        assert!(removals("Inst qemu-user (1:7.2 Debian:12 [amd64])").is_empty());
    }
}
