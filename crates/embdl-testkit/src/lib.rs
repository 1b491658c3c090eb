//! What tests share: guard pages, seeded data, counted allocations. Never a dependency of shipped code.

pub mod allocation;
#[cfg(unix)]
pub mod guard;
pub mod random;

pub use allocation::{CountingAllocator, count_allocations, peak_bytes};
#[cfg(unix)]
pub use guard::Guarded;
pub use random::Random;
