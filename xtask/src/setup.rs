//! `cargo xtask setup`: what the other commands need, installed where it is missing, and nothing done where it is there.
use crate::process::{
    cargo, find_program, first_program, output, retry, run as run_shown, say, warn,
};
use crate::toolchain::{self, AARCH64, ARMV7, Compiler};
use crate::{apt, onnx, photographs, targets};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Instant;

/// Install what the project needs: an emulator, a cross linker, the AArch64 standard library, ONNX's node tests, photographs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compile cargo-nextest where it is missing (some ten minutes); without it, `cargo test` serves.
    #[arg(long)]
    nextest: bool,
    /// Install Debian's package of Fashion-MNIST, so that nothing is fetched later.
    #[arg(long)]
    dataset: bool,
    /// Prepare the bare-metal target as well, which `ci` builds for.
    #[arg(long)]
    bare_metal: bool,
}

/// What a machine needs to build for another Linux and to run the result.
pub(crate) struct Cross {
    pub(crate) machine: &'static Machine,
    pub(crate) compiler: Compiler,
    /// One entry a CPU to test on.
    pub(crate) runners: Vec<Runner>,
}

/// Another architecture that this machine builds for and emulates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The page of `targets/`.
    pub(crate) target: &'static str,
    pub(crate) triple: &'static str,
    /// Rust's word for it.
    architecture: &'static str,
    /// The names of the emulator.
    emulators: [&'static str; 2],
    /// The cross linker, the C library that it links with, and Debian's packages of both.
    linker: &'static str,
    libc: &'static str,
    packages: [&'static str; 2],
}

/// 64-bit Arm.
pub(crate) const AARCH64_LINUX: Machine = Machine {
    target: "aarch64",
    triple: AARCH64,
    architecture: "aarch64",
    emulators: ["qemu-aarch64", "qemu-aarch64-static"],
    linker: "aarch64-linux-gnu-gcc",
    libc: "/usr/aarch64-linux-gnu/lib/libc.so.6",
    packages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
};

/// 32-bit Arm with NEON.
pub(crate) const ARMV7_LINUX: Machine = Machine {
    target: "armv7",
    triple: ARMV7,
    architecture: "arm",
    emulators: ["qemu-arm", "qemu-arm-static"],
    linker: "arm-linux-gnueabihf-gcc",
    libc: "/usr/arm-linux-gnueabihf/lib/libc.so.6",
    packages: ["gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
};

/// The machine of a triple.
pub(crate) fn machine(triple: &str) -> Option<&'static Machine> {
    [&AARCH64_LINUX, &ARMV7_LINUX].into_iter().find(|machine| machine.triple == triple)
}

/// How a program for another machine is started here.
pub(crate) struct Runner {
    /// The name of the emulated CPU, or `native`.
    pub(crate) label: String,
    /// The command, without the program.
    pub(crate) command: String,
    pub(crate) is_emulated: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let aarch64 = cross(&AARCH64_LINUX)?;
    for runner in &aarch64.runners {
        say(format!("runs AArch64 programs by `{}`", runner.command));
    }
    if args.bare_metal {
        say(toolchain::pick(toolchain::BARE_METAL)?.explanation);
    }
    if args.nextest && !has_nextest() {
        say("compiling cargo-nextest");
        retry(3, "cargo install cargo-nextest", || {
            run_shown(cargo().args(["install", "cargo-nextest", "--locked"]))
        })?;
    }
    let test_runner = if has_nextest() { "cargo-nextest" } else { "cargo test (no cargo-nextest)" };
    say(format!("tests run by {test_runner}"));
    if args.dataset {
        dataset();
    }
    let source = if has_dataset() { "Debian's package" } else { "fetched when first needed" };
    say(format!("Fashion-MNIST: {source}"));
    onnx::node_tests()?;
    photographs::photographs()?;
    let vulkan = vulkan().unwrap_or("a driver of this machine");
    say(format!("Vulkan: {vulkan}"));
    say(format!("setup done in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Sees to Debian's package of Fashion-MNIST, where this system has one. Without it, `embdl` fetches the files.
pub(crate) fn dataset() {
    if has_dataset() {
        return;
    }
    if let Err(error) = apt::install(&["dataset-fashion-mnist"], "the data set of the demo") {
        warn(format!("{error:#}; Fashion-MNIST is fetched when it is first needed"));
    }
}

fn has_dataset() -> bool {
    Path::new("/usr/share/datasets/fashion-mnist").is_dir()
}

/// Sees to a Vulkan driver for the tests of the GPU runtime: software Vulkan where this machine has none. Gives the reason
/// where there is none in the end.
pub(crate) fn vulkan() -> Option<&'static str> {
    if has_vulkan() {
        return None;
    }
    let packages = ["mesa-vulkan-drivers", "libvulkan1"];
    if let Err(error) = apt::install(&packages, "to test the GPU runtime on software Vulkan") {
        warn(format!("{error:#}"));
    }
    (!has_vulkan()).then_some("there is no Vulkan driver, and none can be installed")
}

/// Whether there are a loader and the description of a driver, which it reads.
fn has_vulkan() -> bool {
    let any_in = |folder: &str, extension: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.extension() == Some(extension.as_ref()))
    };
    let architecture = std::env::consts::ARCH;
    let libraries = [
        format!("/usr/lib/{architecture}-linux-gnu"),
        "/usr/lib64".to_owned(),
        "/usr/lib".to_owned(),
    ];
    let has_loader = libraries.iter().any(|at| Path::new(at).join("libvulkan.so.1").exists());
    has_loader
        && ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]
            .iter()
            .any(|folder| any_in(folder, "json"))
}

/// Whether tests can be run by cargo-nextest.
pub(crate) fn has_nextest() -> bool {
    find_program("cargo-nextest").is_some()
}

/// Sees to the emulator, the linker and the compiler for a machine, and says which compiler was picked.
pub(crate) fn cross(machine: &'static Machine) -> Result<Cross> {
    let is_native = machine.is_this();
    let mut missing = Vec::new();
    if find_program("cc").is_none() {
        missing.extend(["gcc", "libc6-dev"]);
    }
    if !is_native {
        if machine.emulator().is_none() {
            missing.push("qemu-user");
        }
        if find_program(machine.linker).is_none() || !Path::new(machine.libc).exists() {
            missing.extend(machine.packages);
        }
    }
    if !missing.is_empty() {
        let reason = format!("to build for {} and to run the result", machine.target);
        apt::install(&missing, &reason)?;
    }
    let compiler = toolchain::pick(machine.triple)?;
    say(&compiler.explanation);
    let runners = if is_native { vec![native()] } else { emulated(machine)? };
    Ok(Cross { machine, compiler, runners })
}

/// Sees to a component of the toolchain, such as clippy; a toolchain of rustup's minimal profile has few.
pub(crate) fn component(name: &str) -> Result<()> {
    if output(cargo().args([name, "--version"])).is_ok() {
        return Ok(());
    }
    let component = if name == "fmt" { "rustfmt" } else { name };
    if find_program("rustup").is_none() {
        bail!("cargo {name} is missing: install {component} for the active toolchain");
    }
    say(format!("adding {component} with rustup"));
    retry(3, "rustup component add", || {
        run_shown(std::process::Command::new("rustup").args(["component", "add", component]))
    })
}

/// The emulator of other x86-64 CPUs, installed where it is missing.
pub(crate) fn x86_emulator() -> Result<std::path::PathBuf> {
    let find = || first_program(&["qemu-x86_64", "qemu-x86_64-static"]);
    if find().is_none() {
        apt::install(&["qemu-user"], "to run tests on the emulated Atom")?;
    }
    find().context("qemu-user is installed, yet brought no qemu-x86_64")
}

/// The emulator of a machine's programs, installed where it is missing; `None` on a machine that needs none.
pub(crate) fn emulator(machine: &Machine) -> Result<Option<std::path::PathBuf>> {
    if machine.is_this() {
        return Ok(None);
    }
    if machine.emulator().is_none() {
        apt::install(&["qemu-user"], &format!("to run programs for {}", machine.target))?;
    }
    let missing = || format!("qemu-user is installed, yet brought no {}", machine.emulators[0]);
    Ok(Some(machine.emulator().with_context(missing)?))
}

impl Machine {
    /// Whether this is such a machine.
    fn is_this(&self) -> bool {
        std::env::consts::ARCH == self.architecture && std::env::consts::OS == "linux"
    }

    fn emulator(&self) -> Option<std::path::PathBuf> {
        first_program(&self.emulators)
    }
}

/// One runner for each CPU that the target's page names.
fn emulated(machine: &Machine) -> Result<Vec<Runner>> {
    let Some(emulator) = machine.emulator() else {
        bail!("qemu-user is installed, yet brought no {}", machine.emulators[0]);
    };
    // The page of `.cargo/config.toml` has the arguments; only the program may have another name here.
    let configured = targets::runner(machine.triple)?;
    let arguments = configured.split_once(' ').map_or("", |(_, rest)| rest);
    let program = emulator.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cpus = targets::Target::read(machine.target)?.emulated_cpus;
    if cpus.is_empty() {
        warn(format!(
            "targets/{}.toml names no emulated-cpus: nothing will be run",
            machine.target
        ));
    }
    let runner = |cpu: String| Runner {
        // The variable makes our own programs mark what they report as emulated.
        command: format!("{program} {arguments} -E EMBDL_EMULATED={cpu} -cpu {cpu}"),
        label: cpu,
        is_emulated: true,
    };
    Ok(cpus.into_iter().map(runner).collect())
}

/// On such a machine programs start as they are; `env` stands in for the emulator that the configuration names.
fn native() -> Runner {
    Runner { label: "native".into(), command: "env".into(), is_emulated: false }
}
