//! Ways to a device: what is on a bus, and two directions of bulk bytes to one of it.

mod emulated;
mod faulty;
mod pipe;
mod replay;
mod socket;
#[cfg(feature = "usb")]
mod usb;

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

pub use emulated::EmulatedBus;
pub use faulty::{Fault, FaultyBus, Mishap};
pub use pipe::pipe;
pub use replay::{Exchange, Recorder, RecordingBus, ReplayBus};
pub use socket::{SocketBus, serve};
#[cfg(feature = "usb")]
pub use usb::UsbBus;

/// Vendor id of all devices.
pub const VENDOR: u16 = 0x03e7;

/// A place where devices come and go.
pub trait Bus: fmt::Debug + Send + Sync {
    /// The devices that are there now.
    ///
    /// # Errors
    /// If the bus cannot be asked.
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError>;

    /// Opens a device for this process alone.
    ///
    /// # Errors
    /// If it is gone, another process has it, or this one may not have it.
    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError>;

    /// Held while a stick is booted: the one that shows up then is the one that was sent its firmware.
    fn boots(&self) -> &Mutex<()>;

    /// Folder of the files by which processes keep out of each other's way; `None` where no other process sees the devices.
    fn locks(&self) -> Option<PathBuf> {
        None
    }
}

/// A device on a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Where it is plugged in, such as "1.2": serial numbers of sticks are all the same before they boot.
    pub port: String,
    /// What it is.
    pub kind: DeviceKind,
}

/// What a device says that it is, by its product id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The boot ROM of an MA2x5x. Other products have the same chip and id, so it is not always a Neural Compute Stick.
    BootRom,
    /// The boot ROM of an MA2480 or MA2485, which this crate does not serve.
    OtherBootRom,
    /// Firmware is running. Which chip it is cannot be told by the id.
    Booted,
}

impl DeviceKind {
    /// The kind with this product id, if it is one of the vendor's that matter here.
    #[must_use]
    pub const fn of_product(id: u16) -> Option<Self> {
        match id {
            0x2150 => Some(Self::BootRom),
            0x2485 => Some(Self::OtherBootRom),
            0xf63b => Some(Self::Booted),
            _ => None,
        }
    }

    /// Its product id.
    #[must_use]
    pub const fn product(self) -> u16 {
        match self {
            Self::BootRom => 0x2150,
            Self::OtherBootRom => 0x2485,
            Self::Booted => 0xf63b,
        }
    }
}

/// An open device. Both halves fail once it is gone; dropping them closes it.
pub struct Transport {
    /// From the device.
    pub reader: Box<dyn BulkIn>,
    /// To the device.
    pub writer: Box<dyn BulkOut>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// Bytes from a device.
pub trait BulkIn: Send {
    /// Reads between one byte and all of `into`, which must not be longer than what the device is expected to send: a
    /// transfer is never shared by two reads.
    ///
    /// # Errors
    /// [`TransportError::TimedOut`] if nothing came within `wait`, and nothing is lost then; otherwise the device is of
    /// no use any more.
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError>;
}

/// Bytes to a device.
pub trait BulkOut: Send {
    /// Writes all of `bytes` as one transfer.
    ///
    /// # Errors
    /// If the device did not take them within `wait`, or is gone.
    fn write(&mut self, bytes: &[u8], wait: Duration) -> Result<(), TransportError>;
}

/// Why bytes did not get to or from a device.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// It was unplugged, or has reset itself.
    #[error("the device is gone")]
    Gone,
    /// It did not send or take anything.
    #[error("the device did not answer within {wait:?}")]
    TimedOut {
        /// How long was waited.
        wait: Duration,
    },
    /// Another process has it.
    #[error(
        "the device at {port} is in use by another process: a stick serves one process at a time"
    )]
    Busy {
        /// Where it is plugged in.
        port: String,
    },
    /// This user may not open it.
    #[error(
        "no permission to open the device at {port}: install the udev rules with `cargo xtask udev --install` and plug the stick in again"
    )]
    Permission {
        /// Where it is plugged in.
        port: String,
    },
    /// It has other interfaces or endpoints than sticks have.
    #[error("the device at {port} has no bulk endpoints 0x01 and 0x81 in its first interface")]
    Endpoints {
        /// Where it is plugged in.
        port: String,
    },
    /// What is recorded is something else.
    #[error("transfer {index} differs from the recording: {reason}")]
    NotAsRecorded {
        /// Which transfer to the device, counted from 0.
        index: usize,
        /// What differs.
        reason: &'static str,
    },
    /// Whatever answers on the socket is no `myriad-emu`.
    #[error("what answers at {address} is no emulated device")]
    NoEmulator {
        /// Where.
        address: String,
    },
    /// The system says no.
    #[error("input or output failed: {0}")]
    Io(Arc<std::io::Error>),
}

impl From<std::io::Error> for TransportError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
        };
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
                Self::Gone
            }
            _ => Self::Io(Arc::new(error)),
        }
    }
}
