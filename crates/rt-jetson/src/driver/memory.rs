//! Memory of the device, and memory of the host that the device reaches.

use core::ffi::{c_uint, c_void};
use core::slice;
use std::sync::Arc;

use embdl_core::runtime::RuntimeError;

use super::device::{Device, Entered};

/// Flag of host memory that has an address on the device.
const MAPPED: c_uint = 2;

/// One allocation on the device.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    device: Arc<Device>,
    pub(crate) address: u64,
}

impl DeviceMemory {
    /// `bytes` bytes, at least one, aligned to 256.
    ///
    /// # Errors
    /// If there are not as many.
    pub(crate) fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, RuntimeError> {
        let entered = device.enter()?;
        let mut address = 0;
        // SAFETY: the place is there.
        let code = unsafe { (entered.table.allocate)(&raw mut address, bytes.max(1)) };
        entered.check("allocating memory", code)?;
        Ok(Self { device: Arc::clone(device), address })
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop() {
            // SAFETY: allocated once, freed once; the session has waited for all that uses it.
            unsafe { (entered.table.free)(self.address) };
        }
    }
}

/// Host memory that stays where it is, so that the device reads and writes it by itself.
#[derive(Debug)]
pub(crate) struct Pinned {
    device: Arc<Device>,
    start: *mut u8,
    len: usize,
    /// Where the device sees it.
    pub(crate) address: u64,
}

// SAFETY: the memory belongs to this value alone, and any thread may touch it.
unsafe impl Send for Pinned {}

impl Pinned {
    /// `bytes` zeros, at least one.
    ///
    /// # Errors
    /// If there are not as many.
    pub(crate) fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, RuntimeError> {
        let entered = device.enter()?;
        let len = bytes.max(1);
        let mut start: *mut c_void = core::ptr::null_mut();
        // SAFETY: the place is there.
        let code = unsafe { (entered.table.host_allocate)(&raw mut start, len, MAPPED) };
        entered.check("allocating host memory", code)?;
        let mut pinned = Self { device: Arc::clone(device), start: start.cast(), len, address: 0 };
        // SAFETY: the driver gave so many bytes.
        unsafe { pinned.start.write_bytes(0, len) };
        // SAFETY: the place is there, and the memory was allocated as mapped.
        let code = unsafe { (entered.table.host_address)(&raw mut pinned.address, start, 0) };
        entered.check("mapping host memory", code)?;
        Ok(pinned)
    }

    /// The bytes. Nothing of the device may be under way that writes them, as when a run has been waited for.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are there, initialized at first, as long as this value is.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes, to write. Nothing of the device may be under way that reads them.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes are there, initialized at first, as long as this value is, which is borrowed for that.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Where byte `at` lies for the driver.
    ///
    /// # Panics
    /// If `len` bytes from there on are not all inside.
    pub(super) fn at(&self, at: usize, len: usize) -> *mut c_void {
        assert!(at <= self.len && len <= self.len - at, "{len} bytes at {at} of {}", self.len);
        self.start.wrapping_add(at).cast()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(entered) = self.device.enter_to_drop() {
            // SAFETY: allocated once, freed once; the session has waited for all that uses it.
            unsafe { (entered.table.host_free)(self.start.cast()) };
        }
    }
}

impl Entered<'_> {
    /// Copies bytes to an address of the device, and waits for that.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn upload(
        &self,
        stream: &super::Stream,
        to: u64,
        bytes: &[u8],
    ) -> Result<(), RuntimeError> {
        // SAFETY: the bytes are there until the stream has been waited for, below, whatever the driver does until then; the
        // device checks its own addresses.
        let code =
            unsafe { (self.table.copy_in)(to, bytes.as_ptr().cast(), bytes.len(), stream.handle) };
        let copied = self.check("copying weights", code);
        self.synchronize(stream)?;
        copied
    }

    /// Has the stream copy pinned bytes to an address of the device.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn copy_in(
        &self,
        stream: &super::Stream,
        to: u64,
        (from, at, len): (&Pinned, usize, usize),
    ) -> Result<(), RuntimeError> {
        // SAFETY: the bytes are inside of pinned memory, which sessions keep until they have waited for the stream.
        let code = unsafe { (self.table.copy_in)(to, from.at(at, len), len, stream.handle) };
        self.check("copying inputs", code)
    }

    /// Has the stream copy from an address of the device to pinned bytes.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn copy_out(
        &self,
        stream: &super::Stream,
        from: u64,
        (to, at, len): (&Pinned, usize, usize),
    ) -> Result<(), RuntimeError> {
        // SAFETY: the bytes are inside of pinned memory, which sessions keep until they have waited for the stream.
        let code = unsafe { (self.table.copy_out)(to.at(at, len), from, len, stream.handle) };
        self.check("copying results", code)
    }
}
