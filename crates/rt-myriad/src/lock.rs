//! Files by which processes keep out of each other's way: whoever holds the lock of a stick's port has the stick, and one process
//! at a time boots. The system lets go of a lock with the process that has it, however that ends.
//!
//! USB alone would do once a stick runs, since an interface is claimed by one process; between boot ROM and firmware nobody
//! has it.

use core::time::Duration;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::Instant;

/// Digits of a process number, and more.
const MAX_TEXT: u64 = 32;

/// A lock that this process holds until it drops it.
#[derive(Debug)]
pub(crate) struct Lock(Option<File>);

/// Another process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Number of the process, where it has written it down.
    pub(crate) process: Option<u32>,
}

impl Lock {
    /// Takes the lock of this name in a folder, unless another has it. Where files cannot be made or locked, nothing is locked: USB
    /// still keeps two processes from talking to one stick.
    pub(crate) fn take(folder: &Path, name: &str) -> Result<Self, Held> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let path = folder.join(format!("embdl-myriad-{name}.lock"));
        let mut file = match open(&path) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a lock cannot be opened");
                return Ok(Self(None));
            }
        };
        match file.try_lock() {
            Ok(()) => {
                // For the message of whoever comes next; another user's file cannot be written, and is locked all the same.
                let note = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                if let Err(error) = note {
                    tracing::debug!(%error, "a lock does not say who has it");
                }
                Ok(Self(Some(file)))
            }
            Err(TryLockError::WouldBlock) => Err(Held { process: holder(&mut file) }),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "a lock cannot be taken");
                Ok(Self(None))
            }
        }
    }

    /// As [`Self::take`], once whoever has it lets go of it in time.
    pub(crate) fn wait(
        folder: &Path,
        name: &str,
        wait: Duration,
        poll: Duration,
    ) -> Result<Self, Held> {
        let end = Instant::now() + wait;
        loop {
            match Self::take(folder, name) {
                Err(_) if Instant::now() < end => thread::sleep(poll),
                result => return result,
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|file| file.unlock()) {
            tracing::debug!(%error, "a lock is let go of by closing it");
        }
    }
}

/// A file of another user can be locked too, if it can be read.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => File::open(path),
        result => result,
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let first = Lock::take(path, "127.0.0.1:7450").unwrap();
        let held = Lock::take(path, "127.0.0.1:7450").unwrap_err();
        assert_eq!(held.process, Some(std::process::id()));
        let other = Lock::take(path, "1-1.2").unwrap();
        let brief = Duration::from_millis(20);
        assert!(Lock::wait(path, "1-1.2", brief, Duration::from_millis(1)).is_err());
        drop((first, other));
        assert!(Lock::take(path, "127.0.0.1:7450").unwrap().0.is_some());
        // What another left in the file is no reason to fail.
        std::fs::write(path.join("embdl-myriad-odd.lock"), [0xff; 100]).unwrap();
        let odd = Lock::take(path, "odd").unwrap();
        assert!(odd.0.is_some());
        let nowhere = Lock::take(&path.join("absent"), "x").unwrap();
        assert!(nowhere.0.is_none());
    }
}
