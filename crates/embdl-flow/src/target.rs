//! What a target changes in a recipe: steps that cost accuracy there and win nothing are left away.

use core::fmt;
use core::str::FromStr;

use crate::recipe::Recipe;

/// A target whose arithmetic is another than that of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The Movidius MA2450, which computes in 16-bit floats and unpacks all weights.
    MyriadMa2450,
}

/// No target of this name changes a recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no target is called {name:?}; recipes change for myriad-ma2450 alone")]
pub struct UnknownTarget {
    /// The name.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MyriadMa2450 => "myriad-ma2450",
        })
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        match name {
            "myriad-ma2450" => Ok(Self::MyriadMa2450),
            _ => Err(UnknownTarget { name: name.into() }),
        }
    }
}

impl Recipe {
    /// Leaves away what does not help on a target, and says so, a sentence for each step.
    pub fn fit(&mut self, target: Target) -> Vec<&'static str> {
        let Target::MyriadMa2450 = target;
        let mut said = Vec::new();
        let mut leave = |is_there: bool, sentence| {
            if is_there {
                said.push(sentence);
            }
        };
        leave(
            self.prune.take().is_some(),
            "prune is left away: single zeros among the weights are multiplied like others on this chip",
        );
        leave(
            self.share.take().is_some(),
            "share is left away: this chip has no codebooks, and every weight takes 16 bits",
        );
        leave(
            self.quantize.take().is_some() | self.post_training.take().is_some(),
            "quantize is left away: this chip computes in 16-bit floats, and would only round twice",
        );
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_codebooks_and_single_zeros_are_left_away_and_training_stays() {
        let full = Recipe::built_in("lenet-5", "fashion-mnist", "short").unwrap();
        let mut fit = full.clone();
        let said = fit.fit("myriad-ma2450".parse().unwrap());
        assert_eq!(said.len(), 3, "{said:?}");
        let bare = Recipe { prune: None, share: None, quantize: None, post_training: None, ..full };
        assert_eq!(fit, bare);
        assert!(fit.fit(Target::MyriadMa2450).is_empty());
        let error = "atom".parse::<Target>().unwrap_err();
        assert!(error.to_string().contains("myriad-ma2450"), "{error}");
    }
}
