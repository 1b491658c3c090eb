//! The timing and retest protocol, and the small runner that goes to a board.
//! Never reports a number without its provenance: runtime, instruction set, machine, emulated or not.
#![forbid(unsafe_code)]

mod answer;
#[cfg(test)]
mod fixture;
mod image;
mod machine;
mod output;
mod retest;
mod runtimes;
mod serve;
mod slots;
mod timing;
mod tune;
mod tuning;

pub use embdl_threads::stay_on_fast_cores;

pub use answer::{Answer, WrongAnswer, answer};
pub use image::Input;
pub use machine::{Machine, cpu_nanoseconds, nanoseconds, peak_rss_bytes};
pub use output::Output;
pub use retest::{BenchError, Prediction, RetestReport, classify, predict, retest};
pub use runtimes::{NoSuchRuntime, RuntimeChoice, choices, chosen, open};
pub use serve::{Clock, Greeting, Times, serve};
pub use slots::{Version, check, install, roll_back};
pub use timing::{NodeTime, TimingReport, time};
pub use tune::{Changed, TuneReport, tune};
pub use tuning::{FileTuner, Tune, Uses};
