//! Families of the zoo for colour images through the whole pipeline: built-in recipes, narrow networks, and data that
//! needs no files.

use embdl_data::catalog::{self, LoadOptions};
use embdl_data::{Dataset, DatasetParts, Split, TestSet};
use embdl_flow::pipeline::{self, Job};
use embdl_flow::progress::Silent;
use embdl_flow::recipe::Recipe;
use embdl_flow::report;

/// The recipe's data.
fn load(recipe: &Recipe) -> Split {
    let options = LoadOptions { validation_len: recipe.validation, ..LoadOptions::default() };
    catalog::load(&recipe.dataset, &options).unwrap()
}

/// Every square of four pixels as one, their mean.
fn halved(images: &Dataset) -> Dataset {
    let (width, channels) = (images.width(), images.channels());
    let row = width * channels;
    let mut small = Vec::with_capacity(images.images().len() / 4);
    for pair in images.images().chunks_exact(2 * row) {
        for at in (0..row).filter(|at| at / channels % 2 == 0) {
            let four = [at, at + channels, at + row, at + row + channels];
            let sum: u16 = four.iter().map(|&at| u16::from(pair[at])).sum();
            small.push(u8::try_from(sum / 4).unwrap());
        }
    }
    Dataset::new(DatasetParts {
        name: images.name().into(),
        images: small,
        labels: images.labels().to_vec(),
        height: images.height() / 2,
        width: width / 2,
        channels,
        classes: images.classes().to_vec(),
        normalization: images.normalization(),
    })
    .unwrap()
}

/// Trains, prunes, shares, quantizes and retests `network`; gives the ratio.
fn check(network: &str, data: impl Fn(&Recipe) -> Split) -> f64 {
    let recipe = Recipe::built_in(network, "synthetic-colour", "short").unwrap();
    let split = data(&recipe);
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
    assert!(check("alexnet-0.0625-cifar10", load) > 10.0);
}

#[test]
fn a_narrow_vgg_with_batch_norm_becomes_a_small_file() {
    assert!(check("vgg-16-bn-0.0625-cifar10", load) > 10.0);
}

#[test]
fn a_narrow_mobilenet_v1_becomes_a_small_file() {
    assert!(check("mobilenet-v1-0.125-cifar10", load) > 5.0);
}

#[test]
fn a_narrow_mobilenet_v2_becomes_a_small_file() {
    // No width is narrower: 48 channels of 32x32 in each of the first residuals, whose cost is spread over all that training does. At
    // half the height and width the same layers, steps and images take a quarter.
    let small = |recipe: &Recipe| {
        let Split { train, validation, test } = load(recipe);
        Split {
            train: halved(&train),
            validation: halved(&validation),
            test: TestSet::new(halved(test.for_report())),
        }
    };
    assert!(check("mobilenet-v2-0.125-cifar10@16", small) > 5.0);
}

#[test]
fn a_narrow_squeezenet_becomes_a_small_file() {
    assert!(check("squeezenet-1.1-0.25-cifar10", load) > 6.0);
}
