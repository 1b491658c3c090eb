//! Reads codes and streams in them.

use alloc::vec;
use alloc::vec::Vec;

use super::{MAX_CODE_LEN, first_prediction, words};
use crate::encoding::EncodingError;
use crate::encoding::bits::BitReader;

/// Code words up to this length decode by one look into a table; 2^10 entries of 2 bytes stay in any L1 cache.
const TABLE_BITS: u32 = 10;

/// Symbols of a run: as many as 64 bits hold beside its length.
const RUN: usize = 4;

/// Streams of fewer symbols do not repay a table of runs.
const MIN_SYMBOLS_FOR_RUNS: usize = 4096;

/// What decoding needs: about 2 KiB, 8 KiB more for long streams, and 2 bytes for each used symbol.
#[derive(Clone, Debug)]
pub(in crate::encoding) struct Decoder {
    /// By the next [`TABLE_BITS`] bits: symbol times 16 plus length; 0 where the word is longer.
    table: Vec<u16>,
    /// By the same bits: the symbols of all code words that they hold, at most [`RUN`], 16 bits apart; above the first one the
    /// sum of the lengths, above the second one how many there are. Empty for short streams.
    runs: Vec<u64>,
    /// Number of code words of each length.
    counts: [u16; MAX_CODE_LEN as usize + 1],
    /// Used symbols, by length, then symbol.
    sorted: Vec<u16>,
}

impl Decoder {
    /// Reads the header of a stream of `count` symbols. The alphabet is that of the tensor; symbols of the code are below it.
    pub(in crate::encoding) fn read(
        reader: &mut BitReader<'_>,
        alphabet: usize,
        count: usize,
    ) -> Result<Self, EncodingError> {
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
        let runs = if is_single || count < MIN_SYMBOLS_FOR_RUNS { vec![] } else { runs(&table) };
        Ok(Self { table, runs, counts, sorted })
    }

    /// Fills `symbols` with the next ones.
    pub(in crate::encoding) fn decode_all(
        &self,
        reader: &mut BitReader<'_>,
        symbols: &mut [u16],
    ) -> Result<(), EncodingError> {
        let mut filled = 0;
        if let Ok(runs) = <&[u64; 1 << TABLE_BITS]>::try_from(self.runs.as_slice()) {
            filled = self.decode_runs(runs, reader, symbols)?;
        }
        let rest = &mut symbols[filled..];
        let mut at = 0;
        self.decode(reader, rest.len(), |symbol| {
            #[expect(clippy::cast_possible_truncation, reason = "below 4096")]
            {
                rest[at] = symbol as u16;
            }
            at += 1;
            Ok(())
        })
    }

    /// Fills the first of `symbols`, while a whole word is there to read and a whole run to write; gives how many.
    fn decode_runs(
        &self,
        runs: &[u64; 1 << TABLE_BITS],
        reader: &mut BitReader<'_>,
        symbols: &mut [u16],
    ) -> Result<usize, EncodingError> {
        /// Looks into the table that the 57 bits of a word are enough for.
        const LOOKS: u64 = 57 / TABLE_BITS as u64;
        const SYMBOLS: u64 = 0x0fff_0fff_0fff_0fff;
        let (mut position, mut filled) = (reader.position(), 0);
        'words: while let Some(mut word) = reader.word_at(position) {
            for _ in 0..LOOKS {
                let Some(to) = symbols[filled..].first_chunk_mut::<RUN>() else { break 'words };
                let run = runs[(word & ((1 << TABLE_BITS) - 1)) as usize];
                let len = run >> 12 & 15;
                if len == 0 {
                    // A long word: as with single symbols.
                    reader.seek(position);
                    to[0] = self.one(reader)?;
                    position = reader.position();
                    filled += 1;
                    continue 'words;
                }
                let run_of = run & SYMBOLS;
                for (slot, symbol) in to.iter_mut().enumerate() {
                    #[expect(clippy::cast_possible_truncation, reason = "masked")]
                    {
                        *symbol = (run_of >> (16 * slot)) as u16;
                    }
                }
                filled += (run >> 28 & 15) as usize;
                position += len;
                word >>= len;
            }
        }
        reader.seek(position);
        Ok(filled)
    }

    /// The next symbol.
    #[expect(clippy::cast_possible_truncation, reason = "below 4096")]
    fn one(&self, reader: &mut BitReader<'_>) -> Result<u16, EncodingError> {
        let mut found = 0;
        self.decode(reader, 1, |symbol| {
            found = symbol as u16;
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives the next `count` symbols.
    #[inline]
    pub(in crate::encoding) fn decode(
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

/// The table of runs for one of single symbols.
fn runs(table: &[u16]) -> Vec<u64> {
    let run = |bits: usize| {
        let (mut run, mut len, mut count) = (0_u64, 0_u32, 0_usize);
        while count < RUN {
            let entry = table[bits >> len];
            let next = u32::from(entry & 15);
            // What was shifted in is not there yet.
            if next == 0 || len + next > TABLE_BITS {
                break;
            }
            run |= u64::from(entry >> 4) << (16 * count);
            len += next;
            count += 1;
        }
        run | u64::from(len) << 12 | (count as u64) << 28
    };
    (0..1 << TABLE_BITS).map(run).collect()
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
