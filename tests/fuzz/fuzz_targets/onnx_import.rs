//! Importing any bytes ends in a valid graph or an error, in bounded memory; what is imported can be written and read again.
#![no_main]

#[path = "../../../crates/embdl-onnx/tests/common/mutate.rs"]
mod mutate;

use embdl_onnx::ImportOptions;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mutate::{Dice, is_imported, mutate};
use prost::Message as _;
use tract_onnx::pb::ModelProto;

fuzz_target!(|bytes: &[u8]| {
    let mut options = ImportOptions::default();
    options.max_fields = 1 << 12;
    is_imported(bytes, &options);
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
