//! A walk over protobuf's wire format that bounds what decoding will allocate.
//!
//! A field of two bytes can become a message of hundreds in memory; counting fields first keeps a hostile file from
//! asking for more memory than [`ImportOptions`](crate::ImportOptions) grants. Source: protobuf encoding guide.

use crate::error::ImportError;

/// Which message a range of bytes is, as far as ONNX nests them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Value,
    Type,
    TensorType,
    TensorShape,
    Training,
    Function,
    Annotation,
    Leaf,
}

impl Message {
    /// The message that field `tag` of this one holds; `None` for strings, bytes and packed numbers.
    const fn child(self, tag: u64) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Self::Tensor
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Graph, 14) => Self::Annotation,
            (Self::Node, 5) => Self::Attribute,
            (Self::Attribute, 15) | (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::TensorShape,
            (Self::Model, 8 | 14)
            | (Self::Training, 3 | 4)
            | (Self::Function, 9)
            | (Self::Annotation, 2)
            | (Self::Tensor, 3 | 13)
            | (Self::TensorShape, 1) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Walks all messages of an ONNX model.
///
/// # Errors
/// [`ImportError::Malformed`] where a field is cut off or unknown to the wire format, [`ImportError::TooManyFields`]
/// beyond `limit` fields that have a length.
pub(crate) fn check(bytes: &[u8], limit: usize) -> Result<(), ImportError> {
    let mut pending = vec![(Message::Model, 0, bytes.len())];
    let mut fields = 0_usize;
    while let Some((message, mut at, end)) = pending.pop() {
        while at < end {
            let start = at;
            let malformed = || ImportError::Malformed { at: start };
            let key = varint(bytes, &mut at, end).ok_or_else(malformed)?;
            let (tag, wire) = (key >> 3, key & 7);
            let len = match wire {
                0 => {
                    varint(bytes, &mut at, end).ok_or_else(malformed)?;
                    0
                }
                1 => 8,
                2 => varint(bytes, &mut at, end).ok_or_else(malformed)?,
                5 => 4,
                _ => return Err(malformed()),
            };
            let room = (end - at) as u64;
            let len = usize::try_from(len).ok().filter(|_| len <= room).ok_or_else(malformed)?;
            if wire == 2 {
                fields += 1;
                if fields > limit {
                    return Err(ImportError::TooManyFields { limit });
                }
                if let Some(child) = message.child(tag) {
                    pending.push((child, at, at + len));
                }
            }
            at += len;
        }
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize, end: usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes[..end].get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_at_every_depth() {
        // Model { graph { node {} node {} } }, every field with a length of one byte.
        let bytes = [7 << 3 | 2, 4, 1 << 3 | 2, 0, 1 << 3 | 2, 0];
        assert!(check(&bytes, 3).is_ok());
        assert!(matches!(check(&bytes, 2), Err(ImportError::TooManyFields { limit: 2 })));
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        for (bytes, place) in [
            (&[7 << 3 | 2, 5, 0][..], 0),       // five bytes announced, one there
            (&[8, 1, 7 << 3 | 2, 0xff][..], 2), // length cut off
            (&[8, 1, 8][..], 2),                // value cut off
            (&[3 << 3 | 3][..], 0),             // a group
            (&[0xff; 11][..], 0),               // endless varint
            (&[7 << 3 | 2, 2, 10, 1][..], 2),   // inner length beyond the outer message
            (&[1 << 3 | 1, 0, 0][..], 0),       // fixed64 cut off
        ] {
            let error = check(bytes, 100).expect_err("malformed");
            assert!(matches!(error, ImportError::Malformed { at } if at == place), "{error}");
        }
    }
}
