//! Kernels that are measured once, kept in a file of the user's, and used when a model is loaded.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The answer of a command whose cache is below `folder`.
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embdl"));
    let output = command.args(arguments).env("XDG_CACHE_HOME", folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_model_is_measured_once_and_again_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("lenet-5.embdl");
    let model = model.to_str().unwrap();
    succeed(folder.path(), &["zoo", "lenet-5", "--precision", "compressed", "--out", model]);
    let tune = |more: &[&str]| {
        let arguments = [&["tune", model, "--seconds", "0.02", "--json"], more].concat();
        serde_json::from_str::<Value>(&succeed(folder.path(), &arguments)).unwrap()
    };
    let measured = |found: &Value| found["models"][0]["measured"].as_u64().unwrap();
    let first = tune(&[]);
    let file = folder.path().join("embdl/tuning.json");
    assert_eq!(first["file"].as_str(), file.to_str());
    // Two convolutions, and two sparse dense layers of 4-bit codes, have a choice on every level.
    assert!(measured(&first) >= 2, "{first:#}");
    assert!(!first["factors"].as_array().unwrap().is_empty(), "{first:#}");
    let kept = std::fs::read_to_string(&file).unwrap();
    let second = tune(&[]);
    assert_eq!(measured(&second), 0, "{second:#}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
    assert_eq!(measured(&tune(&["--again"])), measured(&first));
    // Another number of threads is another problem.
    assert_eq!(measured(&tune(&["--threads", "2"])), measured(&first));
    for how in [&[][..], &["--untuned"]] {
        succeed(folder.path(), &[&["run", model, "--dataset", "synthetic"], how].concat());
    }
}
