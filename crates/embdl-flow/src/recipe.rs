//! Recipes: what a pipeline does to a network, as TOML.

use std::path::{Path, PathBuf};

use embdl_compress::passes::Sparsity;
use embdl_compress::{Calibration, PostTraining};
use embdl_graph::zoo;
use embdl_train::TrainConfig;
use serde::{Deserialize, Serialize};

/// A pipeline from data to a verified file. Steps that are left out are not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Name from the zoo, such as "lenet-5".
    pub network: String,
    /// Data set, such as "fashion-mnist".
    pub dataset: String,
    /// Images taken from the training set for validation.
    #[serde(default = "default_validation")]
    pub validation: usize,
    /// Training from scratch.
    pub train: TrainConfig,
    /// Pruning, then retraining.
    pub prune: Option<PruneStep>,
    /// Weight sharing, then retraining of the centroids.
    pub share: Option<ShareStep>,
    /// Integers for weights and activations, then retraining.
    pub quantize: Option<QuantizeStep>,
    /// Integers without retraining.
    pub post_training: Option<PostTrainingStep>,
}

/// Gradual magnitude pruning during retraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PruneStep {
    /// Which weights stay at the end.
    pub sparsity: Sparsity,
    /// Output channels and consecutive elements of a row of blocks that stay or go as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<[usize; 2]>,
    /// Optimizer steps between changes of the masks.
    #[serde(default = "default_every")]
    pub every: usize,
    /// Share of the retraining after which the masks stay as they are.
    #[serde(default = "default_ramp")]
    pub ramp: f64,
    /// The retraining.
    pub train: TrainConfig,
}

/// k-means weight sharing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShareStep {
    /// Bits of an index by pattern of the layer's name.
    pub bits: Vec<(String, u8)>,
    /// The retraining of the centroids.
    pub train: TrainConfig,
}

/// Integers for what is still float.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantizeStep {
    /// Bits of layers that are not shared, by pattern of the layer's name.
    #[serde(default)]
    pub bits: Vec<(String, u8)>,
    /// One scale for each output channel of layers that are not shared.
    #[serde(default)]
    pub per_channel: bool,
    /// How ranges of activations are chosen.
    #[serde(default)]
    pub calibration: Calibration,
    /// Training images that ranges are observed on.
    #[serde(default = "default_images")]
    pub images: usize,
    /// The retraining with simulated integers; left out, the step is post-training quantization.
    pub train: Option<TrainConfig>,
}

/// Post-training quantization of what is still float.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostTrainingStep {
    /// Training images to calibrate on.
    #[serde(default = "default_images")]
    pub images: usize,
    /// What is done; all that is cheap, unless said otherwise.
    #[serde(default)]
    pub settings: PostTraining,
}

const fn default_validation() -> usize {
    5000
}

const fn default_every() -> usize {
    50
}

const fn default_ramp() -> f64 {
    0.6
}

const fn default_images() -> usize {
    1000
}

/// Why a recipe is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a recipe.
    #[error("{name} is not a recipe: {source}")]
    Parse {
        /// File or built-in name.
        name: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The recipe cannot be written as TOML.
    #[error("the recipe has no form in TOML: {source}")]
    Write {
        /// Why.
        #[source]
        source: toml::ser::Error,
    },
    /// No recipe of this name is built in.
    #[error(
        "there is no recipe for {network} on {dataset} with the {schedule} schedule; there are {known}"
    )]
    Unknown {
        /// Network.
        network: String,
        /// Data set.
        dataset: String,
        /// "short" or "full".
        schedule: String,
        /// All built-in recipes.
        known: String,
    },
}

/// Puts the texts of the recipes into the program, each under the name of its file.
macro_rules! recipes {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../recipes/", $name, ".toml")))),+]
    };
}

/// The recipes that come with the program: `FAMILY-DATASET-SCHEDULE`, and text.
const BUILT_IN: &[(&str, &str)] = recipes![
    "lenet-300-100-fashion-mnist-short",
    "lenet-300-100-fashion-mnist-full",
    "lenet-300-100-mnist-short",
    "lenet-300-100-mnist-full",
    "lenet-5-fashion-mnist-short",
    "lenet-5-fashion-mnist-full",
    "lenet-5-mnist-short",
    "lenet-5-mnist-full",
    "alexnet-cifar-10-full",
    "vgg-16-bn-cifar-10-full",
    "mobilenet-v1-cifar-10-full",
    "mobilenet-v2-cifar-10-full",
    "squeezenet-1.1-cifar-10-full",
    "alexnet-synthetic-colour-short",
    "vgg-16-bn-synthetic-colour-short",
    "mobilenet-v1-synthetic-colour-short",
    "mobilenet-v2-synthetic-colour-short",
    "squeezenet-1.1-synthetic-colour-short",
];

impl Recipe {
    /// The recipe in a file.
    ///
    /// # Errors
    /// If it cannot be read or is not a recipe.
    pub fn from_file(path: &Path) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecipeError::Read { path: path.into(), source })?;
        Self::from_toml(&path.display().to_string(), &text)
    }

    /// The recipe that comes with the program for a network, a data set and a schedule ("short" or "full").
    ///
    /// One recipe serves all widths and resolutions of a network, and that of CIFAR-10 serves CIFAR-100.
    ///
    /// # Errors
    /// If there is none.
    pub fn built_in(network: &str, dataset: &str, schedule: &str) -> Result<Self, RecipeError> {
        let alike = if dataset == "cifar-100" { "cifar-10" } else { dataset };
        let name = format!("{}-{alike}-{schedule}", zoo::family(network));
        let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            return Err(RecipeError::Unknown {
                network: network.into(),
                dataset: dataset.into(),
                schedule: schedule.into(),
                known: BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            });
        };
        let recipe = Self::from_toml(&name, text)?;
        Ok(Self { network: network.into(), dataset: dataset.into(), ..recipe })
    }

    /// The recipe as TOML, defaults spelt out.
    ///
    /// # Errors
    /// If a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|source| RecipeError::Write { source })
    }

    /// The recipe in a text called `name` in errors.
    ///
    /// # Errors
    /// If it is not a recipe.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, RecipeError> {
        toml::from_str(text)
            .map_err(|source| RecipeError::Parse { name: name.into(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_recipes_parse_and_are_what_their_names_say() {
        for (name, text) in BUILT_IN {
            let recipe = Recipe::from_toml(name, text).unwrap_or_else(|error| panic!("{error}"));
            let family = zoo::family(&recipe.network);
            assert!(name.starts_with(&format!("{family}-{}-", recipe.dataset)), "{name}");
            let is_known = zoo::NAMES.contains(&recipe.network.as_str())
                || zoo::zeroed(&recipe.network).is_some();
            assert!(is_known, "{name}: {}", recipe.network);
            let again = toml::to_string(&recipe).unwrap();
            assert_eq!(Recipe::from_toml(name, &again).unwrap(), recipe, "{name}");
        }
    }

    #[test]
    fn one_recipe_serves_all_forms_of_a_network() {
        let recipe = Recipe::built_in("mobilenet-v2-0.5-cifar100", "cifar-100", "full").unwrap();
        assert_eq!(recipe.network, "mobilenet-v2-0.5-cifar100");
        assert_eq!(recipe.dataset, "cifar-100");
        let ten = Recipe::built_in("mobilenet-v2-cifar10", "cifar-10", "full").unwrap();
        assert_eq!(recipe.train, ten.train);
        let error = Recipe::built_in("vgg-16", "mnist", "short").unwrap_err();
        assert!(error.to_string().contains("squeezenet-1.1-cifar-10-full"), "{error}");
    }

    #[test]
    fn unknown_keys_are_errors_that_name_them() {
        let error = Recipe::from_toml("x", "network = 'lenet-5'\ndatset = 'mnist'").unwrap_err();
        assert!(core::error::Error::source(&error).unwrap().to_string().contains("datset"));
    }
}
