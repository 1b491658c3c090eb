//! Measures whole training steps on random images: `speed [network] [threads] [steps] [batch]`.
//!
//! Network is `lenet-5` or `lenet-300-100`. Prints images a second, the median over steps.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::time::Instant;

use embdl_data::synthetic::{Lengths, split};
use embdl_graph::{Graph, zoo};
use embdl_train::{Device, HookError, Run, TrainConfig, TrainError, TrainHooks, train};

/// Notes when each step begins.
#[derive(Default)]
struct Clock(Vec<Instant>);

impl TrainHooks for Clock {
    fn on_step(&mut self, _: usize, _: usize, _: &mut Graph) -> Result<bool, HookError> {
        self.0.push(Instant::now());
        Ok(false)
    }
}

fn main() -> Result<(), TrainError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let is_dense = arguments.first().is_some_and(|name| name == "lenet-300-100");
    let mut graph = if is_dense { zoo::lenet300(1) } else { zoo::lenet5(1) };
    let (threads, steps, batch) = (number(1, 1), number(2, 50), number(3, 64));
    let data = split(Lengths { train: steps * batch, validation: 16, test: 16 }, 1);
    let run = Run {
        train: &data.train,
        validation: &data.validation,
        teacher: None,
        checkpoints: None,
        threads: Some(threads),
        device: Device::Cpu,
    };
    let config = TrainConfig { epochs: 1, batch, learning_rate: 0.005, ..TrainConfig::default() };
    let mut clock = Clock::default();
    let report = train(&mut graph, &run, &config, &mut clock)?;
    let mut times: Vec<f64> =
        clock.0.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let rate = |time: f64| batch as f64 / time;
    println!(
        "{} on {threads} threads, batch {batch}: median {:.0} images/s, best {:.0}, loss {:.3}",
        graph.name,
        rate(times[times.len() / 2]),
        rate(times[0]),
        report.epochs[0].loss,
    );
    Ok(())
}
