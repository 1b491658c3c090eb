//! Codes come back, and what could be written otherwise is refused.

use super::code::write_lengths;
use super::*;
use crate::encoding::EncodingError;
use crate::encoding::bits::{BitReader, BitWriter};

fn lengths_of(frequencies: &[u64]) -> Vec<u8> {
    Code::new(frequencies).unwrap().lengths
}

/// Decodes symbol by symbol, then in pieces, with and without the table of runs: always the same.
fn decode(bytes: &[u8], alphabet: usize, count: usize) -> Result<Vec<u32>, EncodingError> {
    let mut reader = BitReader::new(bytes);
    let decoder = Decoder::read(&mut reader, alphabet, 0);
    let single = decoder.and_then(|decoder| {
        let mut symbols = Vec::new();
        decoder.decode(&mut reader, count, |symbol| {
            symbols.push(symbol);
            Ok(())
        })?;
        reader.finish()?;
        Ok(symbols)
    });
    for (expected_count, piece) in [0, usize::MAX]
        .into_iter()
        .flat_map(|long| [1, 2, 3, 4, 5, 7, 64, 1000, usize::MAX].map(|piece| (long, piece)))
    {
        let mut reader = BitReader::new(bytes);
        let decoder = Decoder::read(&mut reader, alphabet, expected_count);
        let in_pieces = decoder.and_then(|decoder| {
            let mut symbols = std::vec![0; count];
            for piece in symbols.chunks_mut(piece) {
                decoder.decode_all(&mut reader, piece)?;
            }
            reader.finish()?;
            Ok(symbols.into_iter().map(u32::from).collect::<Vec<_>>())
        });
        assert_eq!(in_pieces, single, "in pieces of {piece}");
    }
    single
}

#[test]
fn streams_of_all_lengths_decode() {
    // From words of one bit to words that no table has; the last ones end wherever a stream can.
    for skew in [0, 1, 3, 12] {
        let frequencies: Vec<u64> = (0..16_u64).map(|symbol| 1 + (symbol * skew).pow(3)).collect();
        let code = Code::new(&frequencies).unwrap();
        let symbols: Vec<u32> = (0..500_u32).map(|at| (at * at / 7 + at) % 16).collect();
        for count in (0..40).chain([64, 65, 499, 500]) {
            let bytes = code.encode(symbols[..count].iter().copied());
            assert_eq!(decode(&bytes, 16, count), Ok(symbols[..count].to_vec()), "{skew} {count}");
        }
    }
}

#[test]
fn known_lengths() {
    assert_eq!(lengths_of(&[5]), [1]);
    assert_eq!(lengths_of(&[0, 7]), [0, 1]);
    assert_eq!(lengths_of(&[1, 1]), [1, 1]);
    assert_eq!(lengths_of(&[10, 1, 1, 5]), [1, 3, 3, 2]);
    assert_eq!(lengths_of(&[1, 1, 1, 1]), [2, 2, 2, 2]);
}

#[test]
fn lengths_are_limited_and_complete() {
    // Fibonacci weights make the deepest tree: 40 symbols would need 39 bits.
    let mut weights = std::vec![1_u64, 1];
    while weights.len() < 40 {
        weights.push(weights[weights.len() - 1] + weights[weights.len() - 2]);
    }
    let lengths = lengths_of(&weights);
    assert_eq!(lengths.iter().max(), Some(&15));
    let sum: u32 = lengths.iter().map(|&len| 1 << (15 - len)).sum();
    assert_eq!(sum, 1 << 15);
    assert!(lengths.is_sorted_by(|rarer, commoner| rarer >= commoner));
}

#[test]
fn a_single_symbol_is_free() {
    let code = Code::new(&[0, 0, 9]).unwrap();
    assert_eq!(code.body_bits(&[0, 0, 9]), 0);
    // 12 bits of count, a run of two (4 + 3), a literal 1 would be `110` from the prediction 2.
    assert_eq!(code.header_bits(), 12 + 4 + 3 + 3);
    let bytes = code.encode([2; 1000]);
    assert_eq!(bytes.len(), 3);
    assert_eq!(decode(&bytes, 3, 1000), Ok(std::vec![2; 1000]));
}

#[test]
fn long_words_decode() {
    let frequencies: Vec<u64> = (0..32).map(|power| 1_u64 << power).collect();
    let code = Code::new(&frequencies).unwrap();
    let symbols: Vec<u32> = (0..32).chain((0..32).rev()).collect();
    let bytes = code.encode(symbols.iter().copied());
    assert_eq!(decode(&bytes, 32, 64), Ok(symbols));
    assert!(matches!(
        decode(&bytes[..bytes.len() - 1], 32, 64),
        Err(EncodingError::Truncated { .. })
    ));
}

#[test]
fn broken_codes_are_refused() {
    let stream = |lengths: &[u8]| {
        let mut writer = BitWriter::new();
        write_lengths(lengths, |value, width| writer.push(value, width));
        writer.finish()
    };
    let (sum, full) = (49_152, 32_768);
    assert_eq!(decode(&stream(&[1, 1, 1]), 3, 0), Err(EncodingError::CodeOverfull { sum, full }));
    let sum = 24_576;
    assert_eq!(decode(&stream(&[1, 2]), 3, 0), Err(EncodingError::CodeIncomplete { sum, full }));
    let sum = 8_192;
    assert_eq!(decode(&stream(&[2]), 3, 0), Err(EncodingError::CodeIncomplete { sum, full }));
    assert_eq!(
        decode(&stream(&[1, 2, 2]), 2, 0),
        Err(EncodingError::AlphabetTooLarge { found: 3, allowed: 2 })
    );
    assert!(matches!(
        decode(&stream(&[1, 1, 0]), 3, 0),
        Err(EncodingError::CodeLengthsNotCanonical { symbol: 2 })
    ));
    assert_eq!(decode(&[], 2, 0), Err(EncodingError::Truncated { bytes: 0 }));
}
