//! `embdl test` on a folder of pictures: prepared as the file says, at the size of its input, classes by its labels.

use std::path::Path;
use std::process::{Command, Output};

use embdl_compress::{EncodeOptions, encode};
use embdl_core::metadata::{Channels, Filter, Fit, Preprocess};
use embdl_core::op::{Activation, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder};
use image::RgbImage;

fn embdl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_embdl")).args(arguments).output().unwrap()
}

/// Scores of "red" and "blue": the channel that the input has last, and the one that it has first.
fn network(preprocess: Preprocess) -> Graph {
    let mut builder = GraphBuilder::new("colours", 1);
    let input = builder.input("picture", Shape::nhwc(1, 6, 10, 3));
    let mean = builder.op("mean", Op::GlobalAveragePool, &[input]).unwrap();
    let flat = builder.op("flat", Op::Flatten, &[mean]).unwrap();
    let scores = builder.dense("scores", flat, 2, Activation::None).unwrap();
    let mut graph = builder.finish(&[scores]).unwrap();
    let weight = graph.params.iter_mut().find(|param| param.shape.rank() == 2).unwrap();
    weight.values_mut().copy_from_slice(&[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    graph.metadata.preprocess = Some(preprocess);
    graph.metadata.labels = vec!["red".into(), "blue".into()];
    graph
}

/// Pictures that are red, and blue, in their middle alone.
fn pictures(folder: &Path) {
    for (class, [r, g, b]) in [("red", [250, 10, 10]), ("blue", [10, 10, 250])] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for width in [20_u32, 31] {
            let picture = RgbImage::from_fn(width, 12, |x, _| {
                let is_middle = (width / 2 - 5..width / 2 + 5).contains(&x);
                image::Rgb(if is_middle { [r, g, b] } else { [b, g, r] })
            });
            picture.save(folder.join(class).join(format!("{width}.png"))).unwrap();
        }
    }
}

#[test]
fn pictures_are_prepared_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    pictures(&folder.path().join("pets/test"));
    pictures(&folder.path().join("plain"));
    let bgr = Preprocess {
        fit: Fit::Crop,
        filter: Filter::Bilinear,
        channels: Channels::Bgr,
        scale: 1.0,
        mean: vec![100.0, 110.0, 120.0],
        std: vec![1.0, 2.0, 1.0],
    };
    let model = path("bgr.embdl");
    let encoded = encode(&network(bgr), EncodeOptions::default()).unwrap();
    std::fs::write(&model, encoded.bytes).unwrap();
    for data in ["pets", "plain"] {
        let data = path(data);
        let output = embdl(&["test", &model, "--dataset", "folder", "--data", &data, "--json"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reports[0]["images"], 4, "{reports}");
        assert_eq!(reports[0]["accuracy"], 1.0, "{data}: {reports}");
    }
    let output = embdl(&["run", &model, "--dataset", "folder", "--data", &path("plain"), "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["label"], &answer["class"]), (&"blue".into(), &"blue".into()));
    let nothing = embdl(&["test", &model, "--dataset", "folder", "--data", &path("none")]);
    assert_eq!(nothing.status.code(), Some(1));
}
