//! A device in software: boot ROM, firmware and chip of a Neural Compute Stick, as far as the vendor's open sources tell how they
//! behave. It answers on any transport, runs blobs that its own reader has checked, and models time, power and heat.

mod app;
mod config;
mod execute;
mod kernels;
mod model;
mod pointwise;
mod stick;
mod tensor;

pub use config::{DeviceFaults, EmulatorConfig, ExpectedFirmware};
pub use execute::{Arithmetic, ExecuteError, Program};
pub use model::{Cost, CostModel, Thermal, costs, steady, total};
pub use stick::Stick;
