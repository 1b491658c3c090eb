//! Which board a name means, and the way to it.
use crate::board::Machine;
use crate::remote::Remote;
use crate::targets::{Board, Reach};
use crate::workspace::root;
use anyhow::{Context, Result, bail};

/// A board that can be reached now.
pub(crate) struct Reached {
    /// Its page in `targets`.
    pub(crate) target: String,
    pub(crate) remote: Remote,
    /// Where our files are, as its shell takes it.
    pub(crate) folder: String,
    /// The CPU that is emulated, where one is.
    pub(crate) emulated: Option<String>,
}

impl Reached {
    /// The board of this name, or at this address. `target` is what an address alone is taken to be.
    pub(crate) fn find(board: &str, target: &str) -> Result<Self> {
        let page = root().join("targets/boards").join(board).join("board.toml");
        if board.contains(['@', ':', '.', '/']) || !page.is_file() {
            if !board.contains('@') && !is_configured(board) {
                bail!(
                    "`{board}` is no board of targets/boards ({}), no user@host, and no host of your ssh configuration",
                    names().join(", ")
                );
            }
            let remote = Remote::of_user(board)?;
            let target = target.to_owned();
            return Ok(Self { target, remote, folder: "embdl".into(), emulated: None });
        }
        let page = Board::read(board)?;
        let remote = match page.reach {
            Reach::Ssh => {
                let variable = Board::address_variable(board);
                let address = std::env::var(&variable).with_context(|| {
                    format!("set {variable} to user@host of your {}", page.name)
                })?;
                Remote::of_user(&address)?
            }
            Reach::Emulated => return Self::emulated(&Machine::of_clone()?),
        };
        Ok(Self { target: page.target, remote, folder: "embdl".into(), emulated: None })
    }

    /// An emulated machine, which runs.
    pub(crate) fn emulated(machine: &Machine) -> Result<Self> {
        Ok(Self {
            target: "aarch64".into(),
            remote: machine.remote()?,
            folder: "/data/embdl".into(),
            emulated: Some(machine.cpu()?),
        })
    }

    /// What goes before our programs on its command line, so that they mark what they report as emulated.
    pub(crate) fn environment(&self) -> String {
        self.emulated.as_ref().map_or_else(String::new, |cpu| format!("EMBDL_EMULATED={cpu} "))
    }
}

/// Whether the user's configuration of ssh has an entry for a name.
fn is_configured(name: &str) -> bool {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let file = std::path::Path::new(&home).join(".ssh/config");
    has_host(&std::fs::read_to_string(file).unwrap_or_default(), name)
}

fn has_host(config: &str, name: &str) -> bool {
    config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("host"))
            && words.any(|host| host == name)
    })
}

/// The boards that there are pages of.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("targets/boards")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_board_an_address_or_a_host_of_the_configuration() {
        let config = "Host a b\n  HostName 10.0.0.1\nhost\tpi\n";
        assert!(has_host(config, "b") && has_host(config, "pi") && !has_host(config, "HostName"));
        let error = Reached::find("no-such-board", "aarch64").err().unwrap();
        assert!(error.to_string().contains("raspberry-pi-4"), "{error:#}");
        let found = Reached::find("pi@10.0.0.7", "aarch64").unwrap();
        assert_eq!((found.remote.address(), found.environment().as_str()), ("pi@10.0.0.7", ""));
    }
}
