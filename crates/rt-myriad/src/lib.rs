//! The host bridge of the Movidius MA2450: transports, protocol, graph compiler, and a device in software. Never bundles firmware.
#![deny(unsafe_code)]

pub mod blob;
pub mod bonnet;
mod boot;
pub mod compile;
mod device;
pub mod emulator;
mod error;
mod firmware;
pub mod half;
mod lock;
pub mod protocol;
mod runtime;
mod session;
pub mod transport;

pub use boot::Deadlines;
pub use device::{Device, Graph};
pub use error::MyriadError;
pub use firmware::{Firmware, FirmwareError};
pub use runtime::{Choice, ISA, Myriad, NAME, VARIABLE};
pub use session::MyriadSession;
