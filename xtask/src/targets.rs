//! The pages of data in `targets/`: what a target and a board are. Unknown keys are errors.
use crate::workspace::root;
use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;

/// A family of boards that run the same program: `targets/<name>.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Target {
    /// The runtime crate that serves it.
    pub(crate) runtime: String,
    /// Rust's name of it; absent means the machine that builds.
    pub(crate) triple: Option<String>,
    /// The oldest CPU that the program must run on, by LLVM's name; faster ones are found at run time.
    pub(crate) cpu: Option<String>,
    /// CPU features to add (`+name`) or, where some boards lack them, to leave out (`-name`).
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// Whether the runner has kernels for levels that the oldest CPU lacks. Without them it is smaller.
    #[serde(default = "yes")]
    pub(crate) faster_levels: bool,
    /// Features of the runner's package to build with, such as a GPU's runtime.
    #[serde(default)]
    pub(crate) runner_features: Vec<String>,
    /// The oldest glibc to run on, where the program opens libraries of the board and so cannot be static.
    pub(crate) glibc: Option<String>,
    /// The CPUs that tests are run on by emulation, the most capable first.
    #[serde(default)]
    pub(crate) emulated_cpus: Vec<String>,
    /// What the program may take on a board.
    pub(crate) max_size: MaxSize,
}

const fn yes() -> bool {
    true
}

/// Size budgets, written as `600 KiB`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaxSize {
    /// Machine code of the runner.
    pub(crate) text: Size,
    /// The runner's whole file, where it goes to a board.
    pub(crate) file: Option<Size>,
    /// Activations of one network of the zoo at batch 1.
    pub(crate) arena: Size,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(pub(crate) u64);

/// One board: `targets/boards/<name>/board.toml`. What no public document states is absent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Board {
    /// The vendor's name of it.
    pub(crate) name: String,
    /// The page in `targets/` that it belongs to.
    pub(crate) target: String,
    /// The system on chip, by its vendor's name.
    pub(crate) soc: String,
    /// Clusters of equal cores.
    pub(crate) cpu: Vec<Cluster>,
    /// Compute units beside the CPU.
    #[serde(default)]
    pub(crate) accelerator: Vec<Accelerator>,
    pub(crate) memory: Memory,
    pub(crate) power: Option<Power>,
    /// How its programs get there.
    pub(crate) reach: Reach,
    /// How its system software gets there, in a sentence.
    pub(crate) flash: String,
    /// The documents that the numbers are from.
    pub(crate) sources: Vec<Source>,
}

/// Equal cores of one CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    pub(crate) core: String,
    pub(crate) cores: u32,
    pub(crate) clock_mhz: Option<u32>,
    /// The highest clock, where the nominal one is lower.
    pub(crate) burst_mhz: Option<u32>,
    /// The vector instruction sets that our kernels could use, in the kernels' words.
    pub(crate) isa: Vec<String>,
}

/// A compute unit beside the CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Accelerator {
    pub(crate) name: String,
    pub(crate) units: Option<u32>,
    pub(crate) clock_mhz: Option<u32>,
}

/// The main memory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Memory {
    pub(crate) kind: Option<String>,
    /// The sizes that the board is sold with.
    #[serde(default)]
    pub(crate) sizes: Vec<Size>,
    pub(crate) bus_bits: Option<u32>,
    /// The peak of the interface, in 10^9 bytes a second.
    pub(crate) bandwidth_gb_s: Option<f64>,
}

/// Electrical power.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Power {
    /// The chip's thermal design power.
    pub(crate) soc_tdp_w: Option<f64>,
    /// The budgets that the board's power modes hold to.
    #[serde(default)]
    pub(crate) modes_w: Vec<f64>,
    /// The supply that the vendor asks for.
    pub(crate) supply_w: Option<f64>,
}

/// How programs get to a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// By `scp` and `ssh`; the address is in the environment, see [`Board::address_variable`].
    Ssh,
    /// By `ssh`, to the machine that `cargo xtask board` started.
    Emulated,
}

/// A public document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) document: String,
    /// What was taken from it.
    pub(crate) states: String,
}

impl Target {
    /// Reads `targets/<name>.toml`.
    pub(crate) fn read(name: &str) -> Result<Self> {
        page(&root().join("targets").join(format!("{name}.toml")))
    }

    /// Flags that make rustc build for the oldest CPU of the target.
    pub(crate) fn rustflags(&self) -> String {
        let cpu = self.cpu.iter().map(|cpu| format!("-Ctarget-cpu={cpu}"));
        let features = (!self.features.is_empty())
            .then(|| format!("-Ctarget-feature={}", self.features.join(",")));
        cpu.chain(features).collect::<Vec<_>>().join(" ")
    }
}

impl Board {
    /// Reads `targets/boards/<name>/board.toml`.
    pub(crate) fn read(name: &str) -> Result<Self> {
        page(&root().join("targets/boards").join(name).join("board.toml"))
    }

    /// The variable that holds `user@host` of a person's own board, such as `EMBDL_BOARD_JETSON_TX2`.
    pub(crate) fn address_variable(name: &str) -> String {
        format!("EMBDL_BOARD_{}", name.to_uppercase().replace('-', "_"))
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size such as `600 KiB`");
        let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{} KiB", self.0 >> 10, ((self.0 & 1023) * 10) >> 10)
    }
}

/// The command that `.cargo/config.toml` starts programs of a target with.
pub(crate) fn runner(triple: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Config {
        target: BTreeMap<String, PerTarget>,
    }
    #[derive(Deserialize)]
    struct PerTarget {
        runner: String,
    }
    let mut config: Config = page(&root().join(".cargo/config.toml"))?;
    let per_target = config.target.remove(triple);
    Ok(per_target.with_context(|| format!(".cargo/config.toml has no runner for {triple}"))?.runner)
}

/// Reads a page of data. Errors: it is not there, or it is not what `T` says, with the line.
pub(crate) fn page<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        let size = |text: &str| Size::try_from(text.to_owned());
        assert_eq!(size("600 KiB"), Ok(Size(614_400)));
        assert_eq!(size("8 GiB"), Ok(Size(8 << 30)));
        assert!(size("600").is_err() && size("600 kB").is_err() && size("-1 KiB").is_err());
        assert!(size("99999999999 GiB").is_err());
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
    }

    #[test]
    fn unknown_keys_are_errors() {
        let good = "runtime = 'rt-arm'\nmax-size = { text = '1 KiB', arena = '1 KiB' }\n";
        assert!(toml::from_str::<Target>(good).is_ok());
        let error = toml::from_str::<Target>(&format!("cpus = 'x'\n{good}")).unwrap_err();
        assert!(error.to_string().contains("unknown field `cpus`"), "{error}");
    }

    #[test]
    fn a_target_turns_into_compiler_flags() {
        let text = "runtime = 'r'\ncpu = 'goldmont'\nfeatures = ['-aes', '+crc']\nmax-size = { text = '1 B', arena = '1 B' }";
        let target: Target = toml::from_str(text).unwrap();
        assert_eq!(target.rustflags(), "-Ctarget-cpu=goldmont -Ctarget-feature=-aes,+crc");
    }

    #[test]
    fn the_runner_comes_from_cargos_configuration() {
        let runner = runner(crate::toolchain::AARCH64).unwrap();
        assert!(runner.starts_with("qemu-aarch64 "), "{runner}");
    }
}
