//! The runtimes that this machine has, each at each of its instruction set levels.

use embdl_core::kernels::Reference;
use embdl_core::runtime::{Runtime, RuntimeError};
use serde::{Deserialize, Serialize};

/// One runtime at one instruction set level.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuntimeChoice {
    /// "reference", "atom", "arm", "wgpu", "jetson", "myriad".
    pub runtime: String,
    /// "scalar", "sse41", "avx2", "neon", "dotprod", "i8mm", "armv7", "wgsl", "sm62", "dp4a", "shave".
    pub isa: String,
}

impl RuntimeChoice {
    /// Whether it computes on a GPU, which takes times of nodes at the cost of the run's.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        GPUS.contains(&&*self.runtime)
    }

    /// How many of `asked` threads it can be loaded for: the scalar reference has one, and so has a device.
    #[must_use]
    pub fn threads(&self, asked: usize) -> usize {
        if ["reference", "myriad"].contains(&&*self.runtime) { 1 } else { asked }
    }
}

/// GPUs, in builds with the features of these names. They run where they are asked for: what opens as `wgpu` may be a program on
/// the CPU.
const GPUS: [&str; 2] = ["wgpu", "jetson"];

/// Every runtime of a CPU at every level that can be used here, the scalar reference first. Sticks are there only where the
/// environment variable `EMBDL_MYRIAD` chooses them, in builds with the feature `myriad`.
#[must_use]
pub fn choices() -> Vec<RuntimeChoice> {
    let is_chosen = std::env::var_os("EMBDL_MYRIAD").is_some_and(|value| !value.is_empty());
    if is_chosen && cfg!(feature = "myriad") {
        return of(&["reference", "atom", "arm", "myriad"]);
    }
    of(&["reference", "atom", "arm"])
}

/// Those of the runtimes that can be used here, at every level.
fn of(names: &[&str]) -> Vec<RuntimeChoice> {
    let there = names.iter().filter_map(|name| open(name).ok());
    there.flat_map(|runtime| levels(&*runtime)).collect()
}

/// A runtime at each of its levels, the best one last.
fn levels(runtime: &dyn Runtime) -> Vec<RuntimeChoice> {
    let levels = runtime.capabilities().isas.iter().rev();
    let at = |isa: &&str| RuntimeChoice { runtime: runtime.name().into(), isa: (*isa).into() };
    levels.map(at).collect()
}

/// The level that computes floats in halves: not among those that a runtime lists, since its results are others.
const HALVES: &str = "fp16";

#[cfg(target_arch = "aarch64")]
fn has_halves() -> bool {
    rt_arm::halves().is_ok()
}

#[cfg(not(target_arch = "aarch64"))]
fn has_halves() -> bool {
    false
}

/// No runtime of this machine at a level that was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuchRuntime {
    /// None of that name, or not at that level.
    #[error("this machine has no such runtime and level; it has: {}", list(.available))]
    Unknown {
        /// What there is.
        available: Vec<RuntimeChoice>,
    },
    /// The device that was asked for does not open.
    #[error(transparent)]
    Device(#[from] RuntimeError),
}

fn list(choices: &[RuntimeChoice]) -> String {
    let names: Vec<String> =
        choices.iter().map(|choice| format!("{} {}", choice.runtime, choice.isa)).collect();
    names.join(", ")
}

/// Those of [`choices`], or of a GPU, that are of `runtime` and at level `isa`, where these are given. "native" without a level is the
/// fastest runtime at its best level.
///
/// # Errors
/// If there are none; where a GPU was asked for that does not open, with the reason.
pub fn chosen(
    runtime: Option<&str>,
    isa: Option<&str>,
) -> Result<Vec<RuntimeChoice>, NoSuchRuntime> {
    let mut available = choices();
    if let Some(gpu) = GPUS.into_iter().find(|gpu| runtime == Some(gpu)) {
        available.extend(levels(&*open(gpu)?));
        if isa == Some(HALVES) && gpu == "jetson" {
            available.push(RuntimeChoice { runtime: gpu.into(), isa: HALVES.into() });
        }
    }
    if isa == Some(HALVES) && has_halves() {
        available.push(RuntimeChoice { runtime: "arm".into(), isa: HALVES.into() });
    }
    let native = open("native").ok();
    let is_wanted = |choice: &RuntimeChoice| match (runtime, &native) {
        (None, _) => true,
        (Some("native"), Some(native)) => {
            choice.runtime == native.name()
                && (isa.is_some() || choice.isa == native.capabilities().isa)
        }
        (Some(name), _) => choice.runtime == name,
    };
    let is_level = |choice: &RuntimeChoice| isa.is_none_or(|isa| choice.isa == isa);
    let wanted: Vec<RuntimeChoice> =
        available.iter().filter(|choice| is_wanted(choice) && is_level(choice)).cloned().collect();
    if wanted.is_empty() { Err(NoSuchRuntime::Unknown { available }) } else { Ok(wanted) }
}

/// The runtime called `name`; "native" is the fastest one of this machine.
///
/// # Errors
/// If there is none of that name, or this machine cannot run it.
pub fn open(name: &str) -> Result<Box<dyn Runtime>, RuntimeError> {
    match name {
        "reference" => Ok(Box::new(Reference::runtime())),
        #[cfg(target_arch = "x86_64")]
        "atom" | "native" => Ok(Box::new(rt_atom::runtime()?)),
        #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
        "arm" | "native" => Ok(Box::new(rt_arm::runtime()?)),
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
        "native" => Ok(Box::new(Reference::runtime())),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Box::new(rt_wgpu::Wgpu::detect()?)),
        #[cfg(feature = "jetson")]
        "jetson" => Ok(Box::new(rt_jetson::Jetson::detect()?)),
        #[cfg(feature = "myriad")]
        "myriad" => Ok(Box::new(rt_myriad::Myriad::detect()?)),
        _ => Err(RuntimeError::NotDetected {
            runtime: "named",
            needed: "runtime of this name for its architecture",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_always_there_and_every_choice_opens() {
        let choices = choices();
        assert_eq!(choices[0].runtime, "reference");
        for choice in &choices {
            let runtime = open(&choice.runtime).unwrap();
            assert!(runtime.capabilities().isas.iter().any(|isa| *isa == choice.isa), "{choice:?}");
        }
        assert!(open("nonsense").is_err());
    }

    #[cfg(feature = "myriad")]
    #[test]
    fn a_stick_is_opened_only_where_it_is_chosen() {
        if std::env::var_os("EMBDL_MYRIAD").is_none() {
            assert!(choices().iter().all(|choice| choice.runtime != "myriad"));
            assert!(open("myriad").is_err());
        }
    }

    #[test]
    fn choices_are_narrowed_by_name_and_level() {
        assert_eq!(chosen(None, None).unwrap(), choices());
        let native = chosen(Some("native"), None).unwrap();
        assert_eq!(native.len(), 1);
        assert_eq!(native[0].isa, open("native").unwrap().capabilities().isa);
        assert_eq!(chosen(Some("reference"), None).unwrap(), choices()[..1]);
        for name in GPUS {
            assert!(choices().iter().all(|choice| choice.runtime != name));
            if let Ok(gpu) = open(name) {
                assert_eq!(chosen(Some(name), None).unwrap().len(), gpu.capabilities().isas.len());
            } else {
                let error = chosen(Some(name), None).unwrap_err();
                assert!(matches!(error, NoSuchRuntime::Device(_)), "the reason is told: {error}");
            }
        }
        let error = chosen(Some("reference"), Some("avx2")).unwrap_err();
        assert!(error.to_string().contains("reference scalar"), "{error}");
    }
}
