//! The compression passes: prune, share, quantize, encode, each reporting what it cost and won.
//! Never trains (that is embdl-train), and never hands out a file that grew.
#![forbid(unsafe_code)]

mod calibrate;
mod error;
mod glob;
mod lift;
mod lower;
mod pass;
pub mod passes;
mod sensitivity;

pub use calibrate::{Calibration, Observer};
pub use error::CompressError;
pub use lift::{LiftError, lift};
pub use lower::{EncodeOptions, Encoded, encode};
pub use pass::{LayerReport, Pass, PassReport};
pub use sensitivity::{Sensitivity, SensitivityPoint, sensitivity};
