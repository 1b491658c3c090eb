//! The best code for symbols that occur so often, and streams in it.

use alloc::vec;
use alloc::vec::Vec;

use super::{MAX_ALPHABET, MAX_CODE_LEN, first_prediction, words};
use crate::encoding::bits::BitWriter;

/// A code: for each symbol its length and its word, bits in the order they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Lengths up to the last used symbol; 0 for symbols that are not used.
    pub(super) lengths: Vec<u8>,
    words: Vec<u16>,
}

impl Code {
    /// The code with the fewest bits for symbols that occur so often, or `None` where nothing occurs or the alphabet
    /// is larger than [`MAX_ALPHABET`].
    #[must_use]
    pub fn new(frequencies: &[u64]) -> Option<Self> {
        let alphabet = frequencies.iter().rposition(|&count| count > 0)? + 1;
        if alphabet > MAX_ALPHABET {
            return None;
        }
        let lengths = optimal_lengths(&frequencies[..alphabet]);
        let words = words(&lengths);
        Some(Self { lengths, words })
    }

    /// Bits that the header takes.
    #[must_use]
    pub fn header_bits(&self) -> u64 {
        let mut bits = 0;
        write_lengths(&self.lengths, |_, width| bits += u64::from(width));
        bits
    }

    /// Bits that code words take for symbols that occur so often.
    #[must_use]
    pub fn body_bits(&self, frequencies: &[u64]) -> u64 {
        if self.is_single() {
            return 0;
        }
        self.lengths.iter().zip(frequencies).map(|(&len, count)| u64::from(len) * count).sum()
    }

    /// The stream of these symbols.
    ///
    /// # Panics
    /// If a symbol did not occur in the frequencies.
    #[must_use]
    pub fn encode(&self, symbols: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let mut writer = BitWriter::new();
        write_lengths(&self.lengths, |value, width| writer.push(value, width));
        let single = self.is_single();
        for symbol in symbols {
            let len = self.lengths[symbol as usize];
            assert!(len > 0, "symbol {symbol} has no code");
            if !single {
                writer.push(u32::from(self.words[symbol as usize]), u32::from(len));
            }
        }
        writer.finish()
    }

    fn is_single(&self) -> bool {
        self.lengths.iter().filter(|&&len| len > 0).count() == 1
    }
}

/// Lengths of a code that minimizes the total under [`MAX_CODE_LEN`]. Source: Larmore and Hirschberg 1990,
/// "A Fast Algorithm for Optimal Length-Limited Huffman Codes" (package-merge).
fn optimal_lengths(frequencies: &[u64]) -> Vec<u8> {
    let mut lengths = vec![0; frequencies.len()];
    let mut leaves: Vec<(u64, usize)> = frequencies
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0)
        .map(|(symbol, &count)| (count, symbol))
        .collect();
    leaves.sort_unstable();
    if let [(_, only)] = leaves[..] {
        lengths[only] = 1;
        return lengths;
    }
    // levels[l]: items in ascending weight; true marks a leaf, false a package of two items of the level before.
    let mut levels: Vec<Vec<bool>> = Vec::new();
    let mut packages: Vec<u64> = Vec::new();
    for _ in 0..MAX_CODE_LEN {
        let mut kinds = Vec::with_capacity(leaves.len() + packages.len());
        let mut weights = Vec::with_capacity(kinds.capacity());
        let (mut leaf, mut package) = (0, 0);
        while leaf < leaves.len() || package < packages.len() {
            let takes_leaf = leaf < leaves.len()
                && packages.get(package).is_none_or(|&weight| leaves[leaf].0 <= weight);
            kinds.push(takes_leaf);
            if takes_leaf {
                weights.push(leaves[leaf].0);
                leaf += 1;
            } else {
                weights.push(packages[package]);
                package += 1;
            }
        }
        packages = weights.chunks_exact(2).map(|pair| pair[0].saturating_add(pair[1])).collect();
        levels.push(kinds);
    }
    // The 2n - 2 lightest items of the last level; each leaf among them adds one bit to its symbol.
    let mut taken = 2 * leaves.len() - 2;
    for kinds in levels.iter().rev() {
        let chosen = kinds[..taken].iter().filter(|&&is_leaf| is_leaf).count();
        for &(_, symbol) in &leaves[..chosen] {
            lengths[symbol] += 1;
        }
        taken = 2 * (taken - chosen);
    }
    lengths
}

/// Gives the header as fields of value and width.
pub(super) fn write_lengths(lengths: &[u8], mut push: impl FnMut(u32, u32)) {
    #[expect(clippy::cast_possible_truncation, reason = "at most 4096 symbols")]
    let last = (lengths.len() - 1) as u32;
    push(last, 12);
    let mut predicted = first_prediction(lengths.len());
    let mut at = 0;
    while let Some(&len) = lengths.get(at) {
        at += 1;
        if len == 0 {
            let mut run = 1_u32;
            while lengths.get(at) == Some(&0) {
                at += 1;
                run += 1;
            }
            push(0b0111, 4);
            let width = 31 - run.leading_zeros();
            push(0, width);
            push(1, 1);
            push(run - (1 << width), width);
            continue;
        }
        match i16::from(len) - i16::from(predicted) {
            0 => push(0, 1),
            1 => push(0b01, 2),
            -1 => push(0b011, 3),
            _ => {
                push(0b1111, 4);
                push(u32::from(len), 4);
            }
        }
        predicted = len;
    }
}
