//! The section about pictures and labels, which stands behind the names.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, push_varint};
use super::error::FormatError;
use super::limits::{Limit, Limits};
use super::read::{is_name, within};
use crate::metadata::{Channels, Filter, Fit, Metadata, Preprocess};
use crate::tensor::Shape;

/// Flag in the first byte: a preprocessing follows.
const HAS_PREPROCESS: u8 = 1;
/// Flag in the first byte: labels follow.
const HAS_LABELS: u8 = 1 << 1;

/// Reads the section; `input` and `output` are the shapes of the model's first ones.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    limits: &Limits,
    input: Shape,
    output: Shape,
) -> Result<Metadata, FormatError> {
    let at = cursor.at();
    let flags = cursor.byte()?;
    if flags == 0 || flags & !(HAS_PREPROCESS | HAS_LABELS) != 0 {
        return Err(FormatError::NotCanonical { at, what: "the metadata" });
    }
    let preprocess = (flags & HAS_PREPROCESS != 0).then(|| read_preprocess(cursor)).transpose()?;
    let labels =
        if flags & HAS_LABELS != 0 { read_labels(cursor, limits)? } else { Vec::default() };
    let metadata = Metadata { preprocess, labels };
    metadata.check(input, output)?;
    Ok(metadata)
}

fn read_preprocess(cursor: &mut Cursor<'_>) -> Result<Preprocess, FormatError> {
    let at = cursor.at();
    let code = cursor.byte()?;
    let unknown = |what| FormatError::UnknownCode { what, code, at };
    if code >> 6 != 0 {
        return Err(unknown("a preprocessing"));
    }
    let filter = match code >> 2 & 3 {
        0 => Filter::Nearest,
        1 => Filter::Bilinear,
        2 => Filter::Bicubic,
        _ => return Err(unknown("a filter")),
    };
    let channels = match code >> 4 & 3 {
        0 => Channels::Gray,
        1 => Channels::Rgb,
        2 => Channels::Bgr,
        _ => return Err(unknown("an order of channels")),
    };
    let fit = match code & 3 {
        0 => Fit::Crop,
        1 => Fit::ShorterSide(cursor.varint()?),
        2 => Fit::Stretch,
        _ => return Err(unknown("a fit")),
    };
    let scale = cursor.f32()?;
    let mut vector = || (0..channels.count()).map(|_| cursor.f32()).collect::<Result<_, _>>();
    Ok(Preprocess { fit, filter, channels, scale, mean: vector()?, std: vector()? })
}

fn read_labels(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Vec<String>, FormatError> {
    let at = cursor.at();
    let count = cursor.varint()?;
    if count == 0 {
        return Err(FormatError::NotCanonical { at, what: "a list of labels" });
    }
    within(Limit::Labels, u64::from(count), limits.max_labels)?;
    let left = cursor.left();
    // A label takes at least a byte.
    if count as usize > left {
        let claimed = u64::from(count);
        return Err(FormatError::CountTooLarge { what: "labels", claimed, left });
    }
    let mut labels = Vec::with_capacity(count as usize);
    let mut total = 0;
    for _ in 0..count {
        let at = cursor.at();
        let len = cursor.varint()?;
        total += u64::from(len);
        within(Limit::LabelBytes, total, limits.max_label_bytes)?;
        let text = core::str::from_utf8(cursor.take(len as usize)?).ok();
        let text = text.filter(|text| is_name(text)).ok_or(FormatError::BadName { at })?;
        labels.push(text.into());
    }
    Ok(labels)
}

/// Appends the section.
pub(super) fn push(
    out: &mut Vec<u8>,
    metadata: &Metadata,
    input: Shape,
    output: Shape,
) -> Result<(), FormatError> {
    metadata.check(input, output)?;
    let (preprocess, labels) = (&metadata.preprocess, &metadata.labels);
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    out.push(flag(preprocess.is_some(), HAS_PREPROCESS) | flag(!labels.is_empty(), HAS_LABELS));
    if let Some(preprocess) = preprocess {
        push_preprocess(out, preprocess);
    }
    if labels.is_empty() {
        return Ok(());
    }
    // As many as a dimension, which is an u32.
    push_varint(out, u32::try_from(labels.len()).expect("checked against a shape"));
    for label in labels {
        let len = u32::try_from(label.len()).map_err(|_| FormatError::LimitExceeded {
            limit: Limit::LabelBytes,
            found: label.len() as u64,
            allowed: u64::from(u32::MAX),
        })?;
        if !is_name(label) {
            return Err(FormatError::BadName { at: out.len() });
        }
        push_varint(out, len);
        out.extend(label.as_bytes());
    }
    Ok(())
}

fn push_preprocess(out: &mut Vec<u8>, preprocess: &Preprocess) {
    let filter = match preprocess.filter {
        Filter::Nearest => 0,
        Filter::Bilinear => 1,
        Filter::Bicubic => 2,
    };
    let channels = match preprocess.channels {
        Channels::Gray => 0,
        Channels::Rgb => 1,
        Channels::Bgr => 2,
    };
    let (fit, side) = match preprocess.fit {
        Fit::Crop => (0, None),
        Fit::ShorterSide(side) => (1, Some(side)),
        Fit::Stretch => (2, None),
    };
    out.push(fit | filter << 2 | channels << 4);
    if let Some(side) = side {
        push_varint(out, side);
    }
    let numbers = [preprocess.scale];
    for number in numbers.iter().chain(&preprocess.mean).chain(&preprocess.std) {
        out.extend(number.to_le_bytes());
    }
}
