//! The level that peers are held to: a copy of their libraries in which `cpuid` traps and is answered without what the
//! level lacks.
use super::program::Program;
use crate::bench::models::Network;
use crate::process::{find_program, output, say, warn};
use crate::python;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What glibc itself must not use, which reads `cpuid` before anybody could answer for it.
const GLIBC_SSE42: &str =
    "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX_Fast_Unaligned_Load,-ERMS";
const GLIBC_AVX2: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL";
/// The CPU that an emulator plays to prove that nothing beyond SSE4.2 runs: Goldmont with server parts.
const EMULATED_CPU: &str = "Denverton";

/// The network that runs there; larger ones take minutes.
const PROVED: &str = "lenet-5";

/// What the peers' programs see of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// All that this machine has.
    Native,
    /// An Atom of Goldmont.
    Sse42,
    /// A CPU without 512-bit vectors and without byte dot products.
    Avx2,
}

/// How to start a peer at a level.
pub(super) struct Peers {
    pub(super) level: Level,
    /// The interpreter of the environment that the peers are installed in, or of its copy.
    python: PathBuf,
    /// Answers `cpuid` in the copy.
    library: Option<PathBuf>,
}

impl Level {
    /// The peers' level beside a level of ours.
    pub(super) fn beside(isa: Option<&str>) -> Self {
        match isa {
            Some("sse41") => Self::Sse42,
            Some("avx2") => Self::Avx2,
            _ => Self::Native,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Sse42 => "sse42",
            Self::Avx2 => "avx2",
        }
    }

    /// Whether a program at this level may see the vector extension, by numpy's name for it.
    fn allows(self, feature: &str) -> bool {
        match self {
            Self::Native => true,
            Self::Sse42 => false,
            Self::Avx2 => !feature.starts_with("AVX512"),
        }
    }

    const fn glibc(self) -> &'static str {
        match self {
            Self::Avx2 => GLIBC_AVX2,
            Self::Native | Self::Sse42 => GLIBC_SSE42,
        }
    }
}

impl Peers {
    /// Installs the peers where they are missing, and holds them to the level.
    pub(super) fn at(level: Level) -> Result<Self> {
        let folder = root().join("xtask/peers");
        let lists = ["requirements.txt", "requirements-alone.txt"].map(|name| folder.join(name));
        let python = python::environment_of("peers", &lists[0], Some(&lists[1]))?;
        if level == Level::Native {
            return Ok(Self { level, python, library: None });
        }
        let original = python.parent().and_then(Path::parent).context("the environment")?;
        let copy = original.with_file_name("peers-masked");
        let library = copy.join("cpuid.so");
        let peers = Self { level, python: copy.join("bin/python"), library: Some(library.clone()) };
        let stamp = copy.join("made-of.txt");
        let mut made_of = String::new();
        for file in lists.iter().chain(&["mask.py", "cpuid.c"].map(|name| folder.join(name))) {
            let reading = || format!("reading {}", file.display());
            made_of += &std::fs::read_to_string(file).with_context(reading)?;
        }
        if std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
            return Ok(peers);
        }
        say(format!("copying the peers to {}, where cpuid is answered for them", copy.display()));
        if copy.exists() {
            std::fs::remove_dir_all(&copy)
                .with_context(|| format!("removing {}", copy.display()))?;
        }
        output(Command::new("cp").arg("-a").args([original, &copy]))?;
        let mut mask = Command::new(&python);
        println!("{}", output(mask.arg(folder.join("mask.py")).arg(copy.join("lib")))?.trim());
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library);
        output(compiler.arg(folder.join("cpuid.c")))?;
        std::fs::write(&stamp, made_of).with_context(|| format!("writing {}", stamp.display()))?;
        Ok(peers)
    }

    /// A command that starts `peer.py` or `convert.py` with what follows, on these cores.
    pub(super) fn command(&self, cores: &str, script: &str) -> Command {
        let mut command = pinned(cores, &self.python);
        self.mask(&mut command);
        // Nothing is left in the folder of the sources.
        command.arg("-B").arg(root().join("xtask/peers").join(script));
        command
    }

    /// Says which peers add the products of 8-bit weights with overflow at this level; 64 would be right.
    pub(super) fn tell_overflows(&self, cores: &str) -> Result<()> {
        for line in output(&mut self.command(cores, "saturation.py"))?.lines() {
            if let Some((peer, sum)) = line.split_once(' ')
                && sum != "64.0"
            {
                warn(format!(
                    "{peer}: 64 products of levels that should add up to 64.0 give {sum} at {}: weights of 8 bits \
                     overflow there, so compare with int7, which is right and as fast",
                    self.level.name()
                ));
            }
        }
        Ok(())
    }

    /// The command that changes a copy of a program.
    pub(super) fn masker(&self) -> Result<Command> {
        let mut command = Command::new(native_python()?);
        command.arg(root().join("xtask/peers/mask.py"));
        Ok(command)
    }

    /// Lets a program that `mask.py` has changed see the level.
    pub(super) fn mask(&self, command: &mut Command) {
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library).env("EMBDL_CPUID", self.level.name());
            command.env("GLIBC_TUNABLES", self.level.glibc());
        }
    }

    /// Checks what a peer says that it sees. Errors: it sees what the level lacks.
    pub(super) fn check(&self, program: &Program) -> Result<()> {
        let seen = &program.greeting.features;
        match seen.iter().find(|feature| !self.level.allows(feature)) {
            None => Ok(()),
            Some(feature) => bail!(
                "{} still sees {feature} where it is held to {}",
                program.greeting.name,
                self.level.name()
            ),
        }
    }

    /// Runs a peer once in an emulator of an Atom, where an instruction beyond SSE4.2 ends it; without one, says so.
    pub(super) fn prove(&self, peer: &str, network: &Network, model: &Path) -> Result<()> {
        let (Level::Sse42, Some(library)) = (self.level, &self.library) else { return Ok(()) };
        if network.name != PROVED {
            return Ok(());
        }
        let Some(emulator) = find_program("qemu-x86_64") else {
            warn("without qemu-x86_64, nothing but the peers themselves says that they use no AVX");
            return Ok(());
        };
        let stamp = library.with_file_name(format!("{peer}-ran-on-{EMULATED_CPU}.txt"));
        if stamp.exists() {
            return Ok(());
        }
        say(format!("{peer} once on an emulated {EMULATED_CPU}, as a proof"));
        let mut command = Command::new(emulator);
        command.args(["-cpu", EMULATED_CPU]);
        let preload = format!("LD_PRELOAD={}", library.display());
        // OpenBLAS knows CPUs by their model numbers.
        let level = format!("EMBDL_CPUID={}", self.level.name());
        for variable in [preload.as_str(), level.as_str(), "OPENBLAS_CORETYPE=Nehalem"] {
            command.args(["-E", variable]);
        }
        command.arg(&self.python).arg("-B").arg(root().join("xtask/peers/peer.py"));
        let mut program = Program::start(command.arg(peer).arg(model).arg("1"))
            .with_context(|| format!("{peer} on an emulated {EMULATED_CPU}"))?;
        program.run_once().with_context(|| format!("{peer} on {EMULATED_CPU}"))?;
        std::fs::write(&stamp, "").with_context(|| format!("writing {}", stamp.display()))
    }
}

/// The interpreter that has the peers for this machine, at full speed.
pub(in crate::bench) fn native_python() -> Result<PathBuf> {
    Ok(Peers::at(Level::Native)?.python)
}

/// The command of a converter, which runs at full speed.
pub(super) fn converter() -> Result<Command> {
    let mut command = Command::new(native_python()?);
    command.arg("-B").arg(root().join("xtask/peers/convert.py"));
    Ok(command)
}

/// A command that stays on these cores.
pub(super) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cores).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_beside_ours() {
        assert_eq!(Level::beside(Some("sse41")), Level::Sse42);
        assert_eq!(Level::beside(Some("avx512vnni")), Level::Native);
        assert_eq!(Level::beside(None), Level::Native);
        assert!(!Level::Sse42.allows("AVX") && !Level::Avx2.allows("AVX512F"));
        assert!(Level::Avx2.allows("AVX2") && Level::Native.allows("AVX512F"));
    }
}
