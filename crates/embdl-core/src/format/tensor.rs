//! Descriptors of encoded tensors: everything but their shape, which the node gives, and their streams.

use alloc::vec::Vec;

use super::cursor::{Cursor, push_varint, varint_len};
use super::error::FormatError;
use super::layout::TensorLayout;
use crate::encoding::bits::{packed_len, width_of};
use crate::encoding::{EncodingError, MAX_GAP_BITS};
use crate::model::{Coder, EncodedTensor, Layout, Scales, Stream, Values};
use crate::tensor::Shape;

/// First byte of a descriptor: kind of values in bits 0 and 1, kind of scales in bits 5 and 6.
const SPARSE: u8 = 1 << 2;
const HUFFMAN_SYMBOLS: u8 = 1 << 3;
const HUFFMAN_GAPS: u8 = 1 << 4;
const RESERVED: u8 = 1 << 7;

/// A tensor whose streams are announced, but not yet reached.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) tensor: EncodedTensor<'static>,
    pub(super) layout: TensorLayout,
}

/// Reads the descriptor of a tensor of `shape`; bytes for dimensions count from `start`.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    shape: Shape,
    start: usize,
) -> Result<Announced, FormatError> {
    let at = cursor.at();
    let flags = cursor.byte()?;
    let is_sparse = flags & SPARSE != 0;
    let (huffman_symbols, huffman_gaps) = (flags & HUFFMAN_SYMBOLS != 0, flags & HUFFMAN_GAPS != 0);
    if flags & RESERVED != 0 || (huffman_gaps && !is_sparse) {
        return Err(FormatError::NotCanonical { at, what: "a tensor" });
    }
    let elements = shape
        .checked_len()
        .filter(|&len| len > 0 && u32::try_from(len).is_ok())
        .ok_or(FormatError::BadShape { what: "a tensor", shape })?;
    let scales_at = cursor.at();
    let scales = match flags >> 5 & 3 {
        0 => Scales::None,
        1 => Scales::PerTensor(read_scale(cursor, "a weight")?),
        2 => {
            let channels = shape.dim(0);
            if channels > cursor.left() / 4 {
                let (what, left) = ("scales", cursor.left());
                return Err(FormatError::CountTooLarge { what, claimed: channels as u64, left });
            }
            let scales = (0..channels).map(|_| read_scale(cursor, "a weight"));
            Scales::PerChannel(scales.collect::<Result<_, _>>()?)
        }
        code => return Err(FormatError::UnknownCode { what: "kind of scales", code, at }),
    };
    let scale_bytes = cursor.at() - scales_at;
    let book_at = cursor.at();
    let (values, symbol_bits) = read_values(cursor, flags & 3)?;
    let codebook_bytes = match values {
        Values::F32 | Values::Int { .. } => 0,
        Values::CodebookF32(_) | Values::CodebookI8(_) => cursor.at() - book_at,
    };
    if values == Values::F32 && flags & HUFFMAN_SYMBOLS != 0 {
        return Err(FormatError::NotCanonical { at, what: "a tensor" });
    }
    let mut gap_bytes = 0;
    let mut gaps = None;
    let mut layout = Layout::Dense;
    let mut symbol_count = elements;
    if is_sparse {
        let at = cursor.at();
        let gap_bits = cursor.byte()?;
        let symbols = cursor.varint()?;
        let fillers = cursor.varint()?;
        let gap_count = symbols
            .checked_add(fillers)
            .filter(|&count| count as usize <= elements)
            .ok_or(FormatError::CountTooLarge {
                what: "gaps",
                claimed: u64::from(symbols) + u64::from(fillers),
                left: elements,
            })?;
        if !(1..=MAX_GAP_BITS).contains(&gap_bits) {
            return Err(FormatError::UnknownCode { what: "gap width", code: gap_bits, at });
        }
        layout = Layout::Sparse { gap_bits, gap_count, symbol_count: symbols };
        symbol_count = symbols as usize;
        let (stream, bytes) = read_stream(cursor, huffman_gaps, gap_bits, gap_count as usize)?;
        gaps = Some(stream);
        gap_bytes = bytes;
    }
    let (symbols, symbol_bytes) = read_stream(cursor, huffman_symbols, symbol_bits, symbol_count)?;
    let tensor = EncodedTensor { shape, scales, values, layout, symbols, gaps };
    let layout = TensorLayout {
        descriptor_bytes: cursor.at() - start - scale_bytes - codebook_bytes,
        scale_bytes,
        codebook_bytes,
        gap_bytes,
        symbol_bytes,
    };
    Ok(Announced { tensor, layout })
}

fn read_values(cursor: &mut Cursor<'_>, kind: u8) -> Result<(Values, u8), FormatError> {
    let at = cursor.at();
    match kind {
        0 => Ok((Values::F32, 32)),
        1 => {
            let bits = cursor.byte()?;
            if !(1..=32).contains(&bits) {
                return Err(FormatError::UnknownCode { what: "integer width", code: bits, at });
            }
            Ok((Values::Int { bits }, bits))
        }
        _ => {
            let entries = usize::from(cursor.byte()?) + 1;
            let bits = width_of(entries);
            if kind == 2 {
                let field = cursor.take(entries * 4)?;
                let entry = |bytes: &[u8]| {
                    let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    let what = "an entry of a codebook";
                    value.is_finite().then_some(value).ok_or(FormatError::NotFinite { what, value })
                };
                let book = field.chunks_exact(4).map(entry).collect::<Result<_, _>>()?;
                Ok((Values::CodebookF32(book), bits))
            } else {
                let field = cursor.take(entries)?;
                let book = field.iter().map(|&byte| i8::from_le_bytes([byte])).collect();
                Ok((Values::CodebookI8(book), bits))
            }
        }
    }
}

/// The coder of a stream and its length in bytes, which is written only where it does not follow.
fn read_stream(
    cursor: &mut Cursor<'_>,
    huffman: bool,
    bits: u8,
    count: usize,
) -> Result<(Stream<'static>, usize), FormatError> {
    if huffman {
        let len = cursor.varint()? as usize;
        return Ok((Stream { coder: Coder::Huffman, bytes: &[] }, len));
    }
    let len = packed_len(count, bits).ok_or(FormatError::CountTooLarge {
        what: "symbols",
        claimed: count as u64,
        left: cursor.left(),
    })?;
    Ok((Stream { coder: Coder::Raw { bits }, bytes: &[] }, len))
}

pub(super) fn read_scale(cursor: &mut Cursor<'_>, what: &'static str) -> Result<f32, FormatError> {
    let scale = cursor.f32()?;
    if scale.is_finite() && scale > 0.0 {
        Ok(scale)
    } else {
        Err(FormatError::BadScale { what, scale })
    }
}

/// Appends the descriptor of a tensor that [`EncodedTensor::check`] accepts.
pub(super) fn push(out: &mut Vec<u8>, tensor: &EncodedTensor<'_>) -> Result<(), EncodingError> {
    let kind = match &tensor.values {
        Values::F32 => 0,
        Values::Int { .. } => 1,
        Values::CodebookF32(_) => 2,
        Values::CodebookI8(_) => 3,
    };
    let scales = match &tensor.scales {
        Scales::None => 0,
        Scales::PerTensor(_) => 1 << 5,
        Scales::PerChannel(_) => 2 << 5,
    };
    let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
    let huffman_gaps = tensor.gaps.is_some_and(|gaps| gaps.coder == Coder::Huffman);
    out.push(
        kind | scales
            | flag(tensor.layout != Layout::Dense, SPARSE)
            | flag(tensor.symbols.coder == Coder::Huffman, HUFFMAN_SYMBOLS)
            | flag(huffman_gaps, HUFFMAN_GAPS),
    );
    match &tensor.scales {
        Scales::None => {}
        Scales::PerTensor(scale) => out.extend(scale.to_le_bytes()),
        Scales::PerChannel(scales) => out.extend(scales.iter().flat_map(|s| s.to_le_bytes())),
    }
    let last_entry = |len: usize| {
        u8::try_from(len.wrapping_sub(1)).map_err(|_| EncodingError::CodebookSize { entries: len })
    };
    match &tensor.values {
        Values::F32 => {}
        Values::Int { bits } => out.push(*bits),
        Values::CodebookF32(book) => {
            out.push(last_entry(book.len())?);
            out.extend(book.iter().flat_map(|entry| entry.to_le_bytes()));
        }
        Values::CodebookI8(book) => {
            out.push(last_entry(book.len())?);
            out.extend(book.iter().flat_map(|entry| entry.to_le_bytes()));
        }
    }
    if let Layout::Sparse { gap_bits, gap_count, symbol_count } = tensor.layout {
        out.push(gap_bits);
        push_varint(out, symbol_count);
        push_varint(out, gap_count.saturating_sub(symbol_count));
    }
    for stream in tensor.gaps.iter().chain([&tensor.symbols]) {
        if stream.coder == Coder::Huffman {
            let len = stream.bytes.len();
            push_varint(out, u32::try_from(len).map_err(|_| EncodingError::StreamTooLong { len })?);
        }
    }
    Ok(())
}

/// Bytes of the descriptor that [`push`] appends, for streams of these coders and lengths.
pub(crate) fn descriptor_len(
    values: &Values,
    scales: &Scales,
    layout: Layout,
    symbols: (Coder, usize),
    gaps: Option<(Coder, usize)>,
) -> usize {
    let scales = match scales {
        Scales::None => 0,
        Scales::PerTensor(_) => 4,
        Scales::PerChannel(scales) => 4 * scales.len(),
    };
    let values = match values {
        Values::F32 => 0,
        Values::Int { .. } => 1,
        Values::CodebookF32(book) => 1 + 4 * book.len(),
        Values::CodebookI8(book) => 1 + book.len(),
    };
    let layout = match layout {
        Layout::Dense => 0,
        Layout::Sparse { gap_count, symbol_count, .. } => {
            1 + varint_len(symbol_count) + varint_len(gap_count.saturating_sub(symbol_count))
        }
    };
    let lengths = gaps.iter().chain([&symbols]).map(|&(coder, len)| match coder {
        Coder::Raw { .. } => 0,
        Coder::Huffman => varint_len(u32::try_from(len).unwrap_or(u32::MAX)),
    });
    1 + scales + values + layout + lengths.sum::<usize>()
}
