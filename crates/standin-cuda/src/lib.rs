//! A CUDA driver without a GPU, for tests: the functions of CUDA 10.2 and no others. Never shipped, and never a measure of time.
//!
//! It is our model of that driver, not evidence of how a real one behaves. What it holds against a caller: attributes and
//! functions that 10.2 lacks, PTX beyond version 6.5 or the chip, calls without a current context, copies and kernels outside of
//! what is allocated, handles that were given back, and results that are read before the stream was waited for: nothing happens
//! on a stream until then. Kernels run in an interpreter of their PTX.

mod api;
mod control;
mod names;
mod settings;
mod state;
mod work;

pub use control::Standin;
pub use settings::Settings;
