//! The loop as one resumable run: train, compress, retrain, retest, report.
//! Never chooses anything by the test set, and never reports a number without saying what measured it.
#![forbid(unsafe_code)]

mod error;
pub mod layers;
pub mod pipeline;
pub mod progress;
pub mod recipe;
pub mod record;
pub mod report;
pub mod retest;
mod state;
mod target;
mod training;

pub use error::FlowError;
pub use target::{Target, UnknownTarget};
