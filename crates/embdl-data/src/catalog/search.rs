//! Where the files of a data set may lie, and which of these places has them.

use std::env;
use std::path::{Path, PathBuf};

use super::{Entry, Files, NotFound};

/// Environment variable that names a folder of data sets.
pub const DATA_VARIABLE: &str = "EMBDL_DATA";

/// The places to look in, first to last as the fields stand.
///
/// A folder that a person names may hold the files themselves, or a folder called like the data set or as its archive
/// calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// Named on the command line; if given, no other place is looked in.
    pub explicit: Option<PathBuf>,
    /// Named by [`DATA_VARIABLE`].
    pub environment: Option<PathBuf>,
    /// The user's cache: `embdl/data` in `$XDG_CACHE_HOME` or in `~/.cache`; one folder per data set.
    pub cache: Option<PathBuf>,
    /// Whether to look where distribution packages put data sets.
    pub system: bool,
}

impl SearchPath {
    /// All places, as the environment names them; `explicit` is what the command line names.
    pub fn from_env(explicit: Option<PathBuf>) -> Self {
        let cache = crate::cache::folder().map(|cache| cache.join("data"));
        let environment =
            env::var_os(DATA_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        Self { explicit, environment, cache, system: true }
    }

    /// The folders to look in for `entry`, first to last.
    pub fn folders(&self, entry: &Entry) -> Vec<PathBuf> {
        let unpacked = match &entry.files {
            Files::Idx(_) => None,
            Files::Cifar(files) => Some(files.folder),
        };
        let named = |dir: &Path| {
            let below = [Some(entry.name), unpacked].into_iter().flatten();
            below.map(|name| dir.join(name)).chain([dir.to_owned()]).collect::<Vec<_>>()
        };
        if let Some(dir) = &self.explicit {
            return named(dir);
        }
        let mut folders = Vec::new();
        folders.extend(self.environment.iter().flat_map(|dir| named(dir)));
        folders.extend(self.cache_folder(entry));
        folders.extend(entry.system_dir.filter(|_| self.system).map(PathBuf::from));
        folders
    }

    /// Where files that are fetched go: the folder of this data set in the named folder, else in the cache.
    pub fn cache_folder(&self, entry: &Entry) -> Option<PathBuf> {
        self.explicit.as_ref().or(self.cache.as_ref()).map(|cache| cache.join(entry.name))
    }
}

/// The first folder that holds all files; idx files may be plain or gzipped. Their content is checked when they are read.
///
/// # Errors
/// [`NotFound`], which says where it looked and what to do.
pub fn locate(entry: &Entry, search: &SearchPath) -> Result<PathBuf, Box<NotFound>> {
    let folders = search.folders(entry);
    let has_all = |dir: &&PathBuf| match &entry.files {
        Files::Idx(files) => files.all().iter().all(|file| path_of(file.name, dir).is_some()),
        Files::Cifar(_) => entry.files.names().iter().all(|name| dir.join(name).is_file()),
    };
    if let Some(dir) = folders.iter().find(has_all) {
        return Ok(dir.clone());
    }
    Err(Box::new(NotFound {
        name: entry.name,
        searched: folders,
        package: entry.package.filter(|_| search.explicit.is_none()),
        cache: search.cache_folder(entry),
        files: entry.files.names(),
        archive: match &entry.files {
            Files::Idx(_) => None,
            Files::Cifar(files) => Some(files.archive),
        },
    }))
}

/// The file in this folder: gzipped if it is there, else plain.
pub(crate) fn path_of(name: &str, dir: &Path) -> Option<PathBuf> {
    [dir.join(format!("{name}.gz")), dir.join(name)].into_iter().find(|path| path.is_file())
}
