//! What tests share: guard pages and seeded data. Never a dependency of shipped code.

#[cfg(unix)]
pub mod guard;
pub mod random;

#[cfg(unix)]
pub use guard::Guarded;
pub use random::Random;
