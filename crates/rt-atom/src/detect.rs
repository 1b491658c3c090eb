//! Instruction set levels: the only place that asks the CPU what it has. A token is the proof that a level may be used.

use std::env;

use embdl_core::runtime::RuntimeError;

/// Name of the environment variable that asks for a level where no argument does.
pub const ISA_VARIABLE: &str = "EMBDL_ISA";

/// Declares the levels, best first: token, name, whether it is compiled in, and the features that the CPU must have.
macro_rules! levels {
    ($($(#[$doc:meta])* $token:ident $name:literal if $compiled:expr => $($feature:tt)&+;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $token(());

            impl $token {
                /// The token, if the level is compiled in and the CPU has it.
                #[must_use]
                pub fn detect() -> Option<Self> {
                    ($compiled && $(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
                }
            }
        )+

        /// The level that kernels run at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Level {
            $($(#[$doc])* $token($token),)+
        }

        impl Level {
            /// Levels of this CPU, best first.
            #[must_use]
            pub fn available() -> Vec<Self> {
                [$($token::detect().map(Self::$token)),+].into_iter().flatten().collect()
            }

            /// Name of the level, such as "avx2".
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$token(_) => $name,)+
                }
            }
        }
    };
}

/// Whether levels above SSE4.1 are compiled in.
pub(crate) const WIDE: bool = cfg!(feature = "wide");

levels! {
    /// 512-bit vectors with byte dot products: server CPUs since Cascade Lake and Zen 4.
    Avx512Vnni "avx512vnni" if WIDE => "avx512f" & "avx512bw" & "avx512dq" & "avx512vl" & "avx512vnni" & "avx2" & "fma";
    /// 512-bit vectors: server CPUs since Skylake.
    Avx512 "avx512" if WIDE => "avx512f" & "avx512bw" & "avx512dq" & "avx512vl" & "avx2" & "fma";
    /// 256-bit vectors with byte dot products: Gracemont (Atom x7000E, N100), Alder Lake and later.
    AvxVnni "avxvnni" if WIDE => "avxvnni" & "avx2" & "fma";
    /// 256-bit vectors and fused multiply-add: every larger x86 of the last ten years.
    Avx2 "avx2" if WIDE => "avx2" & "fma";
    /// 128-bit vectors: every Intel Atom since Silvermont; the Apollo Lake boards.
    Sse41 "sse41" if true => "sse4.1" & "ssse3";
}

/// [`Avx512Vnni`] with permutations of bytes (VBMI), which Ice Lake and Zen 4 have. It is no level of its own, because only the
/// kernels of sparse rows are other ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vbmi(());

impl Avx512Vnni {
    /// The token with VBMI, if the CPU has that.
    #[must_use]
    pub fn with_vbmi(self) -> Option<Avx512Vbmi> {
        is_x86_feature_detected!("avx512vbmi").then_some(Avx512Vbmi(()))
    }
}

/// A better level stands in for a lesser one.
macro_rules! includes {
    ($($better:ident -> $($lesser:ident),+;)+) => {
        $($(impl From<$better> for $lesser {
            fn from(_: $better) -> Self {
                Self(())
            }
        })+)+
    };
}

includes! {
    Avx512Vnni -> Avx512, Avx2, Sse41;
    Avx512 -> Avx2, Sse41;
    AvxVnni -> Avx2, Sse41;
    Avx2 -> Sse41;
}

impl Level {
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
