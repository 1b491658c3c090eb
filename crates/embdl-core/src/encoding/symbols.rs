//! Streams of symbols: fixed width or Huffman coded.

use super::bits::{BitReader, packed_len, width_of};
use super::huffman::{Decoder, MAX_ALPHABET};
use super::{EncodingError, codebook};
use crate::model::{Coder, Stream, Values};

/// Symbols that are read at a time, before what they stand for.
pub(super) const CHUNK: usize = 1024;

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

/// Symbols of a stream, some at a time.
#[derive(Clone, Debug)]
pub(super) struct Symbols<'a> {
    reader: BitReader<'a>,
    alphabet: Alphabet,
    /// `None` where symbols have a fixed width.
    decoder: Option<Decoder>,
    left: usize,
}

impl<'a> Symbols<'a> {
    /// The `count` symbols of `stream`; reads the coder's table.
    pub(super) fn new(
        stream: &Stream<'a>,
        alphabet: Alphabet,
        count: usize,
    ) -> Result<Self, EncodingError> {
        check_len(stream, alphabet, count)?;
        let mut reader = BitReader::new(stream.bytes);
        let decoder = match stream.coder {
            Coder::Raw { .. } => None,
            Coder::Huffman => {
                let size = usize::try_from(alphabet.size).unwrap_or(usize::MAX);
                Some(Decoder::read(&mut reader, size, count)?)
            }
        };
        Ok(Self { reader, alphabet, decoder, left: count })
    }

    /// How many symbols are left.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Gives the next `count` symbols, of which there must be as many left.
    #[inline]
    pub(super) fn next(
        &mut self,
        count: usize,
        mut each: impl FnMut(u32) -> Result<(), EncodingError>,
    ) -> Result<(), EncodingError> {
        assert!(count <= self.left, "{count} symbols of {}", self.left);
        self.left -= count;
        if let Some(decoder) = &self.decoder {
            return decoder.decode(&mut self.reader, count, each);
        }
        let (bits, size) = (u32::from(self.alphabet.bits), self.alphabet.size);
        let all_occur = self.alphabet.is_power_of_two();
        for _ in 0..count {
            let symbol = self.reader.take(bits)?;
            if !all_occur && u64::from(symbol) >= size {
                return Err(EncodingError::SymbolOutOfRange { symbol, alphabet: size });
            }
            each(symbol)?;
        }
        Ok(())
    }

    /// Whether symbols have at most 16 bits.
    pub(super) const fn are_short(&self) -> bool {
        self.alphabet.bits <= 16
    }

    /// Fills `symbols` with the next ones, of any width, of which there must be as many left. Not inlined: all that decode
    /// tensors, whatever they make of the symbols, share this loop's code.
    #[inline(never)]
    pub(super) fn fill_wide(&mut self, symbols: &mut [u32]) -> Result<(), EncodingError> {
        if !self.are_short() {
            let mut slots = symbols.iter_mut();
            return self.next(slots.len(), |symbol| {
                *slots.next().expect("as many") = symbol;
                Ok(())
            });
        }
        let mut short = [0; CHUNK];
        for symbols in symbols.chunks_mut(CHUNK) {
            let short = &mut short[..symbols.len()];
            self.fill(short)?;
            symbols.iter_mut().zip(short).for_each(|(wide, &mut short)| *wide = short.into());
        }
        Ok(())
    }

    /// Fills `symbols` with the next ones, of which there must be as many left and which must have at most 16 bits.
    pub(super) fn fill(&mut self, symbols: &mut [u16]) -> Result<(), EncodingError> {
        let count = symbols.len();
        assert!(count <= self.left && self.are_short(), "{count} symbols of {}", self.left);
        self.left -= count;
        if let Some(decoder) = &self.decoder {
            return decoder.decode_all(&mut self.reader, symbols);
        }
        self.reader.take_all(u32::from(self.alphabet.bits), symbols)?;
        let alphabet = self.alphabet.size;
        let unknown = |&&symbol: &&u16| u64::from(symbol) >= alphabet;
        if !self.alphabet.is_power_of_two()
            && let Some(&symbol) = symbols.iter().find(unknown)
        {
            return Err(EncodingError::SymbolOutOfRange { symbol: symbol.into(), alphabet });
        }
        Ok(())
    }

    /// Refuses what follows the last symbol.
    pub(super) fn finish(self) -> Result<(), EncodingError> {
        debug_assert!(self.left == 0, "{} symbols were not read", self.left);
        self.reader.finish()
    }
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
