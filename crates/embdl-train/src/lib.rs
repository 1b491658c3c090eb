//! Training and retraining of any graph on Burn, under constraints. Never contains code for one model.
#![forbid(unsafe_code)]

mod config;
pub mod constraint;
mod optimizer;
mod schedule;

pub use config::{Distillation, OptimizerConfig, TrainConfig};
pub use optimizer::Moments;
pub use schedule::Schedule;
