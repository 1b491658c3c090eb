//! The emulated firmware: answers requests about the device, keeps graphs and FIFOs, runs inferences one after the other.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::config::EmulatorConfig;
use super::execute::Program;
use super::model::{Cost, Thermal, costs, total};
use crate::blob::{self, Blob, BlobError, NcsdkGraph};
use crate::protocol::messages::{
    AllocationStatus, DEBUG_LEN, DEVICE_MONITOR, DeviceRequest, FifoSpec, GRAPH_MONITOR,
    GRAPH_WRONG_FORMAT, GraphCommand, GraphTarget, THERMAL_SAMPLES, TensorDesc, ThermalStats,
    VERIFY_LEN, encode_status, is_fifo_end,
};
use crate::protocol::{Dialect, Link, LinkError, Stream};

/// The answer to a command that cannot be done.
const STATUS_ERROR: u32 = 1;
/// What firmware of NCSDK says of a graph that it cannot take, though it can read it.
const GRAPH_DEVICE_ERROR: u32 = 2;
/// The version of graphs that firmware of NCSDK runs.
const NCSDK_VERSION: [u32; 2] = [2, 3];
/// Buffer of what the firmware writes beside results.
const ANSWER_BUFFER: u32 = 4096;
/// FIFOs that are only read by the host have room for this; those that it writes, none.
const FIFO_ELEMENTS: u32 = 8;

/// Serves a link until it ends, with why it did.
pub(super) fn serve(
    link: &Link,
    config: &EmulatorConfig,
    is_plugged: &dyn Fn() -> bool,
) -> Option<LinkError> {
    let shared = Arc::new(Mutex::new(Shared::new(config)));
    let (jobs, queue) = mpsc::channel();
    let worker = {
        let (link, shared, config) = (link.clone(), shared.clone(), config.clone());
        thread::Builder::new()
            .name("emulated cores".into())
            .spawn(move || run_jobs(&link, &config, &shared, &queue))
    };
    let worker = match worker {
        Ok(worker) => worker,
        Err(error) => return Some(LinkError::Thread(Arc::new(error))),
    };
    let mut app = App { link, config, shared: &shared, jobs, streams: HashMap::new() };
    let mut packets = 0_usize;
    let error = loop {
        if !is_plugged() {
            break None;
        }
        match link.next_of(&[DEVICE_MONITOR, GRAPH_MONITOR], config.timing.poll) {
            Ok((stream, packet)) => {
                packets += 1;
                if config.faults.stuck_after.is_some_and(|after| packets > after) {
                    continue;
                }
                if let Err(error) = app.answer(&stream, &packet) {
                    break Some(error);
                }
            }
            Err(LinkError::TimedOut { .. }) if link.is_reset() => break None,
            Err(LinkError::TimedOut { .. }) => {}
            Err(error) => break Some(error),
        }
    };
    // Without its sender, the worker's queue ends.
    drop(app);
    link.close();
    if worker.join().is_err() {
        tracing::error!("the emulated cores have panicked");
    }
    error
}

/// What the firmware and its cores both know.
struct Shared {
    graphs: HashMap<u32, Arc<Mutex<Graph>>>,
    fifos: HashMap<u32, FifoSpec>,
    thermal: Thermal,
}

impl Shared {
    fn new(config: &EmulatorConfig) -> Self {
        let thermal = Thermal::new(&config.cost);
        Self { graphs: HashMap::new(), fifos: HashMap::new(), thermal }
    }

    fn used_bytes(&self) -> usize {
        let graphs: usize = self.graphs.values().map(|graph| lock(graph).bytes).sum();
        let of = |fifo: &FifoSpec| fifo.desc.total_bytes as usize * fifo.elements as usize;
        graphs + self.fifos.values().map(of).sum::<usize>()
    }
}

struct Graph {
    program: Program<'static>,
    /// Memory that it takes.
    bytes: usize,
    cost: Cost,
    /// Milliseconds of each stage.
    stage_times: Vec<f32>,
    last_times: Vec<f32>,
    problem: Option<String>,
}

/// One inference.
struct Job {
    graph: Arc<Mutex<Graph>>,
    input: String,
    output: String,
    output_buffer: u32,
}

struct App<'a> {
    link: &'a Link,
    config: &'a EmulatorConfig,
    shared: &'a Mutex<Shared>,
    jobs: Sender<Job>,
    /// Directions that the firmware writes, by name of stream.
    streams: HashMap<String, Stream>,
}

impl App<'_> {
    fn answer(&mut self, stream: &Stream, packet: &[u8]) -> Result<(), LinkError> {
        let wait = self.config.timing.request;
        let monitor = self.link.accept(DEVICE_MONITOR, wait)?;
        if stream.id() == monitor.id() {
            return match DeviceRequest::decode(packet, self.config.dialect) {
                Ok(request) => self.device(request),
                // As hosts of other versions have requests that this one does not know.
                Err(error) => {
                    tracing::warn!(%error, "the emulated firmware ignores a request");
                    Ok(())
                }
            };
        }
        let status = match GraphCommand::decode(packet, self.config.dialect) {
            Ok(command) => self.graph(command)?,
            Err(error) => {
                tracing::warn!(%error, "the emulated firmware refuses a command");
                STATUS_ERROR
            }
        };
        self.send(GRAPH_MONITOR, encode_status(status))
    }

    fn device(&mut self, request: DeviceRequest) -> Result<(), LinkError> {
        let answer = match request {
            DeviceRequest::WatchdogPing => return Ok(()),
            DeviceRequest::Capabilities => self.config.capabilities.encode(self.config.dialect),
            DeviceRequest::DeviceId => b"emulated\0".to_vec(),
            DeviceRequest::UsedMemory => {
                let used = lock(self.shared).used_bytes();
                encode_status(u32::try_from(used).unwrap_or(u32::MAX))
            }
            DeviceRequest::ThermalStats => {
                let thermal = lock(self.shared).thermal;
                let level = thermal.throttling(&self.config.cost);
                #[expect(clippy::cast_possible_truncation, reason = "a temperature")]
                let celsius = thermal.celsius() as f32;
                ThermalStats {
                    throttling: self.config.faults.throttling.unwrap_or(level),
                    celsius: [celsius; THERMAL_SAMPLES],
                }
                .encode()
            }
        };
        self.send(DEVICE_MONITOR, answer)
    }

    /// Does what a command says and gives its status.
    fn graph(&mut self, command: GraphCommand) -> Result<u32, LinkError> {
        let faults = self.config.faults;
        Ok(match command {
            GraphCommand::Verify(target) => {
                let head = self.receive(&target.stream)?;
                if faults.verify_status != 0 {
                    faults.verify_status
                } else {
                    u32::from(!is_known_version(&head))
                }
            }
            GraphCommand::Allocate(target) => self.allocate(&target)?,
            GraphCommand::VerifyAllocation(target) => {
                let is_there = lock(self.shared).graphs.contains_key(&target.id);
                let missing = (!is_there).then_some(AllocationStatus::InvalidHandle);
                faults.allocation.or(missing).map_or(0, AllocationStatus::code)
            }
            GraphCommand::Deallocate(target) => {
                u32::from(lock(self.shared).graphs.remove(&target.id).is_none())
            }
            GraphCommand::AllocateFifo(fifo) => self.allocate_fifo(fifo),
            GraphCommand::DeallocateFifo { id } => self.free_fifo(id)?,
            GraphCommand::Trigger { id, input, output } => self.trigger(id, [input, output]),
            GraphCommand::Timing { id } => match self.find(id) {
                None => STATUS_ERROR,
                Some(graph) => {
                    let times = lock(&graph).last_times.clone();
                    let bytes = times.iter().flat_map(|time| time.to_le_bytes()).collect();
                    self.send(GRAPH_MONITOR, bytes)?;
                    0
                }
            },
            // Inferences are started when they are triggered: a graph never waits for its buffers when it is asked.
            GraphCommand::State { id } => match self.find(id) {
                None => STATUS_ERROR,
                Some(_) => {
                    self.send(GRAPH_MONITOR, encode_status(0))?;
                    0
                }
            },
            GraphCommand::Debug { id } => match self.find(id) {
                None => STATUS_ERROR,
                Some(graph) => {
                    let text = lock(&graph).problem.clone().unwrap_or_default();
                    let mut bytes = text.into_bytes();
                    bytes.resize(DEBUG_LEN, 0);
                    self.send(GRAPH_MONITOR, bytes)?;
                    0
                }
            },
        })
    }

    fn find(&self, id: u32) -> Option<Arc<Mutex<Graph>>> {
        lock(self.shared).graphs.get(&id).cloned()
    }

    fn allocate(&mut self, target: &GraphTarget) -> Result<u32, LinkError> {
        let file = self.receive(&target.stream)?;
        let dialect = self.config.dialect;
        let is_ncsdk = dialect == Dialect::Ncsdk2;
        let graph = match self.load(file) {
            Ok(graph) => graph,
            Err(error) => {
                tracing::warn!(%error, "the emulated firmware refuses a graph");
                if is_ncsdk {
                    self.send(&target.stream, encode_status(GRAPH_WRONG_FORMAT))?;
                }
                return Ok(STATUS_ERROR);
            }
        };
        let (inputs, outputs, stages) = {
            let blob = graph.program.blob();
            (blob.inputs_bytes, blob.outputs_bytes, blob.stages.len())
        };
        {
            let mut shared = lock(self.shared);
            let limit = self.config.capabilities;
            let free = (limit.max_memory as usize).saturating_sub(shared.used_bytes());
            let is_full = shared.graphs.len() >= limit.max_graphs as usize;
            if is_full || shared.graphs.contains_key(&target.id) || graph.bytes > free {
                drop(shared);
                if is_ncsdk {
                    self.send(&target.stream, encode_status(GRAPH_DEVICE_ERROR))?;
                }
                return Ok(STATUS_ERROR);
            }
            shared.graphs.insert(target.id, Arc::new(Mutex::new(graph)));
        }
        let stages = u32::try_from(stages).unwrap_or(u32::MAX);
        if is_ncsdk {
            self.send(&target.stream, encode_status(0))?;
        }
        for answer in [
            TensorDesc::flat(inputs).encode(dialect),
            TensorDesc::flat(outputs).encode(dialect),
            encode_status(stages),
        ] {
            self.send(&target.stream, answer)?;
        }
        if is_ncsdk {
            let version = NCSDK_VERSION.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.send(&target.stream, version)?;
        }
        Ok(0)
    }

    fn load(&self, file: Vec<u8>) -> Result<Graph, String> {
        let blob = self.read(&file).map_err(|error| error.to_string())?;
        let bytes = file.len() + blob.bss_bytes as usize;
        let cost = total(&blob, &self.config.cost);
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
        let stage_times = costs(&blob, &self.config.cost)
            .iter()
            .map(|cost| (1e3 * cost.seconds) as f32)
            .collect();
        let program =
            Program::new(blob, self.config.arithmetic).map_err(|error| error.to_string())?;
        Ok(Graph { program, bytes, cost, stage_times, last_times: Vec::new(), problem: None })
    }

    /// A graph of the firmware's line.
    fn read(&self, file: &[u8]) -> Result<Blob<'static>, BlobError> {
        if self.config.dialect == Dialect::Ncsdk2 {
            return NcsdkGraph::read(file)?.lower();
        }
        let read = blob::read(file)?;
        Ok(Blob { constants: read.constants.clone().into_owned().into(), ..read })
    }

    fn allocate_fifo(&self, fifo: FifoSpec) -> u32 {
        let mut shared = lock(self.shared);
        let is_full = shared.fifos.len() >= self.config.capabilities.max_fifos as usize;
        let fits = (1..=64).contains(&fifo.elements)
            && fifo.desc.total_bytes as usize <= blob::MAX_TENSOR_BYTES;
        if is_full || !fits || shared.fifos.contains_key(&fifo.id) {
            return STATUS_ERROR;
        }
        shared.fifos.insert(fifo.id, fifo);
        0
    }

    /// What the host writes to a FIFO ends with a mark before the FIFO is freed.
    fn free_fifo(&self, id: u32) -> Result<u32, LinkError> {
        let Some(fifo) = lock(self.shared).fifos.remove(&id) else { return Ok(STATUS_ERROR) };
        if fifo.host_writes {
            let end = self.receive(&fifo.stream)?;
            return Ok(u32::from(!is_fifo_end(&end)));
        }
        Ok(0)
    }

    fn trigger(&self, id: u32, [input, output]: [u32; 2]) -> u32 {
        let shared = lock(self.shared);
        let fifos = (shared.fifos.get(&input), shared.fifos.get(&output));
        let (Some(graph), (Some(input), Some(output))) = (shared.graphs.get(&id), fifos) else {
            return STATUS_ERROR;
        };
        if !input.host_writes || !output.host_reads {
            return STATUS_ERROR;
        }
        let job = Job {
            graph: graph.clone(),
            input: input.stream.clone(),
            output: output.stream.clone(),
            output_buffer: output.desc.total_bytes.saturating_mul(FIFO_ELEMENTS),
        };
        u32::from(self.jobs.send(job).is_err())
    }

    fn receive(&self, stream: &str) -> Result<Vec<u8>, LinkError> {
        let wait = self.config.timing.request;
        self.link.accept(stream, wait)?.read(wait)
    }

    fn send(&mut self, name: &str, packet: Vec<u8>) -> Result<(), LinkError> {
        send(self.link, &mut self.streams, name, ANSWER_BUFFER, packet, self.config.timing.request)
    }
}

/// Opens the direction that the firmware writes before its first packet.
fn send(
    link: &Link,
    streams: &mut HashMap<String, Stream>,
    name: &str,
    buffer: u32,
    packet: Vec<u8>,
    wait: Duration,
) -> Result<(), LinkError> {
    let stream = match streams.get(name) {
        // Streams that the host has closed and opened anew have another number.
        Some(stream) if link.accept(name, wait).is_ok_and(|now| now.id() == stream.id()) => {
            stream.clone()
        }
        _ => {
            let stream = link.open(name, buffer, wait)?;
            streams.insert(name.to_owned(), stream.clone());
            stream
        }
    };
    stream.write(Arc::new(packet), wait)
}

/// The cores: one inference after the other, until the firmware ends.
fn run_jobs(link: &Link, config: &EmulatorConfig, shared: &Mutex<Shared>, jobs: &Receiver<Job>) {
    let mut streams = HashMap::new();
    for job in jobs {
        if let Err(error) = run_job(link, config, shared, &mut streams, &job) {
            tracing::debug!(%error, "an emulated inference ends early");
        }
    }
}

fn run_job(
    link: &Link,
    config: &EmulatorConfig,
    shared: &Mutex<Shared>,
    streams: &mut HashMap<String, Stream>,
    job: &Job,
) -> Result<(), LinkError> {
    let wait = config.timing.request;
    let input = link.accept(&job.input, wait)?.read(wait)?;
    let (output, seconds) = {
        let mut graph = lock(&job.graph);
        let cost = graph.cost;
        let output = match graph.program.run(&input) {
            Ok(output) => output,
            Err(error) => {
                graph.problem = Some(error.to_string());
                // As the firmware, which has no message for it: no result comes, and the host asks for the debug text.
                return Ok(());
            }
        };
        let seconds = lock(shared).thermal.infer(&config.cost, &cost);
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
        let milliseconds = |seconds: f64| (1e3 * seconds) as f32;
        let received = f64::from(graph.program.blob().inputs_bytes) / config.cost.usb_bytes;
        let mut times = graph.stage_times.clone();
        if config.dialect == Dialect::OpenVino2020 {
            times.insert(0, milliseconds(received));
            times.push(milliseconds(seconds));
        }
        graph.last_times = times;
        (output, seconds)
    };
    if config.real_time {
        thread::sleep(Duration::from_secs_f64(seconds));
    }
    let output = Arc::new(output);
    let kept = streams.get(&job.output).map(|stream| stream.write(output.clone(), wait));
    match kept {
        // A FIFO of this name that is no more had another number or size.
        None | Some(Err(LinkError::Stream(_))) => {
            let stream = link.open(&job.output, job.output_buffer, wait)?;
            stream.write(output, wait)?;
            streams.insert(job.output.clone(), stream);
            Ok(())
        }
        Some(result) => result,
    }
}

fn is_known_version(head: &[u8]) -> bool {
    let word = |at: usize| {
        let field = head.get(at..at + 4)?;
        Some(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    };
    head.len() == VERIFY_LEN
        && [word(52), word(60), word(64)]
            == [Some(blob::MAGIC), Some(blob::VERSION[0]), Some(blob::VERSION[1])]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
