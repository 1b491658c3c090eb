//! A stick whose firmware runs: requests about it, graphs on it, inferences.

mod graph;
mod watchdog;

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::blob::{Blob, NcsdkGraph};
use crate::boot::Deadlines;
use crate::compile::FIFO_ELEMENTS;
use crate::error::MyriadError;
use crate::lock::Lock;
use crate::protocol::messages::{
    AllocationStatus, DEVICE_MONITOR, DEVICE_MONITOR_BUFFER, DeviceCapabilities, DeviceRequest,
    FifoSpec, GRAPH_MONITOR, GRAPH_MONITOR_BUFFER, GraphCommand, TensorDesc, ThermalStats,
    VERIFY_LEN, decode_u32, fifo_stream,
};
use crate::protocol::{Dialect, Link, LinkError, Role, Stream};
use crate::transport::Transport;
pub use graph::Graph;
use graph::{Ids, status};
use watchdog::Watchdog;

/// The chip that this crate serves, as firmware names it.
const CHIP: u32 = 0x2450;
/// Buffer that a stream needs whose direction only the firmware writes.
const NO_BUFFER: u32 = 8;
/// Bytes that the firmware may have this host hold for one stream.
const MAX_BUFFER: u32 = 512 << 20;
/// How long goodbyes may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// A stick whose firmware runs. Dropping the last handle resets it.
#[derive(Debug)]
pub struct Device {
    link: Link,
    dialect: Dialect,
    deadlines: Deadlines,
    capabilities: DeviceCapabilities,
    /// Held for a request and its answer.
    monitor: Arc<Mutex<Stream>>,
    /// Held for a command and its answers.
    graphs: Mutex<Stream>,
    taken: Mutex<Taken>,
    watchdog: Option<Watchdog>,
    /// Keeps other processes from the stick.
    lock: Mutex<Option<Lock>>,
}

/// A graph to be sent.
struct GraphFile<'a> {
    file: &'a Arc<Vec<u8>>,
    /// Bytes of all inputs, and of all outputs.
    bytes: [u32; 2],
    /// Bytes of intermediate tensors.
    work: usize,
}

/// Numbers in use.
#[derive(Debug, Default)]
struct Taken {
    graphs: BTreeSet<u32>,
    fifos: BTreeSet<u32>,
}

impl Device {
    /// Starts to talk with firmware on an open transport.
    ///
    /// # Errors
    /// If it does not answer in time, or is of another chip.
    pub fn start(
        transport: Transport,
        dialect: Dialect,
        deadlines: &Deadlines,
    ) -> Result<Self, MyriadError> {
        let link = Link::start(transport, dialect, Role::Host, deadlines.link, MAX_BUFFER)?;
        link.ping(deadlines.boot)?;
        if !deadlines.settle.is_zero() {
            thread::sleep(deadlines.settle);
        }
        let wait = deadlines.link.request;
        let monitor = link.open(DEVICE_MONITOR, DEVICE_MONITOR_BUFFER, wait)?;
        monitor.write(Arc::new(DeviceRequest::Capabilities.encode(dialect)?), wait)?;
        let capabilities = DeviceCapabilities::decode(&monitor.read(wait)?, dialect)?;
        if let Some(chip) = capabilities.chip().filter(|&chip| chip != CHIP) {
            return Err(MyriadError::Chip { chip });
        }
        tracing::debug!(?capabilities, "the firmware answers");
        let graphs = link.open(GRAPH_MONITOR, GRAPH_MONITOR_BUFFER, wait)?;
        let monitor = Arc::new(Mutex::new(monitor));
        // Firmware of NCSDK has no heartbeat.
        let has_watchdog = dialect == Dialect::OpenVino2020;
        let watchdog = has_watchdog.then(|| Watchdog::start(&monitor, deadlines)).transpose()?;
        Ok(Self {
            link,
            dialect,
            deadlines: *deadlines,
            capabilities,
            monitor,
            graphs: Mutex::new(graphs),
            taken: Mutex::default(),
            watchdog,
            lock: Mutex::default(),
        })
    }

    /// Keeps the lock of the stick for as long as it is open.
    pub(crate) fn keep(&self, held: Option<Lock>) {
        *lock(&self.lock) = held;
    }

    /// What its firmware can do.
    #[must_use]
    pub const fn capabilities(&self) -> &DeviceCapabilities {
        &self.capabilities
    }

    /// Whether nothing can be expected of it any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.link.failure().is_some()
    }

    /// Closes the transport, whoever still has a handle, and gives the lock of the stick back.
    pub(crate) fn close(&self) -> Option<Lock> {
        self.link.close();
        lock(&self.lock).take()
    }

    /// After an answer that did not come in time, a later one could be taken for that of another question: the link ends.
    fn give_up(&self, error: MyriadError) -> MyriadError {
        if let MyriadError::Link(late @ LinkError::TimedOut { .. }) = &error {
            self.link.abandon(late.clone());
        }
        error
    }

    /// Its temperatures, and whether it is throttled.
    ///
    /// # Errors
    /// If it does not say so in time.
    pub fn thermal(&self) -> Result<ThermalStats, MyriadError> {
        Ok(ThermalStats::decode(&self.ask(DeviceRequest::ThermalStats)?)?)
    }

    /// Bytes of its memory that are in use.
    ///
    /// # Errors
    /// If it does not say so in time.
    pub fn used_memory(&self) -> Result<u32, MyriadError> {
        Ok(decode_u32("the memory in use", &self.ask(DeviceRequest::UsedMemory)?)?)
    }

    fn ask(&self, request: DeviceRequest) -> Result<Vec<u8>, MyriadError> {
        let wait = self.deadlines.link.request;
        let request = Arc::new(request.encode(self.dialect)?);
        let monitor = lock(&self.monitor);
        let write = monitor.write(request, wait);
        write.and_then(|()| monitor.read(wait)).map_err(|error| self.give_up(error.into()))
    }

    /// Sends a graph and makes the FIFOs for it. `file` are the bytes of `blob`.
    ///
    /// # Errors
    /// If the firmware is of NCSDK's line, or the graph does not fit, before anything is sent; or the firmware refuses it or does
    /// not answer in time.
    pub fn allocate(
        self: &Arc<Self>,
        file: &Arc<Vec<u8>>,
        blob: &Blob<'_>,
    ) -> Result<Graph, MyriadError> {
        if self.dialect != Dialect::OpenVino2020 {
            return Err(MyriadError::GraphOfOtherLine {
                firmware: "NCSDK",
                takes: "graphs that mvNCCompile has made; for other models take usb-ma2450.mvcmd of OpenVINO 2020.1 to 2020.3",
            });
        }
        let bytes = [blob.inputs_bytes, blob.outputs_bytes];
        self.allocate_file(&GraphFile { file, bytes, work: blob.bss_bytes as usize })
    }

    /// As [`Self::allocate`], of a graph that `mvNCCompile` of NCSDK 2 has made, on its firmware.
    ///
    /// # Errors
    /// If it is no such graph, or as [`Self::allocate`].
    pub fn allocate_ncsdk(self: &Arc<Self>, file: &Arc<Vec<u8>>) -> Result<Graph, MyriadError> {
        if self.dialect != Dialect::Ncsdk2 {
            return Err(MyriadError::GraphOfOtherLine {
                firmware: "OpenVINO",
                takes: "blobs of version 5.0; graphs of mvNCCompile take NCSDK 2's",
            });
        }
        let graph = NcsdkGraph::read(file)?;
        let bytes = [graph.input_elements, graph.output_elements].map(|n| n.saturating_mul(2));
        self.allocate_file(&GraphFile { file, bytes, work: graph.work_bytes() })
    }

    fn allocate_file(self: &Arc<Self>, of: &GraphFile<'_>) -> Result<Graph, MyriadError> {
        let needed = of.file.len().saturating_add(of.work);
        let available = self.capabilities.max_memory as usize;
        if needed > available {
            return Err(MyriadError::Memory { needed, available });
        }
        let mut graph = Graph::new(self.clone(), self.take_ids()?);
        let sent = self.send_graph(&mut graph, of);
        let made = sent.and_then(|()| self.make_fifos(&mut graph, of.bytes));
        made.map_err(|error| self.give_up(error))?;
        Ok(graph)
    }

    fn send_graph(&self, graph: &mut Graph, of: &GraphFile<'_>) -> Result<(), MyriadError> {
        let (wait, dialect) = (self.deadlines.link.request, self.dialect);
        let target = graph.target();
        let file = of.file;
        let len = u32::try_from(file.len()).unwrap_or(u32::MAX);
        let monitor = lock(&self.graphs);
        let stream = self.link.open(&target.stream, len, wait)?;
        let command = |command: GraphCommand| -> Result<(), MyriadError> {
            Ok(monitor.write(Arc::new(command.encode(dialect)?), wait)?)
        };
        let checks = dialect == Dialect::OpenVino2020;
        if checks {
            command(GraphCommand::Verify(target.clone()))?;
            let head = file.get(..VERIFY_LEN).unwrap_or(file).to_vec();
            stream.write(Arc::new(head), wait)?;
            status(&monitor, "this version of a graph", wait)?;
        }
        command(GraphCommand::Allocate(target.clone()))?;
        // A large graph takes a while on USB 2.
        let wait_long = wait + self.deadlines.boot;
        stream.write(file.clone(), wait_long)?;
        // Its answers come on another stream; where there are none, the status says so.
        let allocated = status(&monitor, "the graph", wait_long);
        if !checks {
            // Firmware of NCSDK says what is wrong with a graph on the graph's stream, and nothing else then.
            match decode_u32("the state of the graph", &stream.read(wait)?)? {
                0 => {}
                status => return Err(MyriadError::Status { what: "the graph", status }),
            }
        }
        allocated?;
        graph.is_allocated = true;
        for (what, expected) in ["inputs", "outputs"].into_iter().zip(of.bytes) {
            let found = TensorDesc::decode(&stream.read(wait)?, dialect)?.total_bytes;
            if found != expected {
                return Err(MyriadError::OtherGraph { what, expected, found });
            }
        }
        graph.stages = decode_u32("the number of stages", &stream.read(wait)?)?;
        if checks {
            command(GraphCommand::VerifyAllocation(target))?;
            let code = decode_u32("the state of the graph", &monitor.read(wait)?)?;
            if let Some(status) = AllocationStatus::of(code) {
                return Err(MyriadError::Allocation(status));
            }
        } else {
            // The version, which the host has read in the file already.
            stream.read(wait)?;
        }
        stream.close(wait)?;
        Ok(())
    }

    fn make_fifos(&self, graph: &mut Graph, bytes: [u32; 2]) -> Result<(), MyriadError> {
        let wait = self.deadlines.link.request;
        let elements = u32::try_from(FIFO_ELEMENTS).expect("a few");
        let monitor = lock(&self.graphs);
        let mut make = |end: usize| -> Result<Stream, MyriadError> {
            let (id, total) = (graph.ids.fifos[end], bytes[end]);
            let is_input = end == 0;
            let buffer = if is_input { total.saturating_mul(elements) } else { NO_BUFFER };
            let stream = self.link.open(&fifo_stream(id), buffer, wait)?;
            let spec = FifoSpec {
                id,
                stream: fifo_stream(id),
                elements,
                desc: TensorDesc::flat(total),
                host_reads: !is_input,
                host_writes: is_input,
            };
            let command = GraphCommand::AllocateFifo(spec).encode(self.dialect)?;
            monitor.write(Arc::new(command), wait)?;
            status(&monitor, "a FIFO", wait)?;
            graph.has_fifos[end] = true;
            Ok(stream)
        };
        let [input, output] = [make(0)?, make(1)?];
        graph.fifos = Some([input, output]);
        Ok(())
    }

    fn take_ids(&self) -> Result<Ids, MyriadError> {
        let mut taken = lock(&self.taken);
        let free = |used: &BTreeSet<u32>, most: u32| (0..most).find(|id| !used.contains(id));
        let full = MyriadError::Full { graphs: taken.graphs.len() };
        let limits = &self.capabilities;
        let graph = free(&taken.graphs, limits.max_graphs).ok_or(full.clone())?;
        let input = free(&taken.fifos, limits.max_fifos).ok_or(full.clone())?;
        taken.fifos.insert(input);
        let Some(output) = free(&taken.fifos, limits.max_fifos) else {
            taken.fifos.remove(&input);
            return Err(full);
        };
        taken.fifos.insert(output);
        taken.graphs.insert(graph);
        Ok(Ids { graph, fifos: [input, output] })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // The watchdog first: nothing is to be said after the goodbye.
        self.watchdog = None;
        if !self.has_failed()
            && let Err(error) = self.link.reset(GOODBYE)
        {
            tracing::debug!(%error, "a stick does not say goodbye");
        }
        self.link.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
