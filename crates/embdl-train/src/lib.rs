//! Training and retraining of any graph on Burn, under constraints. Never contains code for one model.
//!
//! | subject | module |
//! |---|---|
//! | settings of a training | [`TrainConfig`], [`Schedule`], [`OptimizerConfig`] |
//! | the loop, its hooks, its checkpoints | [`train`], [`TrainHooks`], [`Checkpoints`] |
//! | accuracy, logits, activations | [`evaluate`], [`logits`], [`activations`] |
//! | masks, centroids, integer levels | [`constraint`] |
//! | where operators run | [`Device`] |
//!
//! One interpreter runs the graph on Burn's tape, on any backend of Burn. On the CPU the operators are our own: flat f32
//! slices, NHWC, cut into parts for all cores in a way that no number of threads changes a result.
//!
//! ```
//! use embdl_data::synthetic::{Lengths, split};
//! use embdl_train::{Device, Run, TrainConfig, evaluate, train};
//!
//! let data = split(Lengths { train: 256, validation: 64, test: 64 }, 1);
//! let mut graph = embdl_graph::zoo::lenet300(1);
//! let run = Run {
//!     train: &data.train,
//!     validation: &data.validation,
//!     teacher: None,
//!     checkpoints: None,
//!     threads: None,
//!     device: Device::Cpu,
//! };
//! let config = TrainConfig { epochs: 2, ..TrainConfig::default() };
//! let report = train(&mut graph, &run, &config, &mut ())?;
//! assert_eq!(report.epochs.len(), 2);
//! let found = evaluate(&graph, &data.validation)?;
//! assert_eq!(found.accuracy, report.epochs[1].validation_accuracy);
//! # Ok::<(), embdl_train::TrainError>(())
//! ```
#![forbid(unsafe_code)]

mod checkpoint;
mod config;
pub mod constraint;
mod cpu;
mod device;
mod error;
mod evaluate;
#[cfg(test)]
mod gradient_tests;
mod hooks;
mod kernels;
mod network;
mod operators;
mod optimizer;
mod schedule;
mod storage;
mod train;
mod update;

pub use checkpoint::Checkpoints;
pub use config::{Distillation, OptimizerConfig, TrainConfig};
pub use device::Device;
pub use error::{CheckpointError, TrainError};
pub use evaluate::{Evaluation, activations, evaluate, evaluate_on, logits};
pub use hooks::{EpochReport, HookError, Progress, TrainHooks};
pub use optimizer::Moments;
pub use schedule::Schedule;
pub use train::{Run, TrainReport, train};
