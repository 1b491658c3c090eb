//! What the handles of a link and its two threads share: streams, what waits to be sent, and why nothing goes on.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{LinkError, Role, Timing};
use crate::protocol::header::{Dialect, Header, MessageKind};
use crate::protocol::streams::{StreamError, StreamId, Streams};
use crate::transport::{BulkIn, BulkOut, TransportError};

/// Bytes of one bulk transfer at most.
const CHUNK: usize = 1 << 20;
/// Messages that wait to be sent; an end that makes more answers necessary does not keep to the rules.
const MAX_QUEUE: usize = 4096;

pub(super) struct Shared {
    pub(super) dialect: Dialect,
    pub(super) role: Role,
    pub(super) timing: Timing,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) streams: Streams,
    pub(super) queue: VecDeque<(Header, Option<Arc<Vec<u8>>>)>,
    /// Why nothing goes on.
    pub(super) failed: Option<LinkError>,
    /// Whether the other end asked for a reset.
    pub(super) is_reset: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first reason.
    pub(super) fn fail(&self, error: LinkError) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn request(
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

    pub(super) fn answer(
        &self,
        id: i32,
        what: &'static str,
        wait: Duration,
    ) -> Result<Header, LinkError> {
        self.wait_for(what, wait, |state| state.streams.answer(id))
    }

    /// A packet that waits, with its credit given back.
    pub(super) fn take(
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
    pub(super) fn wait_for<T>(
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

    pub(super) fn read_all(&self, mut reader: Box<dyn BulkIn>) {
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

    pub(super) fn write_all(&self, mut writer: Box<dyn BulkOut>) {
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
