//! Encodes values in the form that takes the fewest bytes of a file.

mod forms;
mod sizes;

use alloc::vec::Vec;

pub use super::codebook::Book;
use super::{EncodingError, OwnedTensor};
use crate::model::{Layout, Scales};
use crate::tensor::Shape;
use forms::Plan;

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
