//! The user's cache folder.

use std::env;
use std::path::PathBuf;

/// `embdl` in `$XDG_CACHE_HOME` or in `~/.cache`; `None` where neither is an absolute path, as the XDG base directory
/// specification says to ignore relative ones.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("embdl"))
}
