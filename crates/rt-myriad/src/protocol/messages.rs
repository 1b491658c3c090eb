//! What host and firmware say to each other on the streams: requests to the device, commands about graphs, and their
//! answers, as `OpenVINO` 2020.1 to 2020.3 and NCSDK 2.10 have them. What they are about is the same in both lines; lengths,
//! numbers and places of fields are not.

mod allocation;
mod device;
mod graph;
#[cfg(test)]
mod tests;

pub use allocation::AllocationStatus;
pub use device::{DeviceCapabilities, DeviceRequest, ThermalStats};
pub use graph::{FifoSpec, GraphCommand, GraphTarget, TensorDesc};

use super::header::Dialect;

/// Stream with requests about the device.
pub const DEVICE_MONITOR: &str = "deviceMonitor";
/// Buffer of the device monitor's stream.
pub const DEVICE_MONITOR_BUFFER: u32 = 2000;
/// Stream with commands about graphs.
pub const GRAPH_MONITOR: &str = "graphMonitor";
/// Buffer of the graph monitor's stream.
pub const GRAPH_MONITOR_BUFFER: u32 = 4096;
/// Bytes of a blob that a version check takes: its ELF-like header and its blob header.
pub const VERIFY_LEN: usize = 132;
/// Temperatures in a reading.
pub const THERMAL_SAMPLES: usize = 25;
/// Bytes of a debug text.
pub const DEBUG_LEN: usize = 120;

/// What a graph's stream says first in NCSDK's line: nothing else follows unless it is 0.
pub const GRAPH_WRONG_FORMAT: u32 = 1;

/// What ends the input of a FIFO: the host of NCSDK writes it as a word of its machine, that of `OpenVINO` in four bytes.
#[must_use]
pub fn fifo_end(dialect: Dialect) -> Vec<u8> {
    let mut end = 0xdead_u32.to_le_bytes().to_vec();
    if dialect == Dialect::Ncsdk2 {
        end.resize(8, 0);
    }
    end
}

/// Whether a packet is such an end, of a host with words of either length.
#[must_use]
pub fn is_fifo_end(packet: &[u8]) -> bool {
    matches!(packet.len(), 4 | 8) && packet[..4] == 0xdead_u32.to_le_bytes()
}

/// Name of the stream that a graph is sent on.
#[must_use]
pub fn graph_stream(id: u32) -> String {
    format!("graphBuffer{id}")
}

/// Name of the stream of a FIFO.
#[must_use]
pub fn fifo_stream(id: u32) -> String {
    format!("FIFO{id}")
}

/// Why bytes are no message of this layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too short or too long.
    #[error("{what} has {found} bytes, not {expected}")]
    Length {
        /// What was read.
        what: &'static str,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// Of a type that does not exist.
    #[error("{what} has the unknown type {found}")]
    Type {
        /// What was read.
        what: &'static str,
        /// The type.
        found: u32,
    },
    /// Not a message of this dialect.
    #[error("firmware of this line knows no {what}")]
    Dialect {
        /// What was to be said.
        what: &'static str,
    },
    /// A name of a stream that is too long, has no end, or is no ASCII.
    #[error("{what} has a name that is not ASCII ended by a zero, or too long for it")]
    Name {
        /// What was read.
        what: &'static str,
    },
}

/// The answer to a command: 0 where all is well.
#[must_use]
pub fn encode_status(code: u32) -> Vec<u8> {
    code.to_le_bytes().to_vec()
}

/// A single number: a status, bytes in use, a count of stages.
///
/// # Errors
/// If it has another length.
pub fn decode_u32(what: &'static str, bytes: &[u8]) -> Result<u32, MessageError> {
    Ok(Fields::new(what, bytes, 4)?.u32(0))
}

/// Milliseconds of stages.
///
/// # Errors
/// If these are not whole floats.
pub fn decode_times(bytes: &[u8]) -> Result<Vec<f32>, MessageError> {
    let (times, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let (expected, found) = (4 * times.len(), bytes.len());
        return Err(MessageError::Length { what: "the times of stages", expected, found });
    }
    Ok(times.iter().map(|&time| f32::from_le_bytes(time)).collect())
}

/// Adds the name of a stream in as many bytes as the dialect has for it.
fn push_name(bytes: &mut Vec<u8>, name: &str, dialect: Dialect) -> Result<(), MessageError> {
    let end = bytes.len() + dialect.name_len();
    bytes.extend(name.as_bytes());
    if name.len() >= dialect.name_len() || !name.is_ascii() {
        return Err(MessageError::Name { what: "a command" });
    }
    bytes.resize(end, 0);
    Ok(())
}

fn words<'a>(words: impl Iterator<Item = &'a u32>) -> Vec<u8> {
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// A message of a known length.
struct Fields<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(what: &'static str, bytes: &'a [u8], expected: usize) -> Result<Self, MessageError> {
        if bytes.len() == expected {
            Ok(Self { what, bytes })
        } else {
            Err(MessageError::Length { what, expected, found: bytes.len() })
        }
    }

    fn u32(&self, at: usize) -> u32 {
        let field = &self.bytes[at..at + 4];
        u32::from_le_bytes([field[0], field[1], field[2], field[3]])
    }

    fn name(&self, at: usize, dialect: Dialect) -> Result<String, MessageError> {
        let error = MessageError::Name { what: self.what };
        let field = &self.bytes[at..at + dialect.name_len()];
        let end = field.iter().position(|&byte| byte == 0).ok_or(error.clone())?;
        if !field[..end].is_ascii() {
            return Err(error);
        }
        Ok(String::from_utf8_lossy(&field[..end]).into_owned())
    }
}
