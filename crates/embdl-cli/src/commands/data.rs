//! `embdl data`.

use std::path::PathBuf;

use anyhow::Result;
use embdl_data::catalog::{self, SearchPath};
use serde::Serialize;

use crate::{Outcome, data, text};

/// Arguments of `embdl data`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes sure that a data set is on this machine, downloading it if need be, and says where.
    #[command(after_help = "\
Examples:
  embdl data fetch fashion-mnist
  embdl data fetch mnist --data my-folder      (checks what lies there)")]
    Fetch {
        /// Data set: fashion-mnist, mnist; CIFAR is found, not fetched.
        name: String,
        /// Folder to look in first.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Lists the data sets that are known, and where they are.
    List,
}

#[derive(Serialize)]
struct Place {
    dataset: &'static str,
    source: &'static str,
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let places: Vec<Place> = match &args.command {
        Command::Fetch { name, data } => {
            let folder = data::fetch(name, &SearchPath::from_env(data.clone()))?;
            let entry = catalog::find(name)?;
            // Loading checks every file against its checksum.
            catalog::load_from(entry, &folder)?;
            vec![Place { dataset: entry.name, source: entry.source, folder: Some(folder) }]
        }
        Command::List => {
            let search = SearchPath::from_env(None);
            let place = |entry: &'static catalog::Entry| Place {
                dataset: entry.name,
                source: entry.source,
                folder: catalog::locate(entry, &search).ok(),
            };
            catalog::entries().iter().map(place).collect()
        }
    };
    if json {
        text::json(&places)?;
        return Ok(Outcome::Passed);
    }
    let rows: Vec<Vec<String>> = places
        .iter()
        .map(|place| {
            let folder = place
                .folder
                .as_ref()
                .map_or("not here".to_owned(), |folder| folder.display().to_string());
            vec![place.dataset.to_owned(), folder, place.source.to_owned()]
        })
        .collect();
    print!("{}", text::columns(&["data set", "folder", "source"], &rows));
    Ok(Outcome::Passed)
}
