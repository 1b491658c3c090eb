//! tract behind the protocol of `embdl-runner serve`.
//! Prints a line of JSON about itself, then answers each line of its input, a number of runs, with their times.
#![forbid(unsafe_code)]

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, threads] = &arguments[..] else { bail!("expected MODEL.onnx THREADS") };
    if threads != "1" {
        bail!("its threads are not measured");
    }
    let start = Instant::now();
    let mut network = tract_onnx::onnx().model_for_path(path)?;
    let fact = network.input_fact(0)?;
    let dims = fact.shape.dims().map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()));
    let shape: Vec<usize> = dims.map(|dim| dim.unwrap_or(1)).collect();
    network.set_input_fact(0, f32::fact(&shape).into())?;
    let plan = network.into_optimized()?.into_runnable()?;
    let load = start.elapsed().as_nanos();
    // The constants of MINSTD; any noise will do.
    let mut random = 1_u64;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            random = random * 48_271 % 0x7fff_ffff;
            random as f32 / 0x4000_0000 as f32 - 1.0
        })
        .collect();
    let input: TValue = Tensor::from_shape(&shape, &values)?.into();
    let mut state = plan.spawn()?;
    state.run(tvec!(input.clone()))?;
    let mut answers = std::io::stdout().lock();
    let peak = peak_rss().unwrap_or(0);
    writeln!(
        answers,
        "{{\"name\":\"tract\",\"version\":\"0.23.9\",\"load_ns\":{load},\"peak_rss\":{peak},\"features\":[{}]}}",
        features()
    )?;
    for request in std::io::stdin().lock().lines() {
        let runs: usize = request?.trim().parse().context("a number of runs")?;
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            let cpu = cpu_nanoseconds();
            let start = Instant::now();
            state.run(tvec!(input.clone()))?;
            let wall = start.elapsed().as_nanos();
            times.push(wall.min(cpu_nanoseconds() - cpu).to_string());
        }
        writeln!(answers, "{{\"ns\":[{}]}}", times.join(","))?;
        answers.flush()?;
    }
    Ok(())
}

/// CPU time of this process so far.
fn cpu_nanoseconds() -> u128 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Vector extensions beyond SSE4.2 that this process sees.
fn features() -> String {
    let mut seen: Vec<&str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for (name, is_there) in [
        ("\"AVX\"", is_x86_feature_detected!("avx")),
        ("\"FMA3\"", is_x86_feature_detected!("fma")),
        ("\"AVX512F\"", is_x86_feature_detected!("avx512f")),
    ] {
        if is_there {
            seen.push(name);
        }
    }
    seen.join(",")
}
