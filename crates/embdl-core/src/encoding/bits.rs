//! Bits in bytes, least significant first: the first bit of a stream is bit 0 of its first byte.

use alloc::vec::Vec;

use super::EncodingError;

/// Appends bit fields to bytes.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// An empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the `bits` low bits of `value`, lowest first.
    ///
    /// # Panics
    /// If `bits` exceeds 32 or `value` needs more than `bits`.
    pub fn push(&mut self, value: u32, bits: u32) {
        assert!(bits <= 32 && u64::from(value) >> bits == 0, "{value} in {bits} bits");
        self.pending |= u64::from(value) << self.pending_bits;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            let [low, ..] = self.pending.to_le_bytes();
            self.bytes.push(low);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// The bytes; the last one is filled up with zero bits.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            let [low, ..] = self.pending.to_le_bytes();
            self.bytes.push(low);
        }
        self.bytes
    }
}

/// Takes bit fields off bytes.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Next byte to load.
    at: usize,
    /// Loaded bits, the next one lowest. Bits above `loaded_bits` are zero or those that follow in `bytes`.
    loaded: u64,
    loaded_bits: u32,
}

impl<'a> BitReader<'a> {
    /// Reads `bytes` from their first bit.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, loaded: 0, loaded_bits: 0 }
    }

    /// Loads so that at least 56 bits are ready, or all that are left.
    #[inline]
    pub(super) fn refill(&mut self) {
        if let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            // Loads the whole word and counts only whole bytes; the rest is loaded again, onto equal bits.
            self.loaded |= u64::from_le_bytes(*chunk) << self.loaded_bits;
            let taken = (63 - self.loaded_bits) / 8;
            self.at += taken as usize;
            self.loaded_bits += taken * 8;
            return;
        }
        while self.loaded_bits <= 56 && self.at < self.bytes.len() {
            self.loaded |= u64::from(self.bytes[self.at]) << self.loaded_bits;
            self.at += 1;
            self.loaded_bits += 8;
        }
    }

    /// The next bits, the first lowest; those beyond [`Self::ready`] mean nothing.
    #[inline]
    pub(super) const fn peek(&self) -> u64 {
        self.loaded
    }

    /// How many bits are loaded.
    #[inline]
    pub(super) const fn ready(&self) -> u32 {
        self.loaded_bits
    }

    /// Drops `bits` loaded bits, at most [`Self::ready`].
    #[inline]
    pub(super) const fn skip(&mut self, bits: u32) {
        debug_assert!(bits <= self.loaded_bits);
        self.loaded >>= bits;
        self.loaded_bits -= bits;
    }

    /// The next field of `bits` bits, at most 32.
    ///
    /// # Errors
    /// If the stream ends before.
    #[inline]
    pub fn take(&mut self, bits: u32) -> Result<u32, EncodingError> {
        debug_assert!(bits <= 32);
        if self.loaded_bits < bits {
            self.refill();
            if self.loaded_bits < bits {
                return Err(EncodingError::Truncated { bytes: self.bytes.len() });
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 32 bits")]
        let field = (self.loaded & ((1 << bits) - 1)) as u32;
        self.skip(bits);
        Ok(field)
    }

    /// Fills `fields` with the next fields of `bits` bits, at most 16.
    ///
    /// # Errors
    /// If the stream ends before.
    #[inline]
    pub(super) fn take_all(&mut self, bits: u32, fields: &mut [u16]) -> Result<(), EncodingError> {
        debug_assert!(bits <= 16);
        // Several from each word, as long as whole words are there.
        let per_word = 57 / bits.max(1);
        let mut position = self.position();
        let mut taken = 0;
        for fields in fields.chunks_exact_mut(per_word as usize) {
            let Some(mut word) = self.word_at(position) else { break };
            for field in fields.iter_mut() {
                #[expect(clippy::cast_possible_truncation, reason = "masked to at most 16 bits")]
                {
                    *field = (word & ((1 << bits) - 1)) as u16;
                }
                word >>= bits;
            }
            position += u64::from(per_word * bits);
            taken += fields.len();
        }
        self.seek(position);
        for field in &mut fields[taken..] {
            #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits")]
            {
                *field = self.take(bits)? as u16;
            }
        }
        Ok(())
    }

    /// Bits taken so far.
    #[inline]
    pub(super) const fn position(&self) -> u64 {
        self.at as u64 * 8 - self.loaded_bits as u64
    }

    /// At least 57 bits from `position` on, unless fewer than eight bytes are there.
    #[inline]
    pub(super) fn word_at(&self, position: u64) -> Option<u64> {
        let chunk = self.bytes.get((position / 8) as usize..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*chunk) >> (position % 8))
    }

    /// Goes on at a position that is not behind the end.
    #[inline]
    pub(super) fn seek(&mut self, position: u64) {
        *self = Self { bytes: self.bytes, at: (position / 8) as usize, loaded: 0, loaded_bits: 0 };
        let skipped = (position % 8) as u32;
        if skipped > 0 {
            self.refill();
            self.skip(skipped);
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// If a whole byte is left, or the bits that fill up the last byte are not zero.
    pub fn finish(mut self) -> Result<(), EncodingError> {
        self.refill();
        let left = (self.bytes.len() - self.at) * 8 + self.loaded_bits as usize;
        if left >= 8 {
            let used = self.bytes.len() - left / 8;
            return Err(EncodingError::TrailingBytes { bytes: self.bytes.len(), used });
        }
        if self.loaded & ((1 << self.loaded_bits) - 1) != 0 {
            return Err(EncodingError::PaddingNotZero { bytes: self.bytes.len() });
        }
        Ok(())
    }
}

/// Bytes that `count` fields of `bits` bits need, or `None` where that does not fit `usize`.
#[must_use]
pub fn packed_len(count: usize, bits: u8) -> Option<usize> {
    let total = (count as u64).checked_mul(u64::from(bits))?;
    usize::try_from(total.div_ceil(8)).ok()
}

/// Bits that tell `alphabet` symbols apart.
#[must_use]
pub const fn width_of(alphabet: usize) -> u8 {
    match alphabet {
        0 | 1 => 0,
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        more => (usize::BITS - (more - 1).leading_zeros()) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_the_lowest() {
        let mut writer = BitWriter::new();
        writer.push(1, 1);
        writer.push(0b10, 2);
        writer.push(0x1234_5678, 32);
        assert_eq!(writer.finish(), [0xc5, 0xb3, 0xa2, 0x91, 0x00]);
    }

    #[test]
    fn fields_come_back_across_refills() {
        let fields: Vec<(u32, u32)> = (0..500_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> (31 - i % 32), 1 + i % 32))
            .collect();
        let mut writer = BitWriter::new();
        for &(value, bits) in &fields {
            writer.push(value, bits);
        }
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        for &(value, bits) in &fields {
            assert_eq!(reader.take(bits), Ok(value));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let mut reader = BitReader::new(&[0b0000_1001, 0]);
        assert_eq!(reader.take(3), Ok(1));
        assert_eq!(
            reader.clone().finish(),
            Err(EncodingError::TrailingBytes { bytes: 2, used: 1 })
        );
        assert_eq!(reader.take(6), Ok(1));
        assert_eq!(reader.clone().finish(), Ok(()));
        assert_eq!(reader.take(8), Err(EncodingError::Truncated { bytes: 2 }));
        assert_eq!(
            BitReader::new(&[0x80]).finish(),
            Err(EncodingError::TrailingBytes { bytes: 1, used: 0 })
        );
        let mut reader = BitReader::new(&[0x80]);
        assert_eq!(reader.take(1), Ok(0));
        assert_eq!(reader.finish(), Err(EncodingError::PaddingNotZero { bytes: 1 }));
    }

    #[test]
    fn many_fields_are_those_taken_one_by_one() {
        let bytes: Vec<u8> = (0..60_u8).map(|byte| byte.wrapping_mul(89)).collect();
        for (bits, skipped) in (1..=16).flat_map(|bits| (0..20).map(move |skipped| (bits, skipped)))
        {
            let count = (480 - skipped as usize) / bits as usize;
            let mut reader = BitReader::new(&bytes);
            reader.take(skipped).unwrap();
            let mut many = reader.clone();
            let one_by_one: Vec<u16> =
                (0..count).map(|_| u16::try_from(reader.take(bits).unwrap()).unwrap()).collect();
            for piece in [1, 3, 8, 57, 500] {
                let mut reader = many.clone();
                let mut found = alloc::vec![0; count];
                for piece in found.chunks_mut(piece) {
                    reader.take_all(bits, piece).unwrap();
                }
                assert_eq!(found, one_by_one, "{bits} bits from {skipped} in pieces of {piece}");
            }
            let mut too_many = alloc::vec![0; count + 1];
            assert!(many.take_all(bits, &mut too_many).is_err(), "{bits} bits from {skipped}");
        }
    }

    #[test]
    fn widths() {
        assert_eq!([0, 1, 2, 3, 4, 5, 16, 17, 256].map(width_of), [0, 0, 1, 2, 2, 3, 4, 5, 8]);
        assert_eq!(packed_len(9, 7), Some(8));
        assert_eq!(packed_len(0, 32), Some(0));
    }
}
