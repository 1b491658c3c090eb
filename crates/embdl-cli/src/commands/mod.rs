//! One file a command.

pub(crate) mod compare;
pub(crate) mod compress;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod inspect;
pub(crate) mod pipeline;
pub(crate) mod post_training;
pub(crate) mod run;
pub(crate) mod stick;
pub(crate) mod test;
pub(crate) mod train;
pub(crate) mod tune;
#[cfg(feature = "jetson")]
pub(crate) mod tx2;
pub(crate) mod untrained;
pub(crate) mod vendor;
pub(crate) mod zoo;

use std::path::Path;

use anyhow::{Context, Result};
use embdl_compress::lift;
use embdl_core::format::{self, Limits};
use embdl_data::atomic;
use embdl_flow::Target;
use embdl_flow::recipe::Recipe;
use embdl_graph::Graph;
use embdl_onnx::ImportOptions;

/// Which recipe.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecipeArgs {
    /// A recipe file; without one, the built-in recipe of the network, data set and schedule.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<std::path::PathBuf>,
    /// Built-in recipe: short takes minutes, full gets the best numbers.
    #[arg(long, default_value = "short", value_parser = ["short", "full"])]
    pub(crate) schedule: String,
    /// Leave away what does not help there: myriad-ma2450, whose graph is compiled and tested on an emulated stick in the end.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<Target>,
}

impl RecipeArgs {
    pub(crate) fn load(&self, network: &str, dataset: &str) -> Result<Recipe> {
        let mut recipe = match &self.recipe {
            Some(path) => Recipe::from_file(path)?,
            None => Recipe::built_in(network, dataset, &self.schedule)?,
        };
        if let Some(target) = self.target {
            for sentence in recipe.fit(target) {
                eprintln!("{target}: {sentence}");
            }
        }
        Ok(recipe)
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("creating {}", parent.display()))?;
    }
    atomic::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

pub(crate) fn import_onnx(path: &Path) -> Result<Graph> {
    embdl_onnx::import_file(path, &ImportOptions::default())
        .with_context(|| format!("importing {}", path.display()))
}

/// The network in an `.embdl` or ONNX file.
pub(crate) fn load_graph(path: &Path) -> Result<Graph> {
    if path.extension().is_none_or(|extension| extension != "embdl") {
        return import_onnx(path);
    }
    let bytes = read(path)?;
    let model = format::read(&bytes, &Limits::default())
        .with_context(|| format!("reading {}", path.display()))?;
    lift(&model).with_context(|| format!("decoding {}", path.display()))
}
