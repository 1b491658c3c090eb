//! Dense layout: one symbol for each element.

use alloc::vec::Vec;

use super::EncodingError;
use super::symbols::{Alphabet, CHUNK, Symbols};
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

/// Calls `each(position of the first, elements)` for blocks of at most `block` elements, in order.
pub(super) fn for_each_block<T: Copy>(
    tensor: &EncodedTensor<'_>,
    block: usize,
    value: impl Fn(u32) -> T,
    each: &mut dyn FnMut(usize, &[T]),
) -> Result<(), EncodingError> {
    check(tensor)?;
    let count = tensor.elements()?;
    let mut symbols = Symbols::new(&tensor.symbols, Alphabet::of(&tensor.values)?, count)?;
    let mut out = Vec::with_capacity(block.min(count));
    while symbols.left() > 0 {
        let at = count - symbols.left();
        let len = block.min(symbols.left());
        out.clear();
        let mut chunk = [0; CHUNK];
        while out.len() < len {
            let chunk = &mut chunk[..CHUNK.min(len - out.len())];
            symbols.fill_wide(chunk)?;
            out.extend(chunk.iter().map(|&symbol| value(symbol)));
        }
        each(at, &out);
    }
    symbols.finish()
}
