//! The sparse layout: an error, or positions inside the shape whose entries are what dense decoding gives.
#![no_main]

use embdl_core::model::{Coder, EncodedTensor, Layout, Scales, Stream, Values};
use embdl_core::tensor::Shape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [bits, gap_bits, flags, elements, gap_count, symbol_count, split, rest @ ..] = input else {
        return;
    };
    let (gaps, symbols) = rest.split_at(usize::from(*split).min(rest.len()));
    let coder =
        |huffman: bool, bits: u8| if huffman { Coder::Huffman } else { Coder::Raw { bits } };
    let elements = usize::from(*elements) * 16;
    let tensor = EncodedTensor {
        shape: Shape::vector(elements),
        scales: Scales::PerTensor(1.0),
        values: Values::Int { bits: *bits },
        layout: Layout::Sparse {
            gap_bits: *gap_bits,
            gap_count: u32::from(*gap_count),
            symbol_count: u32::from(*symbol_count),
        },
        symbols: Stream { coder: coder(flags & 1 == 1, *bits), bytes: symbols },
        gaps: Some(Stream { coder: coder(flags & 2 == 2, *gap_bits), bytes: gaps }),
    };
    let Ok(entries) = tensor.sparse_entries() else { return };
    assert!(entries.positions.is_sorted_by(|a, b| a < b));
    if let Ok(values) = tensor.decode_i32() {
        let mut dense = vec![0; elements];
        for (&position, &code) in entries.positions.iter().zip(&entries.codes) {
            dense[position as usize] = tensor.integer(code).expect("a symbol of the alphabet");
        }
        assert_eq!(values, dense);
    }
});
