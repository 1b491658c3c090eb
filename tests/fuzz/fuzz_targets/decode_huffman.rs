//! The Huffman decoder: an error, or as many symbols as asked for.
#![no_main]

use embdl_core::model::{Coder, EncodedTensor, Layout, Scales, Stream, Values};
use embdl_core::tensor::Shape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [bits, low, high, bytes @ ..] = input else { return };
    let elements = usize::from(u16::from_le_bytes([*low, *high]));
    let tensor = EncodedTensor {
        shape: Shape::vector(elements),
        scales: Scales::None,
        values: Values::Int { bits: *bits },
        layout: Layout::Dense,
        symbols: Stream { coder: Coder::Huffman, bytes },
        gaps: None,
    };
    if let Ok(values) = tensor.decode_i32() {
        assert_eq!(values.len(), elements);
        assert!(values.iter().all(|&value| i64::from(value).abs() <= 1 << (bits - 1)));
    }
});
