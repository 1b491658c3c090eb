//! Families of the zoo for colour images through the whole pipeline: built-in recipes, narrow networks, and data that
//! needs no files.

use embdl_data::catalog::{self, LoadOptions};
use embdl_flow::pipeline::{self, Job};
use embdl_flow::progress::Silent;
use embdl_flow::recipe::Recipe;
use embdl_flow::report;

/// Trains, prunes, shares, quantizes and retests `network`; gives the ratio.
fn check(network: &str) -> f64 {
    let recipe = Recipe::built_in(network, "synthetic-colour", "short").unwrap();
    let options = LoadOptions { validation_len: recipe.validation, ..LoadOptions::default() };
    let split = catalog::load(&recipe.dataset, &options).unwrap();
    let out = tempfile::tempdir().unwrap();
    let job = Job {
        device: embdl_train::Device::Cpu,
        recipe,
        seed: 1,
        out: out.path().into(),
        resume: false,
        start: None,
        foreign: Vec::new(),
        data_dir: None,
        details: false,
    };
    let record = pipeline::run(&job, &split, &Silent).unwrap();
    let shown: Vec<String> = record
        .steps
        .iter()
        .map(|step| {
            let (validation, test) = (step.validation_accuracy, step.test_accuracy);
            format!("{}: {validation:.3} {test:.3} {} bytes", step.step, step.file_bytes)
        })
        .collect();
    let shown = shown.join("\n");
    let steps: Vec<&str> = record.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["train", "prune", "share", "quantize", "huffman"]);
    assert!(record.fp32.accuracy > 0.8, "{network} did not learn:\n{shown}");
    assert!(record.compressed.accuracy > record.fp32.accuracy - 0.05, "{network}:\n{shown}");
    let hash = &record.retests[0].outputs_sha256;
    assert!(
        record.retests.iter().all(|retest| retest.outputs_sha256 == *hash),
        "{network} gives other outputs elsewhere: {:?}",
        record.retests
    );
    assert!(
        record
            .layers
            .iter()
            .all(|layer| layer.encoding.contains("i8") || layer.encoding.contains("bit")),
        "{:?}",
        record.layers
    );
    assert!(
        report::table(&embdl_flow::record::RunRecord {
            seconds: 1.0,
            command: "test".into(),
            provenance: embdl_flow::record::Provenance::default(),
            networks: vec![record.clone()],
        })
        .contains(network)
    );
    record.compressed.ratio
}

#[test]
fn a_narrow_alexnet_becomes_a_small_file() {
    assert!(check("alexnet-0.0625-cifar10") > 10.0);
}

#[test]
fn a_narrow_vgg_with_batch_norm_becomes_a_small_file() {
    assert!(check("vgg-16-bn-0.0625-cifar10") > 10.0);
}

#[test]
fn a_narrow_mobilenet_v1_becomes_a_small_file() {
    assert!(check("mobilenet-v1-0.125-cifar10") > 5.0);
}

#[test]
fn a_narrow_mobilenet_v2_becomes_a_small_file() {
    assert!(check("mobilenet-v2-0.125-cifar10") > 5.0);
}

#[test]
fn a_narrow_squeezenet_becomes_a_small_file() {
    assert!(check("squeezenet-1.1-0.25-cifar10") > 6.0);
}
