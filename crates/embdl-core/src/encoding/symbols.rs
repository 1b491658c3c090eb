//! Streams of symbols: fixed width or Huffman coded.

use super::bits::{BitReader, packed_len, width_of};
use super::huffman::{Decoder, MAX_ALPHABET};
use super::{EncodingError, codebook};
use crate::model::{Coder, Stream, Values};

/// What symbols there are: `0 .. size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alphabet {
    pub(super) size: u64,
    /// Bits that tell the symbols apart.
    pub(super) bits: u8,
}

impl Alphabet {
    pub(super) fn of(values: &Values) -> Result<Self, EncodingError> {
        match values {
            Values::F32 => Self::words(32),
            Values::Int { bits } => Self::words(*bits),
            Values::CodebookF32(book) => codebook::alphabet(book.len()),
            Values::CodebookI8(book) => codebook::alphabet(book.len()),
        }
    }

    pub(super) fn entries(size: usize) -> Self {
        Self { size: size as u64, bits: width_of(size) }
    }

    pub(super) fn words(bits: u8) -> Result<Self, EncodingError> {
        if matches!(bits, 1..=32) {
            Ok(Self { size: 1 << bits, bits })
        } else {
            Err(EncodingError::IntWidth { bits })
        }
    }

    /// The symbol as a two's complement number of `bits` bits.
    #[expect(clippy::cast_possible_wrap, reason = "reinterprets two's complement")]
    pub(super) const fn signed(self, symbol: u32) -> i32 {
        let unused = 32 - self.bits as u32;
        ((symbol << unused) as i32) >> unused
    }

    fn is_power_of_two(self) -> bool {
        self.size == 1 << self.bits
    }
}

/// Gives the `count` symbols of `stream`, which must hold nothing else.
#[inline]
pub(super) fn decode(
    stream: &Stream<'_>,
    alphabet: Alphabet,
    count: usize,
    mut each: impl FnMut(u32) -> Result<(), EncodingError>,
) -> Result<(), EncodingError> {
    check_len(stream, alphabet, count)?;
    let mut reader = BitReader::new(stream.bytes);
    match stream.coder {
        Coder::Raw { .. } => {
            let bits = u32::from(alphabet.bits);
            for _ in 0..count {
                let symbol = reader.take(bits)?;
                if !alphabet.is_power_of_two() && u64::from(symbol) >= alphabet.size {
                    return Err(EncodingError::SymbolOutOfRange {
                        symbol,
                        alphabet: alphabet.size,
                    });
                }
                each(symbol)?;
            }
        }
        Coder::Huffman => {
            let size = usize::try_from(alphabet.size).unwrap_or(usize::MAX);
            Decoder::read(&mut reader, size)?.decode(&mut reader, count, each)?;
        }
    }
    reader.finish()
}

/// Refuses what shows without reading symbols, so that nothing large is allocated for a stream that cannot be right.
pub(super) fn check_len(
    stream: &Stream<'_>,
    alphabet: Alphabet,
    count: usize,
) -> Result<(), EncodingError> {
    let bytes = stream.bytes.len();
    match stream.coder {
        Coder::Raw { bits } => {
            if bits != alphabet.bits {
                return Err(EncodingError::RawWidth { expected: alphabet.bits, found: bits });
            }
            match packed_len(count, bits) {
                Some(needed) if needed < bytes => {
                    Err(EncodingError::TrailingBytes { bytes, used: needed })
                }
                Some(needed) if needed == bytes => Ok(()),
                _ => Err(EncodingError::Truncated { bytes }),
            }
        }
        Coder::Huffman => {
            if count == 0 || alphabet.size > MAX_ALPHABET as u64 {
                return Err(EncodingError::NotHuffman { symbols: count, alphabet: alphabet.size });
            }
            Ok(())
        }
    }
}
