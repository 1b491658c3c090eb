//! What the emulated board boots: Debian's arm64 kernel, and a first file system with busybox and dropbear. Made once and kept
//! in the user's cache, with the keys of both sides beside it.
use super::cpio::Archive;
use super::locked;
use crate::process::{find_program, output, say};
use crate::{apt, setup, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's kernel for virtual machines: ext4 is in it, and its package is a third of the other's.
const KERNEL: &str = "linux-image-cloud-arm64";
/// What runs on it, with the libraries that dropbear needs.
const PACKAGES: [&str; 9] = [
    "busybox-static",
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libgcc-s1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
];
/// Drivers of the machine `virt`, each after those it needs.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_mmio",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio-rng",
];
/// dropbear's libraries, and its loader.
const LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libcrypt.so.1",
    "libgcc_s.so.1",
    "libgmp.so.10",
    "libtomcrypt.so.1",
    "libtommath.so.1",
    "libz.so.1",
];
const LOADER: &str = "ld-linux-aarch64.so.1";
/// Where Debian keeps libraries of this architecture.
const LIBRARY_FOLDER: &str = "lib/aarch64-linux-gnu";
/// The first program.
const INIT: &str = include_str!("../../board/init.sh");
/// The name that the board's key is known by, whatever port it is reached at.
pub(super) const HOST: &str = "embdl-emulated-board";

/// A folder with all that a machine needs beside its disk.
pub(super) struct Image {
    folder: PathBuf,
}

impl Image {
    pub(super) fn kernel(&self) -> PathBuf {
        self.folder.join("kernel")
    }

    pub(super) fn first_files(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// The key that opens the board.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// The image in the user's cache; made where it is missing or was made by another version of this file.
    pub(super) fn find_or_make() -> Result<Self> {
        let cache = workspace::cache()?;
        std::fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        let _lock = locked(&cache.join("board.lock"))?;
        let image = Self { folder: cache.join("board") };
        let stamp = format!("{KERNEL}\n{PACKAGES:?}\n{MODULES:?}\n{INIT}");
        let made = std::fs::read_to_string(image.folder.join("stamp"));
        if made.is_ok_and(|made| made == stamp) {
            return Ok(image);
        }
        say("making the emulated board's image, once");
        let unfinished = Self { folder: cache.join("board.unfinished") };
        for folder in [&unfinished.folder, &image.folder] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)
                    .with_context(|| format!("removing {}", folder.display()))?;
            }
        }
        unfinished.make()?;
        write(&unfinished.folder.join("stamp"), stamp)?;
        std::fs::rename(&unfinished.folder, &image.folder)
            .with_context(|| format!("renaming {}", unfinished.folder.display()))?;
        Ok(image)
    }

    fn make(&self) -> Result<()> {
        if !apt::is_debian() {
            bail!(
                "the emulated board is made of Debian's packages for arm64, which only Debian's own servers have: \
                 run this on Debian, or in a container of it"
            );
        }
        if find_program("ssh-keygen").is_none() {
            apt::install(&["openssh-client"], "to reach the board")?;
        }
        let packages = self.folder.join("packages");
        std::fs::create_dir_all(&packages)
            .with_context(|| format!("creating {}", packages.display()))?;
        let foreign = apt::Foreign::open("arm64", &packages)?;
        let kernel = foreign.first_dependency(KERNEL)?;
        foreign.unpack(&[&kernel])?;
        foreign.unpack(&PACKAGES)?;
        foreign.close()?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", HOST, "-f"]).arg(self.key());
        output(&mut keygen)?;
        let host_key = self.host_key(&packages)?;
        let files = self.files(&packages, &host_key)?;
        write(&self.first_files(), files)?;
        let boot = packages.join("boot");
        let kernel = only(&boot, |name| name.starts_with("vmlinuz-"))?;
        std::fs::copy(&kernel, self.kernel())
            .with_context(|| format!("copying {}", kernel.display()))?;
        std::fs::remove_dir_all(&packages)
            .with_context(|| format!("removing {}", packages.display()))
    }

    /// Makes the board's own key by its own program, and lets ssh know it.
    fn host_key(&self, packages: &Path) -> Result<Vec<u8>> {
        let file = self.folder.join("host_key");
        let mut words = setup::emulator(&setup::AARCH64_LINUX)?.into_iter();
        let loader = library(packages, LOADER)?;
        let mut command = match words.next() {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&loader);
                command
            }
            None => Command::new(&loader),
        };
        let folders =
            [LIBRARY_FOLDER.into(), format!("usr/{LIBRARY_FOLDER}")].map(|f| packages.join(f));
        let folders: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        command.args(["--library-path", &folders.join(":")]);
        command.arg(packages.join("usr/bin/dropbearkey")).args(["-t", "ed25519", "-f"]).arg(&file);
        let said = output(&mut command)?;
        let public = said.lines().find(|line| line.starts_with("ssh-ed25519 "));
        let public = public.context("dropbearkey showed no public key")?;
        let words: Vec<&str> = public.split(' ').take(2).collect();
        write(&self.known_hosts(), format!("{HOST} {}\n", words.join(" ")))?;
        read(&file)
    }

    /// The first file system.
    fn files(&self, packages: &Path, host_key: &[u8]) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        for folder in [
            "bin",
            "sbin",
            "usr",
            "usr/bin",
            "usr/sbin",
            "etc",
            "etc/dropbear",
            "lib",
            LIBRARY_FOLDER,
            "modules",
            "proc",
            "sys",
            "dev",
            "run",
            "var",
            "var/log",
            "data",
        ] {
            archive.folder(folder, 0o755);
        }
        archive.folder("tmp", 0o1777);
        archive.folder("root", 0o700);
        archive.folder("root/.ssh", 0o700);
        archive.file("init", 0o755, INIT.as_bytes());
        archive.file("bin/busybox", 0o755, &read(&packages.join("bin/busybox"))?);
        archive.file("usr/sbin/dropbear", 0o755, &read(&packages.join("usr/sbin/dropbear"))?);
        archive.file(&format!("lib/{LOADER}"), 0o755, &read(&library(packages, LOADER)?)?);
        for name in LIBRARIES {
            let content = read(&library(packages, name)?)?;
            archive.file(&format!("{LIBRARY_FOLDER}/{name}"), 0o644, &content);
        }
        archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
        archive.file("etc/group", 0o644, b"root:x:0:\n");
        archive.file("etc/shells", 0o644, b"/bin/sh\n");
        archive.file("etc/dropbear/key", 0o600, host_key);
        let public = read(&self.key().with_extension("pub"))?;
        archive.file("root/.ssh/authorized_keys", 0o600, &public);
        let mut order = String::new();
        for module in modules(packages)? {
            let name = format!("modules/{}", module.file_name().unwrap_or_default().display());
            archive.file(&name, 0o644, &read(&module)?);
            order += &format!("/{name}\n");
        }
        archive.file("modules/order", 0o644, order.as_bytes());
        Ok(archive.finish())
    }
}

/// The drivers that are not in the kernel itself, in the order of [`MODULES`].
fn modules(packages: &Path) -> Result<Vec<PathBuf>> {
    let versions = packages.join("lib/modules");
    let mut folders = vec![only(&versions, |_| true)?];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let find = |module: &&str| {
        let has_name = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(*module).is_some_and(|rest| [".ko", ".ko.xz"].contains(&rest))
        };
        files.iter().find(has_name).cloned()
    };
    Ok(MODULES.iter().filter_map(find).collect())
}

/// A library of the unpacked packages.
fn library(packages: &Path, name: &str) -> Result<PathBuf> {
    let folders = [LIBRARY_FOLDER.to_owned(), format!("usr/{LIBRARY_FOLDER}")];
    let found =
        folders.iter().map(|folder| packages.join(folder).join(name)).find(|file| file.exists());
    found.with_context(|| format!("Debian's packages for arm64 hold no {name}"))
}

/// The only entry of a folder whose name is as wanted.
fn only(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut found =
        entries.flatten().filter(|entry| is_wanted(&entry.file_name().to_string_lossy()));
    let entry =
        found.next().with_context(|| format!("{} lacks what is wanted", folder.display()))?;
    Ok(entry.path())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}
