//! Values in files beside the model: read from the model's folder, and from nowhere else.

mod common;

use std::fs;
use std::path::Path;

use common::proto::{floats, model, node};
use embdl_onnx::{ImportOptions, import_file};
use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{StringStringEntryProto, TensorProto};

const WEIGHTS: usize = 3 * 2 * 3 * 3;

/// A weight whose values are elsewhere.
fn elsewhere(entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    TensorProto {
        float_data: Vec::new(),
        data_location: Some(DataLocation::External as i32),
        external_data: entries.iter().map(entry).collect(),
        ..floats("w", &[3, 2, 3, 3])
    }
}

fn error(folder: &Path, entries: &[(&str, &str)], options: &ImportOptions) -> String {
    let path = folder.join("model.onnx");
    let model = model(vec![node("Conv", &["x", "w"], "y")], vec![elsewhere(entries)]);
    fs::write(&path, model.encode_to_vec()).expect("written");
    match import_file(&path, options) {
        Ok(graph) => format!("{} parameters", graph.param_count()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_are_read_from_the_folder_only() {
    let outer = tempfile::tempdir().expect("a temporary folder");
    let folder = outer.path().join("model");
    fs::create_dir_all(folder.join("inner")).expect("created");
    let bytes: Vec<u8> = (0..WEIGHTS + 2).flat_map(|at| (at as f32).to_le_bytes()).collect();
    for place in ["weights.bin", "inner/weights.bin", "../outside.bin"] {
        fs::write(folder.join(place), &bytes).expect("written");
    }
    std::os::unix::fs::symlink(outer.path().join("outside.bin"), folder.join("link.bin"))
        .expect("linked");
    let options = ImportOptions::default();
    let check = |entries: &[(&str, &str)], expected: &str| {
        let found = error(&folder, entries, &options);
        assert!(found.contains(expected), "{entries:?}: {found}");
    };
    check(&[("location", "weights.bin")], "54 parameters");
    check(&[("location", "weights.bin"), ("offset", "8"), ("length", "216")], "54 parameters");
    check(&[("location", "inner/weights.bin")], "54 parameters");
    let inside = "only files in the folder of the model are read";
    let absolute = folder.join("weights.bin").display().to_string();
    for place in ["../outside.bin", "inner/../../outside.bin", &absolute, "", "link.bin", "."] {
        check(&[("location", place)], inside);
    }
    check(&[("location", "missing.bin")], "there is no such file beside the model");
    check(&[("location", "inner")], "there is no such file beside the model");
    let short = "the file ends before the values do";
    check(&[("location", "weights.bin"), ("offset", "12")], short);
    check(&[("location", "weights.bin"), ("offset", "18446744073709551615")], short);
    check(&[("location", "weights.bin"), ("offset", "-1")], "its offset or length is no number");
    let length = "its length is not that of its dimensions";
    check(&[("location", "weights.bin"), ("length", "217")], length);

    let mut small = ImportOptions::default();
    small.max_bytes = 1 << 10;
    assert!(error(&folder, &[("location", "weights.bin")], &small).contains("54 parameters"));
    small.max_bytes = 215;
    let found = error(&folder, &[("location", "weights.bin")], &small);
    assert!(found.contains("limit"), "{found}");
}

#[test]
fn claims_of_gibibytes_are_not_believed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("w"), [0; 8]).expect("written");
    let mut tensor = elsewhere(&[("location", "w")]);
    for dims in [vec![1 << 20, 2, 1 << 9, 1], vec![i64::MAX, 2, 2, 2], vec![1 << 62, 1, 1, 1]] {
        tensor.dims = dims;
        let model = model(vec![node("Conv", &["x", "w"], "y")], vec![tensor.clone()]);
        let path = folder.path().join("model.onnx");
        fs::write(&path, model.encode_to_vec()).expect("written");
        assert!(import_file(&path, &ImportOptions::default()).is_err());
    }
}
