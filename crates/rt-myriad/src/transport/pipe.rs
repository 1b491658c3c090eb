//! Two ends of bytes in memory, bounded like the buffers of a bus.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{BulkIn, BulkOut, Transport, TransportError};

/// Bytes that one direction holds before the writer has to wait.
const CAPACITY: usize = 1 << 20;

/// Two open ends: what is written to one is read from the other. Each end is gone for the other once a half of it is dropped.
#[must_use]
pub fn pipe() -> (Transport, Transport) {
    let [there, back] = [(); 2].map(|()| Arc::new(Way::default()));
    let end = |incoming: &Arc<Way>, outgoing: &Arc<Way>| Transport {
        reader: Box::new(End { way: incoming.clone(), other: outgoing.clone() }),
        writer: Box::new(End { way: outgoing.clone(), other: incoming.clone() }),
    };
    (end(&back, &there), end(&there, &back))
}

#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    is_closed: bool,
}

impl Way {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits until `is_ready`; `None` once the time is over.
    fn wait(
        &self,
        wait: Duration,
        is_ready: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        while !is_ready(&state) {
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Some(state)
    }
}

/// A half of an end; dropping it closes both ways.
struct End {
    way: Arc<Way>,
    other: Arc<Way>,
}

impl BulkIn for End {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        let ready = self.way.wait(wait, |state| state.is_closed || !state.bytes.is_empty());
        let mut state = ready.ok_or(TransportError::TimedOut { wait })?;
        let len = state.bytes.len().min(into.len());
        // What was sent before the end closed still arrives.
        if len == 0 {
            return Err(TransportError::Gone);
        }
        for (slot, byte) in into.iter_mut().zip(state.bytes.drain(..len)) {
            *slot = byte;
        }
        drop(state);
        self.way.changed.notify_all();
        Ok(len)
    }
}

impl BulkOut for End {
    fn write(&mut self, mut bytes: &[u8], wait: Duration) -> Result<(), TransportError> {
        let end = Instant::now() + wait;
        while !bytes.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let ready =
                self.way.wait(left, |state| state.is_closed || state.bytes.len() < CAPACITY);
            let mut state = ready.ok_or(TransportError::TimedOut { wait })?;
            if state.is_closed {
                return Err(TransportError::Gone);
            }
            let (now, later) = bytes.split_at(bytes.len().min(CAPACITY - state.bytes.len()));
            state.bytes.extend(now);
            drop(state);
            self.way.changed.notify_all();
            bytes = later;
        }
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.way.close();
        self.other.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn bytes_arrive_and_the_end_is_seen() {
        let (mut host, mut device) = pipe();
        host.writer.write(b"hello", SHORT).unwrap();
        let mut buffer = [0; 3];
        assert_eq!(device.reader.read(&mut buffer, SHORT).unwrap(), 3);
        assert_eq!(&buffer, b"hel");
        drop(host);
        assert_eq!(device.reader.read(&mut buffer, SHORT).unwrap(), 2);
        assert!(matches!(device.reader.read(&mut buffer, SHORT), Err(TransportError::Gone)));
        assert!(matches!(device.writer.write(b"x", SHORT), Err(TransportError::Gone)));
    }

    #[test]
    fn nobody_waits_longer_than_said() {
        let (mut host, mut device) = pipe();
        let read = device.reader.read(&mut [0], SHORT);
        assert!(matches!(read, Err(TransportError::TimedOut { wait: SHORT })));
        let written = host.writer.write(&vec![0; CAPACITY + 1], SHORT);
        assert!(matches!(written, Err(TransportError::TimedOut { wait: SHORT })));
    }
}
