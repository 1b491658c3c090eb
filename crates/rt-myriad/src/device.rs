//! A stick whose firmware runs: requests about it, graphs on it, inferences.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::blob::Blob;
use crate::boot::Deadlines;
use crate::compile::FIFO_ELEMENTS;
use crate::error::MyriadError;
use crate::lock::Lock;
use crate::protocol::messages::{
    AllocationStatus, DEVICE_MONITOR, DEVICE_MONITOR_BUFFER, DeviceCapabilities, DeviceRequest,
    FIFO_END, FifoSpec, GRAPH_MONITOR, GRAPH_MONITOR_BUFFER, GraphCommand, GraphTarget, TensorDesc,
    ThermalStats, VERIFY_LEN, decode_times, decode_u32, fifo_stream, graph_stream,
};
use crate::protocol::{Dialect, Link, LinkError, Role, Stream};
use crate::transport::Transport;

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
        monitor.write(Arc::new(DeviceRequest::Capabilities.encode()), wait)?;
        let capabilities = DeviceCapabilities::decode(&monitor.read(wait)?)?;
        if let Some(chip) = capabilities.chip().filter(|&chip| chip != CHIP) {
            return Err(MyriadError::Chip { chip });
        }
        tracing::debug!(?capabilities, "the firmware answers");
        let graphs = link.open(GRAPH_MONITOR, GRAPH_MONITOR_BUFFER, wait)?;
        let monitor = Arc::new(Mutex::new(monitor));
        let watchdog = Watchdog::start(&monitor, deadlines)?;
        Ok(Self {
            link,
            deadlines: *deadlines,
            capabilities,
            monitor,
            graphs: Mutex::new(graphs),
            taken: Mutex::default(),
            watchdog: Some(watchdog),
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
        let monitor = lock(&self.monitor);
        let write = monitor.write(Arc::new(request.encode()), wait);
        write.and_then(|()| monitor.read(wait)).map_err(|error| self.give_up(error.into()))
    }

    /// Sends a graph and makes the FIFOs for it. `file` are the bytes of `blob`.
    ///
    /// # Errors
    /// If it does not fit, before anything is sent; or the firmware refuses it or does not answer in time.
    pub fn allocate(
        self: &Arc<Self>,
        file: &Arc<Vec<u8>>,
        blob: &Blob<'_>,
    ) -> Result<Graph, MyriadError> {
        let needed = file.len() + blob.bss_bytes as usize;
        let available = self.capabilities.max_memory as usize;
        if needed > available {
            return Err(MyriadError::Memory { needed, available });
        }
        let mut graph = Graph {
            ids: self.take_ids()?,
            device: self.clone(),
            stages: 0,
            fifos: None,
            is_allocated: false,
            has_fifos: [false; 2],
            under_way: AtomicUsize::new(0),
        };
        let bytes = [blob.inputs_bytes, blob.outputs_bytes];
        let sent = self.send_graph(&mut graph, file, bytes);
        let made = sent.and_then(|()| self.make_fifos(&mut graph, bytes));
        made.map_err(|error| self.give_up(error))?;
        Ok(graph)
    }

    fn send_graph(
        &self,
        graph: &mut Graph,
        file: &Arc<Vec<u8>>,
        bytes: [u32; 2],
    ) -> Result<(), MyriadError> {
        let wait = self.deadlines.link.request;
        let target = graph.target();
        let len = u32::try_from(file.len()).unwrap_or(u32::MAX);
        let monitor = lock(&self.graphs);
        let stream = self.link.open(&target.stream, len, wait)?;
        let command = |command: GraphCommand| monitor.write(Arc::new(command.encode()), wait);

        command(GraphCommand::Verify(target.clone()))?;
        let head = file.get(..VERIFY_LEN).unwrap_or(file).to_vec();
        stream.write(Arc::new(head), wait)?;
        status(&monitor, "this version of a graph", wait)?;

        command(GraphCommand::Allocate(target.clone()))?;
        // A large graph takes a while on USB 2.
        let wait_long = wait + self.deadlines.boot;
        stream.write(file.clone(), wait_long)?;
        // Its answers come on another stream; where there are none, the status says so.
        status(&monitor, "the graph", wait_long)?;
        graph.is_allocated = true;
        for (what, expected) in ["inputs", "outputs"].into_iter().zip(bytes) {
            let found = TensorDesc::decode(&stream.read(wait)?)?.total_bytes;
            if found != expected {
                return Err(MyriadError::OtherGraph { what, expected, found });
            }
        }
        graph.stages = decode_u32("the number of stages", &stream.read(wait)?)?;

        command(GraphCommand::VerifyAllocation(target))?;
        let code = decode_u32("the state of the graph", &monitor.read(wait)?)?;
        if let Some(status) = AllocationStatus::of(code) {
            return Err(MyriadError::Allocation(status));
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
            monitor.write(Arc::new(GraphCommand::AllocateFifo(spec).encode()), wait)?;
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

#[derive(Clone, Copy, Debug)]
struct Ids {
    graph: u32,
    fifos: [u32; 2],
}

/// A graph on a stick, with a FIFO at each end. Dropping it frees what it takes there.
#[derive(Debug)]
pub struct Graph {
    device: Arc<Device>,
    ids: Ids,
    stages: u32,
    fifos: Option<[Stream; 2]>,
    is_allocated: bool,
    has_fifos: [bool; 2],
    /// Inferences whose results have not been read.
    under_way: AtomicUsize,
}

impl Graph {
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
        monitor.write(Arc::new(command.encode()), wait)?;
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
        // The first is that of receiving, the last that of all.
        let stages = self.stages as usize;
        Ok(times.get(1..=stages).map(<[f32]>::to_vec).unwrap_or_default())
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

    fn get(&self, command: GraphCommand) -> Result<Vec<u8>, MyriadError> {
        self.answer_to(command).map_err(|error| self.device.give_up(error))
    }

    fn answer_to(&self, command: GraphCommand) -> Result<Vec<u8>, MyriadError> {
        let wait = self.device.deadlines.link.request;
        let monitor = lock(&self.device.graphs);
        monitor.write(Arc::new(command.encode()), wait)?;
        let first = monitor.read(wait)?;
        // Where the firmware has nothing to say, its status comes alone.
        if first.len() == 4 && decode_u32("a status", &first)? != 0 {
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

    fn target(&self) -> GraphTarget {
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
            monitor.write(Arc::new(command.encode()), GOODBYE)?;
            status(&monitor, "to free a graph", GOODBYE)
        };
        for end in [0, 1] {
            if !self.has_fifos[end] {
                continue;
            }
            if let Some(fifos) = self.fifos.as_ref().filter(|_| end == 0) {
                fifos[0].write(Arc::new(FIFO_END.to_vec()), GOODBYE)?;
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
fn status(monitor: &Stream, what: &'static str, wait: Duration) -> Result<(), MyriadError> {
    match decode_u32("a status", &monitor.read(wait)?)? {
        0 => Ok(()),
        status => Err(MyriadError::Status { what, status }),
    }
}

/// Tells the firmware that the host is there.
#[derive(Debug)]
struct Watchdog {
    shared: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn start(monitor: &Arc<Mutex<Stream>>, deadlines: &Deadlines) -> Result<Self, MyriadError> {
        let shared: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (period, wait) = (deadlines.watchdog, deadlines.link.request);
        let (monitor, ends) = (monitor.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("myriad watchdog".into())
            .spawn(move || {
                let (ended, changed) = &*ends;
                let mut guard = lock(ended);
                while !*guard {
                    guard = match changed.wait_timeout(guard, period) {
                        Ok((guard, _)) => guard,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                    if *guard {
                        return;
                    }
                    let ping = Arc::new(DeviceRequest::WatchdogPing.encode());
                    // A stick that does not take it shows that to whoever uses it next.
                    if let Err(error) = lock(&monitor).write(ping, wait) {
                        tracing::debug!(%error, "the watchdog is not heard");
                        return;
                    }
                }
            })
            .map_err(|_| MyriadError::Thread)?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *lock(&self.shared.0) = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog has panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
