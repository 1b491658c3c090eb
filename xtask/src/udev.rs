//! `cargo xtask udev`: lets users open Neural Compute Sticks, which Linux gives to root alone.
use crate::process::{find_program, run as run_shown, say, warn};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where udev reads rules of the machine's owner.
const FOLDER: &str = "/etc/udev/rules.d";
const FILE: &str = "70-embdl-myriad.rules";
const RULES: &str = include_str!("udev/70-embdl-myriad.rules");

/// Print the udev rules for Neural Compute Sticks, or install them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write them to udev's folder and have udev read them; needs root.
    #[arg(long)]
    install: bool,
    /// The folder.
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    folder: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.install {
        print!("{RULES}");
        say("`cargo xtask udev --install` as root writes these");
        return Ok(());
    }
    let path = install(&args.folder)?;
    say(format!("wrote {}", path.display()));
    if args.folder != Path::new(FOLDER) {
        return Ok(());
    }
    if find_program("udevadm").is_none() {
        warn("udevadm is missing: the rules hold after the next start of the machine");
        return Ok(());
    }
    run_shown(Command::new("udevadm").args(["control", "--reload-rules"]))?;
    run_shown(Command::new("udevadm").args(["trigger", "--subsystem-match=usb"]))?;
    say("users in the group plugdev can open sticks that are plugged in from now on");
    Ok(())
}

/// Writes the rules whole or not at all, and gives where they are.
fn install(folder: &Path) -> Result<PathBuf> {
    if !folder.is_dir() {
        bail!("{} is no folder: is udev on this machine?", folder.display());
    }
    let path = folder.join(FILE);
    let new = folder.join(format!("{FILE}.new"));
    std::fs::write(&new, RULES)
        .with_context(|| format!("writing {}: are you root?", new.display()))?;
    std::fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_cover_a_stick_before_and_after_it_boots() {
        for product in ["2150", "f63b"] {
            let rule = RULES.lines().find(|line| line.contains(product)).expect(product);
            assert!(rule.contains("\"03e7\"") && rule.contains("plugdev"), "{rule}");
        }
        let absent = install(Path::new("no such folder")).unwrap_err();
        assert!(absent.to_string().contains("is no folder"), "{absent}");
        let folder = std::env::temp_dir().join(format!("embdl-udev-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = install(&folder).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), RULES);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
