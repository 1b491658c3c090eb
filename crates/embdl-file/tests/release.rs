//! Bytes stay the same when their pages are let go, and the pages do go.
#![cfg(target_os = "linux")]

use std::fs;

use embdl_core::runtime::Release;
use embdl_file::ModelFile;

/// KiB of files that this process has in memory.
fn resident_file_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
}

#[test]
fn pages_go_and_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.embdl");
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let file = ModelFile::open(&path).unwrap();
    assert!(file.bytes() == bytes);
    let before = resident_file_kib();
    file.release(&file.bytes()[..4 << 20]);
    let half = resident_file_kib();
    file.release_all();
    let none = resident_file_kib();
    assert!(before >= half + 4000 && half >= none + 4000, "{before} {half} {none} KiB");
    assert!(file.bytes() == bytes);
    // Bytes of somebody else are not touched.
    file.release(&bytes);
    assert!(file.bytes() == bytes);
}

#[test]
fn what_cannot_be_mapped_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    fs::write(&path, []).unwrap();
    let file = ModelFile::open(&path).unwrap();
    assert!(file.bytes().is_empty());
    file.release_all();
    assert!(ModelFile::open(&folder.path().join("missing")).is_err());
}
