//! `embdl export --for myriad` and `embdl inspect` of what it writes.

use std::path::Path;
use std::process::{Command, Output};

fn embdl(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embdl"));
    command.current_dir(folder).args(arguments).output().expect("the command starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_network_becomes_a_blob_that_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| embdl(folder.path(), arguments);
    assert!(run(&["zoo", "lenet-5", "--out", "lenet-5.embdl"]).status.success());
    let export = ["export", "lenet-5.embdl", "--for", "myriad", "--out", "lenet-5.blob"];
    let exported = run(&export);
    let said = text(&exported);
    assert!(exported.status.success(), "{said}");
    assert!(said.contains("not yet run on silicon") && said.contains("modelled"), "{said}");
    let inspected = text(&run(&["inspect", "lenet-5.blob"]));
    assert!(inspected.contains("blob 5.0") && inspected.contains("fc |"), "{inspected}");
    let json = run(&["inspect", "lenet-5.blob", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["shaves"], 12);
    assert!(json["stages"].as_array().unwrap().len() > 6);

    assert!(
        run(&["zoo", "lenet-5", "--precision", "int8", "--out", "int8.embdl"]).status.success()
    );
    let refused = run(&["export", "int8.embdl", "--for", "myriad"]);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("this model in integers"), "{}", text(&refused));
    let dropped = run(&["export", "int8.embdl", "--for", "myriad", "--drop-levels"]);
    assert!(dropped.status.success(), "{}", text(&dropped));
    std::fs::write(folder.path().join("other.blob"), b"no blob").unwrap();
    let other = text(&run(&["inspect", "other.blob"]));
    assert!(other.contains("are no compiled graph"), "{other}");
}

#[test]
fn files_for_vendors_are_written_and_a_missing_compiler_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embdl"));
        command.current_dir(folder.path()).args(arguments).env("PATH", folder.path());
        command.output().expect("the command starts")
    };
    assert!(run(&["zoo", "lenet-5", "--out", "lenet-5.embdl"]).status.success());
    let openvino = run(&["export", "lenet-5.embdl", "--for", "openvino", "--out", "n.xml"]);
    assert!(text(&openvino).contains("of weights in n.bin"), "{}", text(&openvino));
    let xml = std::fs::read_to_string(folder.path().join("n.xml")).unwrap();
    assert!(xml.contains("type=\"Convolution\" version=\"opset1\""));
    assert!(run(&["zoo", "lenet-5", "--precision", "int8", "--out", "8.embdl"]).status.success());
    let levels = run(&["export", "8.embdl", "--for", "openvino", "--out", "8.xml"]);
    assert!(text(&levels).contains("--drop-levels"), "{}", text(&levels));
    let caffe = ["export", "lenet-5.embdl", "--for", "caffe", "--out", "n.prototxt", "--compile"];
    let caffe = run(&caffe);
    assert!(!caffe.status.success());
    assert!(text(&caffe).contains("mvNCCompile is not installed"), "{}", text(&caffe));
    assert!(folder.path().join("n.caffemodel").is_file());
}
