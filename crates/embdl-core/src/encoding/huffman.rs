//! Canonical Huffman codes over up to 4,096 symbols, with code words of at most 15 bits.
//!
//! A stream is, without gaps, a header and the code words. The header is the number of code lengths minus one
//! (12 bits), then the lengths, each predicted by the last length that was not zero (at first: the number of bits
//! that tell that many symbols apart): `0` the same, `10` one more, `110` one less, `1110` and an Elias gamma number:
//! so many unused symbols, `1111` and four bits: any other length. The last length is never zero. Code words are
//! assigned in order of length, then symbol (RFC 1951, §3.2.2), and written highest bit first. An alphabet with a
//! single used symbol gives it the length 1, and its code words take no bits at all.
//!
//! Everything that could be written in two ways is refused in all but one.

mod code;
mod decoder;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use super::bits::width_of;
pub use code::Code;
pub(super) use decoder::Decoder;

/// The largest alphabet.
pub const MAX_ALPHABET: usize = 4096;
/// The longest code word in bits.
pub const MAX_CODE_LEN: u8 = 15;

/// Canonical code words, bits reversed because streams are written lowest bit first.
fn words(lengths: &[u8]) -> Vec<u16> {
    let mut next = [0_u16; MAX_CODE_LEN as usize + 2];
    for len in 1..=MAX_CODE_LEN as usize {
        let count = lengths.iter().filter(|&&other| usize::from(other) == len).count();
        #[expect(clippy::cast_possible_truncation, reason = "at most 4096 symbols")]
        let count = count as u16;
        next[len + 1] = (next[len] + count) << 1;
    }
    lengths
        .iter()
        .map(|&len| {
            if len == 0 {
                return 0;
            }
            let word = next[usize::from(len)];
            next[usize::from(len)] += 1;
            word.reverse_bits() >> (16 - len)
        })
        .collect()
}

fn first_prediction(alphabet: usize) -> u8 {
    width_of(alphabet).max(1)
}
