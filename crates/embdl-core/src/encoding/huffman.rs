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

use alloc::vec;
use alloc::vec::Vec;

use super::EncodingError;
use super::bits::{BitReader, BitWriter, width_of};

/// The largest alphabet.
pub const MAX_ALPHABET: usize = 4096;
/// The longest code word in bits.
pub const MAX_CODE_LEN: u8 = 15;

/// Code words up to this length decode by one look into a table; 2^10 entries of 2 bytes stay in any L1 cache.
const TABLE_BITS: u32 = 10;

/// A code: for each symbol its length and its word, bits in the order they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Lengths up to the last used symbol; 0 for symbols that are not used.
    lengths: Vec<u8>,
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

/// Gives the header as fields of value and width.
fn write_lengths(lengths: &[u8], mut push: impl FnMut(u32, u32)) {
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

fn first_prediction(alphabet: usize) -> u8 {
    width_of(alphabet).max(1)
}

fn read_lengths(reader: &mut BitReader<'_>, alphabet: usize) -> Result<Vec<u8>, EncodingError> {
    let count = reader.take(12)? as usize + 1;
    if count > alphabet {
        return Err(EncodingError::AlphabetTooLarge { found: count, allowed: alphabet });
    }
    let mut lengths = Vec::with_capacity(count);
    let mut predicted = first_prediction(count);
    let mut after_run = false;
    while lengths.len() < count {
        let len = if reader.take(1)? == 0 {
            predicted
        } else if reader.take(1)? == 0 {
            predicted + 1
        } else if reader.take(1)? == 0 {
            predicted - 1
        } else if reader.take(1)? == 0 {
            let run = read_gamma(reader)?;
            // A run that follows a run, or that ends the lengths, has a shorter form.
            if after_run || run >= count - lengths.len() {
                return Err(EncodingError::CodeLengthsNotCanonical { symbol: lengths.len() });
            }
            lengths.resize(lengths.len() + run, 0);
            after_run = true;
            continue;
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "a field of 4 bits")]
            let len = reader.take(4)? as u8;
            if len.abs_diff(predicted) <= 1 {
                return Err(EncodingError::CodeLengthsNotCanonical { symbol: lengths.len() });
            }
            len
        };
        if len == 0 || len > MAX_CODE_LEN {
            return Err(EncodingError::CodeLength { symbol: lengths.len(), len });
        }
        lengths.push(len);
        predicted = len;
        after_run = false;
    }
    Ok(lengths)
}

fn read_gamma(reader: &mut BitReader<'_>) -> Result<usize, EncodingError> {
    let mut width = 0;
    while reader.take(1)? == 0 {
        width += 1;
        if width > 12 {
            return Err(EncodingError::ZeroRun { width });
        }
    }
    Ok((1 << width) + reader.take(width)? as usize)
}

/// What decoding needs: about 2 KiB, and 2 bytes for each used symbol.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    /// By the next [`TABLE_BITS`] bits: symbol times 16 plus length; 0 where the word is longer.
    table: Vec<u16>,
    /// Number of code words of each length.
    counts: [u16; MAX_CODE_LEN as usize + 1],
    /// Used symbols, by length, then symbol.
    sorted: Vec<u16>,
}

impl Decoder {
    /// Reads the header. The alphabet is that of the tensor; symbols of the code are below it.
    pub(super) fn read(reader: &mut BitReader<'_>, alphabet: usize) -> Result<Self, EncodingError> {
        let lengths = read_lengths(reader, alphabet)?;
        let mut counts = [0_u16; MAX_CODE_LEN as usize + 1];
        for &len in &lengths {
            counts[usize::from(len)] += 1;
        }
        counts[0] = 0;
        // Kraft's sum in units of 2^-15: 4096 words of length 1 stay far below u32.
        let full = 1_u32 << MAX_CODE_LEN;
        let sum: u32 =
            counts.iter().enumerate().skip(1).map(|(len, &n)| u32::from(n) << (15 - len)).sum();
        let is_single = lengths.iter().filter(|&&len| len > 0).count() == 1;
        if is_single {
            if counts[1] != 1 {
                return Err(EncodingError::CodeIncomplete { sum, full });
            }
        } else if sum > full {
            return Err(EncodingError::CodeOverfull { sum, full });
        } else if sum < full {
            return Err(EncodingError::CodeIncomplete { sum, full });
        }
        let mut starts = [0_u16; MAX_CODE_LEN as usize + 2];
        for len in 1..=MAX_CODE_LEN as usize {
            starts[len + 1] = starts[len] + counts[len];
        }
        let mut sorted = vec![0_u16; usize::from(starts[MAX_CODE_LEN as usize + 1])];
        let mut table = Vec::new();
        if !is_single {
            table.resize(1 << TABLE_BITS, 0);
        }
        let words = words(&lengths);
        for (symbol, (&len, &word)) in lengths.iter().zip(&words).enumerate() {
            if len == 0 {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "below 4096")]
            let symbol = symbol as u16;
            sorted[usize::from(starts[usize::from(len)])] = symbol;
            starts[usize::from(len)] += 1;
            if u32::from(len) <= TABLE_BITS && !is_single {
                for entry in table[usize::from(word)..].iter_mut().step_by(1 << len) {
                    *entry = symbol << 4 | u16::from(len);
                }
            }
        }
        Ok(Self { table, counts, sorted })
    }

    /// Gives the next `count` symbols.
    #[inline]
    pub(super) fn decode(
        &self,
        reader: &mut BitReader<'_>,
        count: usize,
        mut each: impl FnMut(u32) -> Result<(), EncodingError>,
    ) -> Result<(), EncodingError> {
        if let [only] = self.sorted[..] {
            for _ in 0..count {
                each(u32::from(only))?;
            }
            return Ok(());
        }
        let table: &[u16; 1 << TABLE_BITS] =
            self.table.as_slice().try_into().expect("filled unless there is one symbol");
        for _ in 0..count {
            if reader.ready() < u32::from(MAX_CODE_LEN) {
                reader.refill();
            }
            let entry = table[(reader.peek() & ((1 << TABLE_BITS) - 1)) as usize];
            let len = u32::from(entry & 15);
            if len == 0 || len > reader.ready() {
                each(self.decode_long(reader)?)?;
            } else {
                reader.skip(len);
                each(u32::from(entry >> 4))?;
            }
        }
        Ok(())
    }

    /// One symbol, bit by bit: words longer than the table's, and the end of the stream.
    #[cold]
    fn decode_long(&self, reader: &mut BitReader<'_>) -> Result<u32, EncodingError> {
        let (mut word, mut first, mut index) = (0_u32, 0_u32, 0_usize);
        for &count in &self.counts[1..] {
            word = word << 1 | reader.take(1)?;
            first <<= 1;
            if word - first < u32::from(count) {
                return Ok(u32::from(self.sorted[index + (word - first) as usize]));
            }
            index += usize::from(count);
            first += u32::from(count);
        }
        unreachable!("a complete code has a word for every 15 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths_of(frequencies: &[u64]) -> Vec<u8> {
        Code::new(frequencies).unwrap().lengths
    }

    fn decode(bytes: &[u8], alphabet: usize, count: usize) -> Result<Vec<u32>, EncodingError> {
        let mut reader = BitReader::new(bytes);
        let decoder = Decoder::read(&mut reader, alphabet)?;
        let mut symbols = Vec::new();
        decoder.decode(&mut reader, count, |symbol| {
            symbols.push(symbol);
            Ok(())
        })?;
        reader.finish()?;
        Ok(symbols)
    }

    #[test]
    fn known_lengths() {
        assert_eq!(lengths_of(&[5]), [1]);
        assert_eq!(lengths_of(&[0, 7]), [0, 1]);
        assert_eq!(lengths_of(&[1, 1]), [1, 1]);
        assert_eq!(lengths_of(&[10, 1, 1, 5]), [1, 3, 3, 2]);
        assert_eq!(lengths_of(&[1, 1, 1, 1]), [2, 2, 2, 2]);
    }

    #[test]
    fn lengths_are_limited_and_complete() {
        // Fibonacci weights make the deepest tree: 40 symbols would need 39 bits.
        let mut weights = std::vec![1_u64, 1];
        while weights.len() < 40 {
            weights.push(weights[weights.len() - 1] + weights[weights.len() - 2]);
        }
        let lengths = lengths_of(&weights);
        assert_eq!(lengths.iter().max(), Some(&15));
        let sum: u32 = lengths.iter().map(|&len| 1 << (15 - len)).sum();
        assert_eq!(sum, 1 << 15);
        assert!(lengths.is_sorted_by(|rarer, commoner| rarer >= commoner));
    }

    #[test]
    fn a_single_symbol_is_free() {
        let code = Code::new(&[0, 0, 9]).unwrap();
        assert_eq!(code.body_bits(&[0, 0, 9]), 0);
        // 12 bits of count, a run of two (4 + 3), a literal 1 would be `110` from the prediction 2.
        assert_eq!(code.header_bits(), 12 + 4 + 3 + 3);
        let bytes = code.encode([2; 1000]);
        assert_eq!(bytes.len(), 3);
        assert_eq!(decode(&bytes, 3, 1000), Ok(std::vec![2; 1000]));
    }

    #[test]
    fn long_words_decode() {
        let frequencies: Vec<u64> = (0..32).map(|power| 1_u64 << power).collect();
        let code = Code::new(&frequencies).unwrap();
        let symbols: Vec<u32> = (0..32).chain((0..32).rev()).collect();
        let bytes = code.encode(symbols.iter().copied());
        assert_eq!(decode(&bytes, 32, 64), Ok(symbols));
        assert!(matches!(
            decode(&bytes[..bytes.len() - 1], 32, 64),
            Err(EncodingError::Truncated { .. })
        ));
    }

    #[test]
    fn broken_codes_are_refused() {
        let stream = |lengths: &[u8]| {
            let mut writer = BitWriter::new();
            write_lengths(lengths, |value, width| writer.push(value, width));
            writer.finish()
        };
        let (sum, full) = (49_152, 32_768);
        assert_eq!(
            decode(&stream(&[1, 1, 1]), 3, 0),
            Err(EncodingError::CodeOverfull { sum, full })
        );
        let sum = 24_576;
        assert_eq!(
            decode(&stream(&[1, 2]), 3, 0),
            Err(EncodingError::CodeIncomplete { sum, full })
        );
        let sum = 8_192;
        assert_eq!(decode(&stream(&[2]), 3, 0), Err(EncodingError::CodeIncomplete { sum, full }));
        assert_eq!(
            decode(&stream(&[1, 2, 2]), 2, 0),
            Err(EncodingError::AlphabetTooLarge { found: 3, allowed: 2 })
        );
        assert!(matches!(
            decode(&stream(&[1, 1, 0]), 3, 0),
            Err(EncodingError::CodeLengthsNotCanonical { symbol: 2 })
        ));
        assert_eq!(decode(&[], 2, 0), Err(EncodingError::Truncated { bytes: 0 }));
    }
}
