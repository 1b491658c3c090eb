//! What tests share: guard pages, seeded data, counted allocations, processes of their own. Never a dependency of shipped code.

pub mod allocation;
#[cfg(unix)]
pub mod guard;
#[cfg(target_os = "linux")]
pub mod process;
pub mod random;

pub use allocation::{CountingAllocator, count_allocations, peak_bytes};
#[cfg(unix)]
pub use guard::Guarded;
#[cfg(target_os = "linux")]
pub use process::{run_child, status_bytes};
pub use random::Random;
