//! Measures whole training steps: `throughput [network] [threads] [steps] [batch] [device]`.
//!
//! Network is any of the zoo, by default `lenet-5`. Its images are rendered ones; what they show does not change the work.
//! Prints images a second, by the median step and over all steps, and images for each second of CPU time, which other
//! programs on the machine disturb least. `xtask/peers/training.py` runs it in turns with PyTorch.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::time::Instant;

use embdl_data::synthetic::{Lengths, colour_split, split};
use embdl_graph::{Graph, zoo};
use embdl_train::{Device, HookError, Run, TrainConfig, TrainHooks, train};

/// Steps before the first that counts: caches, pages and the device's kernels.
const WARM_UP: usize = 10;

/// Notes when each step begins, in wall time and in ticks of the process.
#[derive(Default)]
struct Clock(Vec<(Instant, Option<f64>)>);

impl TrainHooks for Clock {
    fn on_step(&mut self, _: usize, _: usize, _: &mut Graph) -> Result<bool, HookError> {
        self.0.push((Instant::now(), cpu_seconds()));
        Ok(false)
    }
}

/// CPU time of this process, where Linux tells: `utime` and `stime` of `proc_pid_stat(5)`, in hundredths.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let name = arguments.first().map_or("lenet-5", String::as_str);
    let mut graph = zoo::by_name(name, 1).ok_or_else(|| format!("the zoo has no {name}"))?;
    let (threads, steps, batch) = (number(1, 1), number(2, 100) + WARM_UP, number(3, 64));
    let device: Device = arguments.get(4).map_or(Ok(Device::Cpu), |text| text.parse())?;
    let lengths = Lengths { train: steps * batch, validation: 16, test: 16 };
    let is_grey = graph.values[graph.inputs[0]].shape.dim(3) == 1;
    let data = if is_grey { split(lengths, 1) } else { colour_split(lengths, 1) };
    let run = Run {
        train: &data.train,
        validation: &data.validation,
        teacher: None,
        checkpoints: None,
        threads: Some(threads),
        device,
    };
    let config = TrainConfig { epochs: 1, batch, learning_rate: 0.005, ..TrainConfig::default() };
    let mut clock = Clock::default();
    let report = train(&mut graph, &run, &config, &mut clock)?;
    let steps = &clock.0[WARM_UP.min(clock.0.len() - 1)..];
    let mut times: Vec<f64> =
        steps.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).collect();
    let (wall, images) = (times.iter().sum::<f64>(), (times.len() * batch) as f64);
    let cpu = steps.last().and_then(|last| Some(last.1? - steps.first()?.1?));
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).ok_or("too few steps to measure")?;
    println!(
        "{name} batch {batch} threads {threads} device {device} loss {:.3}: median {:.0} mean {:.0} cpu {:.0} images/s",
        report.epochs[0].loss,
        batch as f64 / median,
        images / wall,
        cpu.map_or(f64::NAN, |cpu| images / cpu),
    );
    Ok(())
}
