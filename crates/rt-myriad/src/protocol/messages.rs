//! What host and firmware say to each other on the streams: requests to the device, commands about graphs, and their
//! answers, as `OpenVINO` 2020.1 to 2020.3 has them.

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
/// What ends the input of a FIFO.
pub const FIFO_END: [u8; 4] = 0xdead_u32.to_le_bytes();
/// Temperatures in a reading.
pub const THERMAL_SAMPLES: usize = 25;
/// Bytes of a debug text.
pub const DEBUG_LEN: usize = 120;

const STREAM_NAME_LEN: usize = 64;

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
    /// A name of a stream that has no end, or is no ASCII.
    #[error("{what} has a name that is not ASCII ended by a zero")]
    Name {
        /// What was read.
        what: &'static str,
    },
}

/// A request about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// Temperatures and throttling.
    ThermalStats,
    /// What the firmware can do.
    Capabilities,
    /// Bytes in use.
    UsedMemory,
    /// Says that the host is alive; has no answer.
    WatchdogPing,
    /// The text that identifies the device. The facts at hand do not say what it looks like.
    DeviceId,
}

impl DeviceRequest {
    const ALL: [(Self, u32); 5] = [
        (Self::ThermalStats, 0),
        (Self::Capabilities, 1),
        (Self::UsedMemory, 2),
        (Self::DeviceId, 3),
        (Self::WatchdogPing, 4),
    ];

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let code = Self::ALL.iter().find(|(request, _)| *request == self).map_or(0, |r| r.1);
        [code.to_le_bytes(), [0; 4]].concat()
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let what = "a device request";
        let fields = Fields::new(what, bytes, 8)?;
        let found = fields.u32(0);
        let known = Self::ALL.iter().find(|&&(_, code)| code == found);
        known.map(|&(request, _)| request).ok_or(MessageError::Type { what, found })
    }
}

/// What the firmware can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCapabilities {
    /// Graphs at the same time.
    pub max_graphs: u32,
    /// FIFOs at the same time.
    pub max_fifos: u32,
    /// Bytes for graphs and what they need.
    pub max_memory: u32,
    /// Inferences of a graph at the same time.
    pub max_executors: u32,
    /// Version of the firmware; one of the middle two names the chip, such as 0x2450.
    pub firmware: [u32; 4],
    /// Version of its tensor library.
    pub tensor_library: [u32; 2],
}

impl DeviceCapabilities {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let first = [self.max_graphs, self.max_fifos, self.max_memory, self.max_executors];
        words(first.iter().chain(&self.firmware).chain(&self.tensor_library))
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let fields = Fields::new("the capabilities of a device", bytes, 40)?;
        let word = |at: usize| fields.u32(4 * at);
        Ok(Self {
            max_graphs: word(0),
            max_fifos: word(1),
            max_memory: word(2),
            max_executors: word(3),
            firmware: [word(4), word(5), word(6), word(7)],
            tensor_library: [word(8), word(9)],
        })
    }

    /// The chip that the firmware says it runs on, such as 0x2450: firmware lines have it in different places.
    #[must_use]
    pub fn chip(&self) -> Option<u32> {
        self.firmware[1..3].iter().copied().find(|chip| [0x2450, 0x2480].contains(chip))
    }
}

/// A reading of temperatures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThermalStats {
    /// 0 none, 1 short sleeps between inferences, 2 heavy throttling.
    pub throttling: u8,
    /// Degrees Celsius, the last samples.
    pub celsius: [f32; THERMAL_SAMPLES],
}

impl ThermalStats {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let level = f32::from(self.throttling);
        [level].iter().chain(&self.celsius).flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length, or a level that does not exist.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let what = "a thermal reading";
        let fields = Fields::new(what, bytes, 4 + 4 * THERMAL_SAMPLES)?;
        let level = f32::from_bits(fields.u32(0));
        let known = [0_u8, 1, 2].into_iter().find(|&known| f32::from(known) == level);
        let throttling = known.ok_or(MessageError::Type { what, found: level.to_bits() })?;
        let celsius = core::array::from_fn(|at| f32::from_bits(fields.u32(4 + 4 * at)));
        Ok(Self { throttling, celsius })
    }
}

/// A tensor at an end of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorDesc {
    /// Samples, channels, width, height.
    pub ncwh: [u32; 4],
    /// Bytes of all.
    pub total_bytes: u32,
}

impl TensorDesc {
    /// Bytes on the wire.
    pub const LEN: usize = 20;

    /// A desc of `bytes` bytes in one row: the whole of all inputs, or of all outputs.
    #[must_use]
    pub const fn flat(bytes: u32) -> Self {
        Self { ncwh: [1, bytes, 1, 1], total_bytes: bytes }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        words(self.ncwh.iter().chain([&self.total_bytes]))
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let fields = Fields::new("a tensor description", bytes, Self::LEN)?;
        let word = |at: usize| fields.u32(4 * at);
        Ok(Self { ncwh: [word(0), word(1), word(2), word(3)], total_bytes: word(4) })
    }
}

/// A command about a graph or a FIFO. Each is answered by a [`status`](encode_status) on the graph monitor, after what belongs
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
    /// The first [`VERIFY_LEN`] bytes of a graph follow on its stream: can the firmware run this version?
    Verify(GraphTarget),
    /// Is the allocated graph ready? The status is an [`AllocationStatus`].
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

const GRAPH_LEN: usize = 84;
const FIFO_LEN: usize = 100;
const SHORT_LEN: usize = 8;

impl GraphCommand {
    /// Its bytes.
    ///
    /// # Panics
    /// If the name of a stream is longer than 63 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let target = |code: u32, target: &GraphTarget| {
            let ids = [0, 0, target.executors];
            graph(code, target.id, &target.stream, ids)
        };
        match self {
            Self::Allocate(graph) => target(0, graph),
            Self::Deallocate(graph) => target(1, graph),
            Self::Trigger { id, input, output } => graph(2, *id, "", [*input, *output, 0]),
            Self::Verify(graph) => target(3, graph),
            Self::VerifyAllocation(graph) => target(4, graph),
            Self::AllocateFifo(fifo) => {
                let mut bytes = words([5, fifo.id].iter());
                bytes.extend(name_field(&fifo.stream));
                bytes.extend(fifo.elements.to_le_bytes());
                bytes.extend(fifo.desc.encode());
                bytes.extend([u8::from(fifo.host_reads), u8::from(fifo.host_writes), 0, 0]);
                bytes
            }
            Self::DeallocateFifo { id } => words([6, *id].iter()),
            Self::Timing { id } => words([7, *id].iter()),
            Self::Debug { id } => words([8, *id].iter()),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
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
            Ok(GraphTarget { id, stream: fields.name(8)?, executors: fields.u32(80) })
        };
        Ok(match code {
            0 => Self::Allocate(target()?),
            1 => Self::Deallocate(target()?),
            2 => Self::Trigger { id, input: fields.u32(72), output: fields.u32(76) },
            3 => Self::Verify(target()?),
            4 => Self::VerifyAllocation(target()?),
            5 => Self::AllocateFifo(FifoSpec {
                id,
                stream: fields.name(8)?,
                elements: fields.u32(72),
                desc: TensorDesc::decode(&bytes[76..96])?,
                host_reads: bytes[96] != 0,
                host_writes: bytes[97] != 0,
            }),
            6 => Self::DeallocateFifo { id },
            7 => Self::Timing { id },
            _ => Self::Debug { id },
        })
    }
}

/// What becomes of an allocated graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationStatus {
    /// A pointer is null.
    #[error("null parameter")]
    NullParameter,
    /// The cores do not follow each other.
    #[error("cores that do not follow each other")]
    MaskNotContinuous,
    /// A stage that the firmware does not know.
    #[error("unsupported network element")]
    UnsupportedElement,
    /// No such graph.
    #[error("invalid handle")]
    InvalidHandle,
    /// Cores or slices are taken.
    #[error("out of resources")]
    OutOfResources,
    /// Not in this firmware.
    #[error("not implemented")]
    NotImplemented,
    /// More cores than slices.
    #[error("number of cores and slices do not fit")]
    ShavesSlicesMismatch,
    /// It took too long.
    #[error("timeout on the device")]
    Timeout,
    /// Something else.
    #[error("internal error")]
    Internal,
    /// The memory of the chip does not suffice.
    #[error("out of memory")]
    OutOfMemory,
    /// A number that is not listed.
    #[error("unknown status {0}")]
    Unknown(u32),
}

impl AllocationStatus {
    /// The status with this number; `None` for success.
    #[must_use]
    pub const fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::NullParameter,
            2 => Self::MaskNotContinuous,
            3 => Self::UnsupportedElement,
            4 => Self::InvalidHandle,
            5 => Self::OutOfResources,
            6 => Self::NotImplemented,
            7 => Self::ShavesSlicesMismatch,
            8 => Self::Timeout,
            9 => Self::Internal,
            10 => Self::OutOfMemory,
            other => Self::Unknown(other),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::NullParameter => 1,
            Self::MaskNotContinuous => 2,
            Self::UnsupportedElement => 3,
            Self::InvalidHandle => 4,
            Self::OutOfResources => 5,
            Self::NotImplemented => 6,
            Self::ShavesSlicesMismatch => 7,
            Self::Timeout => 8,
            Self::Internal => 9,
            Self::OutOfMemory => 10,
            Self::Unknown(code) => code,
        }
    }
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

fn graph(code: u32, id: u32, stream: &str, [first, second, executors]: [u32; 3]) -> Vec<u8> {
    let mut bytes = words([code, id].iter());
    bytes.extend(name_field(stream));
    bytes.extend(words([first, second, executors].iter()));
    bytes
}

fn name_field(name: &str) -> [u8; STREAM_NAME_LEN] {
    let mut field = [0; STREAM_NAME_LEN];
    assert!(name.len() < STREAM_NAME_LEN, "the name {name:?} is too long");
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
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

    fn name(&self, at: usize) -> Result<String, MessageError> {
        let error = MessageError::Name { what: self.what };
        let field = &self.bytes[at..at + STREAM_NAME_LEN];
        let end = field.iter().position(|&byte| byte == 0).ok_or(error.clone())?;
        if !field[..end].is_ascii() {
            return Err(error);
        }
        Ok(String::from_utf8_lossy(&field[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(command: &GraphCommand, golden: &[u8]) {
        assert_eq!(command.encode(), golden, "{command:?}");
        assert_eq!(&GraphCommand::decode(golden).unwrap(), command);
    }

    #[test]
    fn commands_have_the_lengths_and_places_of_their_type() {
        let target = GraphTarget { id: 3, stream: "graphBuffer3".into(), executors: 1 };
        let mut golden = vec![0; 84];
        golden[4] = 3;
        golden[8..20].copy_from_slice(b"graphBuffer3");
        golden[80] = 1;
        for (code, command) in [
            (0, GraphCommand::Allocate(target.clone())),
            (1, GraphCommand::Deallocate(target.clone())),
            (3, GraphCommand::Verify(target.clone())),
            (4, GraphCommand::VerifyAllocation(target)),
        ] {
            golden[0] = code;
            same(&command, &golden);
        }
        let mut golden = vec![0; 84];
        [golden[0], golden[4], golden[72], golden[76]] = [2, 3, 6, 7];
        same(&GraphCommand::Trigger { id: 3, input: 6, output: 7 }, &golden);
        for (code, command) in [
            (6, GraphCommand::DeallocateFifo { id: 9 }),
            (7, GraphCommand::Timing { id: 9 }),
            (8, GraphCommand::Debug { id: 9 }),
        ] {
            same(&command, &[code, 0, 0, 0, 9, 0, 0, 0]);
        }
    }

    #[test]
    fn a_fifo_command_is_100_bytes() {
        let fifo = FifoSpec {
            id: 0,
            stream: fifo_stream(0),
            elements: 4,
            desc: TensorDesc { ncwh: [1, 3, 224, 224], total_bytes: 0x0004_9800 },
            host_reads: false,
            host_writes: true,
        };
        let mut golden = vec![0; 100];
        golden[0] = 5;
        golden[8..13].copy_from_slice(b"FIFO0");
        [golden[72], golden[76], golden[80]] = [4, 1, 3];
        [golden[84], golden[88]] = [0xe0, 0xe0];
        [golden[93], golden[94], golden[97]] = [0x98, 0x04, 1];
        same(&GraphCommand::AllocateFifo(fifo), &golden);
    }

    #[test]
    fn requests_and_answers_come_back() {
        for (request, code) in [(DeviceRequest::ThermalStats, 0), (DeviceRequest::WatchdogPing, 4)]
        {
            assert_eq!(request.encode(), [code, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(DeviceRequest::decode(&request.encode()), Ok(request));
        }
        let capabilities = DeviceCapabilities {
            max_graphs: 10,
            max_fifos: 20,
            max_memory: 522_059_056,
            max_executors: 1,
            firmware: [2, 8, 0x2450, 0x16e],
            tensor_library: [2, 8],
        };
        let bytes = capabilities.encode();
        assert_eq!((bytes.len(), &bytes[8..12]), (40, &522_059_056_u32.to_le_bytes()[..]));
        assert_eq!(DeviceCapabilities::decode(&bytes), Ok(capabilities));
        assert_eq!(capabilities.chip(), Some(0x2450));
        let stats = ThermalStats { throttling: 2, celsius: [47.5; THERMAL_SAMPLES] };
        assert_eq!(stats.encode()[..8], [0, 0, 0, 64, 0, 0, 62, 66]);
        assert_eq!(ThermalStats::decode(&stats.encode()), Ok(stats));
    }

    #[test]
    fn other_lengths_types_and_names_are_refused() {
        for len in [0, 3, 7, 9, 83, 85, 99, 101] {
            assert!(GraphCommand::decode(&vec![5; len]).is_err());
            assert!(GraphCommand::decode(&vec![0; len]).is_err());
            assert!(DeviceRequest::decode(&vec![0; len]).is_err());
        }
        assert!(matches!(
            GraphCommand::decode(&[9, 0, 0, 0, 0, 0, 0, 0]),
            Err(MessageError::Type { found: 9, .. })
        ));
        let mut endless = vec![0; 84];
        endless[8..72].fill(b'x');
        assert!(matches!(GraphCommand::decode(&endless), Err(MessageError::Name { .. })));
        assert!(ThermalStats::decode(&[0xff; 104]).is_err());
        assert!(decode_times(&[0; 7]).is_err());
        for code in 1..12 {
            assert_eq!(AllocationStatus::of(code).map(AllocationStatus::code), Some(code));
        }
    }
}
