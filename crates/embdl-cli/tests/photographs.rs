//! From weights to the labels of photographs, by the command line; the pretrained MobileNetV2 says what PyTorch says.
#![allow(clippy::print_stderr, reason = "a test that is skipped has to be loud")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use embdl_graph::zoo;
use image::{ImageFormat, RgbImage};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answers {
    pictures: Vec<Picture>,
    profile: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Picture {
    file: PathBuf,
    top: Vec<Guess>,
}

#[derive(Deserialize)]
struct Guess {
    class: usize,
    label: String,
    probability: f32,
    score: f32,
}

fn embdl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_embdl")).args(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = embdl(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(arguments: &[&str]) -> String {
    let output = embdl(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Weights for a narrow network, without the tensors that `leave_out` says: noise of the size that keeps values alive.
fn write_weights(path: &Path, network: &str, leave_out: impl Fn(&str) -> bool) {
    let graph = zoo::zeroed(network).unwrap();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    let mut tensors = Vec::new();
    for (name, shape) in embdl_weights::expected(&graph) {
        let fan_in = shape.iter().skip(1).product::<usize>().max(1);
        let bound = (6.0 / f64::from(u32::try_from(fan_in).unwrap())).sqrt();
        let len: usize = shape.iter().product();
        #[expect(clippy::cast_possible_truncation, reason = "noise")]
        let bytes: Vec<u8> =
            (0..len).flat_map(|_| ((noise() * bound) as f32).to_le_bytes()).collect();
        if !leave_out(&name) {
            tensors.push((name, shape, bytes));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn weights_become_a_file_that_names_photographs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [weights, labels, model] = ["w.safetensors", "names.txt", "m.embdl"].map(path);
    let network = "squeezenet-1.1-0.25-cifar10";
    write_weights(weights.as_ref(), network, |_| false);
    let names: Vec<String> = (0..10).map(|class| format!("thing {class}")).collect();
    std::fs::write(&labels, names.join("\n")).unwrap();
    let import = ["import", &weights, "--network", network, "-o", &model];
    succeed(&[&import[..], &["--labels", &labels, "--preprocess", "unit"]].concat());

    let about = succeed(&["inspect", &model]);
    assert!(about.contains("10 labels: thing 0 ... thing 9"), "{about}");
    assert!(about.contains("stretch (bilinear), RGB") && about.contains("(metadata)"), "{about}");

    // The same picture as PNG, as its bytes at the input's size, and as the floats that these become.
    let pixels: Vec<u8> =
        (0..32 * 32 * 3_u32).map(|at| (at * at / 7 % 251).to_le_bytes()[0]).collect();
    let picture = RgbImage::from_raw(32, 32, pixels.clone()).unwrap();
    let [png, raw, floats] = ["a.png", "a.raw", "a.f32"].map(path);
    picture.save_with_format(&png, ImageFormat::Png).unwrap();
    std::fs::write(&raw, &pixels).unwrap();
    let reals: Vec<u8> =
        pixels.iter().flat_map(|&byte| (f32::from(byte) / 255.0).to_le_bytes()).collect();
    std::fs::write(&floats, reals).unwrap();
    let run = ["run", &model, &png, &raw, &floats, "--top", "10", "--json", "--profile"];
    let answers: Answers = serde_json::from_str(&succeed(&run)).unwrap();
    assert_eq!(answers.pictures.len(), 3);
    let memory = &answers.profile.as_ref().unwrap()["memory"];
    assert!(
        memory["weight_bytes"].as_u64().unwrap() > 0 && memory["arena_bytes"].as_u64().unwrap() > 0
    );
    for answer in &answers.pictures {
        assert_eq!(answer.top.len(), 10);
        let sum: f32 = answer.top.iter().map(|guess| guess.probability).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        for (guess, first) in answer.top.iter().zip(&answers.pictures[0].top) {
            assert_eq!(guess.label, names[guess.class]);
            assert_eq!(guess.class, first.class, "{}", answer.file.display());
            assert!((guess.score - first.score).abs() <= 1e-4 * first.score.abs().max(1.0));
        }
    }
    let text = succeed(&["run", &model, &png, "--top", "2"]);
    assert!(text.contains(&answers.pictures[0].top[1].label), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [weights, model, picture] = ["w.safetensors", "m.embdl", "a.bin"].map(path);
    let network = "squeezenet-1.1-0.25-cifar10";
    write_weights(weights.as_ref(), network, |name| name.starts_with("classifier"));
    let import = ["import", &weights, "-o", &model];
    let no_network = fail(&import);
    assert!(no_network.contains("--network"), "{no_network}");
    let other = fail(&[&import[..], &["--network", "squeezenet-9"]].concat());
    assert!(other.contains("squeezenet-1.1"), "{other}");
    let missing = fail(&[&import[..], &["--network", network]].concat());
    assert!(
        missing.contains("not in the file: classifier.1.weight, classifier.1.bias"),
        "{missing}"
    );
    assert!(!Path::new(&model).exists());

    write_weights(weights.as_ref(), network, |_| false);
    let import = [&import[..], &["--network", network]].concat();
    std::fs::write(&picture, "three\nlabels\nhere\n").unwrap();
    let labels = fail(&[&import[..], &["--labels", &picture]].concat());
    assert!(labels.contains("3 labels for 10 classes"), "{labels}");
    succeed(&import);
    std::fs::write(&picture, [0; 100]).unwrap();
    let neither = fail(&["run", &model, &picture]);
    assert!(
        neither.contains("neither JPEG nor PNG") && neither.contains("3072 bytes"),
        "{neither}"
    );
    std::fs::write(&picture, [0; 3072]).unwrap();
    let how = fail(&["run", &model, &picture]);
    assert!(how.contains("--preprocess"), "{how}");
    succeed(&["run", &model, &picture, "--preprocess", "unit"]);
}

/// What PyTorch computes for a photograph; written by `photographs/generate.py`.
#[derive(Deserialize)]
struct Expected {
    top: usize,
    logits: BTreeMap<usize, f32>,
}

/// Largest difference of a logit, relative to the largest logit of the photograph.
const TOLERANCE: f32 = 1e-3;
/// The same where the photograph is a JPEG: decoders round the inverse transform and widen the colours differently, by a
/// few levels of some pixels. On the same pixels the logits agree as those of PNG files do.
const JPEG_TOLERANCE: f32 = 1e-2;

#[test]
fn the_pretrained_mobilenet_says_what_pytorch_says() {
    let Some(photographs) = photographs() else {
        let message =
            "SKIPPED: the weights and photographs are not there; `cargo xtask setup` fetches them";
        assert!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("{message}");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.embdl").to_str().unwrap().to_owned();
    let weights = photographs.join("mobilenet_v2-b0353104.pth").to_str().unwrap().to_owned();
    let network = ["--network", "mobilenet-v2", "--preprocess", "imagenet"];
    succeed(&[&["import", &weights, "-o", &model][..], &network].concat());
    let expected: BTreeMap<String, Expected> =
        serde_json::from_str(include_str!("photographs/expected.json")).unwrap();
    let files: Vec<String> =
        expected.keys().map(|name| photographs.join(name).to_str().unwrap().to_owned()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let run = [&["run", &model, "--top", "1000", "--json"][..], &files].concat();
    let answers: Answers = serde_json::from_str(&succeed(&run)).unwrap();
    let mut failures = Vec::new();
    for (answer, (name, expected)) in answers.pictures.iter().zip(&expected) {
        let scores: BTreeMap<usize, f32> =
            answer.top.iter().map(|guess| (guess.class, guess.score)).collect();
        let largest =
            expected.logits.values().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
        let far = expected.logits.iter().map(|(class, logit)| (scores[class] - logit).abs());
        let error = far.fold(0.0, f32::max) / largest;
        let tolerance = if name.ends_with(".jpg") { JPEG_TOLERANCE } else { TOLERANCE };
        eprintln!("{name}: class {}, error {error:.1e}", answer.top[0].class);
        if answer.top[0].class != expected.top || error > tolerance {
            failures.push(format!(
                "{name}: class {} for {}, error {error:.1e}",
                answer.top[0].class, expected.top
            ));
        }
    }
    assert!(answers.pictures.len() == expected.len() && failures.is_empty(), "{failures:#?}");
}

/// The folder that `cargo xtask setup` fills, or `EMBDL_PHOTOGRAPHS`.
fn photographs() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let folder = set("EMBDL_PHOTOGRAPHS").or_else(|| Some(cache()?.join("embdl/photographs")))?;
    folder.join("mobilenet_v2-b0353104.pth").exists().then_some(folder)
}
