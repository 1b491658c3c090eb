//! The runtimes of this architecture.

use embdl_core::kernels::Reference;
use embdl_core::runtime::Runtime;

/// The reference and, where the CPU has what it needs, the runtime with vector code.
pub(crate) fn runtimes() -> Vec<Box<dyn Runtime>> {
    let mut all: Vec<Box<dyn Runtime>> = vec![Box::new(Reference::runtime())];
    #[cfg(target_arch = "x86_64")]
    all.extend(rt_atom::runtime().map(|runtime| Box::new(runtime) as Box<dyn Runtime>));
    #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
    all.extend(rt_arm::runtime().map(|runtime| Box::new(runtime) as Box<dyn Runtime>));
    all
}
