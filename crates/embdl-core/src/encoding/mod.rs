//! How the symbols of a tensor become bytes, and back.
//!
//! Decoding is a method of [`EncodedTensor`]; it trusts nothing but the shape, whose element count bounds what it
//! allocates. Every sequence of symbols has exactly one form under each choice of layout and coder: streams are read to
//! their last bit, and what fills up the last byte is zero. Encoding is [`encode::smallest`].

pub mod bits;
mod codebook;
mod dense;
pub mod encode;
mod error;
pub mod huffman;
mod owned;
mod sparse;
mod symbols;

pub use error::EncodingError;
pub use owned::{OwnedStream, OwnedTensor};
pub use sparse::{MAX_GAP_BITS, SparseEntries};

use alloc::vec::Vec;

use crate::model::{EncodedTensor, Layout, Scales, Values};
use symbols::Alphabet;

/// Largest magnitude of an integer bias: with at most [`crate::format::MAX_INTEGER_TAPS`] products of u8 and i8,
/// an accumulator cannot leave i32.
pub const MAX_ABS_BIAS: i32 = 1 << 30;

impl EncodedTensor<'_> {
    /// Integer weights of up to 8 bits, in row-major order.
    ///
    /// # Errors
    /// If the tensor is not one, or its bytes do not decode.
    pub fn decode_i8(&self) -> Result<Vec<i8>, EncodingError> {
        match &self.values {
            #[expect(clippy::cast_possible_truncation, reason = "at most 8 bits")]
            Values::Int { bits: 1..=8 } => {
                let alphabet = Alphabet::of(&self.values)?;
                let table: Vec<i8> =
                    (0..1 << alphabet.bits).map(|symbol| alphabet.signed(symbol) as i8).collect();
                self.decode_by(|symbol| table[symbol as usize])
            }
            Values::CodebookI8(book) => self.decode_by(|symbol| book[symbol as usize]),
            _ => Err(EncodingError::ValueKind { asked: "integers of up to 8 bits" }),
        }
    }

    /// Integers of up to 32 bits, in row-major order: biases.
    ///
    /// # Errors
    /// If the tensor is not one, its bytes do not decode, or one exceeds [`MAX_ABS_BIAS`].
    pub fn decode_i32(&self) -> Result<Vec<i32>, EncodingError> {
        let values = match &self.values {
            Values::Int { .. } => {
                let alphabet = Alphabet::of(&self.values)?;
                self.decode_by(|symbol| alphabet.signed(symbol))?
            }
            Values::CodebookI8(book) => {
                self.decode_by(|symbol| i32::from(book[symbol as usize]))?
            }
            _ => return Err(EncodingError::ValueKind { asked: "integers" }),
        };
        match values.iter().find(|value| value.unsigned_abs() > MAX_ABS_BIAS.unsigned_abs()) {
            Some(&value) => Err(EncodingError::BiasTooLarge { value, limit: MAX_ABS_BIAS }),
            None => Ok(values),
        }
    }

    /// Floats, in row-major order.
    ///
    /// # Errors
    /// If the tensor is not one, its bytes do not decode, or a value is not finite.
    pub fn decode_f32(&self) -> Result<Vec<f32>, EncodingError> {
        let values = match &self.values {
            Values::F32 => self.decode_by(f32::from_bits)?,
            Values::CodebookF32(book) => self.decode_by(|symbol| book[symbol as usize])?,
            _ => return Err(EncodingError::ValueKind { asked: "floats" }),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(position) => Err(EncodingError::NotFinite { position }),
            None => Ok(values),
        }
    }

    /// What the elements stand for, in row-major order: floats as they are, integers times their scales. Integers
    /// without a scale, which are biases, have no meaning of their own.
    ///
    /// # Errors
    /// If the bytes do not decode, or the scales do not fit the values.
    pub fn dequantize(&self) -> Result<Vec<f32>, EncodingError> {
        if matches!(self.values, Values::F32 | Values::CodebookF32(_)) {
            return self.decode_f32();
        }
        let integers = self.decode_i8()?;
        let channels = if self.shape.rank() > 0 { self.shape.dim(0) } else { 1 };
        let scales = match &self.scales {
            Scales::None => &[],
            Scales::PerTensor(scale) => core::slice::from_ref(scale),
            Scales::PerChannel(scales) => scales.as_slice(),
        };
        let expected = if matches!(self.scales, Scales::PerChannel(_)) { channels } else { 1 };
        if scales.len() != expected {
            return Err(EncodingError::ScaleCount { expected, found: scales.len() });
        }
        let row = (integers.len() / scales.len().max(1)).max(1);
        let mut floats = Vec::with_capacity(integers.len());
        for (row, &scale) in integers.chunks(row).zip(scales) {
            floats.extend(row.iter().map(|&integer| f32::from(integer) * scale));
        }
        match floats.iter().position(|value| !value.is_finite()) {
            Some(position) => Err(EncodingError::NotFinite { position }),
            None => Ok(floats),
        }
    }

    /// The codebook index of each position of a dense tensor with a codebook.
    ///
    /// # Errors
    /// If the tensor is not one, or its bytes do not decode.
    pub fn decode_codes(&self) -> Result<Vec<u8>, EncodingError> {
        if !matches!(self.values, Values::CodebookF32(_) | Values::CodebookI8(_)) {
            return Err(EncodingError::ValueKind { asked: "codebook indices" });
        }
        if self.layout != Layout::Dense {
            return Err(EncodingError::LayoutKind { asked: "dense" });
        }
        #[expect(clippy::cast_possible_truncation, reason = "codebooks have at most 256 entries")]
        self.decode_by(|symbol| symbol as u8)
    }

    /// Positions and symbols of a sparse tensor, positions ascending.
    ///
    /// # Errors
    /// If the tensor is not sparse, or its bytes do not decode.
    pub fn sparse_entries(&self) -> Result<SparseEntries, EncodingError> {
        sparse::entries(self)
    }

    /// The integer that `symbol` stands for, where the values are integers that have this symbol.
    #[must_use]
    pub fn integer(&self, symbol: u32) -> Option<i32> {
        let alphabet = Alphabet::of(&self.values).ok()?;
        if u64::from(symbol) >= alphabet.size {
            return None;
        }
        match &self.values {
            Values::Int { .. } => Some(alphabet.signed(symbol)),
            Values::CodebookI8(book) => book.get(symbol as usize).map(|&value| value.into()),
            Values::F32 | Values::CodebookF32(_) => None,
        }
    }

    /// Checks all that shows without reading symbols: widths, counts, lengths, codebook, scales.
    ///
    /// # Errors
    /// If decoding would fail for one of them.
    pub fn check(&self) -> Result<(), EncodingError> {
        let elements = self.elements()?;
        let alphabet = Alphabet::of(&self.values)?;
        if let Values::CodebookF32(book) = &self.values
            && let Some(position) = book.iter().position(|entry| !entry.is_finite())
        {
            return Err(EncodingError::NotFinite { position });
        }
        let scales = match &self.scales {
            Scales::None => &[],
            Scales::PerTensor(scale) => core::slice::from_ref(scale),
            Scales::PerChannel(scales) => {
                let expected = if self.shape.rank() > 0 { self.shape.dim(0) } else { 1 };
                if scales.len() != expected {
                    return Err(EncodingError::ScaleCount { expected, found: scales.len() });
                }
                scales
            }
        };
        if let Some(channel) = scales.iter().position(|&s| !(s.is_finite() && s > 0.0)) {
            return Err(EncodingError::BadScale { channel });
        }
        match self.layout {
            Layout::Dense => dense::check(self)?,
            Layout::Sparse { .. } => sparse::check(self)?,
        }
        symbols::check_len(&self.symbols, alphabet, self.symbol_count(elements))
    }

    /// Number of symbols: one an element unless the layout is sparse.
    const fn symbol_count(&self, elements: usize) -> usize {
        match self.layout {
            Layout::Dense => elements,
            Layout::Sparse { symbol_count, .. } => symbol_count as usize,
        }
    }

    /// Number of elements, as far as this build can address and the format can number them.
    fn elements(&self) -> Result<usize, EncodingError> {
        self.shape
            .checked_len()
            .filter(|&len| u32::try_from(len).is_ok())
            .ok_or(EncodingError::TooManyElements { shape: self.shape })
    }

    fn decode_by<T: Copy + Default>(
        &self,
        value: impl Fn(u32) -> T,
    ) -> Result<Vec<T>, EncodingError> {
        match self.layout {
            Layout::Dense => dense::decode(self, value),
            Layout::Sparse { .. } => sparse::decode(self, value),
        }
    }
}
