//! What went over a bus, kept and played again: the host must do the same as when it was recorded.
//!
//! Two threads of a host take turns in another way every time, so a transfer may come a few places earlier or later than it was
//! recorded.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{BulkIn, BulkOut, Bus, DeviceInfo, Transport, TransportError};

/// What one open device was sent and what it sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The device as it was opened.
    pub port: String,
    /// Product id of the device as it was opened.
    pub product: u16,
    /// Transfers to the device.
    pub written: Vec<Vec<u8>>,
    /// Transfers from the device, each with the number of transfers that it had been sent before.
    pub read: Vec<(usize, Vec<u8>)>,
}

/// How many places a transfer may come too early.
const REORDERING: usize = 16;

/// Exchanges of all devices that were opened on a bus, in this order.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<Exchange>>>);

impl Recorder {
    /// What was recorded so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut Exchange)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[at]);
    }
}

/// Another bus, with everything recorded.
#[derive(Debug)]
pub struct RecordingBus<B> {
    bus: B,
    recorder: Recorder,
}

impl<B: Bus> RecordingBus<B> {
    /// Records `bus`.
    pub fn new(bus: B, recorder: Recorder) -> Self {
        Self { bus, recorder }
    }
}

impl<B: Bus> Bus for RecordingBus<B> {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        self.bus.devices()
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let Transport { reader, writer } = self.bus.open(device)?;
        let mut exchanges = self.recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = exchanges.len();
        exchanges.push(Exchange {
            port: device.port.clone(),
            product: device.kind.product(),
            ..Exchange::default()
        });
        let recorded = |recorder: &Recorder| recorder.clone();
        Ok(Transport {
            reader: Box::new(Recorded { half: reader, recorder: recorded(&self.recorder), at }),
            writer: Box::new(Recorded { half: writer, recorder: recorded(&self.recorder), at }),
        })
    }

    fn boots(&self) -> &Mutex<()> {
        self.bus.boots()
    }

    fn locks(&self) -> Option<PathBuf> {
        self.bus.locks()
    }
}

struct Recorded<T> {
    half: T,
    recorder: Recorder,
    at: usize,
}

impl BulkIn for Recorded<Box<dyn BulkIn>> {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        let len = self.half.read(into, wait)?;
        self.recorder.change(self.at, |exchange| {
            exchange.read.push((exchange.written.len(), into[..len].to_vec()));
        });
        Ok(len)
    }
}

impl BulkOut for Recorded<Box<dyn BulkOut>> {
    fn write(&mut self, bytes: &[u8], wait: Duration) -> Result<(), TransportError> {
        // Before the device can answer, so that no answer is recorded ahead of its question.
        self.recorder.change(self.at, |exchange| exchange.written.push(bytes.to_vec()));
        self.half.write(bytes, wait)
    }
}

/// A device that answers what was recorded, once it has been sent what it had been sent then.
#[derive(Debug)]
pub struct ReplayBus {
    exchanges: Vec<Exchange>,
    next: Mutex<usize>,
    boots: Mutex<()>,
}

impl ReplayBus {
    /// Plays `exchanges`, one for each time that the device is opened.
    #[must_use]
    pub const fn new(exchanges: Vec<Exchange>) -> Self {
        Self { exchanges, next: Mutex::new(0), boots: Mutex::new(()) }
    }
}

impl Bus for ReplayBus {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.exchanges.get(next);
        Ok(next
            .and_then(|exchange| {
                let kind = super::DeviceKind::of_product(exchange.product)?;
                Some(DeviceInfo { port: exchange.port.clone(), kind })
            })
            .into_iter()
            .collect())
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let exchange = self.exchanges.get(*next).ok_or(TransportError::Gone)?;
        if exchange.port != device.port || exchange.product != device.kind.product() {
            let reason = "another device is opened";
            return Err(TransportError::NotAsRecorded { index: 0, reason });
        }
        *next += 1;
        let state = Arc::new(Mutex::new(Playing {
            is_sent: vec![false; exchange.written.len()],
            exchange: exchange.clone(),
            written: 0,
            at: 0,
            of: 0,
        }));
        Ok(Transport { reader: Box::new(Player(state.clone())), writer: Box::new(Player(state)) })
    }

    fn boots(&self) -> &Mutex<()> {
        &self.boots
    }
}

struct Playing {
    exchange: Exchange,
    /// Which of the recorded transfers have come.
    is_sent: Vec<bool>,
    written: usize,
    /// The next transfer from the device, and how many bytes of it have been read.
    at: usize,
    of: usize,
}

struct Player(Arc<Mutex<Playing>>);

impl BulkIn for Player {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, of) = (state.at, state.of);
            match state.exchange.read.get(at) {
                None if state.written >= state.exchange.written.len() => {
                    return Err(TransportError::Gone);
                }
                Some((after, bytes)) if *after <= state.written => {
                    let rest = &bytes[of..];
                    let len = rest.len().min(into.len());
                    into[..len].copy_from_slice(&rest[..len]);
                    let is_done = len == rest.len();
                    (state.at, state.of) = if is_done { (at + 1, 0) } else { (at, of + len) };
                    return Ok(len);
                }
                _ => {}
            }
        }
        thread::sleep(wait.min(Duration::from_millis(1)));
        Err(TransportError::TimedOut { wait })
    }
}

impl BulkOut for Player {
    fn write(&mut self, bytes: &[u8], _wait: Duration) -> Result<(), TransportError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = state.is_sent.iter().position(|&is_sent| !is_sent);
        let Some(index) = index else {
            let reason = "more is sent";
            return Err(TransportError::NotAsRecorded { index: state.written, reason });
        };
        let end = (index + REORDERING).min(state.is_sent.len());
        let found =
            (index..end).find(|&at| !state.is_sent[at] && state.exchange.written[at] == bytes);
        let Some(found) = found else {
            let reason = "other bytes are sent";
            return Err(TransportError::NotAsRecorded { index, reason });
        };
        state.is_sent[found] = true;
        state.written += 1;
        Ok(())
    }
}
