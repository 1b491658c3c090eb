//! The streams of one end of a link: names, numbers, packets that wait, and credits. No bytes move here, so that both ends and
//! every order of messages can be tested without a device.
//!
//! Each direction of a stream is opened by the end that writes it. The writer may have as many bytes under way as the
//! buffer holds that it asked the reader for, in at most 64 packets; the reader gives credit back with each packet that
//! it has consumed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::header::{Dialect, Header, MessageKind, NO_STREAM};

/// Streams that a link can have.
pub const MAX_STREAMS: usize = 32;
/// Packets that may wait in one direction of a stream.
pub const MAX_PACKETS: usize = 64;
/// Buffers are whole multiples of this many bytes.
const ALIGNMENT: u32 = 64;
/// The first number of a request.
const FIRST_ID: i32 = 0xa;
/// No more requests than this are waited for; the vendor's ends have queues of as many events.
const MAX_PENDING: usize = 1024;

/// Number of a stream, the same on both ends.
pub type StreamId = u32;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// No answer yet.
    Waiting,
    /// The answer.
    Answered(Header),
}

/// How an end broke the rules, or was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no such stream.
    #[error("stream {stream} does not exist")]
    NoStream {
        /// Its number.
        stream: StreamId,
    },
    /// A packet came for a stream whose writer did not open it.
    #[error("a packet for stream {stream}, which was not opened for it")]
    NotOpened {
        /// Its number.
        stream: StreamId,
    },
    /// A packet is larger than what is left of the buffer.
    #[error("a packet of {size} bytes for stream {stream}, whose buffer has {free} left")]
    NoCredit {
        /// The stream.
        stream: StreamId,
        /// Bytes of the packet.
        size: u32,
        /// Bytes left.
        free: u32,
    },
    /// A packet can never be written.
    #[error("a packet of {size} bytes does not fit stream {stream}, whose buffer has {buffer}")]
    TooLarge {
        /// The stream.
        stream: StreamId,
        /// Bytes of the packet.
        size: usize,
        /// Bytes of the buffer.
        buffer: u32,
    },
    /// More packets than may be under way.
    #[error("more than {MAX_PACKETS} packets under way in stream {stream}")]
    TooManyPackets {
        /// The stream.
        stream: StreamId,
    },
    /// Credit came back that was never taken.
    #[error("{size} bytes of stream {stream} were released, {fill} were under way")]
    NotTaken {
        /// The stream.
        stream: StreamId,
        /// Bytes that came back.
        size: u32,
        /// Bytes under way.
        fill: u32,
    },
    /// More streams than a link can have.
    #[error("a link has no more than {MAX_STREAMS} streams")]
    TooManyStreams,
    /// More memory for a stream than this end gives.
    #[error("a stream with a buffer of {size} bytes was asked for, {allowed} are allowed")]
    BufferTooLarge {
        /// Bytes asked for.
        size: u32,
        /// Bytes allowed.
        allowed: u32,
    },
    /// A name that the dialect has no room for.
    #[error("a stream cannot be called {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// The ends number their streams differently.
    #[error("stream {name:?} was given the number {found}, which another stream has")]
    Numbering {
        /// The name.
        name: String,
        /// The number.
        found: StreamId,
    },
    /// An answer to nothing.
    #[error("an answer to request {id}, which was not made")]
    NoRequest {
        /// Its number.
        id: i32,
    },
    /// A message came twice.
    #[error("message {id} came twice in a row")]
    Repeated {
        /// Its number.
        id: i32,
    },
    /// Too many requests without an answer.
    #[error("{MAX_PENDING} requests are without an answer")]
    TooManyRequests,
}

#[derive(Debug)]
struct State {
    name: String,
    /// The direction that this end writes.
    write: Option<Side>,
    /// The direction that the other end writes.
    read: Option<Side>,
    /// Received and not yet consumed.
    packets: VecDeque<Vec<u8>>,
}

impl State {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), write: None, read: None, packets: VecDeque::new() }
    }
}

#[derive(Debug)]
struct Side {
    buffer: u32,
    fill: u32,
    packets: usize,
}

impl Side {
    const fn new(buffer: u32) -> Self {
        Self { buffer, fill: 0, packets: 0 }
    }
}

/// One end's view of all streams of a link.
#[derive(Debug)]
pub struct Streams {
    dialect: Dialect,
    /// Largest buffer that the other end may ask for.
    max_buffer: u32,
    next_id: i32,
    streams: BTreeMap<StreamId, State>,
    /// Number of the next new stream: both ends count the same.
    next_stream: StreamId,
    pending: HashMap<i32, Pending>,
    last: Option<(i32, MessageKind, bool)>,
}

impl Streams {
    /// No streams yet. `max_buffer` bounds the memory that the other end may have this one hold for each stream.
    #[must_use]
    pub fn new(dialect: Dialect, max_buffer: u32) -> Self {
        Self {
            dialect,
            max_buffer,
            next_id: FIRST_ID,
            streams: BTreeMap::new(),
            next_stream: 0,
            pending: HashMap::new(),
            last: None,
        }
    }

    /// A request without a stream: a ping or a reset. Its answer is asked for with [`Self::answer`].
    ///
    /// # Errors
    /// If too many are without an answer.
    pub fn request(&mut self, kind: MessageKind) -> Result<Header, StreamError> {
        self.expect(Header::request(0, kind, 0, 0))
    }

    /// A request to open the direction that this end writes. [`Self::opened`] takes the answer.
    ///
    /// # Errors
    /// If the name or one more stream is not possible.
    pub fn open(&mut self, name: &str, buffer: u32) -> Result<Header, StreamError> {
        let longest = self.dialect.header_len() - 21;
        if name.is_empty() || name.len() > longest || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(StreamError::Name { name: name.to_owned() });
        }
        let buffer = buffer
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or(StreamError::BufferTooLarge { size: buffer, allowed: u32::MAX })?;
        if self.find(name).is_none() && self.streams.len() >= MAX_STREAMS {
            return Err(StreamError::TooManyStreams);
        }
        let mut header = Header::request(0, MessageKind::CreateStream, NO_STREAM, buffer);
        header.name = name.to_owned();
        self.expect(header)
    }

    /// Registers the stream that the other end has agreed to, under the number that it gave.
    ///
    /// # Errors
    /// If another stream has that number, or this one has another.
    pub fn opened(&mut self, answer: &Header) -> Result<StreamId, StreamError> {
        let (id, name) = (answer.stream, &answer.name);
        let is_free = match (self.find(name), self.streams.get(&id)) {
            (Some(own), _) => own == id,
            (None, other) => other.is_none() && id != NO_STREAM,
        };
        if !is_free {
            return Err(StreamError::Numbering { name: name.clone(), found: id });
        }
        self.next_stream = self.next_stream.max(id.saturating_add(1));
        let state = self.streams.entry(id).or_insert_with(|| State::new(name));
        state.write = Some(Side::new(answer.size));
        Ok(id)
    }

    /// The answer to a request, once it has come; it is given out once.
    pub fn answer(&mut self, id: i32) -> Option<Header> {
        match self.pending.get(&id) {
            Some(Pending::Answered(_)) => match self.pending.remove(&id) {
                Some(Pending::Answered(header)) => Some(header),
                _ => None,
            },
            _ => None,
        }
    }

    /// The header of a packet of `len` bytes, or `None` until there is credit for it.
    ///
    /// # Errors
    /// If there never will be, or the stream does not exist.
    pub fn begin_write(&mut self, id: StreamId, len: usize) -> Result<Option<Header>, StreamError> {
        let stream = self.stream(id)?;
        let side = stream.write.as_mut().ok_or(StreamError::NotOpened { stream: id })?;
        let size = u32::try_from(len).ok().filter(|&size| size <= side.buffer);
        let size =
            size.ok_or(StreamError::TooLarge { stream: id, size: len, buffer: side.buffer })?;
        if side.packets >= MAX_PACKETS || side.buffer - side.fill < size {
            return Ok(None);
        }
        side.fill += size;
        side.packets += 1;
        self.expect(Header::request(0, MessageKind::Write, id, size)).map(Some)
    }

    /// Bytes and packets of a stream that the other end has not consumed.
    ///
    /// # Errors
    /// If the stream does not exist.
    pub fn under_way(&mut self, id: StreamId) -> Result<(u32, usize), StreamError> {
        let side = self.stream(id)?.write.as_ref();
        Ok(side.map_or((0, 0), |side| (side.fill, side.packets)))
    }

    /// A packet that was received, and the message that gives its credit back.
    ///
    /// # Errors
    /// If the stream does not exist, or too many requests are without an answer.
    pub fn take(&mut self, id: StreamId) -> Result<Option<(Vec<u8>, Header)>, StreamError> {
        let Some(packet) = self.stream(id)?.packets.pop_front() else { return Ok(None) };
        // Packets fit their buffers, whose sizes are of 32 bits.
        let size = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        if let Some(side) = &mut self.stream(id)?.read {
            side.fill = side.fill.saturating_sub(size);
            side.packets = side.packets.saturating_sub(1);
        }
        self.forget_closed(id);
        let release = self.expect(Header::request(0, MessageKind::ReadRelease, id, size))?;
        Ok(Some((packet, release)))
    }

    /// A request to close the direction that this end writes; for when nothing is under way.
    ///
    /// # Errors
    /// If the stream does not exist.
    pub fn close(&mut self, id: StreamId) -> Result<Header, StreamError> {
        self.stream(id)?.write = None;
        self.forget_closed(id);
        self.expect(Header::request(0, MessageKind::CloseStream, id, 0))
    }

    /// The number of the stream of this name, if the other end has opened its direction or packets of it wait.
    #[must_use]
    pub fn readable(&self, name: &str) -> Option<StreamId> {
        let id = self.find(name)?;
        let state = &self.streams[&id];
        (state.read.is_some() || !state.packets.is_empty()).then_some(id)
    }

    /// Numbers of the streams whose names start so and that the other end has opened.
    pub fn readable_of(&self, prefix: &str) -> Vec<StreamId> {
        let open = self.streams.iter().filter(|(_, stream)| stream.read.is_some());
        open.filter(|(_, stream)| stream.name.starts_with(prefix)).map(|(&id, _)| id).collect()
    }

    /// Whether the stream is there.
    #[must_use]
    pub fn has(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Bytes that follow a header that was received: those of a packet, if there is room for it.
    ///
    /// # Errors
    /// If the other end has broken the rules; the link is of no use then.
    pub fn payload_len(&mut self, header: &Header) -> Result<usize, StreamError> {
        if header.is_response || header.kind != MessageKind::Write {
            return Ok(0);
        }
        let (stream, size) = (header.stream, header.size);
        let state = self.stream(stream)?;
        let side = state.read.as_ref().ok_or(StreamError::NotOpened { stream })?;
        let free = side.buffer.saturating_sub(side.fill);
        if size > free {
            return Err(StreamError::NoCredit { stream, size, free });
        }
        if side.packets >= MAX_PACKETS {
            return Err(StreamError::TooManyPackets { stream });
        }
        Ok(size as usize)
    }

    /// Takes in a message, with the packet that followed it, and gives the answer to it, if it needs one.
    ///
    /// # Errors
    /// If the other end has broken the rules; the link is of no use then.
    pub fn receive(
        &mut self,
        header: &Header,
        packet: Vec<u8>,
    ) -> Result<Option<Header>, StreamError> {
        let this = (header.id, header.kind, header.is_response);
        if self.last.replace(this) == Some(this) {
            return Err(StreamError::Repeated { id: header.id });
        }
        if header.is_response {
            return self.answered(header).map(|()| None);
        }
        let stream = header.stream;
        let answer = match header.kind {
            MessageKind::Ping | MessageKind::Reset => header.response(true),
            MessageKind::CreateStream => {
                if header.size > self.max_buffer {
                    let (size, allowed) = (header.size, self.max_buffer);
                    return Err(StreamError::BufferTooLarge { size, allowed });
                }
                let id = match self.find(&header.name) {
                    Some(id) => id,
                    None if self.streams.len() >= MAX_STREAMS => {
                        return Err(StreamError::TooManyStreams);
                    }
                    None => self.next_stream,
                };
                self.next_stream = self.next_stream.max(id.saturating_add(1));
                let state = self.streams.entry(id).or_insert_with(|| State::new(&header.name));
                match &mut state.read {
                    Some(side) => side.buffer = header.size,
                    none => *none = Some(Side::new(header.size)),
                }
                Header { stream: id, ..header.response(true) }
            }
            MessageKind::Write => {
                self.payload_len(header)?;
                let state = self.stream(stream)?;
                let side = state.read.as_mut().ok_or(StreamError::NotOpened { stream })?;
                side.fill += header.size;
                side.packets += 1;
                state.packets.push_back(packet);
                header.response(true)
            }
            MessageKind::ReadRelease => {
                let size = header.size;
                // What this end has closed since has no credits to come back.
                let side = self.streams.get_mut(&stream).and_then(|state| state.write.as_mut());
                if let Some(side) = side {
                    if size > side.fill || side.packets == 0 {
                        return Err(StreamError::NotTaken { stream, size, fill: side.fill });
                    }
                    side.fill -= size;
                    side.packets -= 1;
                }
                header.response(true)
            }
            MessageKind::CloseStream => {
                let state = self.stream(stream)?;
                let is_empty = state.packets.is_empty();
                state.read = None;
                self.forget_closed(stream);
                header.response(is_empty)
            }
        };
        Ok(Some(answer))
    }

    fn answered(&mut self, header: &Header) -> Result<(), StreamError> {
        let id = header.id;
        let slot = self.pending.get_mut(&id).ok_or(StreamError::NoRequest { id })?;
        match header.kind {
            // Nobody waits for these: credits and order are kept by other messages.
            MessageKind::Write | MessageKind::ReadRelease => {
                self.pending.remove(&id);
            }
            _ => *slot = Pending::Answered(header.clone()),
        }
        Ok(())
    }

    fn expect(&mut self, mut header: Header) -> Result<Header, StreamError> {
        if self.pending.len() >= MAX_PENDING {
            return Err(StreamError::TooManyRequests);
        }
        header.id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.pending.insert(header.id, Pending::Waiting);
        Ok(header)
    }

    fn find(&self, name: &str) -> Option<StreamId> {
        self.streams.iter().find(|(_, stream)| stream.name == name).map(|(&id, _)| id)
    }

    /// A stream that is closed in both directions, and of which all was consumed, is no more; another of its name gets
    /// another number.
    fn forget_closed(&mut self, id: StreamId) {
        let is_over = |state: &State| {
            state.read.is_none() && state.write.is_none() && state.packets.is_empty()
        };
        if self.streams.get(&id).is_some_and(is_over) {
            self.streams.remove(&id);
        }
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut State, StreamError> {
        self.streams.get_mut(&id).ok_or(StreamError::NoStream { stream: id })
    }
}
