//! One end of a connection: two threads that move bytes, and streams that wait for packets and credits with a deadline.
//!
//! The reading thread answers the other end at any time, whatever the application does; answers go through a queue to the
//! writing thread, so that neither end ever waits for the other to read first.

mod shared;
mod stream;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::header::{Dialect, HeaderError, MessageKind};
use super::streams::{StreamError, Streams};
use crate::transport::{Transport, TransportError};
use shared::{Shared, State};
pub use stream::Stream;

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
