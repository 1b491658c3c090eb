//! Sparse layout by relative index: gaps lead from one symbol to the next.
//!
//! Source: Han et al. 2015, "Deep Compression", §2. There a gap that is too long ends in a symbol for zero; here the
//! largest gap is a filler that skips as many zeros as it says and has no symbol, so long gaps cost no symbols. With
//! one bit a gap, the gaps are a bitmap of the elements up to the last symbol.

use alloc::vec::Vec;

use super::EncodingError;
use super::codebook::MAX_ENTRIES;
use super::symbols::{self, Alphabet, CHUNK, Symbols};
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

/// Calls `each(position of the first, elements)` for blocks of at most `block` elements, in order.
pub(super) fn for_each_block<T: Copy + Default>(
    tensor: &EncodedTensor<'_>,
    block: usize,
    value: impl Fn(u32) -> T,
    each: &mut dyn FnMut(usize, &[T]),
) -> Result<(), EncodingError> {
    let count = tensor.elements()?;
    let mut start = 0;
    let mut out: Vec<T> = Vec::new();
    for_each_entry(tensor, usize::MAX, |position, symbol| {
        // Allocated for the first entry, so that streams which cannot be right cost nothing.
        out.resize(block.min(count), T::default());
        while position as usize >= start + block {
            each(start, &out);
            out.fill(T::default());
            start += block;
        }
        out[position as usize - start] = value(symbol);
    })?;
    out.resize(block.min(count), T::default());
    while start < count {
        each(start, &out[..block.min(count - start)]);
        out.fill(T::default());
        start += block;
    }
    Ok(())
}

pub(super) fn entries(tensor: &EncodedTensor<'_>) -> Result<SparseEntries, EncodingError> {
    let count = Header::of(tensor)?.symbol_count;
    let mut positions = Vec::with_capacity(count);
    let mut codes = Vec::with_capacity(count);
    for_each_entry(tensor, usize::MAX, |position, symbol| {
        positions.push(position);
        codes.push(symbol);
    })?;
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

/// Calls `each(position, symbol)` for all that is there, positions ascending and below the number of elements. What lies
/// beyond `end` may be left out; then the stream is not checked to its end.
pub(super) fn for_each_entry(
    tensor: &EncodedTensor<'_>,
    end: usize,
    mut each: impl FnMut(u32, u32),
) -> Result<(), EncodingError> {
    for_each_chunk(tensor, end, &mut |positions, symbols| {
        positions.iter().zip(symbols).for_each(|(&position, &symbol)| each(position, symbol));
    })
}

/// As [`for_each_entry`], for some positions and as many symbols at a time.
fn for_each_chunk(
    tensor: &EncodedTensor<'_>,
    end: usize,
    each: &mut dyn FnMut(&[u32], &[u32]),
) -> Result<(), EncodingError> {
    let header = Header::of(tensor)?;
    let is_zero = zero_symbols(&tensor.values);
    let mut gaps = Symbols::new(&header.gaps, header.alphabet, header.gap_count)?;
    let alphabet = Alphabet::of(&tensor.values)?;
    let mut symbols = Symbols::new(&tensor.symbols, alphabet, header.symbol_count)?;
    let mut walk = Walk { next: 0, ends_in_symbol: true };
    let mut gap_chunk = [0; CHUNK];
    let mut symbol_chunk = [0; CHUNK];
    let mut positions = [0; CHUNK];
    while gaps.left() > 0 {
        if walk.next >= end as u64 {
            return Ok(());
        }
        let gap_chunk = &mut gap_chunk[..CHUNK.min(gaps.left())];
        gaps.fill(gap_chunk)?;
        let found = walk.positions(gap_chunk, &header, &mut positions)?;
        if found > symbols.left() {
            let (expected, found) = (header.symbol_count, header.symbol_count + 1);
            return Err(EncodingError::SymbolCount { expected, found });
        }
        let (positions, symbol_chunk) = (&positions[..found], &mut symbol_chunk[..found]);
        symbols.fill_wide(symbol_chunk)?;
        let is_wrong = |symbol: &u32| is_zero.get(*symbol as usize) == Some(&true);
        if let Some(at) = symbol_chunk.iter().position(is_wrong) {
            return Err(EncodingError::ZeroSymbol { position: positions[at] });
        }
        each(positions, symbol_chunk);
    }
    if !walk.ends_in_symbol {
        return Err(EncodingError::TrailingGap);
    }
    if symbols.left() > 0 {
        let expected = header.symbol_count;
        return Err(EncodingError::SymbolCount { expected, found: expected - symbols.left() });
    }
    gaps.finish()?;
    symbols.finish()
}

/// The way through the elements.
struct Walk {
    next: u64,
    ends_in_symbol: bool,
}

impl Walk {
    /// Writes the positions that gaps lead to; gives how many, which is fewer where there are fillers.
    #[inline]
    fn positions(
        &mut self,
        gaps: &[u16],
        header: &Header<'_>,
        positions: &mut [u32; CHUNK],
    ) -> Result<usize, EncodingError> {
        let filler = (1_u32 << header.gap_bits) - 1;
        let (mut next, mut found) = (self.next, 0);
        for &gap in gaps {
            next += u64::from(gap);
            #[expect(clippy::cast_possible_truncation, reason = "checked below")]
            {
                positions[found.min(CHUNK - 1)] = next as u32;
            }
            let is_symbol = u32::from(gap) != filler;
            found += usize::from(is_symbol);
            next += u64::from(is_symbol);
        }
        self.ends_in_symbol = gaps.last().is_none_or(|&gap| u32::from(gap) != filler);
        let elements = header.elements as u64;
        // Behind a symbol, `next` is one more than its position; fillers alone may lead anywhere.
        if next > elements {
            let mut next = self.next;
            for &gap in gaps {
                next += u64::from(gap);
                if u32::from(gap) != filler {
                    if next >= elements {
                        let elements = header.elements;
                        return Err(EncodingError::PositionOutOfRange { position: next, elements });
                    }
                    next += 1;
                }
            }
        }
        self.next = next;
        Ok(found)
    }
}

/// Symbols that stand for zero and therefore must not occur.
fn zero_symbols(values: &Values) -> [bool; MAX_ENTRIES] {
    let mut is_zero = [false; MAX_ENTRIES];
    match values {
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
    is_zero
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
