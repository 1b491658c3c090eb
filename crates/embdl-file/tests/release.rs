//! Bytes stay the same when their pages are let go, and the pages do go.
#![cfg(target_os = "linux")]

use std::fs;

use embdl_core::runtime::Release;
use embdl_file::ModelFile;
use embdl_testkit::status_bytes;

/// Bytes of files that this process has in memory.
fn resident() -> u64 {
    status_bytes("RssFile:")
}

#[test]
fn pages_go_and_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.embdl");
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let file = ModelFile::open(&path).unwrap();
    assert!(file.bytes() == bytes);
    let before = resident();
    file.release(&file.bytes()[..4 << 20]);
    let half = resident();
    file.release_all();
    let none = resident();
    assert!(
        before >= half + (4000 << 10) && half >= none + (4000 << 10),
        "{before} {half} {none} bytes"
    );
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
