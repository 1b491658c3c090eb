//! Importing any bytes ends in a valid graph or an error, in bounded memory; what is imported can be written and read again.
#![no_main]

#[path = "../../../crates/embdl-onnx/tests/common/mutate.rs"]
mod mutate;

use embdl_onnx::{ExportOptions, ImportOptions, export_with, import};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mutate::{Dice, mutate};
use prost::Message as _;
use tract_onnx::pb::ModelProto;

/// Elements of an activation that are worth computing a file for; shapes alone cost nothing.
const MOST_ELEMENTS: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut options = ImportOptions::default();
    options.max_fields = 1 << 12;
    let Ok(graph) = import(bytes, &options) else { return };
    graph.validate().expect("an import is a valid graph");
    if graph.values.iter().any(|value| value.shape.len() > MOST_ELEMENTS) {
        return;
    }
    for quantized in [false, true] {
        let mut form = ExportOptions::default();
        form.quantized = quantized;
        let Ok(written) = export_with(&graph, &form) else { continue };
        let again = import(&written, &ImportOptions::default()).expect("what is written is read");
        assert_eq!(again.outputs.len(), graph.outputs.len());
    }
});

// Three of four mutations change parts of the model, the others its bytes.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 != 0
        && let Ok(mut model) = ModelProto::decode(&data[..size])
    {
        mutate(&mut model, &mut Dice::new(u64::from(seed)));
        let bytes = model.encode_to_vec();
        if bytes.len() <= max_size {
            data[..bytes.len()].copy_from_slice(&bytes);
            return bytes.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});
