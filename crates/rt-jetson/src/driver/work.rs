//! What a device does: kernels, launches, a stream of them, graphs, and events that tell the time.

use core::ffi::{c_int, c_uint, c_void};
use std::ffi::CString;
use std::sync::Arc;

use embdl_core::runtime::RuntimeError;

use super::device::{Device, Entered};
use super::table::Handle;

/// A stream that does not wait for the driver's own one.
const NON_BLOCKING: c_uint = 1;
/// While a stream is captured, other threads may do what they like.
const OF_THIS_THREAD: c_int = 1;
/// Options of loading a module: where the compiler's complaints go, and how many bytes fit there.
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;
const LOG_BYTES: usize = 4096;

/// A loaded module of kernels.
#[derive(Debug)]
pub(crate) struct Kernels {
    device: Arc<Device>,
    handle: Handle,
}

impl Kernels {
    /// Has the driver compile PTX for the device.
    ///
    /// # Errors
    /// If it refuses; the reason has the first line of its compiler's log.
    ///
    /// # Panics
    /// If there is a zero in the text.
    pub(crate) fn compile(device: &Arc<Device>, ptx: &str) -> Result<Self, RuntimeError> {
        let entered = device.enter()?;
        let text = CString::new(ptx).expect("PTX has no zeros");
        let mut log = vec![0_u8; LOG_BYTES];
        let mut options = [ERROR_LOG, ERROR_LOG_BYTES];
        // A number is passed as if it were an address.
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), core::ptr::without_provenance_mut(LOG_BYTES)];
        let mut handle = Handle::NONE;
        // SAFETY: the text ends with a zero; there are two options and two values, and the log is as long as they say.
        let code = unsafe {
            (entered.table.module_load)(
                &raw mut handle,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        entered.check("compiling kernels", code).map_err(|error| with_log(error, &log))?;
        Ok(Self { device: Arc::clone(device), handle })
    }

    /// The kernel of a name.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// # Panics
    /// If there is a zero in the name.
    pub(crate) fn function(&self, name: &str) -> Result<Handle, RuntimeError> {
        let entered = self.device.enter()?;
        let name = CString::new(name).expect("names of kernels have no zeros");
        let mut function = Handle::NONE;
        // SAFETY: the place is there, the module loaded, and the name ends with a zero.
        let code = unsafe {
            (entered.table.module_function)(&raw mut function, self.handle, name.as_ptr())
        };
        entered.check("finding a kernel", code)?;
        Ok(function)
    }
}

/// The same error with the first line of a log that is not empty.
fn with_log(error: RuntimeError, log: &[u8]) -> RuntimeError {
    let len = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..len]);
    match (error, log.lines().map(str::trim).find(|line| !line.is_empty())) {
        (RuntimeError::Device { device, doing, reason }, Some(line)) => {
            RuntimeError::Device { device, doing, reason: format!("{reason}: {line}") }
        }
        (error, _) => error,
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop() {
            // SAFETY: loaded once, unloaded once; sessions, which launch its kernels, hold it.
            unsafe { (entered.table.module_unload)(self.handle) };
        }
    }
}

/// A kernel with all that it is launched with.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) function: Handle,
    pub(crate) grid: [u32; 3],
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Its one parameter, a struct, in whole words of eight bytes.
    pub(crate) params: Vec<u64>,
}

/// A queue of copies and launches, done in order.
#[derive(Debug)]
pub(crate) struct Stream {
    device: Arc<Device>,
    pub(super) handle: Handle,
}

impl Stream {
    /// An empty one.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self, RuntimeError> {
        let entered = device.enter()?;
        let mut handle = Handle::NONE;
        // SAFETY: the place is there.
        let code = unsafe { (entered.table.stream_create)(&raw mut handle, NON_BLOCKING) };
        entered.check("making a stream", code)?;
        Ok(Self { device: Arc::clone(device), handle })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop() {
            // SAFETY: made once, destroyed once. What is under way ends first, since memory is freed after the stream.
            unsafe {
                (entered.table.stream_synchronize)(self.handle);
                (entered.table.stream_destroy)(self.handle);
            }
        }
    }
}

/// A point of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    device: Arc<Device>,
    handle: Handle,
}

impl Event {
    /// One that no stream has reached.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self, RuntimeError> {
        let entered = device.enter()?;
        let mut handle = Handle::NONE;
        // SAFETY: the place is there.
        let code = unsafe { (entered.table.event_create)(&raw mut handle, 0) };
        entered.check("making an event", code)?;
        Ok(Self { device: Arc::clone(device), handle })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop() {
            // SAFETY: made once, destroyed once.
            unsafe { (entered.table.event_destroy)(self.handle) };
        }
    }
}

/// A whole run, which the driver knows beforehand and starts by one call.
#[derive(Debug)]
pub(crate) struct Graph {
    device: Arc<Device>,
    handle: Handle,
}

impl Graph {
    /// What `queue` queues on the stream, which does none of it yet; `None` where the driver has no graphs.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn capture(
        device: &Arc<Device>,
        stream: &Stream,
        queue: impl FnOnce(&Entered<'_>) -> Result<(), RuntimeError>,
    ) -> Result<Option<Self>, RuntimeError> {
        let entered = device.enter()?;
        let table = &entered.table;
        let is_there = table.graph_launch.is_some()
            && table.graph_exec_destroy.is_some()
            && (table.graph_instantiate_flags.is_some() || table.graph_instantiate_log.is_some());
        let (Some(begin), Some(end), Some(destroy), true) =
            (table.capture_begin, table.capture_end, table.graph_destroy, is_there)
        else {
            return Ok(None);
        };
        // SAFETY: the stream is there.
        let code = unsafe { begin(stream.handle, OF_THIS_THREAD) };
        entered.check("starting a graph", code)?;
        let queued = queue(&entered);
        let mut graph = Handle::NONE;
        // SAFETY: the stream is there, and the place. It has to end whether queuing went well or not.
        let ended = entered.check("ending a graph", unsafe { end(stream.handle, &raw mut graph) });
        if let Err(error) = queued.and(ended) {
            if graph != Handle::NONE {
                // SAFETY: captured once, destroyed once.
                unsafe { destroy(graph) };
            }
            return Err(error);
        }
        let mut handle = Handle::NONE;
        let code = match (table.graph_instantiate_flags, table.graph_instantiate_log) {
            // SAFETY: the place and the graph are there.
            (Some(instantiate), _) => unsafe { instantiate(&raw mut handle, graph, 0) },
            (None, Some(instantiate)) => {
                let (mut node, log) = (Handle::NONE, core::ptr::null_mut());
                // SAFETY: the places and the graph are there, and the log has no bytes.
                unsafe { instantiate(&raw mut handle, graph, &raw mut node, log, 0) }
            }
            (None, None) => unreachable!("one of both is there"),
        };
        // SAFETY: captured once, destroyed once; what was made of it stays.
        unsafe { destroy(graph) };
        entered.check("making a graph", code)?;
        Ok(Some(Self { device: Arc::clone(device), handle }))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop()
            && let Some(destroy) = entered.table.graph_exec_destroy
        {
            // SAFETY: made once, destroyed once.
            unsafe { destroy(self.handle) };
        }
    }
}

impl Entered<'_> {
    /// Queues a kernel.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn launch(&self, stream: &Stream, launch: &Launch) -> Result<(), RuntimeError> {
        let [x, y, z] = launch.grid;
        let mut params = [launch.params.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the kernel takes one struct, which is there and which the driver copies; its module is loaded. Addresses in
        // the struct are checked where it is made.
        let code = unsafe {
            (self.table.launch)(
                launch.function,
                x,
                y,
                z,
                launch.threads,
                1,
                1,
                0,
                stream.handle,
                params.as_mut_ptr(),
                core::ptr::null_mut(),
            )
        };
        self.check("launching a kernel", code)
    }

    /// Queues a whole run.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn launch_graph(&self, stream: &Stream, graph: &Graph) -> Result<(), RuntimeError> {
        let launch = self.table.graph_launch.expect("the driver has graphs, for there is one");
        // SAFETY: graph and stream are there.
        self.check("launching a graph", unsafe { launch(graph.handle, stream.handle) })
    }

    /// Waits until the stream is empty.
    ///
    /// # Errors
    /// If the device fails, or failed since it was last waited for.
    pub(crate) fn synchronize(&self, stream: &Stream) -> Result<(), RuntimeError> {
        // SAFETY: the stream is there.
        self.check("waiting for it", unsafe { (self.table.stream_synchronize)(stream.handle) })
    }

    /// Queues a look at the clock.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn record(&self, stream: &Stream, event: &Event) -> Result<(), RuntimeError> {
        // SAFETY: event and stream are there.
        let code = unsafe { (self.table.event_record)(event.handle, stream.handle) };
        self.check("taking the time", code)
    }

    /// Nanoseconds between two events that the stream has reached.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn nanoseconds(&self, from: &Event, to: &Event) -> Result<u64, RuntimeError> {
        let mut milliseconds = 0.0;
        // SAFETY: the place and both events are there.
        let code =
            unsafe { (self.table.event_elapsed)(&raw mut milliseconds, from.handle, to.handle) };
        self.check("taking the time", code)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and time does not run backwards"
        )]
        Ok((f64::from(milliseconds) * 1e6) as u64)
    }
}
