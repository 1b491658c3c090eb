//! Dense layout: one symbol for each element.

use alloc::vec::Vec;

use super::EncodingError;
use super::symbols::{self, Alphabet};
use crate::model::{Coder, EncodedTensor, Values};

/// Refuses what a dense tensor cannot have.
pub(super) fn check(tensor: &EncodedTensor<'_>) -> Result<(), EncodingError> {
    if tensor.gaps.is_some() {
        return Err(EncodingError::GapPresence { needed: false });
    }
    if tensor.values == Values::F32 && tensor.symbols.coder == Coder::Huffman {
        return Err(EncodingError::FloatsNotRaw);
    }
    Ok(())
}

pub(super) fn decode<T: Copy>(
    tensor: &EncodedTensor<'_>,
    value: impl Fn(u32) -> T,
) -> Result<Vec<T>, EncodingError> {
    check(tensor)?;
    let alphabet = Alphabet::of(&tensor.values)?;
    let count = tensor.elements()?;
    symbols::check_len(&tensor.symbols, alphabet, count)?;
    let mut out = Vec::with_capacity(count);
    symbols::decode(&tensor.symbols, alphabet, count, |symbol| {
        out.push(value(symbol));
        Ok(())
    })?;
    Ok(out)
}
