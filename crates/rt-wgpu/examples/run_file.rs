//! Times `.embdl` files on the adapter that the runtime takes, and compares their results with the reference's:
//! `cargo run --release -p rt-wgpu --example run_file -- MODEL...`

use core::error::Error;
use std::time::Instant;

use embdl_core::format::{self, Limits};
use embdl_core::kernels::Reference;
use embdl_core::model::Model;
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError, Session};
use embdl_core::tensor::{DType, TensorMut, TensorRef};
use rt_wgpu::Wgpu;

/// Runs that are timed.
const RUNS: usize = 9;

/// Scores as floats, whatever they are.
type Scores = Vec<f32>;

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Wgpu::detect()?;
    let kind = if gpu.is_software() { "software Vulkan: no time of a GPU" } else { "a GPU" };
    eprintln!("{}: {kind}", gpu.adapter());
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let model = format::read(&bytes, &Limits::default())?;
        let start = Instant::now();
        let mut session = gpu.load(&model, &LoadOptions::default())?;
        let load_ms = milliseconds(start);
        let (scores, times_ms) = run(&mut *session, RUNS)?;
        let (reference, reference_ms) = reference(&model)?;
        let largest = reference.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let pairs = scores.iter().zip(&reference);
        let off = pairs.fold(0.0_f32, |off, (x, y)| off.max((x - y).abs()));
        eprintln!(
            "{path}: load {load_ms:.0} ms, run {:.2} ms (median of {RUNS}, {:.2} to {:.2}), reference {reference_ms:.2} ms, \
             off by {off:e} of {largest:e}, {} bytes of weights",
            times_ms[RUNS / 2],
            times_ms[0],
            times_ms[RUNS - 1],
            session.memory().weight_bytes,
        );
    }
    Ok(())
}

fn reference(model: &Model<'_>) -> Result<(Scores, f64), RuntimeError> {
    let mut session = Reference::runtime().load(model, &LoadOptions::default())?;
    let (scores, times) = run(&mut *session, 1)?;
    Ok((scores, times[0]))
}

/// The scores of the first result, and the times of so many runs after one that is not counted, ascending.
fn run(session: &mut dyn Session, runs: usize) -> Result<(Scores, Vec<f64>), RuntimeError> {
    let kind = session.inputs()[0].kind;
    let result = session.outputs()[0].kind;
    // Noise of a linear congruential generator.
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let levels: Vec<u8> = (0..kind.shape.len()).map(|_| byte()).collect();
    let floats: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 255.0).collect();
    let input =
        if kind.dtype == DType::F32 { TensorRef::F32(&floats) } else { TensorRef::U8(&levels) };
    let len = result.shape.len();
    let (mut scores, mut bytes, mut sums) = (vec![0.0; len], vec![0; len], vec![0; len]);
    let mut times = Vec::with_capacity(runs);
    for at in 0..=runs {
        let output = match result.dtype {
            DType::F32 => TensorMut::F32(&mut scores),
            DType::I32 => TensorMut::I32(&mut sums),
            _ => TensorMut::U8(&mut bytes),
        };
        let start = Instant::now();
        session.run(&[input], &mut [output])?;
        if at > 0 {
            times.push(milliseconds(start));
        }
    }
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "scores are compared with each other only")]
    match result.dtype {
        DType::F32 => {}
        DType::I32 => scores = sums.iter().map(|&sum| sum as f32).collect(),
        _ => scores = bytes.iter().map(|&byte| f32::from(byte)).collect(),
    }
    Ok((scores, times))
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
