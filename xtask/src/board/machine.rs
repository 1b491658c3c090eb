//! The emulated machine: started, found again, reached, and cut off.
use super::image::{HOST, Image};
use super::{Up, locked};
use crate::process::{find_program, output, say};
use crate::remote::Remote;
use crate::{apt, workspace};
use anyhow::{Context, Result, bail};
use core::net::Ipv4Addr;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const QEMU: &str = "qemu-system-aarch64";
/// The variable that says where the machine is: as those with the addresses of real boards.
const FOLDER: &str = "EMBDL_BOARD_EMULATED";
/// What the first program says on the console when ssh answers.
const READY: &str = "BOARD-READY";
/// How long a boot may take: two seconds on an idle machine, some twenty times that on a build server with other work.
const PATIENCE: Duration = Duration::from_secs(150);
/// Bytes of the disk; the file has holes where nothing was written.
const DISK_LEN: u64 = 1 << 30;

/// The emulated board of this clone: its disk, and the machine that may run with it.
pub(crate) struct Machine {
    folder: PathBuf,
}

/// What is known of the machine that was started last.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    pid: u32,
    port: u16,
    cpu: String,
}

impl Machine {
    /// That of this clone, in `out/board` or where `EMBDL_BOARD_EMULATED` says.
    pub(crate) fn of_clone() -> Result<Self> {
        let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty());
        Self::at(folder.map_or_else(|| workspace::root().join("out/board"), PathBuf::from))
    }

    /// That of a folder, which is made.
    pub(crate) fn at(folder: PathBuf) -> Result<Self> {
        let making = || format!("making {}", folder.display());
        std::fs::create_dir_all(&folder).with_context(making)?;
        Ok(Self { folder: folder.canonicalize().with_context(making)? })
    }

    /// The variable that says where a machine is, with its value.
    pub(crate) fn variable(&self) -> (&'static str, &Path) {
        (FOLDER, &self.folder)
    }

    /// Installs the emulator and ssh, where they are missing. Errors: they are, and cannot be installed.
    pub(crate) fn see_to_programs() -> Result<()> {
        let programs = [(QEMU, "qemu-system-arm"), ("ssh", "openssh-client")];
        let missing = programs.iter().filter(|(program, _)| find_program(program).is_none());
        let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
        if missing.is_empty() { Ok(()) } else { apt::install(&missing, "to emulate a board") }
    }

    /// Starts it, if it does not run already, and waits until ssh answers.
    pub(super) fn up(&self, options: &Up) -> Result<()> {
        let _lock = locked(&self.folder.join("lock"))?;
        if let Some(started) = self.started() {
            say(format!("the board runs already: {}, port {}", started.cpu, started.port));
            return self.wait(Instant::now());
        }
        Self::see_to_programs()?;
        let image = Image::find_or_make()?;
        self.see_to_disk(options.is_fresh)?;
        let start = Instant::now();
        // A port that was free a moment ago may be taken by now, so another is tried.
        let mut tried = 0;
        while let Err(error) = self.start(&image, options) {
            tried += 1;
            if tried == 3 {
                return Err(error);
            }
        }
        self.wait(start)
    }

    /// Cuts its power: what the machine had not written to its disk is lost.
    pub(crate) fn cut(&self) -> Result<()> {
        let _lock = locked(&self.folder.join("lock"))?;
        let Some(started) = self.started() else {
            say("the board is off");
            return Ok(());
        };
        self.kill(&started)?;
        say("power is cut");
        Ok(())
    }

    /// Shuts it down in order.
    pub(super) fn down(&self) -> Result<()> {
        let _lock = locked(&self.folder.join("lock"))?;
        let Some(started) = self.started() else {
            say("the board is off");
            return Ok(());
        };
        // The connection ends with the machine, so the answer says nothing.
        let _ = self.remote()?.run("sync; umount /data; poweroff -f");
        let start = Instant::now();
        while self.started().is_some() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(100));
        }
        if self.started().is_some() {
            say("the board does not shut down by itself");
            self.kill(&started)?;
        }
        say("the board is off");
        Ok(())
    }

    /// The way to it. Errors: it does not run.
    pub(crate) fn remote(&self) -> Result<Remote> {
        let started = self.started().context("the board is off: `cargo xtask board up`")?;
        let image = Image::find_or_make()?;
        let mut options: Vec<OsString> = vec!["-F".into(), "none".into(), "-p".into()];
        options.push(started.port.to_string().into());
        options.extend(["-i".into(), image.key().into_os_string()]);
        let mut known = OsString::from("UserKnownHostsFile=");
        known.push(image.known_hosts());
        for option in [
            known,
            "GlobalKnownHostsFile=none".into(),
            "StrictHostKeyChecking=yes".into(),
            format!("HostKeyAlias={HOST}").into(),
            "IdentitiesOnly=yes".into(),
            "BatchMode=yes".into(),
            "ConnectTimeout=20".into(),
            "LogLevel=ERROR".into(),
            // Where power is cut, the other side says nothing more.
            "ServerAliveInterval=15".into(),
        ] {
            options.extend(["-o".into(), option]);
        }
        Ok(Remote::by_options("root@127.0.0.1", options))
    }

    /// The CPU that it emulates. Errors: it does not run.
    pub(crate) fn cpu(&self) -> Result<String> {
        Ok(self.started().context("the board is off: `cargo xtask board up`")?.cpu)
    }

    /// The machine, if it runs: a process of that number may by now be another program.
    fn started(&self) -> Option<Started> {
        let text = std::fs::read_to_string(self.folder.join("started.json")).ok()?;
        let started: Started = serde_json::from_str(&text).ok()?;
        let line = std::fs::read(format!("/proc/{}/cmdline", started.pid)).ok()?;
        is_ours(&line, &self.disk()).then_some(started)
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Makes the disk where it is missing, or where a new one is wanted.
    fn see_to_disk(&self, is_fresh: bool) -> Result<()> {
        let disk = self.disk();
        if disk.exists() && !is_fresh {
            return Ok(());
        }
        let unfinished = disk.with_extension("unfinished");
        let making = || format!("making {}", unfinished.display());
        let file = File::create(&unfinished).with_context(making)?;
        file.set_len(DISK_LEN).with_context(making)?;
        let mkfs = ["mkfs.ext4", "/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"]
            .into_iter()
            .find(|name| Path::new(name).exists() || find_program(name).is_some())
            .context("mkfs.ext4 is missing: apt-get install e2fsprogs")?;
        output(Command::new(mkfs).args(["-q", "-F", "-L", "data"]).arg(&unfinished))?;
        std::fs::rename(&unfinished, &disk)
            .with_context(|| format!("renaming to {}", disk.display()))
    }

    fn start(&self, image: &Image, options: &Up) -> Result<()> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .context("looking for a free port")?
            .port();
        let pid_file = self.folder.join("pid");
        std::fs::write(self.console(), "").context("emptying the console")?;
        let mut command = Command::new(QEMU);
        command.args(["-M", "virt,gic-version=2", "-nodefaults", "-no-reboot", "-display", "none"]);
        command.args(["-cpu", &options.cpu, "-smp", &options.cores.to_string()]);
        command.args(["-m", &options.memory.to_string(), "-accel", "tcg,tb-size=64"]);
        command.arg("-serial").arg(with("file:", &self.console(), ""));
        command.arg("-kernel").arg(image.kernel()).arg("-initrd").arg(image.first_files());
        command.args(["-append", "console=ttyAMA0 quiet panic=-1 random.trust_cpu=on audit=0"]);
        // Only ssh goes in, and nothing goes out.
        let network = format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22");
        command.args(["-netdev", &network, "-device", "virtio-net-device,netdev=net"]);
        command.arg("-drive").arg(with("if=none,id=disk,format=raw,file=", &self.disk(), ""));
        command.args(["-device", "virtio-blk-device,drive=disk", "-device", "virtio-rng-device"]);
        command.arg("-daemonize").arg("-pidfile").arg(&pid_file);
        output(&mut command)?;
        let text = std::fs::read_to_string(&pid_file).context("reading the number of qemu")?;
        let pid =
            text.trim().parse().with_context(|| format!("`{}` is no process", text.trim()))?;
        let started = Started { pid, port, cpu: options.cpu.clone() };
        let file = self.folder.join("started.json");
        std::fs::write(&file, serde_json::to_string(&started)?)
            .with_context(|| format!("writing {}", file.display()))
    }

    /// Waits until ssh answers.
    fn wait(&self, start: Instant) -> Result<()> {
        let remote = self.remote()?;
        loop {
            let console = std::fs::read(self.console()).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            if console.contains(READY) && remote.run("true").is_ok() {
                if console.contains("BOARD-NO-DISK") {
                    bail!("the board could not mount its disk: `board up --fresh` makes a new one");
                }
                let port = self.started().map_or(0, |started| started.port);
                let seconds = start.elapsed().as_secs_f64();
                say(format!("ssh answers at 127.0.0.1:{port} after {seconds:.1} s"));
                return Ok(());
            }
            let is_dead = self.started().is_none();
            if is_dead || start.elapsed() > PATIENCE {
                let what = if is_dead { "ended while it booted" } else { "does not answer by ssh" };
                let from = console.len().saturating_sub(2000);
                let tail = console.get(from..).unwrap_or_default();
                bail!("the board {what}; the end of its console:\n{tail}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn kill(&self, started: &Started) -> Result<()> {
        output(Command::new("sh").args(["-c", &format!("kill -9 {}", started.pid)]))?;
        while self.started().is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Whether a command line, as `/proc` has it, is that of qemu with this disk.
fn is_ours(line: &[u8], disk: &Path) -> bool {
    let line = String::from_utf8_lossy(line);
    line.contains(QEMU) && line.contains(&format!("file={}", disk.display()))
}

fn with(before: &str, file: &Path, after: &str) -> OsString {
    let mut word = OsString::from(before);
    word.push(file);
    word.push(after);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_number_is_another_program() {
        let disk = Path::new("/x/disk.img");
        assert!(is_ours(b"qemu-system-aarch64\0-drive\0if=none,file=/x/disk.img\0", disk));
        assert!(!is_ours(b"qemu-system-aarch64\0-drive\0if=none,file=/y/disk.img\0", disk));
        assert!(!is_ours(b"vi\0file=/x/disk.img\0", disk));
        let folder = std::env::temp_dir().join(format!("embdl-machine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let machine = Machine { folder: folder.clone() };
        let mine = Started { pid: std::process::id(), port: 1, cpu: "x".into() };
        std::fs::write(folder.join("started.json"), serde_json::to_string(&mine).unwrap()).unwrap();
        let found = machine.started();
        std::fs::write(folder.join("started.json"), "{").unwrap();
        let unreadable = machine.started();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(found.is_none() && unreadable.is_none());
    }
}
