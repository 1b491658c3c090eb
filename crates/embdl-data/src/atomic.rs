//! Files that appear whole or not at all.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` beside `path` under a name of its own, syncs, then renames: no reader ever sees half a file.
///
/// # Errors
/// If the folder cannot be written to, or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (part, mut file) = create_part(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    let done = written.and_then(|()| fs::rename(&part, path));
    if done.is_err() {
        // The first error is the one to report; a leftover part file harms nobody.
        let _ = fs::remove_file(&part);
    }
    done
}

/// Process id and a counter make the name unique among the processes and threads that share the folder.
fn create_part(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".part-{}-{number}", std::process::id()));
    let part = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
    Ok((part, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_rename_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        fs::create_dir_all(path.join("not-empty")).unwrap();
        assert!(write(&path, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
