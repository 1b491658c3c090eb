//! A loaded model: a graph, or a list of launches, over memory that is there already.

use std::sync::Arc;

use embdl_core::exec::check_tensors;
use embdl_core::runtime::{MemoryUse, Profile, RuntimeError, Session, TensorSpec};
use embdl_core::tensor::{TensorMut, TensorRef};

use crate::driver::{DeviceMemory, Entered, Event, Graph, Launch, Pinned, Stream};
use crate::gpu::Gpu;
use crate::params::Address;

/// One launch.
#[derive(Debug)]
pub(crate) struct Step {
    /// The node that it belongs to.
    pub(crate) node: usize,
    pub(crate) launch: Launch,
}

/// Bytes of a tensor in pinned memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// How tensors come to the device and back.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) inputs: Vec<Port>,
    /// Where each input is copied to; none where the device reads pinned memory by itself.
    pub(crate) copies: Vec<Address>,
    /// Where each result is copied from, and to.
    pub(crate) results: Vec<(Address, Port)>,
}

/// What a run queues on the stream.
#[derive(Debug)]
struct Work {
    stream: Stream,
    pinned: Pinned,
    steps: Vec<Step>,
    ends: Ends,
}

impl Work {
    /// Queues a whole run.
    fn queue(&self, entered: &Entered<'_>) -> Result<(), RuntimeError> {
        self.queue_inputs(entered)?;
        for step in &self.steps {
            entered.launch(&self.stream, &step.launch)?;
        }
        self.queue_results(entered)
    }

    fn queue_inputs(&self, entered: &Entered<'_>) -> Result<(), RuntimeError> {
        for (port, &to) in self.ends.inputs.iter().zip(&self.ends.copies) {
            if port.len > 0 {
                entered.copy_in(&self.stream, to, (&self.pinned, port.at, port.len))?;
            }
        }
        Ok(())
    }

    fn queue_results(&self, entered: &Entered<'_>) -> Result<(), RuntimeError> {
        for &(from, port) in &self.ends.results {
            if port.len > 0 {
                entered.copy_out(&self.stream, from, (&self.pinned, port.at, port.len))?;
            }
        }
        Ok(())
    }
}

/// Session of a GPU. Fields are given back in this order: what is under way on the stream ends before its memory does.
#[derive(Debug)]
pub(crate) struct JetsonSession {
    graph: Option<Graph>,
    /// One before each node and one behind the last, where a profile is wanted.
    events: Vec<Event>,
    work: Work,
    _on_device: DeviceMemory,
    input_specs: Vec<TensorSpec>,
    output_specs: Vec<TensorSpec>,
    profile: Option<Profile>,
    memory: MemoryUse,
    gpu: Arc<Gpu>,
}

impl JetsonSession {
    /// # Errors
    /// If the device fails.
    pub(crate) fn new(
        gpu: Arc<Gpu>,
        (stream, on_device, pinned): (Stream, DeviceMemory, Pinned),
        (steps, ends, specs): (Vec<Step>, Ends, [Vec<TensorSpec>; 2]),
        profile: Option<Profile>,
        memory: MemoryUse,
    ) -> Result<Self, RuntimeError> {
        let work = Work { stream, pinned, steps, ends };
        let events = match &profile {
            Some(profile) => (0..=profile.nodes.len())
                .map(|_| Event::new(&gpu.device))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let graph = if gpu.launch_list || profile.is_some() {
            None
        } else {
            Graph::capture(&gpu.device, &work.stream, |entered| work.queue(entered))?
        };
        let [input_specs, output_specs] = specs;
        Ok(Self {
            graph,
            events,
            work,
            _on_device: on_device,
            input_specs,
            output_specs,
            profile,
            memory,
            gpu,
        })
    }

    /// Queues the nodes with the time before and after each.
    fn queue_timed(&self, entered: &Entered<'_>) -> Result<(), RuntimeError> {
        let stream = &self.work.stream;
        self.work.queue_inputs(entered)?;
        let mut steps = self.work.steps.iter().peekable();
        for (node, event) in self.events.iter().enumerate() {
            entered.record(stream, event)?;
            while let Some(step) = steps.next_if(|step| step.node == node) {
                entered.launch(stream, &step.launch)?;
            }
        }
        self.work.queue_results(entered)
    }
}

impl Session for JetsonSession {
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
        let entered = gpu.device.enter()?;
        let pinned = self.work.pinned.bytes_mut();
        for (input, port) in inputs.iter().zip(&self.work.ends.inputs) {
            pinned[port.at..port.at + port.len].copy_from_slice(input.bytes());
        }
        let queued = match &self.graph {
            Some(graph) => entered.launch_graph(&self.work.stream, graph),
            None if self.profile.is_some() => self.queue_timed(&entered),
            None => self.work.queue(&entered),
        };
        // Whatever was queued is done with before anybody touches the memory again.
        let ended = entered.synchronize(&self.work.stream);
        queued?;
        ended?;
        let pinned = self.work.pinned.bytes();
        for (output, (_, port)) in outputs.iter_mut().zip(&self.work.ends.results) {
            output.bytes_mut().copy_from_slice(&pinned[port.at..port.at + port.len]);
        }
        if let Some(profile) = &mut self.profile {
            for (node, pair) in profile.nodes.iter_mut().zip(self.events.windows(2)) {
                node.nanoseconds = entered.nanoseconds(&pair[0], &pair[1])?;
            }
        }
        Ok(())
    }

    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    fn memory(&self) -> MemoryUse {
        self.memory
    }
}
