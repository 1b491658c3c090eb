//! What the driver remembers.

use core::cell::RefCell;
use core::ffi::c_int;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use embdl_ptx::Program;

use crate::settings::Settings;
use crate::work::Op;

/// What every function answers.
pub(crate) type Code = c_int;
pub(crate) const SUCCESS: Code = 0;
pub(crate) const INVALID_VALUE: Code = 1;
pub(crate) const OUT_OF_MEMORY: Code = 2;
pub(crate) const NO_DEVICE: Code = 100;
pub(crate) const INVALID_CONTEXT: Code = 201;
pub(crate) const NO_BINARY: Code = 209;
pub(crate) const INVALID_PTX: Code = 218;
pub(crate) const UNSUPPORTED_PTX: Code = 222;
pub(crate) const INVALID_HANDLE: Code = 400;
pub(crate) const NOT_FOUND: Code = 500;
pub(crate) const NOT_READY: Code = 600;
pub(crate) const ILLEGAL_ADDRESS: Code = 700;
pub(crate) const LAUNCH_FAILED: Code = 719;
pub(crate) const NOT_SUPPORTED: Code = 801;

/// Names of codes, as the driver has them.
pub(crate) const NAMES: [(Code, &core::ffi::CStr); 12] = [
    (INVALID_VALUE, c"CUDA_ERROR_INVALID_VALUE"),
    (OUT_OF_MEMORY, c"CUDA_ERROR_OUT_OF_MEMORY"),
    (NO_DEVICE, c"CUDA_ERROR_NO_DEVICE"),
    (INVALID_CONTEXT, c"CUDA_ERROR_INVALID_CONTEXT"),
    (NO_BINARY, c"CUDA_ERROR_NO_BINARY_FOR_GPU"),
    (INVALID_PTX, c"CUDA_ERROR_INVALID_PTX"),
    (UNSUPPORTED_PTX, c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
    (INVALID_HANDLE, c"CUDA_ERROR_INVALID_HANDLE"),
    (NOT_FOUND, c"CUDA_ERROR_NOT_FOUND"),
    (ILLEGAL_ADDRESS, c"CUDA_ERROR_ILLEGAL_ADDRESS"),
    (LAUNCH_FAILED, c"CUDA_ERROR_LAUNCH_FAILED"),
    (NOT_SUPPORTED, c"CUDA_ERROR_NOT_SUPPORTED"),
];

/// Handle of the only context.
pub(crate) const CONTEXT: usize = 0xc0;

/// First address on the device, and what allocations are apart at least.
const FIRST_ADDRESS: u64 = 0x7_0000_0000;
const ALIGNMENT: u64 = 256;

/// Bytes at an address of the device.
pub(crate) struct Region {
    /// Words, so that the bytes are aligned as any element is.
    pub(crate) words: Box<[u64]>,
    /// What was asked for.
    pub(crate) len: usize,
    /// Whether the host reaches it too.
    pub(crate) is_host: bool,
}

/// What a handle stands for.
pub(crate) enum Object {
    Module(Arc<Program>),
    Function {
        module: usize,
        program: Arc<Program>,
        name: String,
    },
    Stream {
        queue: Vec<Op>,
        captured: Option<Vec<Op>>,
    },
    /// When the stream reached it.
    Event(Option<u64>),
    Graph(Vec<Op>),
    Executable(Vec<Op>),
}

/// All of it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) is_started: bool,
    pub(crate) retained: usize,
    pub(crate) regions: BTreeMap<u64, Region>,
    pub(crate) objects: HashMap<usize, Object>,
    next_address: u64,
    next_handle: usize,
    /// The code that every call answers since the device was lost.
    pub(crate) lost: Option<Code>,
    /// Instructions so far, which stand for nanoseconds.
    pub(crate) ticks: u64,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The thread's contexts, the current one last.
    pub(crate) static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The state, for one call.
pub(crate) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Whether the thread may call for the device: `Err` with what to answer if not.
    pub(crate) fn check(&self) -> Result<(), Code> {
        let current = CONTEXTS.with_borrow(|contexts| contexts.last().copied());
        match (current, self.lost) {
            (Some(CONTEXT), None) if self.retained > 0 => Ok(()),
            (_, Some(code)) => Err(code),
            _ => Err(INVALID_CONTEXT),
        }
    }

    /// A new object's handle.
    pub(crate) fn add(&mut self, object: Object) -> usize {
        // Odd, so that no handle is an address of anything.
        self.next_handle += 2;
        let handle = 0x1001 + self.next_handle;
        self.objects.insert(handle, object);
        handle
    }

    /// Allocates, unless there is to be no memory.
    pub(crate) fn allocate(&mut self, len: usize, is_host: bool) -> Result<u64, Code> {
        if len == 0 {
            return Err(INVALID_VALUE);
        }
        if self.settings.allocations == 0 || len > 1 << 36 {
            return Err(OUT_OF_MEMORY);
        }
        self.settings.allocations -= i64::from(self.settings.allocations > 0);
        let address = self.next_address.max(FIRST_ADDRESS);
        // Nothing is behind an allocation, so that what goes beyond its end is found.
        let end = address + len as u64 + ALIGNMENT;
        self.next_address = end.next_multiple_of(ALIGNMENT);
        // Not zeros: nobody may count on what memory has in the beginning.
        let words = vec![0xa5a5_a5a5_a5a5_a5a5; len.div_ceil(8)].into_boxed_slice();
        self.regions.insert(address, Region { words, len, is_host });
        Ok(address)
    }

    /// The bytes from `address` on, if all are of one allocation.
    pub(crate) fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let (&base, region) = self.regions.range_mut(..=address).next_back()?;
        let at = usize::try_from(address - base).ok()?;
        region.bytes().get_mut(at..at.checked_add(len)?)
    }
}

impl Region {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let start = self.words.as_mut_ptr().cast();
        // SAFETY: the words have as many bytes at least, and any bits are bytes.
        unsafe { core::slice::from_raw_parts_mut(start, self.len) }
    }
}
