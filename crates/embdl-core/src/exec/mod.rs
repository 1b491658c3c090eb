//! The runtime of all CPUs: plans and packs a model at load, then walks the plan on the kernels it was given.

mod check;
mod forms;
mod lower;
mod memory;
mod resolve;
mod session;
mod tune;
mod weights;
mod work;

pub use check::check;
pub use resolve::{ConcatPart, Padding, Resolver, Stage, Weightless};
pub use session::check_tensors;
pub use weights::for_each_row;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::kernels::{Kernels, OneThread, Parallel, Reference};
use crate::model::Model;
use crate::runtime::{Capabilities, LoadOptions, Runtime, RuntimeError, Session};

/// Gives the kernels of an instruction set level, or of the best one for `None`.
pub type Select = fn(Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError>;

/// Gives a number of threads that run together, the calling one included.
pub type Threads = fn(usize) -> Result<Arc<dyn Parallel>, RuntimeError>;

/// A CPU: a name, what it can do, and kernels for each of its instruction set levels.
#[derive(Clone)]
pub struct CpuRuntime {
    name: &'static str,
    capabilities: Capabilities,
    select: Select,
    threads: Option<Threads>,
}

impl CpuRuntime {
    /// A runtime that asks `select` for kernels whenever a model is loaded.
    #[must_use]
    pub const fn new(name: &'static str, capabilities: Capabilities, select: Select) -> Self {
        Self { name, capabilities, select, threads: None }
    }

    /// The same runtime, which asks `threads` for a pool where a model is loaded for other than one thread.
    #[must_use]
    pub const fn with_threads(mut self, threads: Threads) -> Self {
        self.threads = Some(threads);
        self
    }
}

impl Runtime for CpuRuntime {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn load(
        &self,
        model: &Model<'_>,
        options: &LoadOptions,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        let kernels = (self.select)(options.isa.as_deref())?;
        let parallel: Arc<dyn Parallel> = match (options.threads, self.threads) {
            (1, _) | (0, None) => Arc::new(OneThread),
            (threads, Some(pool)) => pool(threads)?,
            (asked, None) => return Err(RuntimeError::Threads { asked, allowed: 1 }),
        };
        Ok(Box::new(lower::load(model, options, kernels, parallel)?))
    }
}

impl fmt::Debug for CpuRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuRuntime")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl Reference {
    /// The runtime "reference": the scalar kernels on whatever CPU this is.
    #[must_use]
    pub fn runtime() -> CpuRuntime {
        let isas: Vec<&'static str> = vec![SCALAR];
        CpuRuntime::new("reference", Capabilities { isa: SCALAR, isas }, |isa| match isa {
            None | Some(SCALAR) => Ok(Arc::new(Self)),
            Some(other) => {
                Err(RuntimeError::IsaUnavailable { asked: other.into(), available: vec![SCALAR] })
            }
        })
    }
}

const SCALAR: &str = "scalar";
