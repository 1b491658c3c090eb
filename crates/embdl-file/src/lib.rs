//! The file of a model as bytes that leave memory when they have been read.
//!
//! A session has weights of its own, packed for its kernels. Read as a whole, a file stands beside them until it is loaded,
//! and twice the weights are more than some boards have. Mapped, its pages come when they are read and go when
//! [`Release`] says that they are done with, so that at most one layer is there twice.

#[cfg(unix)]
mod mapping;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use embdl_core::runtime::Release;

#[cfg(unix)]
use mapping::Mapping;

/// The bytes of a file. A mapped file must not be cut short while it is in use, or the process ends by SIGBUS: replace files
/// by renaming another one to them, as everything here does.
#[derive(Clone)]
pub struct ModelFile(Arc<Content>);

enum Content {
    #[cfg(unix)]
    Mapped(Mapping),
    Read(Vec<u8>),
}

impl ModelFile {
    /// Opens a file; what is no regular file, such as a pipe, is read as a whole.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        #[cfg(unix)]
        if let Some(mapping) = Mapping::new(&file)? {
            return Ok(Self(Arc::new(Content::Mapped(mapping))));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self(Arc::new(Content::Read(bytes))))
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &*self.0 {
            #[cfg(unix)]
            Content::Mapped(mapping) => mapping.bytes(),
            Content::Read(bytes) => bytes,
        }
    }

    /// For `LoadOptions::release`.
    #[must_use]
    pub fn releaser(&self) -> Arc<dyn Release> {
        Arc::new(self.clone())
    }

    /// Lets go of all pages, as after a checksum was taken.
    pub fn release_all(&self) {
        self.release(self.bytes());
    }
}

impl Release for ModelFile {
    fn release(&self, encoded: &[u8]) {
        match &*self.0 {
            #[cfg(unix)]
            Content::Mapped(mapping) => mapping.release(encoded),
            Content::Read(_) => {}
        }
    }
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.0 {
            #[cfg(unix)]
            Content::Mapped(_) => "mapped",
            Content::Read(_) => "read",
        };
        write!(f, "ModelFile({kind}, {} bytes)", self.bytes().len())
    }
}
