//! The first 16 bytes of a file.

use super::error::FormatError;
use super::limits::{Limit, Limits};
use super::opcode_two;
use crate::model::Model;

/// What a file starts with.
pub const MAGIC: [u8; 4] = *b"EMBD";
/// The newest version of the format that this build reads and writes.
pub const VERSION: u16 = 2;
/// Bytes of the header.
pub const HEADER_LEN: usize = 16;

/// Flag: the file has a section of names.
pub(super) const FLAG_NAMES: u16 = 1;
/// Flag: the file has a section of metadata.
pub(super) const FLAG_METADATA: u16 = 1 << 1;

/// The oldest version that can express the model: a file is always written in that one, so that old readers read all
/// that they understand, and a model has one file.
pub(super) fn version_of(model: &Model<'_>) -> u16 {
    let newer = model.nodes.iter().any(|node| opcode_two::is_needed(&node.op));
    if newer || !model.metadata.is_empty() { 2 } else { 1 }
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) version: u16,
    pub(super) flags: u16,
}

/// Checks the header and the checksum.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<Header, FormatError> {
    let (magic, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(FormatError::UnexpectedEnd { at: bytes.len(), needed: HEADER_LEN })?;
    if *magic != MAGIC {
        return Err(FormatError::BadMagic { found: *magic });
    }
    let fields = rest
        .first_chunk::<12>()
        .ok_or(FormatError::UnexpectedEnd { at: bytes.len(), needed: HEADER_LEN })?;
    let [v0, v1, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3] = *fields;
    let version = u16::from_le_bytes([v0, v1]);
    if version > VERSION {
        return Err(FormatError::TooNew { found: version, supported: VERSION });
    }
    if version == 0 {
        return Err(FormatError::VersionZero);
    }
    let claimed = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    let found = bytes.len() as u64;
    if claimed != found {
        return Err(FormatError::FileLength { claimed, found });
    }
    if found > limits.max_file_bytes {
        let allowed = limits.max_file_bytes;
        return Err(FormatError::LimitExceeded { limit: Limit::FileBytes, found, allowed });
    }
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    let computed = checksum(bytes);
    if stored != computed {
        return Err(FormatError::Checksum { stored, computed });
    }
    let flags = u16::from_le_bytes([f0, f1]);
    if flags & !(FLAG_NAMES | FLAG_METADATA) != 0 {
        return Err(FormatError::UnknownFlags { flags });
    }
    Ok(Header { version, flags })
}

/// The header of a file whose body follows in `file[16..]`.
pub(super) fn fill(file: &mut [u8], header: Header) -> Result<(), FormatError> {
    let found = file.len() as u64;
    let allowed = u64::from(u32::MAX);
    let len = u32::try_from(found).map_err(|_| FormatError::LimitExceeded {
        limit: Limit::FileBytes,
        found,
        allowed,
    })?;
    file[..4].copy_from_slice(&MAGIC);
    file[4..6].copy_from_slice(&header.version.to_le_bytes());
    file[6..8].copy_from_slice(&header.flags.to_le_bytes());
    file[8..12].copy_from_slice(&len.to_le_bytes());
    let checksum = checksum(file);
    file[12..16].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// CRC-32 (IEEE 802.3) over everything but the checksum itself. Finds accidents, not attackers.
fn checksum(file: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..12]);
    hasher.update(&file[HEADER_LEN..]);
    hasher.finalize()
}
