//! What is tested: a runtime with its kernels, at every instruction set level of this machine.

use std::sync::Arc;

use embdl_core::kernels::Kernels;
use embdl_core::runtime::{Runtime, RuntimeError};

use crate::models::{self, Problem};
use crate::report::Report;

/// Gives the kernels of an instruction set level.
pub type SelectKernels = fn(Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError>;

/// A runtime under test.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Gives the runtime, or why it cannot be used here.
    pub runtime: fn() -> Result<Box<dyn Runtime>, RuntimeError>,
    /// Gives its kernels at a level; `None` for a device, whose kernels are seen through models only.
    pub kernels: Option<SelectKernels>,
    /// The architecture on which it must be there; "any" for all, "ci" for all where the variable `CI` is set.
    pub required_on: &'static str,
    /// Problems that it refuses, each with the reason.
    pub unsupported: &'static [(&'static str, &'static str)],
}

impl Subject {
    /// Runs a family of kernel problems at every level.
    ///
    /// # Panics
    /// If one fails, or the runtime is missing where it is required.
    pub fn check_kernels(&self, family: fn(&dyn Kernels, &mut Report)) {
        let (Some(runtime), Some(kernels)) = (self.detect(), self.kernels) else { return };
        for &isa in &runtime.capabilities().isas {
            let kernels = kernels(Some(isa)).expect("a level that the runtime lists");
            assert_eq!(kernels.isa(), isa, "the kernels are of another level");
            let mut report = Report::new();
            family(&*kernels, &mut report);
            report.finish(isa);
        }
    }

    /// Runs model problems at every level.
    ///
    /// # Panics
    /// If one fails, or the runtime is missing where it is required.
    pub fn check_models(&self, problems: &[Problem]) {
        let Some(runtime) = self.detect() else { return };
        for &isa in &runtime.capabilities().isas {
            let mut report = Report::new();
            for problem in problems {
                let unsupported = self.unsupported.iter().any(|(name, _)| *name == problem.name);
                problem.check(&*runtime, isa, unsupported, &mut report);
            }
            report.finish(isa);
        }
    }

    /// Checks that every problem listed as unsupported is one.
    ///
    /// # Panics
    /// If one is not, or has no reason.
    pub fn check_unsupported(&self) {
        let known: Vec<Problem> = models::all();
        for (name, reason) in self.unsupported {
            assert!(known.iter().any(|problem| problem.name == *name), "no problem {name:?}");
            assert!(!reason.is_empty(), "no reason for {name:?}");
        }
    }

    fn detect(&self) -> Option<Box<dyn Runtime>> {
        match (self.runtime)() {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                let is_ci = std::env::var_os("CI").is_some() && self.required_on == "ci";
                let required = is_ci || [std::env::consts::ARCH, "any"].contains(&self.required_on);
                assert!(!required, "required on {}: {error}", self.required_on);
                eprintln!("SKIPPED: {error}");
                None
            }
        }
    }
}
