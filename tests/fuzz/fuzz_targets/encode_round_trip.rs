//! Encoding: whatever the values, every form decodes to them, and its size is what was announced.
#![no_main]

use embdl_core::encoding::encode::{EncodeOptions, WeightData, candidates, encode};
use embdl_core::model::Scales;
use embdl_core::tensor::Shape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let values: Vec<i32> = input.iter().map(|&byte| i32::from(byte.cast_signed())).collect();
    let shape = Shape::vector(values.len());
    let data = WeightData::Int(&values);
    let forms = candidates(shape, &Scales::None, data, EncodeOptions::default())
        .expect("these values have forms");
    for form in &forms {
        let tensor = encode(shape, Scales::None, data, form).expect("a form that was offered");
        assert_eq!(tensor.view().decode_i32().as_deref(), Ok(&values[..]));
        assert_eq!(tensor.symbols.bytes.len(), form.symbol_bytes);
    }
});
