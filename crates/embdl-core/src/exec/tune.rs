//! Chooses among ways to compute a node by measuring them, or by what was measured before.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::memory::{Arena, Readable};
use super::session::Step;
use super::work::{Machine, Work};
use crate::plan::Place;
use crate::runtime::{RuntimeError, Tuner};
use crate::tensor::{DType, TensorRef, ValueType};

/// Bytes that are read between two runs, as the other layers of a network would: what a second-level cache keeps.
const BETWEEN_BYTES: usize = 4 << 20;
/// Runs of each candidate; the fastest counts.
const RUNS: usize = 5;

/// A way to compute a node.
pub(super) struct Candidate<'a> {
    /// Name of the kernel.
    pub(super) name: &'static str,
    /// The estimate, in a unit that candidates share.
    pub(super) cost: f32,
    /// Whether factors are by this one's time.
    pub(super) is_usual: bool,
    /// Makes the work; `None` if the weights do not suit the way after all.
    pub(super) build: &'a dyn Fn() -> Result<Option<Work>, RuntimeError>,
}

/// What a node reads and writes.
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub(super) input: ValueType,
    /// Bytes of the result, gaps between its rows included.
    pub(super) output_bytes: usize,
    /// Bytes of scratch that every candidate can do with.
    pub(super) scratch_bytes: usize,
}

/// The work of the candidate that `tuner` knows to be the fastest for `problem`, or that is found to be it now.
///
/// # Errors
/// Those of the candidates.
pub(super) fn fastest(
    tuner: &dyn Tuner,
    problem: &str,
    candidates: &[Candidate<'_>],
    machine: Machine<'_>,
    values: Values,
) -> Result<Option<Work>, RuntimeError> {
    if let Some(known) = tuner.known(problem)
        && let Some(candidate) = candidates.iter().find(|candidate| candidate.name == known)
        && let Some(work) = (candidate.build)()?
    {
        return Ok(Some(work));
    }
    let mut best: Option<(u64, &'static str, Work)> = None;
    let mut times = Vec::new();
    for candidate in candidates {
        let Some(work) = (candidate.build)()? else { continue };
        let (time_ns, work) = measure(tuner, work, machine, values);
        times.push((candidate, time_ns));
        if best.as_ref().is_none_or(|(fastest, ..)| time_ns < *fastest) {
            best = Some((time_ns, candidate.name, work));
        }
    }
    if let Some(usual) = times.iter().find(|(candidate, _)| candidate.is_usual) {
        for measured in times.iter().filter(|(candidate, _)| !candidate.is_usual) {
            if let Some(factor) = factor(measured, usual) {
                tuner.observe(measured.0.name, factor);
            }
        }
    }
    Ok(best.map(|(_, name, work)| {
        tuner.learn(problem, name);
        work
    }))
}

/// How much longer one took beside the usual one than the estimates of both say; `None` where the clock is too coarse.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn factor(measured: &(&Candidate<'_>, u64), usual: &(&Candidate<'_>, u64)) -> Option<f32> {
    let ((candidate, time), (usual, usual_time)) = (measured, usual);
    let factor = (*time as f32 / *usual_time as f32) * (usual.cost / candidate.cost);
    (factor.is_finite() && factor > 0.0).then_some(factor)
}

/// The shortest run of `work` on some input, and the work.
fn measure(tuner: &dyn Tuner, work: Work, machine: Machine<'_>, values: Values) -> (u64, Work) {
    let len = values.input.shape.len();
    let (floats, levels): (Vec<f32>, Vec<u8>) = match values.input.dtype {
        DType::F32 => (vec![0.5; len], Vec::new()),
        _ => (Vec::new(), vec![100; len]),
    };
    let input = match values.input.dtype {
        DType::F32 => TensorRef::F32(&floats),
        _ => TensorRef::U8(&levels),
    };
    let inputs = [input];
    let readable = Readable::all(&[], &inputs);
    let mut out = Arena::new(values.output_bytes);
    let mut scratch = Arena::new(values.scratch_bytes);
    let output = Place::Arena(0..values.output_bytes);
    let inputs_of = vec![Place::Input(0)];
    let step = Step { work, inputs: inputs_of, output, in_place: None, is_shared: true };
    let between = vec![1_u8; BETWEEN_BYTES];
    let mut shortest = u64::MAX;
    for _ in 0..RUNS {
        let touched = between.iter().step_by(64).map(|&byte| u64::from(byte)).sum::<u64>();
        core::hint::black_box(touched);
        let start = tuner.now_ns();
        step.work.run(&step, machine, &readable, out.bytes_mut(), scratch.bytes_mut());
        shortest = shortest.min(tuner.now_ns().saturating_sub(start));
    }
    (shortest, step.work)
}

/// The problem of a convolution in words: what a choice is remembered by.
pub(super) fn describe(problem: &crate::kernels::ConvProblem, isa: &str, what: &str) -> String {
    let geometry = &problem.geometry;
    let [h, w, c] = geometry.input;
    let ([kh, kw], [sh, sw], [dh, dw]) = (geometry.kernel, geometry.stride, geometry.dilation);
    let ([top, left], [bottom, right]) = (geometry.pad_before, geometry.pad_after);
    alloc::format!(
        "{isa} {what} {h}x{w}x{c} k{kh}x{kw} s{sh}x{sw} d{dh}x{dw} p{top},{left},{bottom},{right} g{} n{}/{} density {:.2} blocks {:.2} most {} threads {}",
        problem.groups,
        problem.n,
        problem.out_stride,
        problem.density,
        problem.blocks,
        problem.max_abs,
        problem.threads
    )
}

/// The problem of a dense layer in words.
pub(super) fn describe_rows(
    problem: &crate::kernels::RowsProblem,
    isa: &str,
    threads: usize,
) -> String {
    let crate::kernels::RowsProblem { m, n, k, density, blocks, quantized, max_abs } = *problem;
    let what = if quantized { "dense q8" } else { "dense f32" };
    alloc::format!(
        "{isa} {what} {m}x{k} n{n} density {density:.2} blocks {blocks:.2} most {max_abs} threads {threads}"
    )
}
