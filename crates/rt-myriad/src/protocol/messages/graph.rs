//! Commands about graphs and FIFOs.

use super::{Fields, MessageError, push_name, words};
use crate::protocol::header::Dialect;

/// A tensor at an end of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorDesc {
    /// Samples, channels, width, height.
    pub ncwh: [u32; 4],
    /// Bytes of all.
    pub total_bytes: u32,
    /// Bytes from one column, row and channel to the next; zeros in `OpenVINO`'s line, and where the host makes a FIFO.
    pub strides: [u32; 3],
}

impl TensorDesc {
    /// Bytes on the wire.
    #[must_use]
    pub const fn len_bytes(dialect: Dialect) -> usize {
        match dialect {
            Dialect::OpenVino2020 => 20,
            Dialect::Ncsdk2 => 32,
        }
    }

    /// A desc of `bytes` bytes in one row: the whole of all inputs, or of all outputs.
    #[must_use]
    pub const fn flat(bytes: u32) -> Self {
        Self { ncwh: [1, bytes, 1, 1], total_bytes: bytes, strides: [0; 3] }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let mut bytes = words(self.ncwh.iter().chain([&self.total_bytes]).chain(&self.strides));
        bytes.truncate(Self::len_bytes(dialect));
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(bytes: &[u8], dialect: Dialect) -> Result<Self, MessageError> {
        let fields = Fields::new("a tensor description", bytes, Self::len_bytes(dialect))?;
        let word = |at: usize| fields.u32(4 * at);
        let strides = match dialect {
            Dialect::OpenVino2020 => [0; 3],
            Dialect::Ncsdk2 => [word(5), word(6), word(7)],
        };
        Ok(Self { ncwh: [word(0), word(1), word(2), word(3)], total_bytes: word(4), strides })
    }
}

/// A command about a graph or a FIFO. Each is answered by a [`status`](super::encode_status) on the graph monitor, after what belongs
/// to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphCommand {
    /// The graph follows on its stream.
    Allocate(GraphTarget),
    /// The graph is not needed any more.
    Deallocate(GraphTarget),
    /// Run the graph on the next element of one FIFO, into another.
    Trigger {
        /// The graph.
        id: u32,
        /// FIFO to read.
        input: u32,
        /// FIFO to write.
        output: u32,
    },
    /// The first [`VERIFY_LEN`](super::VERIFY_LEN) bytes of a graph follow on its stream: can the firmware run this version? Not in NCSDK's line.
    Verify(GraphTarget),
    /// Not in NCSDK's line: is the allocated graph ready? The status is an [`AllocationStatus`](super::AllocationStatus).
    VerifyAllocation(GraphTarget),
    /// Make a FIFO.
    AllocateFifo(FifoSpec),
    /// The FIFO is not needed any more.
    DeallocateFifo {
        /// The FIFO.
        id: u32,
    },
    /// How long the stages of the last run took.
    Timing {
        /// The graph.
        id: u32,
    },
    /// What went wrong with a graph, as text.
    Debug {
        /// The graph.
        id: u32,
    },
    /// Whether a graph runs: 1, or 0 while it waits. In NCSDK's line alone.
    State {
        /// The graph.
        id: u32,
    },
}

/// A graph that a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphTarget {
    /// Its number.
    pub id: u32,
    /// The stream that it is sent on.
    pub stream: String,
    /// Inferences at the same time.
    pub executors: u32,
}

/// A FIFO to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoSpec {
    /// Its number.
    pub id: u32,
    /// The stream that its elements are sent on.
    pub stream: String,
    /// Elements that it holds.
    pub elements: u32,
    /// What an element is.
    pub desc: TensorDesc,
    /// Whether the host reads it.
    pub host_reads: bool,
    /// Whether the host writes it.
    pub host_writes: bool,
}

impl GraphCommand {
    /// Its bytes.
    ///
    /// # Errors
    /// If firmware of this line does not know it, or the name of a stream is too long for it.
    pub fn encode(&self, dialect: Dialect) -> Result<Vec<u8>, MessageError> {
        match dialect {
            Dialect::OpenVino2020 => open_vino::encode(self),
            Dialect::Ncsdk2 => ncsdk::encode(self),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8], dialect: Dialect) -> Result<Self, MessageError> {
        match dialect {
            Dialect::OpenVino2020 => open_vino::decode(bytes),
            Dialect::Ncsdk2 => ncsdk::decode(bytes),
        }
    }
}

/// Commands of `OpenVINO` 2020.1 to 2020.3, whose lengths differ by type.
mod open_vino {
    use super::{
        Dialect, Fields, FifoSpec, GraphCommand, GraphTarget, MessageError, TensorDesc, push_name,
        words,
    };

    const LINE: Dialect = Dialect::OpenVino2020;
    const GRAPH_LEN: usize = 84;
    const FIFO_LEN: usize = 100;
    const SHORT_LEN: usize = 8;

    pub(super) fn encode(command: &GraphCommand) -> Result<Vec<u8>, MessageError> {
        use GraphCommand as Of;
        let target = |code, of: &GraphTarget| graph(code, of.id, &of.stream, [0, 0, of.executors]);
        match command {
            Of::Allocate(of) => target(0, of),
            Of::Deallocate(of) => target(1, of),
            Of::Trigger { id, input, output } => graph(2, *id, "", [*input, *output, 0]),
            Of::Verify(of) => target(3, of),
            Of::VerifyAllocation(of) => target(4, of),
            Of::AllocateFifo(fifo) => {
                let mut bytes = words([5, fifo.id].iter());
                push_name(&mut bytes, &fifo.stream, LINE)?;
                bytes.extend(fifo.elements.to_le_bytes());
                bytes.extend(fifo.desc.encode(LINE));
                bytes.extend([u8::from(fifo.host_reads), u8::from(fifo.host_writes), 0, 0]);
                Ok(bytes)
            }
            Of::DeallocateFifo { id } => Ok(words([6, *id].iter())),
            Of::Timing { id } => Ok(words([7, *id].iter())),
            Of::Debug { id } => Ok(words([8, *id].iter())),
            Of::State { .. } => {
                Err(MessageError::Dialect { what: "question for the state of a graph" })
            }
        }
    }

    fn graph(code: u32, id: u32, stream: &str, rest: [u32; 3]) -> Result<Vec<u8>, MessageError> {
        let mut bytes = words([code, id].iter());
        push_name(&mut bytes, stream, LINE)?;
        bytes.extend(words(rest.iter()));
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<GraphCommand, MessageError> {
        use GraphCommand as Of;
        let what = "a graph command";
        let Some((head, _)) = bytes.split_first_chunk::<4>() else {
            return Err(MessageError::Length { what, expected: SHORT_LEN, found: bytes.len() });
        };
        let code = u32::from_le_bytes(*head);
        let expected = match code {
            0..=4 => GRAPH_LEN,
            5 => FIFO_LEN,
            6..=8 => SHORT_LEN,
            found => return Err(MessageError::Type { what, found }),
        };
        let fields = Fields::new(what, bytes, expected)?;
        let id = fields.u32(4);
        let target = || -> Result<GraphTarget, MessageError> {
            Ok(GraphTarget { id, stream: fields.name(8, LINE)?, executors: fields.u32(80) })
        };
        Ok(match code {
            0 => Of::Allocate(target()?),
            1 => Of::Deallocate(target()?),
            2 => Of::Trigger { id, input: fields.u32(72), output: fields.u32(76) },
            3 => Of::Verify(target()?),
            4 => Of::VerifyAllocation(target()?),
            5 => Of::AllocateFifo(FifoSpec {
                id,
                stream: fields.name(8, LINE)?,
                elements: fields.u32(72),
                desc: TensorDesc::decode(&bytes[76..96], LINE)?,
                host_reads: bytes[96] != 0,
                host_writes: bytes[97] != 0,
            }),
            6 => Of::DeallocateFifo { id },
            7 => Of::Timing { id },
            _ => Of::Debug { id },
        })
    }
}

/// Commands of NCSDK 2.10: always a class and a union, 76 bytes.
mod ncsdk {
    use super::{
        Dialect, Fields, FifoSpec, GraphCommand, GraphTarget, MessageError, TensorDesc, push_name,
        words,
    };

    const LINE: Dialect = Dialect::Ncsdk2;
    const LEN: usize = 76;
    const GRAPH: u32 = 0;
    const FIFO: u32 = 1;
    const GET: u32 = 2;

    pub(super) fn encode(command: &GraphCommand) -> Result<Vec<u8>, MessageError> {
        use GraphCommand as Of;
        let target = |code, of: &GraphTarget| graph(code, of.id, &of.stream, [0, 0, of.executors]);
        let mut bytes = match command {
            Of::Allocate(of) => target(0, of)?,
            Of::Deallocate(of) => target(1, of)?,
            Of::Trigger { id, input, output } => graph(2, *id, "", [*input, *output, 0])?,
            Of::AllocateFifo(fifo) => {
                let mut bytes = words([FIFO, 0].iter());
                push_name(&mut bytes, &fifo.stream, LINE)?;
                bytes.extend(words([fifo.id, fifo.elements].iter()));
                bytes.extend(fifo.desc.encode(LINE));
                bytes.extend([u8::from(fifo.host_reads), u8::from(fifo.host_writes)]);
                bytes
            }
            Of::DeallocateFifo { id } => {
                let mut bytes = words([FIFO, 1].iter());
                push_name(&mut bytes, "", LINE)?;
                bytes.extend(id.to_le_bytes());
                bytes
            }
            Of::Timing { id } => words([GET, 0, *id].iter()),
            Of::Debug { id } => words([GET, 1, *id].iter()),
            Of::State { id } => words([GET, 2, *id].iter()),
            Of::Verify(_) | Of::VerifyAllocation(_) => {
                return Err(MessageError::Dialect { what: "check of a graph" });
            }
        };
        bytes.resize(LEN, 0);
        Ok(bytes)
    }

    fn graph(code: u32, id: u32, stream: &str, rest: [u32; 3]) -> Result<Vec<u8>, MessageError> {
        let mut bytes = words([GRAPH, code, id].iter());
        push_name(&mut bytes, stream, LINE)?;
        bytes.extend(words(rest.iter()));
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<GraphCommand, MessageError> {
        use GraphCommand as Of;
        let what = "a graph command";
        let fields = Fields::new(what, bytes, LEN)?;
        let id = fields.u32(8);
        let target = || -> Result<GraphTarget, MessageError> {
            Ok(GraphTarget { id, stream: fields.name(12, LINE)?, executors: fields.u32(36) })
        };
        Ok(match (fields.u32(0), fields.u32(4)) {
            (GRAPH, 0) => Of::Allocate(target()?),
            (GRAPH, 1) => Of::Deallocate(target()?),
            (GRAPH, 2) => Of::Trigger { id, input: fields.u32(28), output: fields.u32(32) },
            (FIFO, 0) => Of::AllocateFifo(FifoSpec {
                id: fields.u32(24),
                stream: fields.name(8, LINE)?,
                elements: fields.u32(28),
                desc: TensorDesc::decode(&bytes[32..64], LINE)?,
                host_reads: bytes[64] != 0,
                host_writes: bytes[65] != 0,
            }),
            (FIFO, 1) => Of::DeallocateFifo { id: fields.u32(24) },
            (GET, 0) => Of::Timing { id },
            (GET, 1) => Of::Debug { id },
            (GET, 2) => Of::State { id },
            (class, _) => return Err(MessageError::Type { what, found: class }),
        })
    }
}
