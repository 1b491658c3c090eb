//! A device with its context, and what its driver tells of it.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use embdl_core::runtime::RuntimeError;

use super::codes::{Meaning, failure, meaning};
use super::table::{Code, Handle, Table, TableError};

/// The oldest driver that serves: that of JetPack 4.6 on a Jetson TX2.
const OLDEST: c_int = 10_020;
/// The first chip that the kernels' PTX is for: that of the Jetson TX2.
const FIRST_CHIP: (u32, u32) = (6, 2);

/// What a chip is, as far as kernels are chosen by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Version of its instructions, "compute capability".
    pub(crate) capability: (u32, u32),
    /// Multiprocessors.
    pub(crate) processors: usize,
    /// Whether it shares the memory of the CPU.
    pub(crate) is_integrated: bool,
    /// Memory in bytes.
    pub(crate) memory_bytes: usize,
    /// Clock of the multiprocessors in kHz; 0 where the driver does not say.
    pub(crate) clock_khz: usize,
    /// Bytes a second from memory; 0 where the driver does not say.
    pub(crate) bytes_per_second: f64,
    /// Version of the driver, 1000 times the major one, 10 times the minor one.
    pub(crate) driver: u32,
}

/// Attributes of a device; all are known to 10.2, which refuses those from 106 on.
const CLOCK: c_int = 13;
const PROCESSORS: c_int = 16;
const INTEGRATED: c_int = 18;
const MEMORY_CLOCK: c_int = 36;
const MEMORY_BUS: c_int = 37;
const MAJOR: c_int = 75;
const MINOR: c_int = 76;

/// A device whose context is kept as long as this is.
#[derive(Debug)]
pub(crate) struct Device {
    pub(super) table: Table,
    ordinal: c_int,
    context: Handle,
    pub(crate) name: String,
    pub(crate) facts: Facts,
    /// Why nothing can be computed any more.
    lost: Mutex<Option<String>>,
}

/// Opens the device that has `asked` in its name, in any case, or has that number; without it, the first one.
///
/// # Errors
/// If there is no driver, too old a one, no such device, or none new enough.
pub(crate) fn find(library: Option<&Path>, asked: Option<&str>) -> Result<Device, RuntimeError> {
    let table = Table::open(library).map_err(|error| match error {
        TableError::NoLibrary => RuntimeError::NotDetected {
            runtime: "jetson",
            needed: "driver of an NVIDIA GPU (libcuda.so.1)",
        },
        TableError::MissingSymbol(name) => {
            unfit(format!("its library lacks {name}, which CUDA 10.2 has"))
        }
    })?;
    let call = |doing, code: Code| match meaning(code) {
        Meaning::Success => Ok(()),
        _ => Err(failure(code, DRIVER, doing, table.name_of(code))),
    };
    // SAFETY: the function takes no pointer.
    call("starting it", unsafe { (table.init)(0) })?;
    let mut version = 0;
    // SAFETY: the place is there.
    call("asking for its version", unsafe { (table.version)(&raw mut version) })?;
    if version < OLDEST {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(unfit(format!("it is of CUDA {major}.{minor}, and 10.2 is needed at least")));
    }
    let mut count = 0;
    // SAFETY: the place is there.
    call("counting devices", unsafe { (table.device_count)(&raw mut count) })?;
    let mut names = Vec::new();
    for index in 0..count {
        let mut ordinal = 0;
        // SAFETY: the place is there.
        call("finding a device", unsafe { (table.device)(&raw mut ordinal, index) })?;
        let mut bytes = [0_u8; 256];
        let start = bytes.as_mut_ptr().cast();
        // SAFETY: the driver writes at most 255 bytes, and there are 256.
        call("asking for a name", unsafe { (table.device_name)(start, 255, ordinal) })?;
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
        names.push((ordinal, String::from_utf8_lossy(&bytes[..len]).into_owned()));
    }
    let (ordinal, name) = choose(names, asked)?;
    let facts = facts(&table, ordinal, version)
        .map_err(|code| failure(code, &name, "asking what it is", table.name_of(code)))?;
    if facts.capability < FIRST_CHIP {
        let ((major, minor), (first, of_first)) = (facts.capability, FIRST_CHIP);
        return Err(RuntimeError::Device {
            device: name,
            doing: "choosing kernels",
            reason: format!(
                "its compute capability is {major}.{minor}, and {first}.{of_first} is needed at least"
            ),
        });
    }
    let mut context = Handle::NONE;
    // SAFETY: the place is there.
    let code = unsafe { (table.context_retain)(&raw mut context, ordinal) };
    if meaning(code) != Meaning::Success {
        return Err(failure(code, &name, "opening it", table.name_of(code)));
    }
    Ok(Device { table, ordinal, context, name, facts, lost: Mutex::new(None) })
}

/// What is called the device where the driver as a whole fails.
const DRIVER: &str = "the NVIDIA driver";

fn unfit(reason: String) -> RuntimeError {
    RuntimeError::Device { device: DRIVER.to_owned(), doing: "looking at it", reason }
}

fn choose(
    names: Vec<(c_int, String)>,
    asked: Option<&str>,
) -> Result<(c_int, String), RuntimeError> {
    if names.is_empty() {
        return Err(RuntimeError::NotDetected { runtime: "jetson", needed: "NVIDIA GPU" });
    }
    let fits = |at: usize, name: &str| {
        asked.is_none_or(|asked| {
            asked.parse() == Ok(at) || name.to_lowercase().contains(&asked.to_lowercase())
        })
    };
    let found = names.iter().enumerate().find(|(at, (_, name))| fits(*at, name));
    found.map(|(_, device)| device.clone()).ok_or_else(|| RuntimeError::NoSuchDevice {
        asked: asked.unwrap_or_default().to_owned(),
        available: names.iter().map(|(_, name)| name.clone()).collect(),
    })
}

fn facts(table: &Table, ordinal: c_int, version: c_int) -> Result<Facts, Code> {
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: the place is there.
        match unsafe { (table.device_attribute)(&raw mut value, attribute, ordinal) } {
            0 => Ok(usize::try_from(value).unwrap_or(0)),
            code => Err(code),
        }
    };
    let mut memory_bytes = 0;
    // SAFETY: the place is there.
    match unsafe { (table.device_memory)(&raw mut memory_bytes, ordinal) } {
        0 => {}
        code => return Err(code),
    }
    // Newer drivers may refuse these, which only estimates need.
    let known = |number| attribute(number).unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    // Two transfers a clock.
    let bytes_per_second = known(MEMORY_CLOCK) as f64 * 1e3 * 2.0 * known(MEMORY_BUS) as f64 / 8.0;
    let small = |value: usize| u32::try_from(value).unwrap_or(0);
    Ok(Facts {
        capability: (small(attribute(MAJOR)?), small(attribute(MINOR)?)),
        processors: attribute(PROCESSORS)?.max(1),
        is_integrated: attribute(INTEGRATED)? != 0,
        memory_bytes,
        clock_khz: known(CLOCK),
        bytes_per_second,
        driver: u32::try_from(version).unwrap_or(0),
    })
}

impl Device {
    /// Makes this thread one that calls for the device, until the guard is dropped. Others that use the same thread find their
    /// own context afterwards.
    ///
    /// # Errors
    /// If the device is lost.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, RuntimeError> {
        if let Some(reason) = self.loss() {
            return Err(RuntimeError::DeviceLost { device: self.name.clone(), reason });
        }
        // SAFETY: the context is retained as long as the device is there.
        self.check("entering its context", unsafe { (self.table.context_push)(self.context) })?;
        Ok(Entered { device: self, _of_this_thread: PhantomData })
    }

    /// Enters to give something back, whether the device is lost or not.
    pub(super) fn enter_to_drop(&self) -> Option<Entered<'_>> {
        // SAFETY: the context is retained as long as the device is there.
        let code = unsafe { (self.table.context_push)(self.context) };
        (code == 0).then_some(Entered { device: self, _of_this_thread: PhantomData })
    }

    /// The error of a code; that the device is lost is remembered.
    pub(super) fn check(&self, doing: &'static str, code: Code) -> Result<(), RuntimeError> {
        match meaning(code) {
            Meaning::Success => return Ok(()),
            Meaning::Lost => {
                let reason = format!("{} at {doing}", self.table.name_of(code));
                self.lost
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert_with(|| reason.clone());
                return Err(failure(code, &self.name, doing, reason));
            }
            _ => {}
        }
        Err(failure(code, &self.name, doing, self.table.name_of(code)))
    }

    fn loss(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once, and everything of it has been given back, for it holds the device.
        unsafe { (self.table.context_release)(self.ordinal) };
    }
}

/// A device whose context is this thread's.
#[derive(Debug)]
pub(crate) struct Entered<'d> {
    device: &'d Device,
    /// Contexts are of threads, so this one does not leave its own.
    _of_this_thread: PhantomData<*const ()>,
}

impl Deref for Entered<'_> {
    type Target = Device;

    fn deref(&self) -> &Device {
        self.device
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = Handle::NONE;
        // SAFETY: the place is there; what is popped is what was pushed, since guards end in the order of their scopes.
        unsafe { (self.device.table.context_pop)(&raw mut context) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_chosen_by_part_of_the_name_or_by_number() {
        let names = || vec![(0, "NVIDIA Tegra X2".to_owned()), (1, "NVIDIA H200".to_owned())];
        let chosen = |asked| choose(names(), asked).map(|(ordinal, _)| ordinal);
        assert_eq!(chosen(None), Ok(0));
        assert_eq!(chosen(Some("h200")), Ok(1));
        assert_eq!(chosen(Some("1")), Ok(1));
        assert!(matches!(chosen(Some("radeon")), Err(RuntimeError::NoSuchDevice { .. })));
        assert!(matches!(choose(Vec::new(), None), Err(RuntimeError::NotDetected { .. })));
    }
}
