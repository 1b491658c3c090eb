//! One end of a connection: two threads that move bytes, and streams that wait for packets and credits with a deadline.
//!
//! The reading thread answers the other end at any time, whatever the application does; answers go through a queue to the
//! writing thread, so that neither end ever waits for the other to read first.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::header::{Dialect, Header, HeaderError, MessageKind};
use super::streams::{StreamError, StreamId, Streams};
use crate::transport::{BulkIn, BulkOut, Transport, TransportError};

/// Bytes of one bulk transfer at most.
const CHUNK: usize = 1 << 20;
/// Messages that wait to be sent; an end that makes more answers necessary does not keep to the rules.
const MAX_QUEUE: usize = 4096;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For one bulk transfer of up to 1 MiB.
    pub transfer: Duration,
    /// For the answer to a request.
    pub request: Duration,
    /// How often a thread looks whether it shall end.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            transfer: Duration::from_secs(2),
            request: Duration::from_secs(5),
            poll: Duration::from_millis(50),
        }
    }
}

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks.
    Host,
    /// Answers; a reset ends its link.
    Device,
}

/// Why a link is of no use any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Bytes do not get through.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What came is no message.
    #[error("the device does not speak this protocol: {0}")]
    Header(#[from] HeaderError),
    /// A rule of streams was broken.
    #[error("the protocol was violated: {0}")]
    Stream(#[from] StreamError),
    /// The other end says no.
    #[error("the device refused {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
    },
    /// No answer came.
    #[error("no {what} within {wait:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        wait: Duration,
    },
    /// This end has closed the link, or was reset.
    #[error("the link is closed")]
    Closed,
    /// The other end causes more answers than it takes.
    #[error("the device takes no answers")]
    Flooded,
    /// The system gives no more threads.
    #[error("no thread can be started: {0}")]
    Thread(Arc<std::io::Error>),
}

/// One end of a connection. Cloning it gives another handle; [`Link::close`] ends it for all.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// The threads of a link, which end with its last handle.
struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    fn end(&self) {
        self.shared.fail(LinkError::Closed);
        let running =
            core::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in running {
            if thread.join().is_err() {
                tracing::error!("a thread of a link has panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

struct Shared {
    dialect: Dialect,
    role: Role,
    timing: Timing,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    streams: Streams,
    queue: VecDeque<(Header, Option<Arc<Vec<u8>>>)>,
    /// Why nothing goes on.
    failed: Option<LinkError>,
    /// Whether the other end asked for a reset.
    is_reset: bool,
}

impl Link {
    /// Starts the threads. The other end may have this one hold `max_buffer` bytes for each stream.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(
        transport: Transport,
        dialect: Dialect,
        role: Role,
        timing: Timing,
        max_buffer: u32,
    ) -> Result<Self, LinkError> {
        let shared = Arc::new(Shared {
            dialect,
            role,
            timing,
            state: Mutex::new(State {
                streams: Streams::new(dialect, max_buffer),
                queue: VecDeque::new(),
                failed: None,
                is_reset: false,
            }),
            changed: Condvar::new(),
        });
        let Transport { reader, writer } = transport;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.into()).spawn(run);
            spawned.map_err(|error| LinkError::Thread(Arc::new(error)))
        };
        let reading = shared.clone();
        let writing = shared.clone();
        let threads = Arc::new(Threads { shared: shared.clone(), running: Mutex::default() });
        let link = Self { shared, threads };
        let first = spawn("myriad reader", Box::new(move || reading.read_all(reader)))?;
        let push = |thread| {
            let running = &link.threads.running;
            running.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        };
        push(first);
        push(spawn("myriad writer", Box::new(move || writing.write_all(writer)))?);
        Ok(link)
    }

    /// Asks whether the other end is there.
    ///
    /// # Errors
    /// If it does not say so in time.
    pub fn ping(&self, wait: Duration) -> Result<(), LinkError> {
        self.ask(MessageKind::Ping, "answer to a ping", wait)
    }

    /// Has the device start again. That it is gone before its answer is as good as the answer.
    ///
    /// # Errors
    /// If it does neither in time.
    pub fn reset(&self, wait: Duration) -> Result<(), LinkError> {
        match self.ask(MessageKind::Reset, "answer to a reset", wait) {
            Ok(()) | Err(LinkError::Transport(TransportError::Gone)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Opens the direction of a stream that this end writes, with a buffer at the other end.
    ///
    /// # Errors
    /// If the other end does not agree in time.
    pub fn open(&self, name: &str, buffer: u32, wait: Duration) -> Result<Stream, LinkError> {
        let header = self.shared.request(|streams| streams.open(name, buffer))?;
        let answer = self.shared.answer(header.id, "answer to the opening of a stream", wait)?;
        if !answer.is_ack {
            return Err(LinkError::Refused { what: "to open a stream" });
        }
        let id = self.shared.lock().streams.opened(&answer)?;
        Ok(Stream { shared: self.shared.clone(), id })
    }

    /// The stream of this name, once the other end has opened it.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn accept(&self, name: &str, wait: Duration) -> Result<Stream, LinkError> {
        let id = self
            .shared
            .wait_for("stream from the other end", wait, |state| state.streams.readable(name))?;
        Ok(Stream { shared: self.shared.clone(), id })
    }

    /// The next packet of any stream whose name starts with one of `prefixes`, in their order: with its stream.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn next_of(
        &self,
        prefixes: &[&str],
        wait: Duration,
    ) -> Result<(Stream, Vec<u8>), LinkError> {
        let shared = &self.shared;
        let found = shared.wait_for("packet", wait, |state| {
            let ids = prefixes.iter().flat_map(|prefix| state.streams.readable_of(prefix));
            ids.collect::<Vec<_>>().into_iter().find_map(|id| shared.take(state, id).transpose())
        })?;
        let (id, packet) = found?;
        Ok((Stream { shared: shared.clone(), id }, packet))
    }

    /// Whether the other end asked for a reset.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.shared.lock().is_reset
    }

    /// Why the link is of no use any more, if it is not.
    #[must_use]
    pub fn failure(&self) -> Option<LinkError> {
        self.shared.lock().failed.clone()
    }

    /// Makes the link of no use, for this reason: everybody who waits is told.
    pub fn abandon(&self, reason: LinkError) {
        self.shared.fail(reason);
    }

    /// Ends the link for everybody who uses it, after what is queued has been sent or cannot be.
    pub fn close(&self) {
        let drained = self.shared.wait_for("end of the queue", self.shared.timing.poll, |state| {
            state.queue.is_empty().then_some(())
        });
        if let Err(error) = drained {
            tracing::debug!(%error, "closing a link with messages in its queue");
        }
        self.threads.end();
    }

    fn ask(&self, kind: MessageKind, what: &'static str, wait: Duration) -> Result<(), LinkError> {
        let header = self.shared.request(|streams| streams.request(kind))?;
        let answer = self.shared.answer(header.id, what, wait)?;
        if answer.is_ack { Ok(()) } else { Err(LinkError::Refused { what }) }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, dialect) = (self.shared.role, self.shared.dialect);
        f.debug_struct("Link")
            .field("role", &role)
            .field("dialect", &dialect)
            .finish_non_exhaustive()
    }
}

/// A stream of a link.
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
}

impl Stream {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Sends a packet, once there is credit for it.
    ///
    /// # Errors
    /// If there is no credit in time, the packet is larger than the buffer, or the link has failed.
    pub fn write(&self, packet: Arc<Vec<u8>>, wait: Duration) -> Result<(), LinkError> {
        let (id, len) = (self.id, packet.len());
        let mut packet = Some(packet);
        self.shared.wait_for("credit for a packet", wait, |state| {
            match state.streams.begin_write(id, len) {
                Ok(None) => None,
                Ok(Some(header)) => {
                    state.queue.push_back((header, packet.take()));
                    Some(Ok(()))
                }
                Err(error) => Some(Err(error)),
            }
        })??;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// The next packet.
    ///
    /// # Errors
    /// If none comes in time, or the link has failed.
    pub fn read(&self, wait: Duration) -> Result<Vec<u8>, LinkError> {
        let shared = &self.shared;
        let (_, packet) =
            shared.wait_for("packet", wait, |state| shared.take(state, self.id).transpose())??;
        Ok(packet)
    }

    /// Closes the direction that this end writes, once the other end has consumed everything.
    ///
    /// # Errors
    /// If it does not in time, or the link has failed.
    pub fn close(&self, wait: Duration) -> Result<(), LinkError> {
        self.shared.wait_for("end of what is under way", wait, |state| {
            match state.streams.under_way(self.id) {
                Ok((_, packets)) => (packets == 0).then_some(()),
                Err(_) => Some(()),
            }
        })?;
        let header = self.shared.request(|streams| streams.close(self.id))?;
        // A no means that the other end closes later.
        self.shared.answer(header.id, "answer to the end of a stream", wait)?;
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first reason.
    fn fail(&self, error: LinkError) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        drop(state);
        self.changed.notify_all();
    }

    fn request(
        &self,
        make: impl FnOnce(&mut Streams) -> Result<Header, StreamError>,
    ) -> Result<Header, LinkError> {
        let mut state = self.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let header = make(&mut state.streams)?;
        state.queue.push_back((header.clone(), None));
        drop(state);
        self.changed.notify_all();
        Ok(header)
    }

    fn answer(&self, id: i32, what: &'static str, wait: Duration) -> Result<Header, LinkError> {
        self.wait_for(what, wait, |state| state.streams.answer(id))
    }

    /// A packet that waits, with its credit given back.
    fn take(
        &self,
        state: &mut State,
        id: StreamId,
    ) -> Result<Option<(StreamId, Vec<u8>)>, StreamError> {
        // That the stream is closed, and all of it consumed, is no error: another may open it again.
        if !state.streams.has(id) {
            return Ok(None);
        }
        let Some((packet, release)) = state.streams.take(id)? else { return Ok(None) };
        state.queue.push_back((release, None));
        self.changed.notify_all();
        Ok(Some((id, packet)))
    }

    /// Waits until `get` gives something. What has arrived before the link failed is still given out.
    fn wait_for<T>(
        &self,
        what: &'static str,
        wait: Duration,
        mut get: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, LinkError> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            if let Some(got) = get(&mut state) {
                return Ok(got);
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LinkError::TimedOut { what, wait });
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn read_all(&self, mut reader: Box<dyn BulkIn>) {
        let mut bytes = vec![0; self.dialect.header_len()];
        let error = loop {
            if let Err(error) = self.read_one(&mut *reader, &mut bytes) {
                break error;
            }
        };
        self.fail(error);
    }

    fn read_one(&self, reader: &mut dyn BulkIn, bytes: &mut [u8]) -> Result<(), LinkError> {
        self.read_exact(reader, bytes, None)?;
        let header = Header::decode(bytes, self.dialect)?;
        let len = self.lock().streams.payload_len(&header)?;
        let mut packet = vec![0; len];
        for chunk in packet.chunks_mut(CHUNK) {
            self.read_exact(reader, chunk, Some(self.timing.transfer))?;
        }
        tracing::trace!(?header, "received");
        let mut state = self.lock();
        if let Some(answer) = state.streams.receive(&header, packet)? {
            if state.queue.len() >= MAX_QUEUE {
                return Err(LinkError::Flooded);
            }
            state.queue.push_back((answer, None));
        }
        let is_reset =
            self.role == Role::Device && header.kind == MessageKind::Reset && !header.is_response;
        state.is_reset |= is_reset;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Fills `bytes`, with a deadline or until the link ends.
    fn read_exact(
        &self,
        reader: &mut dyn BulkIn,
        bytes: &mut [u8],
        wait: Option<Duration>,
    ) -> Result<(), LinkError> {
        let start = Instant::now();
        let mut filled = 0;
        while filled < bytes.len() {
            match reader.read(&mut bytes[filled..], self.timing.poll) {
                Ok(len) => filled += len,
                Err(TransportError::TimedOut { .. }) => {
                    if let Some(error) = &self.lock().failed {
                        return Err(error.clone());
                    }
                    if let Some(wait) = wait.filter(|&wait| start.elapsed() > wait) {
                        return Err(TransportError::TimedOut { wait }.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_all(&self, mut writer: Box<dyn BulkOut>) {
        while let Some((header, packet)) = self.next_to_write() {
            let written = self.write_one(&mut *writer, &header, packet.as_ref().map(|p| &p[..]));
            if let Err(error) = written {
                self.fail(error.into());
                return;
            }
            self.changed.notify_all();
        }
    }

    fn write_one(
        &self,
        writer: &mut dyn BulkOut,
        header: &Header,
        packet: Option<&[u8]>,
    ) -> Result<(), TransportError> {
        tracing::trace!(?header, "sending");
        writer.write(&header.encode(self.dialect), self.timing.transfer)?;
        for chunk in packet.unwrap_or_default().chunks(CHUNK) {
            writer.write(chunk, self.timing.transfer)?;
        }
        Ok(())
    }

    /// The next message to send; `None` once the link has ended.
    fn next_to_write(&self) -> Option<(Header, Option<Arc<Vec<u8>>>)> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(message) = state.queue.pop_front() {
                return Some(message);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
