//! ONNX Runtime as a peer, in Python.
#![allow(clippy::print_stderr, reason = "a test that is skipped has to be loud")]

use std::path::Path;
use std::process::Command;

use embdl_graph::Graph;

use super::in_onnx_order;

/// Runs every model of a folder on the inputs beside it, without fusions of its own, which saturate on some CPUs.
const SCRIPT: &str = r"
import pathlib, sys
import numpy as np, onnx, onnxruntime
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.onnx')):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    feeds = {}
    for at, entry in enumerate(session.get_inputs()):
        data = np.fromfile(path.with_suffix(f'.in{at}'), dtype=np.float32)
        feeds[entry.name] = data.reshape([-1] + entry.shape[1:])
    for at, result in enumerate(session.run(None, feeds)):
        result.astype(np.float32).tofile(path.with_suffix(f'.out{at}'))
";

/// A model with its inputs, in ONNX's order, whole batches in a row.
pub(crate) struct Case {
    bytes: Vec<u8>,
    inputs: Vec<Vec<f32>>,
    outputs: usize,
}

impl Case {
    /// The model `bytes` of `graph` on `samples`, each with all inputs in the graph's order.
    pub(crate) fn new(bytes: Vec<u8>, graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Self {
        let input = |(k, &id): (usize, &usize)| {
            let shape = graph.values[id].shape;
            samples.iter().flat_map(|sample| in_onnx_order(&sample[k], shape)).collect()
        };
        let inputs = graph.inputs.iter().enumerate().map(input).collect();
        Self { bytes, inputs, outputs: graph.outputs.len() }
    }
}

/// For each case, the outputs in ONNX's order; nothing where Python or its packages are missing.
pub(crate) fn onnx_runtime(cases: &[Case]) -> Option<Vec<Vec<Vec<f32>>>> {
    let python = std::env::var("EMBDL_PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!(
            "SKIPPED: {python} has no onnx, onnxruntime and numpy; set EMBDL_PYTHON to one that has"
        );
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |at: usize, suffix: &str| folder.path().join(format!("{at:03}.{suffix}"));
    for (at, case) in cases.iter().enumerate() {
        std::fs::write(path(at, "onnx"), &case.bytes).expect("written");
        for (k, values) in case.inputs.iter().enumerate() {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            std::fs::write(path(at, &format!("in{k}")), bytes).expect("written");
        }
    }
    let run = Command::new(&python).args(["-c", SCRIPT]).arg(folder.path()).output();
    let run = run.expect("the interpreter starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    eprintln!("ONNX Runtime ran {} models", cases.len());
    let outputs = |(at, case): (usize, &Case)| {
        (0..case.outputs).map(|k| read_floats(&path(at, &format!("out{k}")))).collect()
    };
    Some(cases.iter().enumerate().map(outputs).collect())
}

/// 32-bit floats of a file.
pub(crate) fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("the peer wrote its output");
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}
