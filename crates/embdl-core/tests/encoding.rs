//! Values survive encoding in every form, the smallest form is chosen, and broken streams are refused.

use embdl_core::encoding::EncodingError;
use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{self, Book, Candidate, EncodeOptions, WeightData};
use embdl_core::model::{Coder, Layout, Scales, Values};
use embdl_core::tensor::Shape;
use proptest::prelude::*;

const ALL: EncodeOptions = EncodeOptions { allow_sparse: true, allow_huffman: true };

/// Encodes in every form and gives each to `check`.
fn each_form(
    shape: Shape,
    scales: &Scales,
    data: WeightData<'_>,
    mut check: impl FnMut(&Candidate, OwnedTensor),
) {
    let forms = encode::candidates(shape, scales, data, ALL).unwrap();
    for form in &forms {
        let tensor = encode::encode(shape, scales.clone(), data, form).unwrap();
        assert_eq!(tensor.view().check(), Ok(()));
        assert_eq!(tensor.symbols.bytes.len(), form.symbol_bytes, "{form:?}");
        assert_eq!(tensor.gaps.as_ref().map_or(0, |gaps| gaps.bytes.len()), form.gap_bytes);
        check(form, tensor);
    }
    let smallest = encode::smallest(shape, scales.clone(), data, ALL).unwrap();
    let least = forms.iter().min_by_key(|form| form.total_bytes()).unwrap();
    assert_eq!(smallest, encode::encode(shape, scales.clone(), data, least).unwrap());
}

/// Integers of a width, many of them zero.
fn integers() -> impl Strategy<Value = Vec<i32>> {
    (1_u32..=31, 0_u32..=100).prop_flat_map(|(bits, zeros)| {
        let range = -(1_i32 << (bits - 1))..(1_i32 << (bits - 1));
        let value = prop_oneof![zeros + 1 => Just(0), 101 - zeros => range];
        prop::collection::vec(value, 1..400)
    })
}

/// Codes for a codebook whose first entry is zero, many of them zero.
fn codes() -> impl Strategy<Value = (Vec<u8>, u16)> {
    (1_u16..=256, 0_u32..=100).prop_flat_map(|(entries, zeros)| {
        let last = u8::try_from(entries - 1).unwrap();
        let code = prop_oneof![zeros + 1 => Just(0), 101 - zeros => 0..=last];
        (prop::collection::vec(code, 1..600), Just(entries))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integers_come_back(values in integers()) {
        let shape = Shape::vector(values.len());
        each_form(shape, &Scales::None, WeightData::Int(&values), |form, tensor| {
            let tensor = tensor.view();
            match tensor.decode_i32() {
                Ok(found) => assert_eq!(found, values, "{form:?}"),
                Err(error) => assert!(
                    matches!(error, EncodingError::BiasTooLarge { value, limit } if value.abs() > limit),
                    "{error}"
                ),
            }
            let narrow = matches!(tensor.values, Values::Int { bits: ..=8 });
            assert_eq!(narrow, tensor.decode_i8().is_ok(), "{form:?}");
            if let Layout::Sparse { .. } = tensor.layout {
                let entries = tensor.sparse_entries().unwrap();
                let mut dense = vec![0; values.len()];
                for (&position, &code) in entries.positions.iter().zip(&entries.codes) {
                    dense[position as usize] = tensor.integer(code).unwrap();
                }
                assert_eq!(dense, values, "{form:?}");
            }
        });
    }

    #[test]
    fn codebooks_come_back((codes, entries) in codes(), seed in any::<u32>()) {
        let floats: Vec<f32> = (0..entries).map(|entry| f32::from(entry) * 0.25).collect();
        let integers: Vec<i8> = (0..entries)
            .map(|entry| (i32::from(entry).wrapping_mul(seed.cast_signed() | 1) % 128) as i8)
            .collect();
        let shape = Shape::vector(codes.len());
        let expected: Vec<f32> = codes.iter().map(|&code| floats[usize::from(code)]).collect();
        let data = WeightData::Codebook { codes: &codes, book: Book::F32(&floats) };
        each_form(shape, &Scales::None, data, |form, tensor| {
            let tensor = tensor.view();
            assert_eq!(tensor.decode_f32().unwrap(), expected, "{form:?}");
            assert_eq!(tensor.dequantize().unwrap(), expected, "{form:?}");
            if tensor.layout == Layout::Dense {
                let Values::CodebookF32(book) = &tensor.values else { panic!("{tensor:?}") };
                let found = tensor.decode_codes().unwrap();
                let found: Vec<f32> = found.iter().map(|&code| book[usize::from(code)]).collect();
                assert_eq!(found, expected, "{form:?}");
            }
        });
        let expected: Vec<i8> = codes.iter().map(|&code| integers[usize::from(code)]).collect();
        let data = WeightData::Codebook { codes: &codes, book: Book::I8(&integers) };
        each_form(shape, &Scales::PerTensor(0.5), data, |form, tensor| {
            assert_eq!(tensor.view().decode_i8().unwrap(), expected, "{form:?}");
            let scaled: Vec<f32> = expected.iter().map(|&value| f32::from(value) * 0.5).collect();
            assert_eq!(tensor.view().dequantize().unwrap(), scaled, "{form:?}");
        });
    }

    #[test]
    fn floats_come_back(values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 1..50)) {
        let shape = Shape::vector(values.len());
        let kept = values.iter().filter(|value| value.to_bits() != 0).count();
        each_form(shape, &Scales::None, WeightData::F32(&values), |form, tensor| {
            let found = tensor.view().decode_f32().unwrap();
            assert!(found.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
            let symbols = if form.gap_bits.is_some() { kept } else { values.len() };
            assert_eq!(tensor.symbols.bytes.len(), 4 * symbols);
        });
    }

    /// Whatever is done to a stream: an error, or values of the right number; never a panic.
    #[test]
    fn damaged_streams_are_harmless(
        values in integers(),
        form in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_gaps in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let shape = Shape::vector(values.len());
        let data = WeightData::Int(&values);
        let forms = encode::candidates(shape, &Scales::None, data, ALL).unwrap();
        let mut tensor = encode::encode(shape, Scales::None, data, form.get(&forms)).unwrap();
        let stream = match &mut tensor.gaps {
            Some(gaps) if in_gaps => &mut gaps.bytes,
            _ => &mut tensor.symbols.bytes,
        };
        if !stream.is_empty() {
            for (at, flip) in damage {
                let at = at.index(stream.len());
                stream[at] ^= flip;
            }
            if let Some(cut) = cut {
                stream.truncate(cut.index(stream.len()));
            }
        }
        if let Ok(found) = tensor.view().decode_i32() {
            prop_assert_eq!(found.len(), values.len());
        }
        let entries = tensor.view().sparse_entries();
        if let Ok(entries) = entries {
            prop_assert!(entries.positions.is_sorted_by(|a, b| a < b));
            prop_assert!(entries.positions.iter().all(|&at| (at as usize) < values.len()));
        }
    }
}

#[test]
fn scales_multiply_their_rows() {
    let shape = Shape::matrix(2, 3);
    let scales = Scales::PerChannel(vec![0.5, 2.0]);
    let values = [1, 0, -2, 3, 4, -4];
    let tensor = encode::smallest(shape, scales, WeightData::Int(&values), ALL).unwrap();
    assert_eq!(tensor.view().dequantize().unwrap(), [0.5, 0.0, -1.0, 6.0, 8.0, -8.0]);
    let wrong = Scales::PerChannel(vec![1.0; 3]);
    assert_eq!(
        encode::smallest(shape, wrong, WeightData::Int(&values), ALL),
        Err(EncodingError::ScaleCount { expected: 2, found: 3 })
    );
}

#[test]
fn all_zeros_take_next_to_nothing() {
    let tensor = encode::smallest(
        Shape::matrix(500, 800),
        Scales::PerTensor(1.0),
        WeightData::Int(&[0; 400_000]),
        ALL,
    )
    .unwrap();
    // A Huffman code of one symbol; sparse without gaps would save its two bytes, but has three more to describe.
    assert_eq!((tensor.symbols.coder, tensor.symbols.bytes.len()), (Coder::Huffman, 2));
    assert_eq!(tensor.view().decode_i8().unwrap(), [0; 400_000]);
}

#[test]
fn options_are_obeyed() {
    let values: Vec<i32> = (0..4000).map(|i| if i % 50 == 0 { 1 + i % 7 } else { 0 }).collect();
    let shape = Shape::vector(values.len());
    for allow_sparse in [false, true] {
        for allow_huffman in [false, true] {
            let options = EncodeOptions { allow_sparse, allow_huffman };
            let data = WeightData::Int(&values);
            let forms = encode::candidates(shape, &Scales::None, data, options).unwrap();
            let coders = if allow_huffman { 2 } else { 1 };
            let sparse = if allow_sparse { 12 * coders * coders } else { 0 };
            assert_eq!(forms.len(), coders + sparse);
            let tensor = encode::smallest(shape, Scales::None, data, options).unwrap();
            assert_eq!(tensor.gaps.is_some(), allow_sparse);
            assert_eq!(tensor.symbols.coder == Coder::Huffman, allow_huffman);
        }
    }
}

#[test]
fn sizes_are_near_the_entropy() {
    // 5 % of 16 levels: 0.286 bits of position and 0.05 * 4 bits of value an element.
    let mut state = 7_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let codes: Vec<u8> =
        (0..400_000).map(|_| if word() % 100 < 5 { 1 + (word() % 16) as u8 } else { 0 }).collect();
    let book: Vec<f32> = (0..17_u8).map(f32::from).collect();
    let data = WeightData::Codebook { codes: &codes, book: Book::F32(&book) };
    let shape = Shape::matrix(500, 800);
    let tensor = encode::smallest(shape, Scales::None, data, ALL).unwrap();
    let bytes = tensor.symbols.bytes.len() + tensor.gaps.as_ref().unwrap().bytes.len();
    let density: f64 = 0.05;
    let entropy = -density * density.log2() - (1.0 - density) * (1.0 - density).log2();
    let bound = (entropy + density * 4.0) * 400_000.0 / 8.0;
    let overhead = bytes as f64 / bound - 1.0;
    assert!((-0.02..0.02).contains(&overhead), "{bytes} bytes, bound {bound:.0}");
}

#[test]
fn giant_shapes_allocate_nothing_for_short_streams() {
    let mut tensor = encode::smallest(
        Shape::vector(4),
        Scales::None,
        WeightData::Int(&[1, 2, 3, -4]),
        EncodeOptions { allow_sparse: false, allow_huffman: false },
    )
    .unwrap();
    tensor.shape = Shape::vector(u32::MAX as usize);
    assert_eq!(tensor.view().decode_i8(), Err(EncodingError::Truncated { bytes: 2 }));
    tensor.shape = Shape::matrix(u32::MAX as usize, 2);
    assert!(matches!(tensor.view().decode_i8(), Err(EncodingError::TooManyElements { .. })));
}

#[test]
fn mistakes_of_the_caller_are_refused() {
    let shape = Shape::vector(3);
    let encode = |data| encode::smallest(shape, Scales::None, data, ALL).unwrap_err();
    assert_eq!(encode(WeightData::Int(&[1])), EncodingError::ValueCount { expected: 3, found: 1 });
    assert_eq!(
        encode(WeightData::F32(&[0.0, f32::NAN, 1.0])),
        EncodingError::NotFinite { position: 1 }
    );
    let book = Book::F32(&[0.0, 1.0]);
    assert_eq!(
        encode(WeightData::Codebook { codes: &[0, 1, 2], book }),
        EncodingError::SymbolOutOfRange { symbol: 2, alphabet: 2 }
    );
    assert_eq!(
        encode(WeightData::Codebook { codes: &[0; 3], book: Book::I8(&[]) }),
        EncodingError::CodebookSize { entries: 0 }
    );
    assert!(matches!(
        encode::bias_i32(&[(1 << 30) + 1], ALL),
        Err(EncodingError::BiasTooLarge { .. })
    ));
}
