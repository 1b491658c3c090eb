//! Models as PyTorch's exporters write them, against ONNX Runtime. `tests/peers/models.py FOLDER` writes them where PyTorch is
//! installed, `tests/peers/quantize.py FOLDER NAME...` quantizes them; `EMBDL_PEER_MODELS=FOLDER` names the folder. Without it the test says so and does nothing.
#![allow(clippy::print_stderr, reason = "a test that is skipped has to be loud")]

mod common;

use std::path::{Path, PathBuf};

use common::runtime;
use common::{in_graph_order, in_onnx_order};
use embdl_onnx::{ImportOptions, Layout, import_file_with_layouts};

/// Relative to the largest output: sums of thousands of products in another order.
const TOLERANCE: f32 = 1e-4;

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("the script wrote the values");
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// Whether every tensor of a model agrees; the error says what does not.
fn check(model: &Path) -> Result<usize, String> {
    let imported = import_file_with_layouts(model, &ImportOptions::default())
        .map_err(|error| error.to_string())?;
    let graph = &imported.graph;
    let order = |values: &[f32], id: usize, layout: Layout, to_graph: bool| {
        let shape = graph.values[id].shape;
        match (layout, to_graph) {
            (Layout::Same, _) => values.to_vec(),
            (Layout::Nhwc, true) => in_graph_order(values, shape),
            (Layout::Nhwc, false) => in_onnx_order(values, shape),
        }
    };
    let path = |suffix: String| model.with_extension(suffix);
    let inputs: Vec<Vec<f32>> = (0..graph.inputs.len())
        .map(|at| {
            order(&floats(&path(format!("in{at}"))), graph.inputs[at], imported.inputs[at], true)
        })
        .collect();
    let found = runtime::run(graph, &inputs, 1).map_err(|error| error.to_string())?;
    for (at, found) in found.iter().enumerate() {
        let found = order(found, graph.outputs[at], imported.outputs[at], false);
        let expected = floats(&path(format!("out{at}")));
        if found.len() != expected.len() {
            return Err(format!("{} elements, expected {}", found.len(), expected.len()));
        }
        let scale = expected.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        let errors: Vec<f32> =
            found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).collect();
        let error = errors.iter().copied().fold(0.0, f32::max);
        if let Some(quant) = graph.values[graph.outputs[at]].quant {
            // Rounding differs by a level here and there, and layers behind see it.
            let near = errors.iter().filter(|&&error| error <= 1.01 * quant.scale).count();
            if 20 * near < 19 * errors.len() || error > 3.01 * quant.scale {
                let levels = error / quant.scale;
                return Err(format!(
                    "{near} of {} within a level, the worst {levels}",
                    errors.len()
                ));
            }
        } else if error > TOLERANCE * scale {
            return Err(format!("output {at} differs by {error}, its largest element is {scale}"));
        }
    }
    if model.to_string_lossy().contains(".qdq-") {
        let is_integer = |node: &embdl_graph::Node, weight: &embdl_graph::Param| {
            graph.values[node.inputs[0]].quant.is_some() && weight.levels().is_some()
        };
        let integers = graph.layers().filter(|(node, weight)| is_integer(node, weight)).count();
        if 2 * integers <= graph.layers().count() {
            return Err(format!("only {integers} layers compute in integers"));
        }
    }
    Ok(graph.nodes.len())
}

#[test]
fn models_of_torch_agree() {
    let folder = std::env::var_os("EMBDL_PEER_MODELS").map(PathBuf::from);
    let Some(folder) = folder else {
        eprintln!("SKIPPED: EMBDL_PEER_MODELS names no folder that tests/peers/models.py filled");
        return;
    };
    let mut models: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    models.sort();
    assert!(!models.is_empty(), "no models");
    let mut failures = Vec::new();
    for model in &models {
        match check(model) {
            Ok(nodes) => eprintln!("{}: {nodes} nodes agree", model.display()),
            Err(error) => failures.push(format!("{}: {error}", model.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
