//! Instruction set levels: the only place that asks the CPU what it has. A token is the proof that a level may be used.

use std::env;

use embdl_core::runtime::RuntimeError;

/// Name of the environment variable that asks for a level where no argument does.
pub const ISA_VARIABLE: &str = "EMBDL_ISA";

/// Proof that the CPU has SSE4.1 (every Intel Atom since Silvermont; the Apollo Lake boards).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sse41(());

/// Proof that the CPU has AVX2 and FMA (Gracemont Atoms, and every larger x86 of the last ten years).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// The level that kernels run at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// 256-bit vectors, fused multiply-add.
    Avx2(Avx2),
    /// 128-bit vectors.
    Sse41(Sse41),
}

impl Sse41 {
    /// The token, if the CPU has the level.
    #[must_use]
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("sse4.1").then_some(Self(()))
    }
}

impl Avx2 {
    /// The token, if the CPU has the level.
    #[must_use]
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl From<Avx2> for Sse41 {
    /// A CPU with AVX2 has SSE4.1.
    fn from(_: Avx2) -> Self {
        Self(())
    }
}

impl Level {
    /// Levels of this CPU, best first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let avx2 = Avx2::detect().map(Self::Avx2);
        avx2.into_iter().chain(Sse41::detect().map(Self::Sse41)).collect()
    }

    /// The level called `asked`; without it the one that the environment asks for, else the best.
    ///
    /// # Errors
    /// If the level is unknown or this CPU lacks it, or the CPU has none of the levels.
    pub fn select(asked: Option<&str>) -> Result<Self, RuntimeError> {
        Self::resolve(asked, env::var(ISA_VARIABLE).ok().as_deref())
    }

    /// As `select`, with the value of the environment variable; an empty one asks for nothing.
    fn resolve(asked: Option<&str>, environment: Option<&str>) -> Result<Self, RuntimeError> {
        let levels = Self::available();
        let Some(asked) = asked.or(environment.filter(|name| !name.is_empty())) else {
            let none = RuntimeError::NotDetected { runtime: "atom", needed: "SSE4.1" };
            return levels.first().copied().ok_or(none);
        };
        levels.iter().copied().find(|level| level.name() == asked).ok_or_else(|| {
            let available = levels.iter().map(|level| level.name()).collect();
            RuntimeError::IsaUnavailable { asked: asked.to_owned(), available }
        })
    }

    /// Name of the level: "avx2" or "sse41".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx2(_) => "avx2",
            Self::Sse41(_) => "sse41",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_by_their_names_and_others_refused() {
        let levels = Level::available();
        for level in &levels {
            assert_eq!(Level::resolve(Some(level.name()), None), Ok(*level));
        }
        let available = levels.iter().map(|level| level.name()).collect();
        let refusal = RuntimeError::IsaUnavailable { asked: "neon".to_owned(), available };
        assert_eq!(Level::resolve(Some("neon"), None), Err(refusal));
    }

    #[test]
    fn an_argument_comes_before_the_environment_and_both_before_the_best() {
        let levels = Level::available();
        let (best, least) = (levels[0], levels[levels.len() - 1]);
        assert_eq!(Level::resolve(None, None), Ok(best));
        assert_eq!(Level::resolve(None, Some("")), Ok(best));
        assert_eq!(Level::resolve(None, Some(least.name())), Ok(least));
        assert_eq!(Level::resolve(Some(least.name()), Some("neon")), Ok(least));
        assert!(Level::resolve(None, Some("neon")).is_err());
    }
}
