//! The runtimes that this machine has, each at each of its instruction set levels.

use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::Reference;
use embdl_core::runtime::{Runtime, RuntimeError};
use serde::{Deserialize, Serialize};

/// One runtime at one instruction set level.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuntimeChoice {
    /// "reference", "atom", "arm".
    pub runtime: String,
    /// "scalar", "sse41", "avx2", "neon", "dotprod".
    pub isa: String,
}

/// Every runtime at every level that can be used here, the scalar reference first.
#[must_use]
pub fn choices() -> Vec<RuntimeChoice> {
    let names = ["reference", "atom", "arm"];
    let there = names.iter().filter_map(|name| open(name).ok());
    there
        .flat_map(|runtime| {
            let mut isas = runtime.capabilities().isas.clone();
            isas.reverse();
            let name = runtime.name();
            isas.into_iter().map(move |isa| RuntimeChoice { runtime: name.into(), isa: isa.into() })
        })
        .collect()
}

/// The runtime called `name`; "native" is the fastest one of this machine.
///
/// # Errors
/// If there is none of that name, or this machine cannot run it.
pub fn open(name: &str) -> Result<CpuRuntime, RuntimeError> {
    match name {
        "reference" => Ok(Reference::runtime()),
        #[cfg(target_arch = "x86_64")]
        "atom" | "native" => rt_atom::runtime(),
        #[cfg(target_arch = "aarch64")]
        "arm" | "native" => rt_arm::runtime(),
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        "native" => Ok(Reference::runtime()),
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
}
