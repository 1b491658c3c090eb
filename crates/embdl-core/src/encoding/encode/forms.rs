//! The forms that values can take, and their streams in one of them.

use alloc::vec::Vec;

use super::sizes::{gap_frequencies, gaps, sizes, sizes_by, stream};
use super::{Candidate, EncodeOptions, WeightData};
use crate::encoding::codebook::{Book, MAX_ENTRIES};
use crate::encoding::sparse::{MAX_GAP_BITS, gap_alphabet};
use crate::encoding::symbols::Alphabet;
use crate::encoding::{EncodingError, OwnedTensor};
use crate::format::descriptor_len;
use crate::model::{EncodedTensor, Layout, Scales, Values};
use crate::tensor::Shape;

/// The values in a form that gives symbols, dense and sparse.
pub(super) struct Plan<'a> {
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
    pub(super) fn new(
        shape: Shape,
        scales: &Scales,
        data: WeightData<'a>,
    ) -> Result<Self, EncodingError> {
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

    pub(super) fn candidates(&self, scales: &Scales, options: EncodeOptions) -> Vec<Candidate> {
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

    pub(super) fn build(&self, shape: Shape, scales: Scales, candidate: &Candidate) -> OwnedTensor {
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

    pub(super) fn is_decoded_by(&self, tensor: &EncodedTensor<'_>) -> bool {
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
    crate::encoding::codebook::alphabet(entries)?;
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
