//! Models whose parts are wrong while the protobuf is right: an error, or a valid graph that can be written and read.
//!
//! `EMBDL_MUTATIONS=1000000 cargo test -p embdl-onnx --test mutations` tries more than the few that every run tries.

mod common;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;

use common::mutate::{Dice, is_imported, mutate};
use embdl_onnx::ImportOptions;
use prost::Message as _;
use tract_onnx::pb::ModelProto;

fn seeds() -> Vec<(String, ModelProto)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it is read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).expect("the fixture is read");
            (path.display().to_string(), ModelProto::decode(&bytes[..]).expect("a model"))
        })
        .collect()
}

#[test]
fn wrong_parts_never_panic() {
    let count = std::env::var("EMBDL_MUTATIONS").ok();
    let count = count.map_or(4000, |count| count.parse::<u64>().expect("a number of mutations"));
    let seeds = seeds();
    let (mut failures, mut imported) = (Vec::new(), 0_u64);
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let (name, start) = &seeds[dice.below(seeds.len())];
        let mut model = start.clone();
        mutate(&mut model, &mut dice);
        let bytes = model.encode_to_vec();
        let import = || is_imported(&bytes, &ImportOptions::default());
        match catch_unwind(AssertUnwindSafe(import)) {
            Ok(whole) => imported += u64::from(whole),
            Err(_) => failures.push(format!("seed {seed}: {name}")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    // The mutations are not so coarse that nothing is left to write and read again.
    assert!(imported * 20 > count, "only {imported} of {count} are still models");
}
