//! A loaded model: one command buffer a run, memory that is there already.

use std::sync::Arc;

use embdl_core::exec::check_tensors;
use embdl_core::runtime::{MemoryUse, Profile, RuntimeError, Session, TensorSpec};
use embdl_core::tensor::{TensorMut, TensorRef};
use wgpu::{
    BindGroup, Buffer, CommandEncoder, CommandEncoderDescriptor, ComputePassDescriptor,
    ComputePassTimestampWrites, ComputePipeline,
};

use crate::gpu::Gpu;
use crate::timer::Timer;

/// One dispatch, ready to run.
pub(crate) struct Step {
    /// The node that it belongs to.
    pub(crate) node: usize,
    pub(crate) pipeline: ComputePipeline,
    pub(crate) bind_group: BindGroup,
    pub(crate) grid: [u32; 3],
}

/// Where a result lies, in bytes.
pub(crate) struct Output {
    pub(crate) arena: usize,
    /// In the buffer that the host reads.
    pub(crate) staging: usize,
    /// Whole words.
    pub(crate) len: usize,
}

/// Session of a GPU.
pub(crate) struct WgpuSession {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) arena: Buffer,
    pub(crate) readback: Buffer,
    pub(crate) steps: Vec<Step>,
    pub(crate) input_places: Vec<usize>,
    pub(crate) input_specs: Vec<TensorSpec>,
    pub(crate) output_specs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) clock: Option<fn() -> u64>,
    /// The device's own clock, where a profile is wanted and it has one.
    pub(crate) timer: Option<Timer>,
    pub(crate) profile: Option<Profile>,
    pub(crate) memory: MemoryUse,
}

impl Session for WgpuSession {
    fn inputs(&self) -> &[TensorSpec] {
        &self.input_specs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.output_specs
    }

    fn run(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<(), RuntimeError> {
        check_tensors([&self.input_specs, &self.output_specs], inputs, outputs)?;
        let gpu = Arc::clone(&self.gpu);
        gpu.guarded("running", || {
            for (input, &place) in inputs.iter().zip(&self.input_places) {
                self.write(input.bytes(), place);
            }
            if let Some(timer) = &self.timer {
                self.submit(|encoder| {
                    timer.encode(encoder, &self.steps);
                    self.encode_readback(encoder);
                });
            } else if let Some(clock) = self.clock {
                self.run_node_by_node(clock)?;
            } else {
                self.submit(|encoder| {
                    encode(encoder, &self.steps, None);
                    self.encode_readback(encoder);
                });
            }
            self.read(outputs)?;
            if let (Some(timer), Some(profile)) = (&self.timer, &mut self.profile) {
                timer.read(&self.gpu, profile)?;
            }
            Ok(())
        })?
    }

    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    fn memory(&self) -> MemoryUse {
        self.memory
    }
}

impl WgpuSession {
    /// Writes an input into the arena, in whole words.
    fn write(&self, bytes: &[u8], place: usize) {
        let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
        if !whole.is_empty() {
            self.gpu.queue.write_buffer(&self.arena, place as u64, whole);
        }
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.gpu.queue.write_buffer(&self.arena, (place + whole.len()) as u64, &word);
        }
    }

    /// Hands a command buffer to the device.
    fn submit(&self, encode: impl FnOnce(&mut CommandEncoder)) {
        let device = &self.gpu.device;
        let mut encoder = device.create_command_encoder(&CommandEncoderDescriptor::default());
        encode(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
    }

    fn encode_readback(&self, encoder: &mut CommandEncoder) {
        for &Output { arena, staging, len } in &self.outputs {
            let (from, to) = (arena as u64, staging as u64);
            encoder.copy_buffer_to_buffer(&self.arena, from, &self.readback, to, len as u64);
        }
    }

    /// Submits the nodes one by one and waits for each: what it takes to know their times on a device without a clock.
    fn run_node_by_node(&mut self, clock: fn() -> u64) -> Result<(), RuntimeError> {
        // What was written goes first and is nobody's time.
        self.submit(|_| ());
        self.gpu.wait()?;
        let mut at = 0;
        let nodes = self.profile.as_ref().map_or(0, |profile| profile.nodes.len());
        for node in 0..nodes {
            let len = self.steps[at..].iter().take_while(|step| step.node == node).count();
            let start = clock();
            if len > 0 {
                self.submit(|encoder| encode(encoder, &self.steps[at..at + len], None));
                self.gpu.wait()?;
            }
            let nanoseconds = clock().saturating_sub(start);
            at += len;
            if let Some(profile) = &mut self.profile {
                profile.nodes[node].nanoseconds = nanoseconds;
            }
        }
        self.submit(|encoder| self.encode_readback(encoder));
        Ok(())
    }

    /// Waits for the results and copies them out.
    fn read(&self, outputs: &mut [TensorMut<'_>]) -> Result<(), RuntimeError> {
        self.gpu.read(&self.readback, |view| {
            for (output, place) in outputs.iter_mut().zip(&self.outputs) {
                let bytes = output.bytes_mut();
                bytes.copy_from_slice(&view[place.staging..][..bytes.len()]);
            }
        })
    }
}

/// One compute pass of these steps, with the device's time before and after if it is asked for.
pub(crate) fn encode(
    encoder: &mut CommandEncoder,
    steps: &[Step],
    timestamp_writes: Option<ComputePassTimestampWrites<'_>>,
) {
    let descriptor = ComputePassDescriptor { label: None, timestamp_writes };
    let mut pass = encoder.begin_compute_pass(&descriptor);
    for step in steps {
        pass.set_pipeline(&step.pipeline);
        pass.set_bind_group(0, &step.bind_group, &[]);
        let [x, y, z] = step.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}
