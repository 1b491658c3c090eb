//! Reads fields off the bytes of a file, never beyond their end.

use alloc::vec::Vec;

use super::error::FormatError;

/// Where reading stands.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(FormatError::UnexpectedEnd { at: self.at, needed: len })?;
        let field = &self.bytes[self.at..end];
        self.at = end;
        Ok(field)
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn f32(&mut self) -> Result<f32, FormatError> {
        let field = self.take(4)?;
        Ok(f32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    }

    /// LEB128: seven bits a byte, lowest first, the high bit set on all but the last; the shortest form only.
    pub(super) fn varint(&mut self) -> Result<u32, FormatError> {
        let at = self.at;
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            let part = u32::from(byte & 0x7f);
            if shift == 28 && part > 0xf {
                return Err(FormatError::VarintTooLarge { at });
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(FormatError::NotCanonical { at, what: "an integer" });
                }
                return Ok(value);
            }
        }
        Err(FormatError::VarintTooLarge { at })
    }
}

/// Appends `value` in LEB128.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Bytes that [`push_varint`] appends.
pub(super) const fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_in_the_length_said() {
        for power in 0..32 {
            for value in [(1_u32 << power) - 1, 1 << power, u32::MAX - (1 << power)] {
                let mut bytes = Vec::new();
                push_varint(&mut bytes, value);
                assert_eq!(bytes.len(), varint_len(value));
                assert_eq!(Cursor::new(&bytes, 0).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn other_forms_of_a_varint_are_refused() {
        let read = |bytes: &[u8]| Cursor::new(bytes, 0).varint();
        assert_eq!(read(&[0x80]), Err(FormatError::UnexpectedEnd { at: 1, needed: 1 }));
        assert_eq!(
            read(&[0x80, 0x00]),
            Err(FormatError::NotCanonical { at: 0, what: "an integer" })
        );
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(FormatError::VarintTooLarge { at: 0 })
        );
        assert_eq!(read(&[0xff; 6]), Err(FormatError::VarintTooLarge { at: 0 }));
    }
}
