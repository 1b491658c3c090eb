//! Which compiler builds for a target: picked in [`pick`], explained in a sentence, and nothing of the machine's default changes.
use crate::process::{cargo, find_program, output, retry, run, say};
use crate::{apt, workspace};
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of a board with AArch64 Linux.
pub(crate) const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// The target of a board with a 32-bit Arm Linux.
pub(crate) const ARMV7: &str = "armv7-unknown-linux-gnueabihf";
/// A microcontroller without an operating system: what builds for it needs no std.
pub(crate) const BARE_METAL: &str = "thumbv7em-none-eabihf";

/// Overrides the choice: `rustup` (the active toolchain, with targets added) or `debian` (the packages rustc-web and libstd-rust-web-dev).
const OVERRIDE: &str = "EMBDL_CROSS_TOOLCHAIN";

/// What a small program has of the standard library.
const SMALL_STD: &str = "std,panic_abort";

/// A compiler that can build for one target.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// `None` is the compiler that cargo takes by itself.
    rustc: Option<PathBuf>,
    /// The parts of the standard library that are compiled from source first.
    from_source: Option<&'static str>,
    triple: String,
    /// What was picked and why, as one sentence.
    pub(crate) explanation: String,
}

impl Compiler {
    /// Cargo, set up to use this compiler; `verb` is `build`, `nextest run` …
    pub(crate) fn cargo(&self, verb: &[&str]) -> Command {
        let mut command = cargo();
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
            // `cargo run` points this to the libraries of the default toolchain.
            command.env_remove("LD_LIBRARY_PATH");
        }
        command.args(verb).args(["--target", &self.triple]);
        self.build_std(&mut command);
        command
    }

    /// Lets a command of cargo compile the parts of the standard library that have to be.
    pub(crate) fn build_std(&self, command: &mut Command) {
        let Some(parts) = self.from_source else { return };
        // The flag is an unstable one, which a stable compiler accepts only when told so.
        command.env("RUSTC_BOOTSTRAP", "1").arg(format!("-Zbuild-std={parts}"));
        if parts == SMALL_STD {
            command.arg("-Zbuild-std-features=optimize_for_size");
        }
    }

    /// The same with a standard library of its own, without backtraces, where the sources of it can be had.
    pub(crate) fn with_own_std(mut self) -> Self {
        let rustc = self.rustc();
        if !has_sources(&rustc) && find_program("rustup").is_some() {
            let add = || run(Command::new("rustup").args(["component", "add", "rust-src"]));
            if let Err(error) = retry(3, "rustup component add", add) {
                say(format!("{error:#}"));
            }
        }
        if has_sources(&rustc) {
            self.from_source = Some(SMALL_STD);
            self.explanation += ", and compiles its own standard library";
        }
        self
    }

    /// Whether the standard library is compiled from source.
    pub(crate) const fn builds_std(&self) -> bool {
        self.from_source.is_some()
    }

    /// The compiled copy of the functions that the compiler calls by itself; none where the target comes without.
    pub(crate) fn builtins(&self) -> Result<Option<PathBuf>> {
        let mut command = Command::new(self.rustc());
        let folder = output(command.args(["--print", "target-libdir", "--target", &self.triple]))?;
        let files = std::fs::read_dir(folder.trim())
            .with_context(|| format!("listing {}", folder.trim()))?;
        let mut paths = files.flatten().map(|file| file.path());
        Ok(paths.find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libcompiler_builtins-") && name.ends_with(".rlib")
        }))
    }

    fn rustc(&self) -> PathBuf {
        self.rustc.clone().unwrap_or_else(active_rustc)
    }
}

/// Picks the compiler for a target, installing it where that is allowed by the machine.
///
/// 1. The active toolchain, if it has the target's standard library, or if rustup can add it.
/// 2. Debian's `rustc-web` with `libstd-rust-web-dev` of the target's architecture, in the same version: it stands beside the
///    default toolchain and is used through `RUSTC`. The library of the other architecture is unpacked in the user's cache
///    where it is not installed. For the bare-metal target the sources (`rust-web-src`) are compiled.
/// 3. Otherwise an error that says what was tried.
pub(crate) fn pick(triple: &str) -> Result<Compiler> {
    let forced = std::env::var(OVERRIDE).unwrap_or_default();
    let (with_rustup, with_debian) = match forced.as_str() {
        "" => (true, true),
        "rustup" => (true, false),
        "debian" => (false, true),
        other => bail!("{OVERRIDE} is `{other}`; it may be `rustup` or `debian`"),
    };
    let mut tried = Vec::new();
    if with_rustup {
        match active_toolchain(triple) {
            Ok(compiler) => return Ok(compiler),
            Err(error) => tried.push(format!("the active toolchain: {error:#}")),
        }
    }
    if with_debian {
        match debian_packages(triple) {
            Ok(compiler) => return Ok(compiler),
            Err(error) => tried.push(format!("Debian's packages: {error:#}")),
        }
    }
    bail!(
        "no compiler for {triple}. Install Rust by https://rustup.rs and run `rustup target add {triple}`; or, on Debian, \
         `apt-get install rustc-web libstd-rust-web-dev rust-web-src` and run this again.\nWhat was tried:\n- {}",
        tried.join("\n- ")
    );
}

/// The active toolchain, if it has a target or rustup can add it.
pub(crate) fn active(triple: &str) -> Result<Compiler> {
    if std::env::var(OVERRIDE).is_ok_and(|forced| forced == "debian") {
        bail!("{OVERRIDE} is `debian`");
    }
    active_toolchain(triple)
}

/// The active toolchain with a standard library of its own, for a target whose compiled one rustup does not have.
pub(crate) fn compiled(triple: &str) -> Result<Compiler> {
    let version = output(Command::new(active_rustc()).arg("--version"))?;
    let compiler = Compiler {
        rustc: None,
        from_source: None,
        triple: triple.to_owned(),
        explanation: format!("{triple}: the active toolchain ({})", version.trim()),
    };
    let compiler = compiler.with_own_std();
    if !compiler.builds_std() {
        bail!("there is no standard library for {triple}, nor are there the sources of one");
    }
    Ok(compiler)
}

fn active_rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

fn active_toolchain(triple: &str) -> Result<Compiler> {
    let rustc = active_rustc();
    let version = output(Command::new(&rustc).arg("--version"))?;
    let version = version.trim();
    let chosen = |how: &str| Compiler {
        rustc: None,
        from_source: None,
        triple: triple.to_owned(),
        explanation: format!("{triple}: the active toolchain ({version}), {how}"),
    };
    if has_standard_library(&rustc, triple) {
        return Ok(chosen("which has the target"));
    }
    if find_program("rustup").is_none() {
        bail!("{version} lacks the target, and there is no rustup to add it");
    }
    say(format!("adding {triple} to {version} with rustup"));
    retry(3, "rustup target add", || run(Command::new("rustup").args(["target", "add", triple])))?;
    if !has_standard_library(&rustc, triple) {
        bail!("rustup added the target, yet to another toolchain than {version}");
    }
    Ok(chosen("to which rustup added the target"))
}

fn debian_packages(triple: &str) -> Result<Compiler> {
    if !apt::is_debian() {
        bail!("this is not Debian");
    }
    let is_bare_metal = triple == BARE_METAL;
    let mut packages = vec!["rustc-web", "libstd-rust-web-dev"];
    packages.extend(is_bare_metal.then_some("rust-web-src"));
    if packages.iter().any(|package| apt::installed(package).is_none()) {
        check_candidate()?;
        apt::install(&packages, "a compiler for other targets, beside your default one")?;
    }
    let packaged = packaged_rustc().context("the package rustc-web ships no rustc")?;
    let (rustc, how) = if is_bare_metal {
        (packaged, "which compiles core and alloc first")
    } else if has_standard_library(&packaged, triple) {
        (packaged, "which has the target")
    } else {
        (with_foreign_library(&packaged, triple)?, "with the standard library of its arm64 package")
    };
    let is_complete =
        if is_bare_metal { has_sources(&rustc) } else { has_standard_library(&rustc, triple) };
    if !is_complete {
        bail!("{} lacks {triple} although everything is installed", rustc.display());
    }
    let version = output(Command::new(&rustc).arg("--version"))?;
    let explanation = format!("{triple}: Debian's rustc-web ({}), {how}", version.trim());
    Ok(Compiler {
        rustc: Some(rustc),
        from_source: is_bare_metal.then_some("core,alloc"),
        triple: triple.to_owned(),
        explanation,
    })
}

/// A compiler that also sees the standard library of the arm64 package, which is unpacked in the user's cache.
///
/// It is the packaged one behind a script that points it to a folder with both targets.
fn with_foreign_library(packaged: &Path, triple: &str) -> Result<PathBuf> {
    let version = apt::installed("rustc-web").context("rustc-web is not installed")?;
    let folder = workspace::cache()?.join(format!("rust-web-{version}"));
    let rustc = folder.join("rustc");
    if has_standard_library(&rustc, triple) {
        return Ok(rustc);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let foreign = apt::Foreign::open("arm64", &folder)?;
    foreign.unpack(&[&format!("libstd-rust-web-dev={version}")])?;
    foreign.close()?;
    let sysroot = output(Command::new(packaged).args(["--print", "sysroot"]))?;
    let targets = folder.join("usr/lib/rustlib");
    let host = Path::new(sysroot.trim()).join("lib/rustlib");
    for entry in std::fs::read_dir(&host).with_context(|| format!("listing {}", host.display()))? {
        let entry = entry?;
        let link = targets.join(entry.file_name());
        if !link.exists() {
            std::os::unix::fs::symlink(entry.path(), &link)
                .with_context(|| format!("linking {}", link.display()))?;
        }
    }
    let script = format!(
        "#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n",
        packaged.display(),
        folder.join("usr").display()
    );
    std::fs::write(&rustc, script).with_context(|| format!("writing {}", rustc.display()))?;
    std::fs::set_permissions(&rustc, PermissionsExt::from_mode(0o755))
        .with_context(|| format!("making {} executable", rustc.display()))?;
    Ok(rustc)
}

/// Errors: Debian's package is older than the Rust that the workspace declares.
fn check_candidate() -> Result<()> {
    let newest = || apt::candidate("rustc-web");
    let candidate = newest().or_else(|| {
        apt::update();
        newest()
    });
    let candidate = candidate.context("apt knows no package rustc-web")?;
    let needed = workspace::Metadata::read()?.rust_version();
    if workspace::version(&candidate) < needed {
        bail!("rustc-web is {candidate}, and the workspace needs {needed:?}");
    }
    Ok(())
}

/// The compiler that the package `rustc-web` installed.
fn packaged_rustc() -> Option<PathBuf> {
    let files = output(Command::new("dpkg").args(["-L", "rustc-web"])).ok()?;
    files.lines().map(PathBuf::from).find(|file| file.ends_with("bin/rustc") && file.is_file())
}

/// Whether `core` is there for a target, compiled.
fn has_standard_library(rustc: &Path, triple: &str) -> bool {
    let asked = output(Command::new(rustc).args(["--print", "target-libdir", "--target", triple]));
    let Ok(folder) = asked else { return false };
    let Ok(files) = std::fs::read_dir(folder.trim()) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
}

/// Whether the sources of the standard library are there.
fn has_sources(rustc: &Path) -> bool {
    output(Command::new(rustc).args(["--print", "sysroot"])).is_ok_and(|folder| {
        Path::new(folder.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    })
}
