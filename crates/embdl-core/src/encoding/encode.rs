//! Encodes values in the form that takes the fewest bytes of a file.

use alloc::vec;
use alloc::vec::Vec;

use super::bits::{BitWriter, packed_len};
pub use super::codebook::Book;
use super::codebook::MAX_ENTRIES;
use super::huffman::{Code, MAX_ALPHABET};
use super::sparse::{for_each_gap, gap_alphabet};
use super::symbols::Alphabet;
use super::{EncodingError, MAX_GAP_BITS, OwnedStream, OwnedTensor};
use crate::format::descriptor_len;
use crate::model::{Coder, EncodedTensor, Layout, Scales, Values};
use crate::tensor::Shape;

/// Values to encode, in row-major order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightData<'a> {
    /// Floats, kept as they are; finite.
    F32(&'a [f32]),
    /// Integers: weights that stand for multiples of a scale, or biases. They take the least width that holds them.
    Int(&'a [i32]),
    /// Indices into a codebook. Entries that no index asks for are not stored, in sparse layouts neither those that
    /// are zero.
    Codebook {
        /// One index an element.
        codes: &'a [u8],
        /// What they stand for.
        book: Book<'a>,
    },
}

/// Which forms may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether zeros may be skipped.
    pub allow_sparse: bool,
    /// Whether symbols and gaps may be Huffman coded.
    pub allow_huffman: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { allow_sparse: true, allow_huffman: true }
    }
}

/// A form that values could take, and what it costs in a file.
///
/// The default is dense raw, which every tensor can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Width of a gap where the form is sparse.
    pub gap_bits: Option<u8>,
    /// Whether symbols are Huffman coded.
    pub huffman_symbols: bool,
    /// Whether gaps are Huffman coded; false for dense forms.
    pub huffman_gaps: bool,
    /// Bytes of the descriptor: layout, widths, counts, scales, codebook.
    pub descriptor_bytes: usize,
    /// Bytes of the gaps, with their code.
    pub gap_bytes: usize,
    /// Bytes of the symbols, with their code.
    pub symbol_bytes: usize,
    /// Number of gaps, fillers included.
    gap_count: u32,
    /// Number of symbols.
    symbol_count: u32,
}

impl Candidate {
    /// All bytes.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        self.descriptor_bytes + self.gap_bytes + self.symbol_bytes
    }

    fn layout(&self) -> Layout {
        match self.gap_bits {
            None => Layout::Dense,
            Some(gap_bits) => Layout::Sparse {
                gap_bits,
                gap_count: self.gap_count,
                symbol_count: self.symbol_count,
            },
        }
    }
}

/// Encodes in the smallest form; among equal ones in the simplest.
///
/// Shapes: as many values as `shape` has elements; `scales` one, one for each index of the first dimension, or none.
///
/// # Errors
/// If the number of values or scales does not fit the shape, a code is beyond the codebook, or a float is not finite.
pub fn smallest(
    shape: Shape,
    scales: Scales,
    data: WeightData<'_>,
    options: EncodeOptions,
) -> Result<OwnedTensor, EncodingError> {
    let plan = Plan::new(shape, &scales, data)?;
    let mut candidates = plan.candidates(&scales, options).into_iter();
    // Dense raw is always there, and first.
    let mut best = candidates.next().unwrap_or_default();
    for candidate in candidates {
        if candidate.total_bytes() < best.total_bytes() {
            best = candidate;
        }
    }
    Ok(plan.build(shape, scales, &best))
}

/// All forms that the options allow, simplest first, with their sizes.
///
/// # Errors
/// As for [`smallest`].
pub fn candidates(
    shape: Shape,
    scales: &Scales,
    data: WeightData<'_>,
    options: EncodeOptions,
) -> Result<Vec<Candidate>, EncodingError> {
    Ok(Plan::new(shape, scales, data)?.candidates(scales, options))
}

/// Encodes in one of the forms that [`candidates`] listed for the same arguments.
///
/// # Errors
/// As for [`smallest`].
pub fn encode(
    shape: Shape,
    scales: Scales,
    data: WeightData<'_>,
    candidate: &Candidate,
) -> Result<OwnedTensor, EncodingError> {
    let plan = Plan::new(shape, &scales, data)?;
    Ok(plan.build(shape, scales, candidate))
}

/// Encodes biases of a layer: integers in the least width, sparse or not, whatever is smallest.
///
/// # Errors
/// If a bias exceeds [`super::MAX_ABS_BIAS`].
pub fn bias_i32(values: &[i32], options: EncodeOptions) -> Result<OwnedTensor, EncodingError> {
    let limit = super::MAX_ABS_BIAS;
    if let Some(&value) = values.iter().find(|v| v.unsigned_abs() > limit.unsigned_abs()) {
        return Err(EncodingError::BiasTooLarge { value, limit });
    }
    let shape = Shape::vector(values.len());
    smallest(shape, Scales::None, WeightData::Int(values), options)
}

/// Encodes float biases of a layer as they are.
///
/// # Errors
/// If one is not finite.
pub fn bias_f32(values: &[f32]) -> Result<OwnedTensor, EncodingError> {
    let shape = Shape::vector(values.len());
    smallest(shape, Scales::None, WeightData::F32(values), EncodeOptions::default())
}

/// The values in a form that gives symbols, dense and sparse.
struct Plan<'a> {
    data: WeightData<'a>,
    dense: Book256,
    sparse: Book256,
    positions: Vec<u32>,
    elements: usize,
}

/// What symbols mean under one layout, and how codes become them.
struct Book256 {
    values: Values,
    alphabet: Alphabet,
    renamed: [u8; MAX_ENTRIES],
}

impl<'a> Plan<'a> {
    fn new(shape: Shape, scales: &Scales, data: WeightData<'a>) -> Result<Self, EncodingError> {
        let elements = shape
            .checked_len()
            .filter(|&len| u32::try_from(len).is_ok())
            .ok_or(EncodingError::TooManyElements { shape })?;
        let found = match data {
            WeightData::F32(values) => values.len(),
            WeightData::Int(values) => values.len(),
            WeightData::Codebook { codes, .. } => codes.len(),
        };
        if found != elements {
            return Err(EncodingError::ValueCount { expected: elements, found });
        }
        if let Scales::PerChannel(scales) = scales {
            let expected = if shape.rank() > 0 { shape.dim(0) } else { 1 };
            if scales.len() != expected {
                return Err(EncodingError::ScaleCount { expected, found: scales.len() });
            }
        }
        let (dense, sparse) = match data {
            WeightData::F32(values) => {
                if let Some(position) = values.iter().position(|value| !value.is_finite()) {
                    return Err(EncodingError::NotFinite { position });
                }
                (Book256::plain(Values::F32)?, Book256::plain(Values::F32)?)
            }
            WeightData::Int(values) => {
                let bits = values.iter().map(|&value| width_of_int(value)).max().unwrap_or(1);
                let book = || Book256::plain(Values::Int { bits });
                (book()?, book()?)
            }
            WeightData::Codebook { codes, book } => {
                let used = used_codes(codes, book)?;
                (Book256::compact(book, &used, false)?, Book256::compact(book, &used, true)?)
            }
        };
        let is_kept = |index: usize| match data {
            WeightData::F32(values) => values[index].to_bits() != 0,
            WeightData::Int(values) => values[index] != 0,
            WeightData::Codebook { codes, book } => !book.is_zero(codes[index]),
        };
        #[expect(clippy::cast_possible_truncation, reason = "elements fit u32")]
        let positions =
            (0..elements).filter(|&index| is_kept(index)).map(|index| index as u32).collect();
        Ok(Self { data, dense, sparse, positions, elements })
    }

    fn candidates(&self, scales: &Scales, options: EncodeOptions) -> Vec<Candidate> {
        let mut found = Vec::new();
        self.dense_candidates(scales, options, &mut found);
        if options.allow_sparse {
            self.sparse_candidates(&self.sparse, scales, options, &mut found);
        }
        found
    }

    fn dense_candidates(
        &self,
        scales: &Scales,
        options: EncodeOptions,
        found: &mut Vec<Candidate>,
    ) {
        let book = &self.dense;
        let symbols = (0..self.elements).map(|index| self.symbol(book, index));
        for symbol_size in sizes(book.alphabet, self.elements, symbols, options.allow_huffman) {
            let coder = symbol_size.coder(book.alphabet);
            let descriptor_bytes = descriptor_len(
                &book.values,
                scales,
                Layout::Dense,
                (coder, symbol_size.bytes),
                None,
            );
            found.push(Candidate {
                gap_bits: None,
                huffman_symbols: symbol_size.huffman,
                huffman_gaps: false,
                descriptor_bytes,
                gap_bytes: 0,
                symbol_bytes: symbol_size.bytes,
                gap_count: 0,
                symbol_count: 0,
            });
        }
    }

    fn sparse_candidates(
        &self,
        book: &Book256,
        scales: &Scales,
        options: EncodeOptions,
        found: &mut Vec<Candidate>,
    ) {
        let kept = self.positions.len();
        let symbols = self.positions.iter().map(|&index| self.symbol(book, index as usize));
        let symbol_sizes = sizes(book.alphabet, kept, symbols, options.allow_huffman);
        #[expect(clippy::cast_possible_truncation, reason = "elements fit u32")]
        let symbol_count = kept as u32;
        for gap_bits in 1..=MAX_GAP_BITS {
            let alphabet = gap_alphabet(gap_bits).expect("1 to 12 bits");
            let (frequencies, gap_count) = gap_frequencies(&self.positions, gap_bits);
            let gap_sizes = sizes_by(alphabet, gap_count, &frequencies, options.allow_huffman);
            let Ok(gap_count) = u32::try_from(gap_count) else { continue };
            for gap_size in &gap_sizes {
                for symbol_size in &symbol_sizes {
                    let mut candidate = Candidate {
                        gap_bits: Some(gap_bits),
                        huffman_symbols: symbol_size.huffman,
                        huffman_gaps: gap_size.huffman,
                        descriptor_bytes: 0,
                        gap_bytes: gap_size.bytes,
                        symbol_bytes: symbol_size.bytes,
                        gap_count,
                        symbol_count,
                    };
                    candidate.descriptor_bytes = descriptor_len(
                        &book.values,
                        scales,
                        candidate.layout(),
                        (symbol_size.coder(book.alphabet), symbol_size.bytes),
                        Some((gap_size.coder(alphabet), gap_size.bytes)),
                    );
                    found.push(candidate);
                }
            }
        }
    }

    fn build(&self, shape: Shape, scales: Scales, candidate: &Candidate) -> OwnedTensor {
        let (book, symbols, gaps) = match candidate.gap_bits {
            Some(gap_bits) => {
                let book = &self.sparse;
                let symbols = self.positions.iter().map(|&index| self.symbol(book, index as usize));
                let symbols = stream(book.alphabet, symbols, candidate.huffman_symbols);
                let alphabet = gap_alphabet(gap_bits).expect("a candidate has 1 to 12 bits");
                let gaps = gaps(&self.positions, gap_bits);
                let count = gaps.len();
                let gaps = stream(alphabet, gaps.iter().copied(), candidate.huffman_gaps);
                (book, symbols, Some((gaps, count)))
            }
            None => {
                let symbols = (0..self.elements).map(|index| self.symbol(&self.dense, index));
                (&self.dense, stream(self.dense.alphabet, symbols, candidate.huffman_symbols), None)
            }
        };
        // Counts are taken from the values, not from the candidate, which may come from others.
        let layout = match (candidate.gap_bits, &gaps) {
            (Some(gap_bits), Some((_, gap_count))) => Layout::Sparse {
                gap_bits,
                gap_count: u32::try_from(*gap_count).expect("each gap passes an element"),
                symbol_count: u32::try_from(self.positions.len()).expect("elements fit u32"),
            },
            _ => Layout::Dense,
        };
        let gaps = gaps.map(|(stream, _)| stream);
        let tensor =
            OwnedTensor { shape, scales, values: book.values.clone(), layout, symbols, gaps };
        debug_assert!(self.is_decoded_by(&tensor.view()), "{tensor:?}");
        tensor
    }

    #[inline]
    fn symbol(&self, book: &Book256, index: usize) -> u32 {
        match self.data {
            WeightData::F32(values) => values[index].to_bits(),
            WeightData::Int(values) => {
                #[expect(clippy::cast_sign_loss, reason = "two's complement, cut to its width")]
                let word = values[index] as u32;
                let unused = 32 - u32::from(book.alphabet.bits);
                word << unused >> unused
            }
            WeightData::Codebook { codes, .. } => {
                u32::from(book.renamed[usize::from(codes[index])])
            }
        }
    }

    fn is_decoded_by(&self, tensor: &EncodedTensor<'_>) -> bool {
        match self.data {
            WeightData::F32(values) => tensor.decode_f32().as_deref() == Ok(values),
            WeightData::Int(values) => {
                matches!(tensor.decode_i32(), Err(EncodingError::BiasTooLarge { .. }))
                    || tensor.decode_i32().as_deref() == Ok(values)
            }
            WeightData::Codebook { codes, book: Book::F32(book) } => tensor
                .decode_f32()
                .is_ok_and(|found| found.iter().eq(codes.iter().map(|&code| &book[code as usize]))),
            WeightData::Codebook { codes, book: Book::I8(book) } => tensor
                .decode_i8()
                .is_ok_and(|found| found.iter().eq(codes.iter().map(|&code| &book[code as usize]))),
        }
    }
}

impl Book256 {
    fn plain(values: Values) -> Result<Self, EncodingError> {
        let alphabet = Alphabet::of(&values)?;
        Ok(Self { values, alphabet, renamed: [0; MAX_ENTRIES] })
    }

    fn compact(
        book: Book<'_>,
        used: &[bool; MAX_ENTRIES],
        drop_zeros: bool,
    ) -> Result<Self, EncodingError> {
        let compact = book.compact(used, drop_zeros);
        let alphabet = Alphabet::of(&compact.values)?;
        Ok(Self { values: compact.values, alphabet, renamed: compact.renamed })
    }
}

fn used_codes(codes: &[u8], book: Book<'_>) -> Result<[bool; MAX_ENTRIES], EncodingError> {
    let entries = book.len();
    super::codebook::alphabet(entries)?;
    if let Book::F32(values) = book
        && let Some(position) = values.iter().position(|value| !value.is_finite())
    {
        return Err(EncodingError::NotFinite { position });
    }
    let mut used = [false; MAX_ENTRIES];
    for &code in codes {
        used[usize::from(code)] = true;
    }
    match used.iter().rposition(|&is_used| is_used) {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        Some(last) if last >= entries => {
            Err(EncodingError::SymbolOutOfRange { symbol: last as u32, alphabet: entries as u64 })
        }
        _ => Ok(used),
    }
}

/// Bits of `value` in two's complement.
#[expect(clippy::cast_possible_truncation, reason = "1 to 32")]
const fn width_of_int(value: i32) -> u8 {
    (33 - (value ^ (value >> 31)).leading_zeros()) as u8
}

#[derive(Clone, Copy, Debug)]
struct StreamSize {
    huffman: bool,
    bytes: usize,
}

impl StreamSize {
    const fn coder(self, alphabet: Alphabet) -> Coder {
        if self.huffman { Coder::Huffman } else { Coder::Raw { bits: alphabet.bits } }
    }
}

/// Sizes of the stream by coder, raw first.
fn sizes(
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

fn sizes_by(
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

fn gap_frequencies(positions: &[u32], gap_bits: u8) -> (Vec<u64>, usize) {
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

fn gaps(positions: &[u32], gap_bits: u8) -> Vec<u32> {
    let filler = (1_u32 << gap_bits) - 1;
    let mut out = Vec::with_capacity(positions.len());
    for_each_gap(positions, gap_bits, |gap| {
        out.extend(core::iter::repeat_n(filler, gap.fillers as usize));
        out.push(gap.last);
    });
    out
}

fn stream(
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
