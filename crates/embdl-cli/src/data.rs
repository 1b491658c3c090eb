//! Data sets by name, fetched if they are not on this machine.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use embdl_core::metadata::{Metadata, Preprocess};
use embdl_core::tensor::Shape;
use embdl_data::catalog::{self, LoadOptions, SearchPath};
use embdl_data::folder::{self, Folder, FolderLimits};
use embdl_data::{Dataset, Split};
use embdl_flow::recipe::Recipe;
use embdl_graph::zoo;

/// Which data set, and where it may lie.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Data set: fashion-mnist, mnist, cifar-10, cifar-100, folder for pictures of your own, or synthetic and
    /// synthetic-colour, which need no files. Left out, that of the network's form, else fashion-mnist.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Folder with the data set's files, if they lie neither in the cache nor where the system installs them.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl DataArgs {
    /// Name of the data set; without one, what `network` is made for.
    pub(crate) fn dataset(&self, network: &str) -> &str {
        let made_for = || {
            let of_form = [("-cifar100", "cifar-100"), ("-cifar10", "cifar-10")];
            let form = of_form.iter().find(|(form, _)| network.contains(form));
            form.map_or("fashion-mnist", |(_, dataset)| dataset)
        };
        self.dataset.as_deref().unwrap_or_else(made_for)
    }
}

/// Loads the data set, fetching it first if need be.
pub(crate) fn load(args: &DataArgs, validation_len: usize) -> Result<Split> {
    load_sized(args.dataset(""), args, validation_len, None)
}

/// A test set, and how its bytes become reals where its own normalization does not say it.
pub(crate) struct TestImages {
    pub(crate) dataset: Dataset,
    pub(crate) preprocess: Option<Preprocess>,
}

/// Loads the test set for a network that takes `input` and records `metadata`.
///
/// Pictures of a folder become what the network's file says, at its size, and its labels number the classes if they are
/// the names of the folders; other data sets have their own form.
pub(crate) fn load_test(args: &DataArgs, input: Shape, metadata: &Metadata) -> Result<TestImages> {
    if args.dataset("") != folder::NAME {
        let dataset = load(args, 0)?.test.for_report().clone();
        return Ok(TestImages { dataset, preprocess: None });
    }
    let search = SearchPath::from_env(args.data.clone());
    let root = search.explicit.or(search.environment);
    let root = root.context("--data names the folder with the pictures")?;
    let test = root.join("test");
    let root = if test.is_dir() { test } else { root };
    let reading = || format!("loading pictures from {}", root.display());
    let pictures = Folder::open(&root, &FolderLimits::default()).with_context(reading)?;
    if input.rank() != 4 {
        bail!("the network takes {input}, which is no picture");
    }
    let (all, size) = (0..pictures.len(), [input.dim(1), input.dim(2)]);
    let preprocess = metadata.preprocess.clone();
    let dataset = match &preprocess {
        Some(preprocess) => pictures.prepared(all, size, preprocess),
        None => pictures.dataset(all, size),
    };
    let mut dataset = dataset.with_context(reading)?;
    if !metadata.labels.is_empty() {
        match dataset.with_class_order(&metadata.labels) {
            Some(ordered) => dataset = ordered,
            None => eprintln!(
                "embdl: the folders have other names than the file's labels; they are numbered by name"
            ),
        }
    }
    Ok(TestImages { dataset, preprocess })
}

/// Loads the data set of a recipe from where `args` say, pictures at the size that its network takes.
pub(crate) fn load_for(recipe: &Recipe, args: &DataArgs) -> Result<Split> {
    let size = zoo::zeroed(&recipe.network).map(|graph| {
        let image = graph.values[graph.inputs[0]].shape;
        [image.dim(1), image.dim(2)]
    });
    load_sized(&recipe.dataset, args, recipe.validation, size)
}

fn load_sized(
    name: &str,
    args: &DataArgs,
    validation_len: usize,
    size: Option<[usize; 2]>,
) -> Result<Split> {
    let search = SearchPath::from_env(args.data.clone());
    if !embdl_data::synthetic::NAMES.contains(&name) && name != folder::NAME {
        fetch(name, &search)?;
    }
    let default = LoadOptions::default();
    let size = size.unwrap_or(default.size);
    let options = LoadOptions { search, validation_len, size, ..default };
    catalog::load(name, &options).with_context(|| format!("loading the data set {name}"))
}

/// Makes sure that the data set's files are on this machine and says where.
pub(crate) fn fetch(name: &str, search: &SearchPath) -> Result<PathBuf> {
    let entry = catalog::find(name)?;
    #[cfg(feature = "fetch")]
    {
        use embdl_data::fetch::{FetchOptions, ensure};
        let bar = indicatif::ProgressBar::hidden();
        let found = ensure(entry, search, &FetchOptions::default(), &mut |progress| {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_message(format!("{} from {}", progress.file, progress.url));
            bar.set_position(progress.received_bytes);
        });
        bar.finish_and_clear();
        found.with_context(|| format!("fetching {name}"))
    }
    #[cfg(not(feature = "fetch"))]
    catalog::locate(entry, search).map_err(|missing| anyhow::anyhow!("{missing}"))
}
