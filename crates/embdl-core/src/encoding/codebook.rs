//! Codebooks: a symbol is an index into up to 256 values.

use alloc::vec::Vec;

use super::EncodingError;
use super::symbols::Alphabet;
use crate::model::Values;

/// The largest codebook.
pub(super) const MAX_ENTRIES: usize = 256;

pub(super) fn alphabet(entries: usize) -> Result<Alphabet, EncodingError> {
    if (1..=MAX_ENTRIES).contains(&entries) {
        Ok(Alphabet::entries(entries))
    } else {
        Err(EncodingError::CodebookSize { entries })
    }
}

/// The values of a codebook that is being encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Book<'a> {
    /// Floats.
    F32(&'a [f32]),
    /// Integers, to be multiplied by the tensor's scales.
    I8(&'a [i8]),
}

impl Book<'_> {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::F32(book) => book.len(),
            Self::I8(book) => book.len(),
        }
    }

    pub(super) fn is_zero(&self, code: u8) -> bool {
        match self {
            Self::F32(book) => book[usize::from(code)] == 0.0,
            Self::I8(book) => book[usize::from(code)] == 0,
        }
    }

    /// The entries that `used` asks for, in order; for sparse layouts without those that stand for zero.
    pub(super) fn compact(&self, used: &[bool; MAX_ENTRIES], drop_zeros: bool) -> CompactBook {
        let mut renamed = [0; MAX_ENTRIES];
        let mut kept = Vec::new();
        for code in 0..self.len().min(MAX_ENTRIES) {
            #[expect(clippy::cast_possible_truncation, reason = "below 256")]
            let code = code as u8;
            if used[usize::from(code)] && !(drop_zeros && self.is_zero(code)) {
                #[expect(clippy::cast_possible_truncation, reason = "below 256")]
                let name = kept.len() as u8;
                renamed[usize::from(code)] = name;
                kept.push(usize::from(code));
            }
        }
        if kept.is_empty() {
            // Nothing but zeros: a codebook still needs an entry.
            kept.push(0);
        }
        let values = match self {
            Self::F32(book) => Values::CodebookF32(kept.iter().map(|&code| book[code]).collect()),
            Self::I8(book) => Values::CodebookI8(kept.iter().map(|&code| book[code]).collect()),
        };
        CompactBook { values, renamed }
    }
}

/// A codebook without entries that nothing uses.
#[derive(Clone, Debug)]
pub(super) struct CompactBook {
    pub(super) values: Values,
    /// New index of each old one.
    pub(super) renamed: [u8; MAX_ENTRIES],
}
