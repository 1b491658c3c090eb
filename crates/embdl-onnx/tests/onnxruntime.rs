//! ONNX Runtime computes what the graph says, for any batch. Needs Python with onnx, onnxruntime and numpy; without them
//! the test says so and does nothing. `EMBDL_PYTHON` names the interpreter.
#![allow(clippy::print_stderr, reason = "a test that is skipped has to be loud")]

mod common;

use std::path::Path;
use std::process::Command;

use common::random::random_graph;
use common::{assert_close, evaluate, in_graph_order, in_onnx_order, noise};
use embdl_core::op::Op;
use embdl_graph::{Graph, zoo};
use embdl_onnx::export;

const BATCH: usize = 3;

/// Runs every model of a folder on the inputs beside it.
const SCRIPT: &str = r"
import pathlib, sys
import numpy as np, onnx, onnxruntime
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.onnx')):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    feeds = {}
    for at, entry in enumerate(session.get_inputs()):
        data = np.fromfile(path.with_suffix(f'.in{at}'), dtype=np.float32)
        feeds[entry.name] = data.reshape([-1] + entry.shape[1:])
    for at, result in enumerate(session.run(None, feeds)):
        result.astype(np.float32).tofile(path.with_suffix(f'.out{at}'))
";

fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).expect("the temporary folder can be written");
}

fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("ONNX Runtime wrote its output");
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

#[test]
fn onnx_runtime_agrees() {
    let python = std::env::var("EMBDL_PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!(
            "SKIPPED: {python} has no onnx, onnxruntime and numpy; set EMBDL_PYTHON to one that has"
        );
        return;
    }
    let mut graphs: Vec<Graph> =
        ["lenet-300-100", "lenet-5"].iter().filter_map(|name| zoo::by_name(name, 4)).collect();
    for seed in 0..40_u64 {
        let genes: Vec<u8> =
            noise(seed + 1, 30).iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
        let mut graph = random_graph(&genes);
        for node in &mut graph.nodes {
            if let Op::Lrn(lrn) = &mut node.op {
                // ONNX defines even sizes, ONNX Runtime refuses them.
                lrn.size |= 1;
            }
        }
        graphs.push(graph);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |at: usize, suffix: &str| folder.path().join(format!("{at:03}.{suffix}"));
    let mut samples = Vec::new();
    for (at, graph) in graphs.iter().enumerate() {
        std::fs::write(path(at, "onnx"), export(graph).expect("exports")).expect("written");
        let batch: Vec<Vec<Vec<f32>>> = (0..BATCH)
            .map(|sample| {
                let input = |&id: &usize| noise(sample as u64 + 7, graph.values[id].shape.len());
                graph.inputs.iter().map(input).collect()
            })
            .collect();
        for (k, &id) in graph.inputs.iter().enumerate() {
            let shape = graph.values[id].shape;
            let values: Vec<f32> =
                batch.iter().flat_map(|sample| in_onnx_order(&sample[k], shape)).collect();
            write_floats(&path(at, &format!("in{k}")), &values);
        }
        samples.push(batch);
    }
    let run = Command::new(&python).args(["-c", SCRIPT]).arg(folder.path()).output();
    let run = run.expect("the interpreter starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for (at, (graph, batch)) in graphs.iter().zip(&samples).enumerate() {
        let expected: Vec<Vec<Vec<f32>>> =
            batch.iter().map(|sample| evaluate(graph, sample)).collect();
        for (k, &id) in graph.outputs.iter().enumerate() {
            let shape = graph.values[id].shape;
            let found = read_floats(&path(at, &format!("out{k}")));
            assert_eq!(found.len(), BATCH * shape.len(), "{graph}");
            for (found, expected) in found.chunks_exact(shape.len()).zip(&expected) {
                assert_close(&in_graph_order(found, shape), &expected[k], &graph.to_string());
            }
        }
    }
    eprintln!("ONNX Runtime agrees on {} graphs", graphs.len());
}
