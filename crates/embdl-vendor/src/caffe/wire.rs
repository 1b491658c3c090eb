//! The few messages of `caffe.proto` that weights need, as bytes.
//!
//! `NetParameter { name = 1, layer = 100 }`, `LayerParameter { name = 1, type = 2, blobs = 7 }`, `BlobProto { data = 5 packed, shape = 7
//! }`, `BlobShape { dim = 1 packed }`.

/// Weights of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// Name of the layer, which finds it in the text.
    pub name: String,
    /// Type of the layer.
    pub kind: String,
    /// Weights, then bias.
    pub blobs: Vec<Blob>,
}

/// Numbers with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Extents, the outermost first.
    pub shape: Vec<usize>,
    /// As many numbers as the shape says.
    pub data: Vec<f32>,
}

/// Why bytes are no weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field ends beyond the end of its message.
    #[error("the message ends within a field")]
    Truncated,
    /// A number has more than ten bytes, or a field a type that does not exist.
    #[error("a field is broken")]
    Broken,
    /// A text is not UTF-8.
    #[error("a name is not UTF-8")]
    Text,
    /// A blob has more or less numbers than its shape says.
    #[error("a blob has {found} numbers, its shape says {expected}")]
    Shape {
        /// Numbers that its shape asks for.
        expected: usize,
        /// Numbers that it has.
        found: usize,
    },
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

pub(super) fn write(name: &str, layers: &[LayerWeights]) -> Vec<u8> {
    let mut net = Vec::new();
    field(&mut net, 1, name.as_bytes());
    for layer in layers {
        let mut message = Vec::new();
        field(&mut message, 1, layer.name.as_bytes());
        field(&mut message, 2, layer.kind.as_bytes());
        for blob in &layer.blobs {
            let mut dims = Vec::new();
            blob.shape.iter().for_each(|&dim| varint(&mut dims, dim as u64));
            let mut shape = Vec::new();
            field(&mut shape, 1, &dims);
            let data: Vec<u8> = blob.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut bytes = Vec::with_capacity(data.len() + 32);
            field(&mut bytes, 5, &data);
            field(&mut bytes, 7, &shape);
            field(&mut message, 7, &bytes);
        }
        field(&mut net, 100, &message);
    }
    net
}

fn field(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(into, number << 3 | BYTES);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return into.push(low);
        }
        into.push(low | 0x80);
    }
}

/// Reads the weights of a `caffemodel`: layers of today's format, with numbers packed. Hostile bytes give an error, and no more memory
/// than there are bytes.
///
/// # Errors
/// If these are no such message.
pub fn read(bytes: &[u8]) -> Result<Vec<LayerWeights>, WireError> {
    let mut layers = Vec::new();
    each(bytes, |number, value| {
        if number == 100 {
            layers.push(read_layer(value)?);
        }
        Ok(())
    })?;
    Ok(layers)
}

fn read_layer(bytes: &[u8]) -> Result<LayerWeights, WireError> {
    let mut layer = LayerWeights { name: String::new(), kind: String::new(), blobs: Vec::new() };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Text);
    each(bytes, |number, value| {
        match number {
            1 => layer.name = text(value)?,
            2 => layer.kind = text(value)?,
            7 => layer.blobs.push(read_blob(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(layer)
}

fn read_blob(bytes: &[u8]) -> Result<Blob, WireError> {
    let mut blob = Blob { shape: Vec::new(), data: Vec::new() };
    each(bytes, |number, value| {
        match number {
            5 => {
                let (floats, rest) = value.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(WireError::Truncated);
                }
                blob.data.extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            7 => each(value, |number, dims| {
                let mut rest = dims;
                while number == 1 && !rest.is_empty() {
                    let dim = take_varint(&mut rest)?;
                    blob.shape.push(usize::try_from(dim).map_err(|_| WireError::Broken)?);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    let expected = blob.shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    let found = blob.data.len();
    match expected.ok_or(WireError::Broken)? {
        expected if expected == found => Ok(blob),
        expected => Err(WireError::Shape { expected, found }),
    }
}

/// Calls `with` for each field of bytes; fields of other types are left out.
fn each(
    mut bytes: &[u8],
    mut with: impl FnMut(u64, &[u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let (number, kind) = (key >> 3, key & 7);
        let len = match kind {
            VARINT => {
                take_varint(&mut bytes)?;
                continue;
            }
            FIXED_64 => 8,
            FIXED_32 => 4,
            BYTES => usize::try_from(take_varint(&mut bytes)?).map_err(|_| WireError::Truncated)?,
            _ => return Err(WireError::Broken),
        };
        let (value, rest) = bytes.split_at_checked(len).ok_or(WireError::Truncated)?;
        bytes = rest;
        if kind == BYTES {
            with(number, value)?;
        }
    }
    Ok(())
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or(WireError::Truncated)?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        value |=
            low.checked_shl(7 * shift).filter(|_| shift < 9 || low < 2).ok_or(WireError::Broken)?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back_and_broken_messages_do_not() {
        let layers = vec![LayerWeights {
            name: "conv".into(),
            kind: "Convolution".into(),
            blobs: vec![
                Blob { shape: vec![200, 1, 1, 2], data: vec![0.5; 400] },
                Blob { shape: vec![0], data: vec![] },
            ],
        }];
        let bytes = write("n", &layers);
        // Field 1 of bytes, one of them; then field 100 of bytes: 100 * 8 + 2 = 802.
        assert_eq!(bytes[..5], [0x0a, 1, b'n', 0xa2, 0x06]);
        assert_eq!(read(&bytes), Ok(layers));
        for len in 4..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len}");
        }
        for at in 0..bytes.len().min(80) {
            let mut broken = bytes.clone();
            broken[at] ^= 0xff;
            let _ = read(&broken);
        }
        assert_eq!(read(&[0xff; 12]), Err(WireError::Broken));
        assert_eq!(read(&[0x0b]), Err(WireError::Broken));
    }
}
