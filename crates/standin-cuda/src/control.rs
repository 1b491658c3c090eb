//! What tests steer the driver by: a copy of its library for each, so that what goes wrong in one is nobody else's.

use core::error::Error;
use core::ffi::CStr;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;
use tempfile::TempDir;

use crate::settings::Settings;

/// File that the library is built as.
const FILE: &str = "libstandin_cuda.so";

/// A driver of one's own.
#[derive(Debug)]
pub struct Standin {
    library: Library,
    path: PathBuf,
    _folder: TempDir,
}

impl Standin {
    /// A driver with the given settings.
    ///
    /// # Errors
    /// If its library is not where tests are built, or cannot be copied.
    pub fn new(settings: Settings) -> Result<Self, Box<dyn Error>> {
        let program = env::current_exe()?;
        let folders = program.ancestors().skip(1).take(2);
        let built = folders
            .flat_map(|folder| [folder.join(FILE), folder.join("deps").join(FILE)])
            .find(|path| path.is_file())
            .ok_or_else(|| format!("no {FILE} beside {}", program.display()))?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("libcuda.so.1");
        fs::copy(built, &path)?;
        // SAFETY: it is this crate's own library.
        let library = unsafe { Library::new(&path) }?;
        let standin = Self { library, path, _folder: folder };
        standin.set(settings);
        Ok(standin)
    }

    /// The library, for the runtime to open.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes the settings, and what was lost is there again.
    ///
    /// # Panics
    /// If the library is another one than this crate's.
    pub fn set(&self, settings: Settings) {
        // SAFETY: the library has the function with this type.
        let set = unsafe {
            self.library.get::<unsafe extern "C" fn(*const Settings)>(c"standin_set".to_bytes())
        };
        // SAFETY: the settings are there.
        unsafe { set.expect("the library is this crate's")(&raw const settings) };
    }

    /// What the driver holds for its callers: retained contexts, memory, modules, streams, events, graphs.
    ///
    /// # Panics
    /// If the library is another one than this crate's.
    #[must_use]
    pub fn held(&self) -> usize {
        // SAFETY: the library has the function with this type.
        let held = unsafe {
            self.library.get::<unsafe extern "C" fn() -> usize>(c"standin_held".to_bytes())
        };
        // SAFETY: it takes nothing.
        unsafe { held.expect("the library is this crate's")() }
    }

    /// Whether the library has a function of this name.
    #[must_use]
    pub fn has(&self, name: &CStr) -> bool {
        // SAFETY: the function is not called.
        unsafe { self.library.get::<unsafe extern "C" fn()>(name.to_bytes()) }.is_ok()
    }
}
