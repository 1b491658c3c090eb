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
        let mut out = Vec::new();
        let elements = self.elements()?;
        self.i8_blocks(DECODE_BLOCK, &mut |at, block| {
            if at == 0 {
                out.reserve_exact(elements);
            }
            out.extend_from_slice(block);
        })?;
        Ok(out)
    }

    /// Calls `each(position of the first, elements)` for blocks of at most `block` (at least 1) of these integers, in
    /// order, so that a large tensor need not exist in one piece.
    ///
    /// # Errors
    /// As [`Self::decode_i8`]; blocks before the mistake were given then.
    pub fn decode_i8_blocks(
        &self,
        block: usize,
        each: impl FnMut(usize, &[i8]),
    ) -> Result<(), EncodingError> {
        let mut each = each;
        self.i8_blocks(block, &mut each)
    }

    /// The same, for all callers in one piece of code.
    fn i8_blocks(
        &self,
        block: usize,
        each: &mut dyn FnMut(usize, &[i8]),
    ) -> Result<(), EncodingError> {
        let table = self.table_i8()?;
        self.blocks_by(block, |symbol| table[symbol as usize & 255], each)
    }

    /// The integer of each symbol of a tensor of up to 8 bits.
    pub(crate) fn table_i8(&self) -> Result<[i8; 256], EncodingError> {
        let mut table = [0; 256];
        match &self.values {
            Values::Int { bits: 1..=8 } => {
                let alphabet = Alphabet::of(&self.values)?;
                for (slot, symbol) in table.iter_mut().zip(0..1 << alphabet.bits) {
                    #[expect(clippy::cast_possible_truncation, reason = "at most 8 bits")]
                    {
                        *slot = alphabet.signed(symbol) as i8;
                    }
                }
            }
            Values::CodebookI8(book) => {
                table.iter_mut().zip(book).for_each(|(slot, &value)| *slot = value);
            }
            _ => return Err(EncodingError::ValueKind { asked: "integers of up to 8 bits" }),
        }
        Ok(table)
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
        let (scales, row) = self.row_scales()?;
        let integers = self.decode_i8()?;
        let mut floats = Vec::with_capacity(integers.len());
        for (row, &scale) in integers.chunks(row).zip(scales) {
            floats.extend(row.iter().map(|&integer| f32::from(integer) * scale));
        }
        match floats.iter().position(|value| !value.is_finite()) {
            Some(position) => Err(EncodingError::NotFinite { position }),
            None => Ok(floats),
        }
    }

    /// Calls `each(position of the first, elements)` for blocks of at most `block` (at least 1) of these floats, in order.
    ///
    /// # Errors
    /// As [`Self::dequantize`]; blocks before the mistake were given then.
    pub fn dequantize_blocks(
        &self,
        block: usize,
        each: impl FnMut(usize, &[f32]),
    ) -> Result<(), EncodingError> {
        let mut each = each;
        self.f32_blocks(block, &mut each)
    }

    /// The same, for all callers in one piece of code.
    fn f32_blocks(
        &self,
        block: usize,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), EncodingError> {
        let mut bad = None;
        let mut checked = |at: usize, floats: &[f32]| {
            let position = floats.iter().position(|value| !value.is_finite());
            bad = bad.or(position.map(|position| at + position));
            each(at, floats);
        };
        match &self.values {
            Values::F32 => self.blocks_by(block, f32::from_bits, &mut checked)?,
            Values::CodebookF32(book) => {
                self.blocks_by(block, |symbol| book[symbol as usize], &mut checked)?;
            }
            _ => {
                let (scales, row) = self.row_scales()?;
                let mut floats = Vec::new();
                self.i8_blocks(block, &mut |at, integers| {
                    floats.clear();
                    let scaled = integers.iter().zip(at..);
                    floats.extend(scaled.map(|(&w, at)| {
                        f32::from(w) * scales[if scales.len() == 1 { 0 } else { at / row }]
                    }));
                    checked(at, &floats);
                })?;
            }
        }
        bad.map_or(Ok(()), |position| Err(EncodingError::NotFinite { position }))
    }

    /// Scales of an integer tensor, and how many elements belong to each.
    fn row_scales(&self) -> Result<(&[f32], usize), EncodingError> {
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
        Ok((scales, (self.elements()? / scales.len().max(1)).max(1)))
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

    /// Calls `each(position of the first, symbols)` for blocks of at most `block` (at least 1) symbols of a dense tensor, in
    /// order.
    ///
    /// # Errors
    /// If the tensor is not dense, or its bytes do not decode; blocks before the mistake were given then.
    pub fn symbol_blocks(
        &self,
        block: usize,
        each: impl FnMut(usize, &[u32]),
    ) -> Result<(), EncodingError> {
        if self.layout != Layout::Dense {
            return Err(EncodingError::LayoutKind { asked: "dense" });
        }
        let mut each = each;
        self.blocks_by(block, |symbol| symbol, &mut each)
    }

    /// Positions and symbols of a sparse tensor, positions ascending.
    ///
    /// # Errors
    /// If the tensor is not sparse, or its bytes do not decode.
    pub fn sparse_entries(&self) -> Result<SparseEntries, EncodingError> {
        sparse::entries(self)
    }

    /// Calls `each(position, symbol)` for what [`Self::sparse_entries`] gives, which need not exist then.
    ///
    /// # Errors
    /// As [`Self::sparse_entries`]; some entries before the mistake were given then.
    pub fn for_each_entry(&self, each: impl FnMut(u32, u32)) -> Result<(), EncodingError> {
        sparse::for_each_entry(self, usize::MAX, each)
    }

    /// As [`Self::for_each_entry`], for positions below `end`: a sample of a tensor, whose rest is not looked at.
    ///
    /// # Errors
    /// As [`Self::for_each_entry`], for what was looked at.
    pub(crate) fn for_each_entry_before(
        &self,
        end: usize,
        mut each: impl FnMut(usize, u32),
    ) -> Result<(), EncodingError> {
        sparse::for_each_entry(self, end, |position, symbol| {
            if (position as usize) < end {
                each(position as usize, symbol);
            }
        })
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

    /// The float of each symbol of a tensor whose symbols stand for one float each: a codebook of floats, or integers of at most
    /// 8 bits with one scale.
    ///
    /// # Errors
    /// If it is none of these, or a float is no number.
    pub fn symbols_f32(&self) -> Result<Vec<f32>, EncodingError> {
        let floats: Vec<f32> = match (&self.values, &self.scales) {
            (Values::CodebookF32(book), _) => book.clone(),
            (Values::Int { .. } | Values::CodebookI8(_), Scales::PerTensor(scale)) =>
            {
                #[expect(clippy::cast_precision_loss, reason = "integers of at most 8 bits")]
                (0..256).map_while(|code| self.integer(code)).map(|w| w as f32 * scale).collect()
            }
            _ => return Err(EncodingError::ValueKind { asked: "floats of one scale" }),
        };
        match floats.iter().position(|value| !value.is_finite()) {
            Some(position) => Err(EncodingError::NotFinite { position }),
            None => Ok(floats),
        }
    }

    /// The integer of each symbol, where there are at most 16.
    #[must_use]
    pub fn small_codebook(&self) -> Option<Vec<i8>> {
        let is_small = match &self.values {
            Values::CodebookI8(book) => book.len() <= 16,
            Values::Int { bits } => *bits <= 4,
            Values::F32 | Values::CodebookF32(_) => false,
        };
        let integer = |symbol| i8::try_from(self.integer(symbol)?).ok();
        is_small.then(|| (0..16).map_while(integer).collect())
    }

    /// Symbols of a sparse tensor; none of a dense one.
    #[must_use]
    pub const fn entry_count(&self) -> usize {
        match self.layout {
            Layout::Dense => 0,
            Layout::Sparse { symbol_count, .. } => symbol_count as usize,
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
        let mut out = Vec::new();
        let elements = self.elements()?;
        self.blocks_by(DECODE_BLOCK, value, &mut |at, block: &[T]| {
            if at == 0 {
                out.reserve_exact(elements);
            }
            out.extend_from_slice(block);
        })?;
        Ok(out)
    }

    fn blocks_by<T: Copy + Default>(
        &self,
        block: usize,
        value: impl Fn(u32) -> T,
        each: &mut dyn FnMut(usize, &[T]),
    ) -> Result<(), EncodingError> {
        assert!(block > 0, "blocks without elements");
        match self.layout {
            Layout::Dense => dense::for_each_block(self, block, value, each),
            Layout::Sparse { .. } => sparse::for_each_block(self, block, value, each),
        }
    }
}

/// Elements that are decoded at a time where all are wanted: they stay in the first cache.
const DECODE_BLOCK: usize = 4096;
