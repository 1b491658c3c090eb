//! The whole pipeline on data that needs no files: every step, resuming, and equal integers on every runtime.

use std::path::Path;

use embdl_data::catalog::{self, LoadOptions};
use embdl_flow::pipeline::{self, Job};
use embdl_flow::progress::Silent;
use embdl_flow::recipe::Recipe;
use embdl_flow::record::NetworkRecord;
use embdl_flow::report;

const RECIPE: &str = r#"
network = "lenet-300-100"
dataset = "synthetic"
validation = 7000

[train]
epochs = 3

[prune]
sparsity = { lamp = 0.1 }
every = 5

[prune.train]
epochs = 2
learning-rate = 0.02

[share]
bits = [["*", 4]]

[share.train]
epochs = 1
optimizer = { adam = { beta1 = 0.9, beta2 = 0.999 } }
learning-rate = 0.0005

[quantize]

[quantize.train]
epochs = 1
optimizer = { adam = { beta1 = 0.9, beta2 = 0.999 } }
learning-rate = 0.0005
"#;

fn run(out: &Path, recipe: &str, resume: bool) -> NetworkRecord {
    let recipe = Recipe::from_toml("test", recipe).unwrap();
    let options = LoadOptions { validation_len: recipe.validation, ..LoadOptions::default() };
    let split = catalog::load(&recipe.dataset, &options).unwrap();
    let job = Job {
        device: embdl_train::Device::Cpu,
        recipe,
        seed: 3,
        out: out.into(),
        resume,
        start: None,
        foreign: Vec::new(),
        data_dir: None,
        details: true,
    };
    pipeline::run(&job, &split, &Silent).unwrap()
}

#[test]
fn a_network_becomes_a_verified_small_file_and_a_stopped_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let record = run(dir.path(), RECIPE, false);
    assert!(record.fp32.accuracy > 0.8, "{:?}", record.fp32);
    assert!(record.compressed.accuracy > record.fp32.accuracy - 0.05, "{:?}", record.compressed);
    assert!(record.compressed.ratio > 20.0, "{:?}", record.compressed);
    let steps: Vec<&str> = record.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["train", "prune", "share", "quantize", "huffman"]);
    assert!(
        record.steps.windows(2).all(|pair| pair[1].file_bytes < pair[0].file_bytes),
        "{:?}",
        record.steps
    );
    let first = &record.retests[0].outputs_sha256;
    assert!(
        record.retests.iter().all(|retest| retest.outputs_sha256 == *first),
        "{:?}",
        record.retests
    );
    let file = std::fs::read(&record.compressed.path).unwrap();
    assert_eq!(file.len() as u64, record.compressed.file_bytes);

    // As if stopped after pruning: the later steps' state is gone, the earlier ones are taken from disk.
    let state = dir.path().join("lenet-300-100-synthetic-seed3/state");
    for step in ["share", "quantize", "huffman"] {
        std::fs::remove_file(state.join(format!("{step}.state"))).unwrap();
    }
    let resumed = run(dir.path(), RECIPE, true);
    assert_eq!(
        std::fs::read(&resumed.compressed.path).unwrap(),
        file,
        "resumed runs give the same bytes"
    );
    assert_eq!(resumed.steps[0], record.steps[0], "training was not repeated");

    // Other settings do not take the old state.
    let other = run(dir.path(), &RECIPE.replace("lamp = 0.1", "lamp = 0.2"), true);
    assert_eq!(other.steps[0], record.steps[0]);
    assert!(other.compressed.file_bytes > record.compressed.file_bytes);

    let leftovers: Vec<_> =
        std::fs::read_dir(dir.path().join("lenet-300-100-synthetic-seed3")).unwrap().collect();
    assert!(leftovers.iter().all(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name == "state" || name.ends_with(".embdl")
    }));
    let run = embdl_flow::record::RunRecord {
        seconds: 1.0,
        command: "test".into(),
        provenance: embdl_flow::record::Provenance::default(),
        networks: vec![record],
    };
    assert!(report::consistent(&run));
    assert!(report::html(&run).contains("lenet-300-100"));
}

#[test]
fn a_recipe_quantizes_without_retraining() {
    let recipe = r#"
network = "lenet-300-100"
dataset = "synthetic"
validation = 7000

[train]
epochs = 3

[post-training]
images = 200

[post-training.settings]
calibration = "min-max"
rounding-steps = 50
bits = [["*", 6]]
"#;
    let dir = tempfile::tempdir().unwrap();
    let record = run(dir.path(), recipe, false);
    let steps: Vec<&str> = record.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["train", "post-training", "huffman"]);
    assert!(record.compressed.accuracy > record.fp32.accuracy - 0.02, "{:?}", record.compressed);
    assert!(record.compressed.ratio > 4.5, "{:?}", record.compressed);
    let first = &record.retests[0].outputs_sha256;
    assert!(record.retests.iter().all(|retest| retest.outputs_sha256 == *first));
}
