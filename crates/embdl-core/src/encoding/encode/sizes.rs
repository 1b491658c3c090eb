//! What streams of symbols take by coder, and how they are written.

use alloc::vec;
use alloc::vec::Vec;

use crate::encoding::OwnedStream;
use crate::encoding::bits::{BitWriter, packed_len};
use crate::encoding::huffman::{Code, MAX_ALPHABET};
use crate::encoding::sparse::for_each_gap;
use crate::encoding::symbols::Alphabet;
use crate::model::Coder;

#[derive(Clone, Copy, Debug)]
pub(super) struct StreamSize {
    pub(super) huffman: bool,
    pub(super) bytes: usize,
}

impl StreamSize {
    pub(super) const fn coder(self, alphabet: Alphabet) -> Coder {
        if self.huffman { Coder::Huffman } else { Coder::Raw { bits: alphabet.bits } }
    }
}

/// Sizes of the stream by coder, raw first.
pub(super) fn sizes(
    alphabet: Alphabet,
    count: usize,
    symbols: impl Iterator<Item = u32>,
    allow_huffman: bool,
) -> Vec<StreamSize> {
    let mut frequencies = Vec::new();
    if allow_huffman && alphabet.size <= MAX_ALPHABET as u64 {
        frequencies = frequencies_of(alphabet, symbols);
    }
    sizes_by(alphabet, count, &frequencies, allow_huffman)
}

pub(super) fn sizes_by(
    alphabet: Alphabet,
    count: usize,
    frequencies: &[u64],
    allow_huffman: bool,
) -> Vec<StreamSize> {
    let raw = packed_len(count, alphabet.bits).expect("elements fit u32");
    let mut sizes = vec![StreamSize { huffman: false, bytes: raw }];
    if allow_huffman && let Some(code) = Code::new(frequencies) {
        let bits = code.header_bits() + code.body_bits(frequencies);
        if let Ok(bytes) = usize::try_from(bits.div_ceil(8)) {
            sizes.push(StreamSize { huffman: true, bytes });
        }
    }
    sizes
}

fn frequencies_of(alphabet: Alphabet, symbols: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut frequencies = vec![0; usize::try_from(alphabet.size).expect("at most 4096")];
    for symbol in symbols {
        frequencies[symbol as usize] += 1;
    }
    frequencies
}

pub(super) fn gap_frequencies(positions: &[u32], gap_bits: u8) -> (Vec<u64>, usize) {
    let mut frequencies = vec![0; 1 << gap_bits];
    let filler = frequencies.len() - 1;
    let mut count = positions.len();
    for_each_gap(positions, gap_bits, |gap| {
        frequencies[filler] += u64::from(gap.fillers);
        frequencies[gap.last as usize] += 1;
        count += gap.fillers as usize;
    });
    (frequencies, count)
}

pub(super) fn gaps(positions: &[u32], gap_bits: u8) -> Vec<u32> {
    let filler = (1_u32 << gap_bits) - 1;
    let mut out = Vec::with_capacity(positions.len());
    for_each_gap(positions, gap_bits, |gap| {
        out.extend(core::iter::repeat_n(filler, gap.fillers as usize));
        out.push(gap.last);
    });
    out
}

pub(super) fn stream(
    alphabet: Alphabet,
    symbols: impl Iterator<Item = u32> + Clone,
    huffman: bool,
) -> OwnedStream {
    let code = huffman.then(|| Code::new(&frequencies_of(alphabet, symbols.clone()))).flatten();
    if let Some(code) = code {
        return OwnedStream { coder: Coder::Huffman, bytes: code.encode(symbols) };
    }
    let mut writer = BitWriter::new();
    for symbol in symbols {
        writer.push(symbol, u32::from(alphabet.bits));
    }
    OwnedStream { coder: Coder::Raw { bits: alphabet.bits }, bytes: writer.finish() }
}
