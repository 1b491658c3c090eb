//! What a peer for AArch64 runs in under qemu-user: Debian's arm64 Python and the wheels that the peers publish, kept in the
//! user's cache, and beside them what a CPU says of itself in files.
use crate::apt;
use crate::bench::peers::native_python;
use crate::process::{retry, run, say};
use crate::workspace::{cache, root};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages that are unpacked, with everything that they depend on.
const PACKAGES: [&str; 3] = ["python3", "libstdc++6", "libgomp1"];
/// What is installed of the lists in xtask/peers; the rest converts models, which happens on this machine.
const WHEELS: [&str; 6] = ["numpy", "flatbuffers", "onnxruntime", "ncnn", "MNN", "ai-edge-litert"];
/// Wheels may need a glibc up to that of the oldest Debian that we run on, 2.36.
const GLIBC: core::ops::RangeInclusive<u32> = 17..=36;
/// The parts of the root that are the same for every CPU.
const SHARED: [&str; 3] = ["etc", "lib", "usr"];

/// Implementer and part number in `MIDR_EL1`, by qemu's name for a CPU. Source: the technical reference manuals of Arm's
/// cores; for `max`, qemu's documentation.
const PARTS: [(&str, u32, u32); 8] = [
    ("cortex-a53", 0x41, 0xd03),
    ("cortex-a55", 0x41, 0xd05),
    ("cortex-a57", 0x41, 0xd07),
    ("cortex-a72", 0x41, 0xd08),
    ("cortex-a76", 0x41, 0xd0b),
    ("neoverse-n1", 0x41, 0xd0c),
    ("neoverse-v1", 0x41, 0xd40),
    ("max", 0x00, 0x051),
];

/// The root of the file system that an emulated program sees where it has the file, and this machine's otherwise.
pub(super) struct Root {
    pub(super) folder: PathBuf,
    /// The interpreter.
    pub(super) python: PathBuf,
    /// Where the wheels are.
    pub(super) site: PathBuf,
}

impl Root {
    /// The root on a CPU of qemu's; packages and wheels are fetched where they are missing or other ones are wanted.
    pub(super) fn on(cpu: &str) -> Result<Self> {
        let cpuinfo = cpuinfo(cpu)?;
        let shared = shared()?;
        let folder = root().join("out/count/root").join(cpu.replace(',', "-"));
        let places = folder.join("sys/devices/system/cpu");
        for made in [&places, &folder.join("proc")] {
            std::fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
        }
        // Libraries that look for the kind of a core read these, and some end where they find none.
        for (file, text) in [("possible", "0\n"), ("present", "0\n"), ("kernel_max", "0\n")] {
            write(&places.join(file), text)?;
        }
        write(&folder.join("proc/cpuinfo"), &cpuinfo)?;
        for part in SHARED {
            let link = folder.join(part);
            if std::fs::read_link(&link).is_ok_and(|to| to == shared.join(part)) {
                continue;
            }
            if link.is_symlink() {
                std::fs::remove_file(&link)
                    .with_context(|| format!("removing {}", link.display()))?;
            }
            std::os::unix::fs::symlink(shared.join(part), &link)
                .with_context(|| format!("linking {}", link.display()))?;
        }
        let python = folder.join("usr/bin/python3");
        Ok(Self { folder, python, site: shared.join("site") })
    }
}

/// The folder with packages and wheels.
fn shared() -> Result<PathBuf> {
    let folder = cache()?.join("peers-arm64");
    let stamp = folder.join("made-of.txt");
    let wheels = wheels()?;
    let made_of = format!("{}\n{}\n", PACKAGES.join("\n"), wheels.join("\n"));
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return Ok(folder);
    }
    if !apt::is_debian() {
        bail!("peers are counted in Debian's arm64 Python, and this is not Debian");
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("removing {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let foreign = apt::Foreign::open("arm64", &folder)?;
    let packages = foreign.with_dependencies(&PACKAGES)?;
    foreign.unpack(&packages.iter().map(String::as_str).collect::<Vec<_>>())?;
    foreign.close()?;
    say(format!("fetching the peers' wheels for AArch64 into {}", folder.display()));
    let version = python_version(&folder)?;
    let host = native_python()?;
    retry(3, "pip install", || {
        let mut pip = Command::new(&host);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--retries", "5", "--only-binary", ":all:", "--implementation", "cp"]);
        pip.args(["--python-version", &version]);
        for minor in GLIBC {
            pip.args(["--platform", &format!("manylinux_2_{minor}_aarch64")]);
        }
        run(pip.arg("--target").arg(folder.join("site")).args(&wheels))
    })?;
    write(&stamp, &made_of)?;
    Ok(folder)
}

/// The peers' own requirements, with their versions, as far as they are needed to run.
fn wheels() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for name in ["requirements.txt", "requirements-alone.txt"] {
        let file = root().join("xtask/peers").join(name);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}", file.display()))?;
        lines.extend(text.lines().map(str::to_owned));
    }
    let line = |name: &&str| {
        let is_it = |line: &&String| line.split("==").next() == Some(*name);
        lines.iter().find(is_it).cloned().with_context(|| format!("xtask/peers has no {name}"))
    };
    WHEELS.iter().map(line).collect()
}

/// `3.11` of a link from `python3` to `python3.11`.
fn python_version(folder: &Path) -> Result<String> {
    let link = folder.join("usr/bin/python3");
    let to = std::fs::read_link(&link).with_context(|| format!("reading {}", link.display()))?;
    let version = to.to_str().and_then(|name| name.strip_prefix("python"));
    Ok(version.with_context(|| format!("{} is no version of Python", to.display()))?.to_owned())
}

/// What `/proc/cpuinfo` says on a core like this: libraries choose kernels by the part number.
fn cpuinfo(cpu: &str) -> Result<String> {
    let name = cpu.split(',').next().unwrap_or(cpu);
    let known = PARTS.iter().find(|(known, ..)| *known == name);
    let Some((_, implementer, part)) = known else {
        let names: Vec<&str> = PARTS.iter().map(|(name, ..)| *name).collect();
        bail!("peers are counted on {}, not on {cpu}", names.join(", "));
    };
    Ok(format!(
        "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: {implementer:#04x}\nCPU architecture: 8\n\
         CPU variant\t: 0x1\nCPU part\t: {part:#05x}\nCPU revision\t: 0\n\n"
    ))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_known_by_its_part_whatever_is_switched_off() {
        assert!(cpuinfo("cortex-a57").unwrap().contains("CPU part\t: 0xd07\n"));
        assert!(cpuinfo("max,sve=off").unwrap().contains("implementer\t: 0x00\n"));
        let error = cpuinfo("cortex-m4").unwrap_err().to_string();
        assert!(error.contains("cortex-a53") && error.contains("cortex-m4"), "{error}");
    }

    #[test]
    fn every_wheel_has_its_version_in_the_lists() {
        let wheels = wheels().unwrap();
        assert!(wheels.len() == WHEELS.len() && wheels.iter().all(|line| line.contains("==")));
    }
}
