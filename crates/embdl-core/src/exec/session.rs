//! A loaded model: steps that run one after the other over the arena.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytemuck::cast_slice;

use super::memory::{Arena, Readable};
use super::work::{Machine, Work};
use crate::kernels::{Kernels, OneThread, Parallel};
use crate::plan::Place;
use crate::runtime::{MemoryUse, NodeProfile, Profile, RuntimeError, Session, TensorSpec};
use crate::tensor::{TensorMut, TensorRef};

/// One node, ready to run.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) inputs: Vec<Place>,
    pub(super) output: Place,
    /// The input that the result is written over.
    pub(super) in_place: Option<usize>,
    /// Whether it is worth sharing out to threads.
    pub(super) is_shared: bool,
}

/// Session of a CPU.
pub(super) struct CpuSession {
    pub(super) kernels: Arc<dyn Kernels>,
    pub(super) parallel: Arc<dyn Parallel>,
    pub(super) steps: Vec<Step>,
    pub(super) arena: Arena,
    pub(super) scratch: Arena,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
    pub(super) output_places: Vec<Place>,
    pub(super) clock: Option<fn() -> u64>,
    pub(super) profile: Option<Profile>,
    pub(super) weight_bytes: usize,
    pub(super) arena_lower_bound_bytes: usize,
}

impl Session for CpuSession {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<(), RuntimeError> {
        check_tensors([&self.inputs, &self.outputs], inputs, outputs)?;
        for (index, step) in self.steps.iter().enumerate() {
            let start = self.clock.map(|clock| clock());
            if let Place::Arena(range) = &step.output {
                let (readable, out) =
                    Readable::split(self.arena.bytes_mut(), inputs, range.clone());
                let parallel = if step.is_shared { &*self.parallel } else { &OneThread };
                let machine = Machine { kernels: &*self.kernels, parallel };
                step.work.run(step, machine, &readable, out, self.scratch.bytes_mut());
            }
            if let (Some(clock), Some(start), Some(profile)) =
                (self.clock, start, &mut self.profile)
            {
                profile.nodes[index].nanoseconds = clock().saturating_sub(start);
            }
        }
        let readable = Readable::all(self.arena.bytes(), inputs);
        for (output, place) in outputs.iter_mut().zip(&self.output_places) {
            let bytes = readable.bytes(place);
            match output {
                TensorMut::F32(out) => out.copy_from_slice(cast_slice(bytes)),
                TensorMut::U8(out) => out.copy_from_slice(bytes),
                TensorMut::I32(out) => out.copy_from_slice(cast_slice(bytes)),
            }
        }
        Ok(())
    }

    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse {
            weight_bytes: self.weight_bytes,
            arena_bytes: self.arena.len(),
            arena_lower_bound_bytes: self.arena_lower_bound_bytes,
            scratch_bytes: self.scratch.len(),
        }
    }
}

/// The profile of a node before it has run.
pub(super) const fn unmeasured(
    name: String,
    op: &'static str,
    kernel: &'static str,
    macs: u64,
    bytes: u64,
) -> NodeProfile {
    NodeProfile { name, op, kernel, nanoseconds: 0, macs, bytes }
}

/// Checks what a run was given against the specs of inputs and outputs.
///
/// # Errors
/// If number, element type or length of the tensors differ.
pub fn check_tensors(
    [input_specs, output_specs]: [&[TensorSpec]; 2],
    inputs: &[TensorRef<'_>],
    outputs: &[TensorMut<'_>],
) -> Result<(), RuntimeError> {
    let inputs = inputs.iter().map(|input| (input.dtype(), input.len()));
    check(["inputs", "input"], input_specs, inputs)?;
    let outputs = outputs.iter().map(|output| (output.dtype(), output.len()));
    check(["outputs", "output"], output_specs, outputs)
}

fn check(
    [what, one]: [&'static str; 2],
    specs: &[TensorSpec],
    given: impl ExactSizeIterator<Item = (crate::tensor::DType, usize)>,
) -> Result<(), RuntimeError> {
    if given.len() != specs.len() {
        return Err(RuntimeError::TensorCount { what, expected: specs.len(), found: given.len() });
    }
    for (index, (spec, (found, found_len))) in specs.iter().zip(given).enumerate() {
        let (expected, expected_len) = (spec.kind.dtype, spec.kind.shape.len());
        if (expected, expected_len) != (found, found_len) {
            return Err(RuntimeError::TensorMismatch {
                what: one,
                index,
                expected,
                found,
                expected_len,
                found_len,
            });
        }
    }
    Ok(())
}
