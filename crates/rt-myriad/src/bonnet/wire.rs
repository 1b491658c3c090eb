//! Protobuf's bytes: as much of it as the bonnet's messages take.

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field ends beyond the end of its message.
    #[error("a message ends within a field")]
    Truncated,
    /// A number is too long, or a field has a type that does not exist.
    #[error("a field is broken")]
    Broken,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A field has another type than it should.
    #[error("field {field} has another type than it should")]
    Type {
        /// Its number.
        field: u64,
    },
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// A message under construction. Fields that have their default are left out, as proto3 has it.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn int(mut self, field: u64, value: i32) -> Self {
        if value != 0 {
            self.varint(field << 3 | VARINT);
            // Negative numbers are sign-extended to 64 bits.
            self.varint(i64::from(value).cast_unsigned());
        }
        self
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        if value.to_bits() != 0 {
            self.varint(field << 3 | FIXED_32);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        if text.is_empty() { self } else { self.message(field, text.as_bytes()) }
    }

    /// Bytes, or a message within the message, which is there even if it is empty.
    pub(super) fn message(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// What a field has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Word(u32),
    Long,
}

impl<'a> Value<'a> {
    pub(super) fn int(self, field: u64) -> Result<i32, WireError> {
        let Self::Int(value) = self else { return Err(WireError::Type { field }) };
        #[expect(clippy::cast_possible_truncation, reason = "as protobuf reads an int32")]
        Ok(value.cast_signed() as i32)
    }

    pub(super) fn float(self, field: u64) -> Result<f32, WireError> {
        let Self::Word(bits) = self else { return Err(WireError::Type { field }) };
        Ok(f32::from_bits(bits))
    }

    pub(super) fn bytes(self, field: u64) -> Result<&'a [u8], WireError> {
        let Self::Bytes(bytes) = self else { return Err(WireError::Type { field }) };
        Ok(bytes)
    }

    pub(super) fn text(self, field: u64) -> Result<String, WireError> {
        let text = str::from_utf8(self.bytes(field)?).map_err(|_| WireError::Text)?;
        Ok(text.to_owned())
    }
}

/// Calls `with` for each field.
pub(super) fn each<'a>(
    mut bytes: &'a [u8],
    mut with: impl FnMut(u64, Value<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            VARINT => Value::Int(varint(&mut bytes)?),
            BYTES => {
                let len = usize::try_from(varint(&mut bytes)?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(take(&mut bytes, len)?)
            }
            FIXED_32 => {
                let word = take(&mut bytes, 4)?;
                Value::Word(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            }
            FIXED_64 => {
                take(&mut bytes, 8)?;
                Value::Long
            }
            _ => return Err(WireError::Broken),
        };
        with(key >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(WireError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in 0..10 {
        let byte = take(bytes, 1)?[0];
        let low = u64::from(byte & 0x7f);
        if shift == 9 && low > 1 {
            return Err(WireError::Broken);
        }
        value |= low << (7 * shift);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Broken)
}
