//! A model on sticks: samples shared out to all of them, two inferences under way on each.

use embdl_core::exec;
use embdl_core::model::{Model, ValueId};
use embdl_core::runtime::{
    LoadOptions, MemoryUse, NodeProfile, Profile, RuntimeError, Session, TensorSpec,
};
use embdl_core::tensor::{TensorMut, TensorRef, ValueType};

use crate::compile::Compiled;
use crate::device::Graph;
use crate::error::MyriadError;
use crate::half;

/// Inferences under way on one stick: while one runs, the next input is on its way.
const UNDER_WAY: usize = 2;

/// A model on sticks.
#[derive(Debug)]
pub struct MyriadSession {
    graphs: Vec<Graph>,
    batch: usize,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// Where each input and output starts in the buffer of all, in bytes.
    input_offsets: Vec<usize>,
    output_offsets: Vec<usize>,
    bytes: [usize; 2],
    /// The node of each stage.
    stage_nodes: Vec<Option<usize>>,
    profile: Option<Profile>,
    memory: MemoryUse,
}

impl MyriadSession {
    pub(crate) fn new(
        model: &Model<'_>,
        compiled: &Compiled,
        options: &LoadOptions,
        graphs: Vec<Graph>,
    ) -> Self {
        let specs = |values: &[ValueId]| {
            let spec = |&value: &ValueId| {
                let value = &model.values[value];
                let shape = value.kind.shape.with_batch(options.batch);
                TensorSpec { name: value.name.clone(), kind: ValueType { shape, ..value.kind } }
            };
            values.iter().map(spec).collect()
        };
        let blob = &compiled.blob;
        let offsets = |list: &[crate::blob::Io]| list.iter().map(|io| io.offset as usize).collect();
        Self {
            graphs,
            batch: options.batch,
            inputs: specs(&model.inputs),
            outputs: specs(&model.outputs),
            input_offsets: offsets(&blob.inputs),
            output_offsets: offsets(&blob.outputs),
            bytes: [blob.inputs_bytes as usize, blob.outputs_bytes as usize],
            stage_nodes: compiled.nodes.clone(),
            profile: options.clock.map(|_| profile(model, compiled)),
            memory: MemoryUse {
                weight_bytes: blob.constants.len(),
                arena_bytes: blob.bss_bytes as usize,
                arena_lower_bound_bytes: blob.bss_bytes as usize,
                scratch_bytes: 0,
            },
        }
    }

    /// The graphs, one a stick.
    #[must_use]
    pub fn graphs(&self) -> &[Graph] {
        &self.graphs
    }

    /// Sample `at` of all inputs as the stick takes them.
    fn input(&self, inputs: &[TensorRef<'_>], at: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes[0]];
        for (input, &offset) in inputs.iter().zip(&self.input_offsets) {
            let TensorRef::F32(data) = input else { continue };
            let len = data.len() / self.batch;
            let slots = bytes[offset..].chunks_exact_mut(2);
            for (slot, &value) in slots.zip(&data[at * len..][..len]) {
                slot.copy_from_slice(&half::from_f32(value).to_le_bytes());
            }
        }
        bytes
    }

    /// Puts a result of the stick into sample `at` of all outputs.
    fn output(&self, result: &[u8], outputs: &mut [TensorMut<'_>], at: usize) {
        for (output, &offset) in outputs.iter_mut().zip(&self.output_offsets) {
            let TensorMut::F32(data) = output else { continue };
            let len = data.len() / self.batch;
            let values = half::floats(&result[offset..]);
            data[at * len..][..len].iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
        }
    }

    fn infer(
        &self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<(), MyriadError> {
        let sticks = self.graphs.len();
        let ahead = UNDER_WAY * sticks;
        for at in 0..self.batch + ahead {
            // The oldest first: then there is room for another on its stick.
            if let Some(oldest) = at.checked_sub(ahead).filter(|&oldest| oldest < self.batch) {
                let result = self.graphs[oldest % sticks].result()?;
                if result.len() != self.bytes[1] {
                    let bytes = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
                    return Err(MyriadError::OtherGraph {
                        what: "outputs",
                        expected: bytes(self.bytes[1]),
                        found: bytes(result.len()),
                    });
                }
                self.output(&result, outputs, oldest);
            }
            if at < self.batch {
                self.graphs[at % sticks].submit(self.input(inputs, at))?;
            }
        }
        Ok(())
    }

    /// What the stages of each node took, by the stick that was the first to run.
    fn measure(&mut self) -> Result<(), MyriadError> {
        let Some(profile) = &mut self.profile else { return Ok(()) };
        let times = self.graphs[0].stage_times()?;
        profile.nodes.iter_mut().for_each(|node| node.nanoseconds = 0);
        for (&time, node) in times.iter().zip(&self.stage_nodes) {
            let Some(node) = node.and_then(|node| profile.nodes.get_mut(node)) else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            #[expect(clippy::cast_sign_loss, reason = "`as` saturates")]
            {
                node.nanoseconds += (f64::from(time) * 1e6) as u64;
            }
        }
        Ok(())
    }
}

impl Session for MyriadSession {
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
        exec::check_tensors([&self.inputs, &self.outputs], inputs, outputs)?;
        self.infer(inputs, outputs)?;
        self.measure()?;
        Ok(())
    }

    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    fn memory(&self) -> MemoryUse {
        self.memory
    }
}

/// A profile without times: operators, the stage that does most of each node, bytes.
fn profile(model: &Model<'_>, compiled: &Compiled) -> Profile {
    let node = |(index, node): (usize, &embdl_core::model::Node)| {
        let stages = compiled.nodes.iter().zip(&compiled.blob.stages);
        let stages = stages.filter(|(of, _)| **of == Some(index)).map(|(_, stage)| stage);
        let bytes = |stage: &crate::blob::Stage| -> u64 {
            let tensors = stage.buffers.iter().take(3);
            tensors.filter_map(|tensor| tensor.desc.len()).map(|len| 2 * len as u64).sum()
        };
        let weight = node.weight.map(|id| model.tensors[id].shape);
        NodeProfile {
            name: node.name.clone(),
            op: node.op.name(),
            kernel: stages
                .clone()
                .max_by_key(|stage| bytes(stage))
                .and_then(|stage| stage.kind.name())
                .unwrap_or("none"),
            nanoseconds: 0,
            macs: node.op.macs(model.values[node.output].kind.shape, weight),
            bytes: stages.map(bytes).sum(),
        }
    };
    Profile { nodes: model.nodes.iter().enumerate().map(node).collect() }
}
