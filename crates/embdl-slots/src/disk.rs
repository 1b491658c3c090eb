//! What slots need of a disk, and the disk of this machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::sums::hexadecimal;

/// A folder on a disk. Paths are relative to it, with `/`; the empty one is the folder itself.
///
/// What is changed may be lost, in any order, until it is synced: a file's content by the path of the file, names by the path
/// of their folder. A rename onto a name replaces what it named, whole, or did not happen.
pub trait Disk {
    /// The names in a folder.
    ///
    /// # Errors
    /// If it is none, or cannot be read.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;
    /// A small file.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, file: &str) -> io::Result<Vec<u8>>;
    /// The SHA-256 of a file, in hexadecimal digits.
    ///
    /// # Errors
    /// If it cannot be read.
    fn digest(&self, file: &str) -> io::Result<String>;
    /// Where a link points; `None` where it does not exist.
    ///
    /// # Errors
    /// If it is no link, or cannot be read.
    fn target(&self, link: &str) -> io::Result<Option<String>>;
    /// Makes a folder, unless it is there.
    ///
    /// # Errors
    /// If it cannot be made.
    fn make_folder(&mut self, folder: &str) -> io::Result<()>;
    /// Gives a file or a link another name.
    ///
    /// # Errors
    /// If it cannot be done.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Makes a link.
    ///
    /// # Errors
    /// If the name is taken, or it cannot be done.
    fn link(&mut self, target: &str, link: &str) -> io::Result<()>;
    /// Removes a file, a link, or a folder with all that is in it.
    ///
    /// # Errors
    /// If it cannot be done.
    fn remove(&mut self, path: &str) -> io::Result<()>;
    /// Waits until a file's content, or a folder's names, are on the disk.
    ///
    /// # Errors
    /// If the disk fails.
    fn sync(&mut self, path: &str) -> io::Result<()>;
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// A folder that exists.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Where a path within it is.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Disk for Folder {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(self.path(folder))?.map(name).collect()
    }

    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(file))
    }

    fn digest(&self, file: &str) -> io::Result<String> {
        let mut file = File::open(self.path(file))?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            let len = file.read(&mut buffer)?;
            if len == 0 {
                return Ok(hexadecimal(hash));
            }
            hash.update(&buffer[..len]);
        }
    }

    fn target(&self, link: &str) -> io::Result<Option<String>> {
        match fs::read_link(self.path(link)) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(folder))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    #[cfg(unix)]
    fn link(&mut self, target: &str, link: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(target, self.path(link))
    }

    #[cfg(not(unix))]
    fn link(&mut self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }
}
