//! A graph on a stick: inferences, times, what went wrong.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use super::{Device, GOODBYE, lock};
use crate::error::MyriadError;
use crate::protocol::messages::{
    GraphCommand, GraphTarget, decode_times, decode_u32, fifo_end, graph_stream,
};
use crate::protocol::{Dialect, LinkError, Stream};

#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) graph: u32,
    pub(super) fifos: [u32; 2],
}

/// A graph on a stick, with a FIFO at each end. Dropping it frees what it takes there.
#[derive(Debug)]
pub struct Graph {
    device: Arc<Device>,
    pub(super) ids: Ids,
    pub(super) stages: u32,
    pub(super) fifos: Option<[Stream; 2]>,
    pub(super) is_allocated: bool,
    pub(super) has_fifos: [bool; 2],
    /// Inferences whose results have not been read.
    under_way: AtomicUsize,
}

impl Graph {
    /// A graph of which the stick knows nothing yet.
    pub(super) const fn new(device: Arc<Device>, ids: Ids) -> Self {
        Self {
            device,
            ids,
            stages: 0,
            fifos: None,
            is_allocated: false,
            has_fifos: [false; 2],
            under_way: AtomicUsize::new(0),
        }
    }

    /// The stick.
    #[must_use]
    pub const fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Stages that the firmware counts.
    #[must_use]
    pub const fn stages(&self) -> u32 {
        self.stages
    }

    /// Starts an inference: all inputs in one buffer. As many as the FIFO holds may be under way; results come in their order.
    ///
    /// # Errors
    /// If the firmware refuses it or does not answer in time.
    pub fn submit(&self, input: Vec<u8>) -> Result<(), MyriadError> {
        self.start(input).map_err(|error| self.device.give_up(error))
    }

    fn start(&self, input: Vec<u8>) -> Result<(), MyriadError> {
        let wait = self.device.deadlines.link.request;
        self.fifo(0)?.write(Arc::new(input), self.device.deadlines.inference)?;
        let monitor = lock(&self.device.graphs);
        let [from, to] = self.ids.fifos;
        let command = GraphCommand::Trigger { id: self.ids.graph, input: from, output: to };
        monitor.write(Arc::new(command.encode(self.device.dialect)?), wait)?;
        status(&monitor, "an inference", wait)?;
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The result of the inference that was started first: all outputs in one buffer.
    ///
    /// # Errors
    /// If there is none in time; then with what the firmware says about it, if it says anything.
    pub fn result(&self) -> Result<Vec<u8>, MyriadError> {
        let wait = self.device.deadlines.inference;
        match self.fifo(1)?.read(wait) {
            Err(late @ LinkError::TimedOut { .. }) => {
                let debug = self.debug().unwrap_or_default();
                self.device.link.abandon(late);
                Err(MyriadError::NoResult { wait, debug })
            }
            Err(error) => Err(error.into()),
            Ok(result) => {
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                Ok(result)
            }
        }
    }

    /// Milliseconds of each stage of the last inference, without what the firmware counts beside them.
    ///
    /// # Errors
    /// If the firmware does not say so in time.
    pub fn stage_times(&self) -> Result<Vec<f32>, MyriadError> {
        let bytes = self.get(GraphCommand::Timing { id: self.ids.graph })?;
        let times = decode_times(&bytes)?;
        let stages = self.stages as usize;
        let of_stages = match self.device.dialect {
            // The first is that of receiving, the last that of all.
            Dialect::OpenVino2020 => times.get(1..=stages),
            Dialect::Ncsdk2 => times.get(..stages),
        };
        Ok(of_stages.map(<[f32]>::to_vec).unwrap_or_default())
    }

    /// What the firmware says went wrong; may be empty.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn debug(&self) -> Result<String, MyriadError> {
        let bytes = self.get(GraphCommand::Debug { id: self.ids.graph })?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Whether it runs now. Firmware of `OpenVINO` does not say.
    ///
    /// # Errors
    /// If the firmware does not answer in time, or not at all.
    pub fn is_running(&self) -> Result<bool, MyriadError> {
        let bytes = self.get(GraphCommand::State { id: self.ids.graph })?;
        Ok(decode_u32("the state of a graph", &bytes)? != 0)
    }

    fn get(&self, command: GraphCommand) -> Result<Vec<u8>, MyriadError> {
        self.answer_to(command).map_err(|error| self.device.give_up(error))
    }

    fn answer_to(&self, command: GraphCommand) -> Result<Vec<u8>, MyriadError> {
        let wait = self.device.deadlines.link.request;
        let monitor = lock(&self.device.graphs);
        monitor.write(Arc::new(command.encode(self.device.dialect)?), wait)?;
        let first = monitor.read(wait)?;
        // Where the firmware has nothing to say, its status comes alone. What it says of a state is as long as a status.
        let is_state = matches!(command, GraphCommand::State { .. });
        if !is_state && first.len() == 4 && decode_u32("a status", &first)? != 0 {
            let status = decode_u32("a status", &first)?;
            return Err(MyriadError::Status { what: "to say more", status });
        }
        status(&monitor, "to say more", wait)?;
        Ok(first)
    }

    fn fifo(&self, end: usize) -> Result<&Stream, MyriadError> {
        let fifos = self.fifos.as_ref().ok_or(MyriadError::Link(LinkError::Closed))?;
        Ok(&fifos[end])
    }

    pub(super) fn target(&self) -> GraphTarget {
        let id = self.ids.graph;
        GraphTarget { id, stream: graph_stream(id), executors: 1 }
    }

    /// Frees everything on the stick. Results that nobody wants are taken first: the next graph has the same FIFO.
    fn free(&self) -> Result<(), MyriadError> {
        for _ in 0..self.under_way.load(Ordering::SeqCst) {
            self.fifo(1)?.read(self.device.deadlines.link.request)?;
        }
        let monitor = lock(&self.device.graphs);
        let say = |command: GraphCommand| -> Result<(), MyriadError> {
            monitor.write(Arc::new(command.encode(self.device.dialect)?), GOODBYE)?;
            status(&monitor, "to free a graph", GOODBYE)
        };
        for end in [0, 1] {
            if !self.has_fifos[end] {
                continue;
            }
            if let Some(fifos) = self.fifos.as_ref().filter(|_| end == 0) {
                fifos[0].write(Arc::new(fifo_end(self.device.dialect)), GOODBYE)?;
            }
            say(GraphCommand::DeallocateFifo { id: self.ids.fifos[end] })?;
        }
        if self.is_allocated {
            say(GraphCommand::Deallocate(self.target()))?;
        }
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.device.has_failed()
            && let Err(error) = self.free()
        {
            tracing::debug!(%error, "a graph is not freed");
            self.device.link.abandon(LinkError::Closed);
            return;
        }
        let mut taken = lock(&self.device.taken);
        taken.graphs.remove(&self.ids.graph);
        self.ids.fifos.iter().for_each(|fifo| {
            taken.fifos.remove(fifo);
        });
    }
}

/// The status that ends the answer to a command.
pub(super) fn status(
    monitor: &Stream,
    what: &'static str,
    wait: Duration,
) -> Result<(), MyriadError> {
    match decode_u32("a status", &monitor.read(wait)?)? {
        0 => Ok(()),
        status => Err(MyriadError::Status { what, status }),
    }
}
