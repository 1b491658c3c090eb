//! The only place that reads CPU features. Each level is a token whose existence proves that its instructions run here.

use std::arch::is_aarch64_feature_detected;

use embdl_core::runtime::RuntimeError;

/// Environment variable that names a level to use instead of the best one.
const OVERRIDE: &str = "EMBDL_ISA";

/// Proof that NEON runs here. Made only in this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

/// Proof that NEON and the dot product instructions (`FEAT_DotProd`) run here. Made only in this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dotprod(());

/// Proof that NEON, the dot product instructions and the matrix products of bytes (`FEAT_I8MM`) run here. Made only in this
/// file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I8mm(());

/// Proof that arithmetic on vectors of halves (`FEAT_FP16`: `fphp` and `asimdhp`) runs here. Made only in this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fp16(());

/// The level that computes float layers in halves, and integers as the best other one. It gives other results, so that it is
/// never taken unless someone asks for it.
pub(crate) const FP16: &str = "fp16";

/// An instruction set level that runs here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    /// Armv8.0-A: Cortex-A53, A57, A72.
    Neon(Neon),
    /// Armv8.2-A with `FEAT_DotProd`: Cortex-A55, A76 and later.
    Dotprod(Dotprod),
    /// Armv8.6-A, and Armv8.2-A with `FEAT_I8MM`: Cortex-A510, A715, X2, Neoverse V1, N2 and later.
    I8mm(I8mm),
}

impl Level {
    /// The name that options and reports use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Neon(_) => "neon",
            Self::Dotprod(_) => "dotprod",
            Self::I8mm(_) => "i8mm",
        }
    }
}

/// The levels that run here, best first.
pub(crate) fn available() -> Vec<Level> {
    let mut levels = Vec::new();
    if is_aarch64_feature_detected!("neon") {
        if is_aarch64_feature_detected!("dotprod") {
            if is_aarch64_feature_detected!("i8mm") {
                levels.push(Level::I8mm(I8mm(())));
            }
            levels.push(Level::Dotprod(Dotprod(())));
        }
        levels.push(Level::Neon(Neon(())));
    }
    levels
}

/// The level `asked` for; without one, the level that the environment names; without that, the best one. With the proof for
/// halves where that is what was asked for.
pub(crate) fn select(asked: Option<&str>) -> Result<(Level, Option<Fp16>), RuntimeError> {
    let from_environment = match asked {
        Some(_) => None,
        None => std::env::var_os(OVERRIDE).filter(|value| !value.is_empty()),
    };
    let from_environment = from_environment.as_ref().map(|value| value.to_string_lossy());
    let asked = asked.or(from_environment.as_deref());
    let halves = is_aarch64_feature_detected!("fp16").then_some(Fp16(()));
    if asked == Some(FP16) && halves.is_some() {
        return Ok((choose(None, &available())?, halves));
    }
    Ok((choose(asked, &available())?, None))
}

fn choose(asked: Option<&str>, available: &[Level]) -> Result<Level, RuntimeError> {
    let Some(&best) = available.first() else {
        return Err(RuntimeError::NotDetected { runtime: "arm", needed: "NEON" });
    };
    let Some(asked) = asked else { return Ok(best) };
    available.iter().copied().find(|level| level.name() == asked).ok_or_else(|| {
        RuntimeError::IsaUnavailable {
            asked: asked.into(),
            available: available.iter().map(|level| level.name()).collect(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_level_is_the_default() {
        let levels = [Level::I8mm(I8mm(())), Level::Dotprod(Dotprod(())), Level::Neon(Neon(()))];
        assert_eq!(choose(None, &levels).unwrap().name(), "i8mm");
        assert_eq!(choose(Some("dotprod"), &levels).unwrap().name(), "dotprod");
        assert_eq!(choose(Some("neon"), &levels).unwrap().name(), "neon");
    }

    #[test]
    fn absent_levels_are_refused_by_name() {
        let levels = [Level::Neon(Neon(()))];
        for asked in ["i8mm", "dotprod", "avx2", "NEON", ""] {
            let expected =
                RuntimeError::IsaUnavailable { asked: asked.into(), available: vec!["neon"] };
            assert_eq!(choose(Some(asked), &levels).unwrap_err(), expected);
        }
        assert!(matches!(choose(None, &[]), Err(RuntimeError::NotDetected { .. })));
    }
}
