//! A bus on which something goes wrong at a chosen transfer.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{BulkIn, BulkOut, Bus, DeviceInfo, Transport, TransportError};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The device is gone from this transfer on.
    Disconnect,
    /// This transfer's bytes get lost; both sides think that they did not.
    Drop,
    /// Half of this transfer's bytes get lost, and the device is gone afterwards.
    Truncate,
    /// The lowest bit of the first byte is flipped.
    Flip,
    /// This transfer takes so much longer.
    Delay(Duration),
    /// Nothing comes or goes any more from this transfer on, and nobody says so.
    Stall,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 0 over all transfers of both directions, in the order in which they finish, since the bus was made.
    pub at: usize,
    /// What goes wrong.
    pub mishap: Mishap,
}

/// Another bus with one fault.
#[derive(Debug)]
pub struct FaultyBus<B> {
    bus: B,
    fault: Option<Fault>,
    transfers: Arc<AtomicUsize>,
}

impl<B: Bus> FaultyBus<B> {
    /// `bus` with `fault`; without one, transfers are only counted.
    pub fn new(bus: B, fault: Option<Fault>) -> Self {
        Self { bus, fault, transfers: Arc::default() }
    }

    /// Transfers so far.
    #[must_use]
    pub fn transfers(&self) -> usize {
        self.transfers.load(Ordering::SeqCst)
    }
}

impl<B: Bus> Bus for FaultyBus<B> {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        self.bus.devices()
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let Transport { reader, writer } = self.bus.open(device)?;
        let has_failed = Arc::default();
        let state = |has_failed: &Arc<AtomicUsize>| State {
            fault: self.fault,
            transfers: self.transfers.clone(),
            failed: has_failed.clone(),
        };
        Ok(Transport {
            reader: Box::new(Faulty { state: state(&has_failed), half: Some(reader) }),
            writer: Box::new(Faulty { state: state(&has_failed), half: Some(writer) }),
        })
    }

    fn boots(&self) -> &Mutex<()> {
        self.bus.boots()
    }

    fn locks(&self) -> Option<PathBuf> {
        self.bus.locks()
    }
}

/// What both halves of one open device share.
struct State {
    fault: Option<Fault>,
    transfers: Arc<AtomicUsize>,
    /// 0 while all is well, 1 once the device is gone, 2 once it is stuck.
    failed: Arc<AtomicUsize>,
}

impl State {
    /// Counts a transfer and says what goes wrong with it.
    fn next(&self) -> Option<Mishap> {
        let at = self.transfers.fetch_add(1, Ordering::SeqCst);
        self.fault.filter(|fault| fault.at == at).map(|fault| fault.mishap)
    }

    fn check(&self, wait: Duration) -> Result<(), TransportError> {
        match self.failed.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(TransportError::Gone),
            _ => {
                thread::sleep(wait);
                Err(TransportError::TimedOut { wait })
            }
        }
    }

    fn gone(&self) -> TransportError {
        self.failed.store(1, Ordering::SeqCst);
        TransportError::Gone
    }

    fn stuck(&self, wait: Duration) -> TransportError {
        self.failed.store(2, Ordering::SeqCst);
        thread::sleep(wait);
        TransportError::TimedOut { wait }
    }
}

struct Faulty<T> {
    state: State,
    /// Closed as soon as the device is gone, so that its other side sees that as well.
    half: Option<T>,
}

impl BulkIn for Faulty<Box<dyn BulkIn>> {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        let checked = self.state.check(wait);
        if matches!(checked, Err(TransportError::Gone)) {
            self.half = None;
        }
        checked?;
        let Some(half) = &mut self.half else { return Err(TransportError::Gone) };
        let len = half.read(into, wait)?;
        match self.state.next() {
            None => Ok(len),
            Some(Mishap::Flip) => {
                into[0] ^= 1;
                Ok(len)
            }
            Some(Mishap::Delay(time)) => {
                thread::sleep(time);
                Ok(len)
            }
            Some(Mishap::Drop) => Err(TransportError::TimedOut { wait }),
            Some(Mishap::Truncate) if len > 1 => {
                self.state.gone();
                Ok(len / 2)
            }
            Some(Mishap::Disconnect | Mishap::Truncate) => {
                self.half = None;
                Err(self.state.gone())
            }
            Some(Mishap::Stall) => Err(self.state.stuck(wait)),
        }
    }
}

impl BulkOut for Faulty<Box<dyn BulkOut>> {
    fn write(&mut self, bytes: &[u8], wait: Duration) -> Result<(), TransportError> {
        let checked = self.state.check(wait);
        if matches!(checked, Err(TransportError::Gone)) {
            self.half = None;
        }
        checked?;
        let Some(half) = &mut self.half else { return Err(TransportError::Gone) };
        match self.state.next() {
            None => half.write(bytes, wait),
            Some(Mishap::Flip) => {
                let mut bytes = bytes.to_vec();
                if let Some(first) = bytes.first_mut() {
                    *first ^= 1;
                }
                half.write(&bytes, wait)
            }
            Some(Mishap::Delay(time)) => {
                thread::sleep(time);
                half.write(bytes, wait)
            }
            Some(Mishap::Drop) => Ok(()),
            Some(Mishap::Truncate) => {
                half.write(&bytes[..bytes.len() / 2], wait)?;
                self.half = None;
                Err(self.state.gone())
            }
            Some(Mishap::Disconnect) => {
                self.half = None;
                Err(self.state.gone())
            }
            Some(Mishap::Stall) => Err(self.state.stuck(wait)),
        }
    }
}
