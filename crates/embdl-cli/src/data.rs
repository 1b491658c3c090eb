//! Data sets by name, fetched if they are not on this machine.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_data::Split;
use embdl_data::catalog::{self, LoadOptions, SearchPath};

/// Which data set, and where it may lie.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Data set: fashion-mnist, mnist, cifar-10, cifar-100, or synthetic and synthetic-colour, which need no files.
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist")]
    pub(crate) dataset: String,
    /// Folder with the data set's files, if they lie neither in the cache nor where the system installs them.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Loads the data set, fetching it first if need be.
pub(crate) fn load(args: &DataArgs, validation_len: usize) -> Result<Split> {
    load_named(&args.dataset, args, validation_len)
}

/// Loads the data set `name` from where `args` say.
pub(crate) fn load_named(name: &str, args: &DataArgs, validation_len: usize) -> Result<Split> {
    let search = SearchPath::from_env(args.data.clone());
    if !embdl_data::synthetic::NAMES.contains(&name) {
        fetch(name, &search)?;
    }
    let options = LoadOptions { search, validation_len, ..LoadOptions::default() };
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
