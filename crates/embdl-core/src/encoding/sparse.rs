//! Sparse layout by relative index: gaps lead from one symbol to the next.
//!
//! Source: Han et al. 2015, "Deep Compression", §2. There a gap that is too long ends in a symbol for zero; here the
//! largest gap is a filler that skips as many zeros as it says and has no symbol, so long gaps cost no symbols. With
//! one bit a gap, the gaps are a bitmap of the elements up to the last symbol.

use alloc::vec;
use alloc::vec::Vec;

use super::EncodingError;
use super::symbols::{self, Alphabet};
use crate::model::{Coder, EncodedTensor, Layout, Stream, Values};

/// The widest gap in bits.
pub const MAX_GAP_BITS: u8 = 12;

/// The elements of a sparse tensor that are not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseEntries {
    /// Flat positions in row-major order, ascending.
    pub positions: Vec<u32>,
    /// The symbol at each position: a codebook index, or an integer in two's complement (see
    /// [`EncodedTensor::integer`]).
    pub codes: Vec<u32>,
}

pub(super) fn decode<T: Copy + Default>(
    tensor: &EncodedTensor<'_>,
    value: impl Fn(u32) -> T,
) -> Result<Vec<T>, EncodingError> {
    let positions = positions(tensor)?;
    let mut out = vec![T::default(); tensor.elements()?];
    decode_symbols(tensor, &positions, |position, symbol| {
        out[position as usize] = value(symbol);
    })?;
    Ok(out)
}

pub(super) fn entries(tensor: &EncodedTensor<'_>) -> Result<SparseEntries, EncodingError> {
    let positions = positions(tensor)?;
    let mut codes = Vec::with_capacity(positions.len());
    decode_symbols(tensor, &positions, |_, symbol| codes.push(symbol))?;
    Ok(SparseEntries { positions, codes })
}

/// What a tensor's sparse layout says, checked as far as it shows without reading gaps.
struct Header<'a> {
    gaps: Stream<'a>,
    alphabet: Alphabet,
    gap_bits: u8,
    gap_count: usize,
    symbol_count: usize,
    elements: usize,
}

impl<'a> Header<'a> {
    fn of(tensor: &EncodedTensor<'a>) -> Result<Self, EncodingError> {
        let Layout::Sparse { gap_bits, gap_count, symbol_count } = tensor.layout else {
            return Err(EncodingError::LayoutKind { asked: "sparse" });
        };
        if tensor.values == Values::F32 && tensor.symbols.coder == Coder::Huffman {
            return Err(EncodingError::FloatsNotRaw);
        }
        let gaps = tensor.gaps.ok_or(EncodingError::GapPresence { needed: true })?;
        let alphabet = gap_alphabet(gap_bits)?;
        let elements = tensor.elements()?;
        let (gap_count, symbol_count) = (gap_count as usize, symbol_count as usize);
        // Each gap passes at least one element, so larger counts are wrong before anything is allocated for them.
        if gap_count > elements {
            return Err(EncodingError::PositionOutOfRange { position: gap_count as u64, elements });
        }
        if symbol_count > gap_count {
            return Err(EncodingError::SymbolCount { expected: symbol_count, found: gap_count });
        }
        symbols::check_len(&gaps, alphabet, gap_count)?;
        Ok(Self { gaps, alphabet, gap_bits, gap_count, symbol_count, elements })
    }
}

/// Refuses what a sparse tensor cannot have.
pub(super) fn check(tensor: &EncodedTensor<'_>) -> Result<(), EncodingError> {
    Header::of(tensor).map(drop)
}

/// Positions that gaps lead to; all are below the number of elements.
fn positions(tensor: &EncodedTensor<'_>) -> Result<Vec<u32>, EncodingError> {
    let Header { gaps, alphabet, gap_bits, gap_count, symbol_count, elements } =
        Header::of(tensor)?;
    let filler = (1_u32 << gap_bits) - 1;
    let mut out = Vec::with_capacity(symbol_count);
    let mut next = 0_u64;
    let mut ends_in_symbol = true;
    symbols::decode(&gaps, alphabet, gap_count, |gap| {
        next += u64::from(gap);
        ends_in_symbol = gap != filler;
        if ends_in_symbol {
            if next >= elements as u64 {
                return Err(EncodingError::PositionOutOfRange { position: next, elements });
            }
            if out.len() == symbol_count {
                let (expected, found) = (symbol_count, symbol_count + 1);
                return Err(EncodingError::SymbolCount { expected, found });
            }
            #[expect(clippy::cast_possible_truncation, reason = "below elements, which fit u32")]
            out.push(next as u32);
            next += 1;
        }
        Ok(())
    })?;
    if !ends_in_symbol {
        return Err(EncodingError::TrailingGap);
    }
    if out.len() != symbol_count {
        return Err(EncodingError::SymbolCount { expected: symbol_count, found: out.len() });
    }
    Ok(out)
}

fn decode_symbols(
    tensor: &EncodedTensor<'_>,
    positions: &[u32],
    mut each: impl FnMut(u32, u32),
) -> Result<(), EncodingError> {
    let alphabet = Alphabet::of(&tensor.values)?;
    let mut is_zero = [false; super::codebook::MAX_ENTRIES];
    match &tensor.values {
        Values::CodebookF32(book) => {
            for (flag, &value) in is_zero.iter_mut().zip(book) {
                *flag = value == 0.0;
            }
        }
        Values::CodebookI8(book) => {
            for (flag, &value) in is_zero.iter_mut().zip(book) {
                *flag = value == 0;
            }
        }
        Values::F32 | Values::Int { .. } => is_zero[0] = true,
    }
    let mut at = 0;
    symbols::decode(&tensor.symbols, alphabet, positions.len(), |symbol| {
        let position = positions[at];
        at += 1;
        if is_zero.get(symbol as usize) == Some(&true) {
            return Err(EncodingError::ZeroSymbol { position });
        }
        each(position, symbol);
        Ok(())
    })
}

pub(super) fn gap_alphabet(gap_bits: u8) -> Result<Alphabet, EncodingError> {
    if matches!(gap_bits, 1..=MAX_GAP_BITS) {
        Alphabet::words(gap_bits)
    } else {
        Err(EncodingError::GapWidth { bits: gap_bits })
    }
}

/// Gives the gaps that lead to `positions`, which ascend: fillers and what is left.
pub(super) fn for_each_gap(positions: &[u32], gap_bits: u8, mut each: impl FnMut(Gaps)) {
    let filler = (1_u32 << gap_bits) - 1;
    let mut next = 0;
    for &position in positions {
        let zeros = position - next;
        each(Gaps { fillers: zeros / filler, last: zeros % filler });
        next = position + 1;
    }
}

/// The gaps before one symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    pub(super) fillers: u32,
    pub(super) last: u32,
}
