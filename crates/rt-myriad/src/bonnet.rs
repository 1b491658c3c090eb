//! The AIY Vision Bonnet: the same chip beside a Raspberry Pi Zero, with firmware of its own that speaks protobuf messages and runs
//! models of its vendor's compiler alone. Neither blobs nor graphs of this crate run there: the client passes models through.
//!
//! Source: the Apache-2.0 Python client of the vendor; of the kernel driver, facts alone. Not yet run with a bonnet: none was at hand.

mod emulator;
mod messages;
#[cfg(target_os = "linux")]
mod spi;
mod tcp;
mod wire;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

pub use emulator::EmulatedBonnet;
pub use messages::{
    ByteTensor, FirmwareInfo, FloatTensor, Inference, InferenceState, Model, Request, Response,
    SystemInfo, TensorShape,
};
#[cfg(target_os = "linux")]
pub use spi::{DEVICE, Spi};
pub use tcp::{ADDRESS, Tcp};
pub use wire::WireError;

/// The version of firmware that the messages are of: another major one is refused.
const FIRMWARE: [i32; 2] = [1, 2];
/// No message is larger.
const MAX_MESSAGE: usize = 12 << 20;

/// Why a bonnet does not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BonnetError {
    /// It cannot be opened, or bytes do not get through.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It did not answer.
    #[error("the bonnet did not answer within {wait:?}")]
    TimedOut {
        /// How long was waited.
        wait: Duration,
    },
    /// A message is larger than there is room for.
    #[error("a message of {len} bytes, {allowed} fit")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// Bytes that fit.
        allowed: usize,
    },
    /// The driver says that something failed.
    #[error("the driver of the bonnet failed, flags {flags:#x}")]
    Driver {
        /// Its flags.
        flags: u32,
    },
    /// What it answers is no message.
    #[error("the bonnet answers something else: {0}")]
    Message(#[from] WireError),
    /// It says that it failed.
    #[error("the bonnet refused {what}: {message}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// What it says.
        message: String,
    },
    /// Its answer is to another question.
    #[error("the bonnet's answer to {what} has no {missing}")]
    Incomplete {
        /// What was asked for.
        what: &'static str,
        /// What is not in the answer.
        missing: &'static str,
    },
    /// Its firmware speaks other messages.
    #[error("firmware {}.{} of the bonnet, this client speaks with {}.{}", .found[0], .found[1], FIRMWARE[0], FIRMWARE[1])]
    Firmware {
        /// Major and minor version.
        found: [i32; 2],
    },
}

impl BonnetError {
    pub(crate) fn io(what: &'static str, source: std::io::Error) -> Self {
        Self::Io { what, source: Arc::new(source) }
    }
}

/// A way to a bonnet: a request out, its answer back.
pub trait Exchange: Send {
    /// Sends the bytes of a request and gives those of its answer.
    ///
    /// # Errors
    /// If they do not get through in time.
    fn exchange(&mut self, request: &[u8], wait: Duration) -> Result<Vec<u8>, BonnetError>;
}

/// A bonnet.
pub struct Bonnet {
    link: Box<dyn Exchange>,
}

impl fmt::Debug for Bonnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bonnet").finish_non_exhaustive()
    }
}

impl Bonnet {
    /// The bonnet at the end of a link, once its firmware has said that it speaks the same messages.
    ///
    /// # Errors
    /// If it does not answer, or has firmware of another major version.
    pub fn open(link: Box<dyn Exchange>) -> Result<Self, BonnetError> {
        let mut bonnet = Self { link };
        let FirmwareInfo { major, minor } = bonnet.firmware()?;
        if major != FIRMWARE[0] {
            return Err(BonnetError::Firmware { found: [major, minor] });
        }
        if minor != FIRMWARE[1] {
            tracing::warn!(major, minor, "the bonnet's firmware is of another minor version");
        }
        Ok(bonnet)
    }

    /// The version of its firmware.
    ///
    /// # Errors
    /// If it does not say so.
    pub fn firmware(&mut self) -> Result<FirmwareInfo, BonnetError> {
        let what = "its version";
        let missing = BonnetError::Incomplete { what, missing: "version" };
        self.ask(what, &Request::FirmwareInfo)?.firmware.ok_or(missing)
    }

    /// How long it has been running, and its temperature.
    ///
    /// # Errors
    /// If it does not say so.
    pub fn system(&mut self) -> Result<SystemInfo, BonnetError> {
        let what = "its state";
        let missing = BonnetError::Incomplete { what, missing: "state" };
        self.ask(what, &Request::SystemInfo)?.system.ok_or(missing)
    }

    /// Which models it has.
    ///
    /// # Errors
    /// If it does not say so.
    pub fn models(&mut self) -> Result<InferenceState, BonnetError> {
        let what = "its models";
        let missing = BonnetError::Incomplete { what, missing: "list of models" };
        self.ask(what, &Request::InferenceState)?.state.ok_or(missing)
    }

    /// Puts a model on it, whose graph the vendor's compiler has made.
    ///
    /// # Errors
    /// If it does not take it.
    pub fn load(&mut self, model: Model) -> Result<(), BonnetError> {
        self.ask("a model", &Request::LoadModel(model)).map(|_| ())
    }

    /// Takes a model away.
    ///
    /// # Errors
    /// If it has none of that name.
    pub fn unload(&mut self, name: &str) -> Result<(), BonnetError> {
        self.ask("to unload a model", &Request::UnloadModel(name.into())).map(|_| ())
    }

    /// Runs a model on a picture: three planes of bytes, red first, one plane of grey, or a JPEG with height and width 0.
    ///
    /// # Errors
    /// If it has no such model, or does not take the picture.
    pub fn infer(&mut self, model: &str, picture: ByteTensor) -> Result<Inference, BonnetError> {
        let what = "an inference";
        let missing = BonnetError::Incomplete { what, missing: "result" };
        let request = Request::ImageInference { model: model.into(), tensor: picture };
        self.ask(what, &request)?.inference.ok_or(missing)
    }

    /// Stops everything and takes all models away.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn reset(&mut self) -> Result<(), BonnetError> {
        self.ask("to reset", &Request::Reset).map(|_| ())
    }

    fn ask(&mut self, what: &'static str, request: &Request) -> Result<Response, BonnetError> {
        let bytes = request.encode();
        if bytes.len() > MAX_MESSAGE {
            return Err(BonnetError::TooLarge { len: bytes.len(), allowed: MAX_MESSAGE });
        }
        // As the vendor's client waits: five seconds, and three for each megabyte.
        let megabytes = u64::try_from(bytes.len() >> 20).unwrap_or(u64::MAX);
        let wait = Duration::from_secs(megabytes.saturating_mul(3).max(5));
        let response = Response::decode(&self.link.exchange(&bytes, wait)?)?;
        match response.error {
            Some(message) => Err(BonnetError::Refused { what, message }),
            None => Ok(response),
        }
    }
}
