//! The functions of the driver that do something.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use embdl_ptx::Program;

use crate::settings::Settings;
use crate::state::{
    CONTEXT, CONTEXTS, Code, INVALID_CONTEXT, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, NAMES,
    NO_BINARY, NO_DEVICE, NOT_FOUND, NOT_READY, Object, SUCCESS, State, UNSUPPORTED_PTX, state,
};
use crate::work::Op;

/// Newest PTX that a driver of 10.2 takes.
const NEWEST_PTX: (u32, u32) = (6, 5);
/// First attribute that 10.2 does not know.
const FIRST_UNKNOWN_ATTRIBUTE: c_int = 106;
/// Options of loading a module that say where complaints go.
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// What a call answers.
fn code(result: Result<(), Code>) -> Code {
    result.err().unwrap_or(SUCCESS)
}

/// Writes through a pointer of the caller.
///
/// # Safety
/// The pointer is null, or to a `T`.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: by the contract of this function.
    unsafe { to.write(value) };
    Ok(())
}

/// Declares functions of the driver: each gets the state, and gives back a result.
macro_rules! functions {
    ($($name:ident($state:ident $(, $parameter:ident: $kind:ty)*) $body:block)+) => {$(
        // SAFETY: no other function of this library has the name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($parameter: $kind),*) -> Code {
            // SAFETY: pointers are what the driver's documentation asks of callers.
            let call = |$state: &mut State| -> Result<(), Code> { $body };
            code(call(&mut state()))
        }
    )+};
}

functions! {
    cuInit(state, flags: c_uint) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if state.settings.devices == 0 {
            return Err(NO_DEVICE);
        }
        state.is_started = true;
        Ok(())
    }

    cuDriverGetVersion(state, to: *mut c_int) {
        // SAFETY: as documented.
        unsafe { put(to, state.settings.version) }
    }

    cuDeviceGetCount(state, to: *mut c_int) {
        started(state)?;
        // SAFETY: as documented.
        unsafe { put(to, state.settings.devices) }
    }

    cuDeviceGet(state, to: *mut c_int, index: c_int) {
        device(state, index)?;
        // SAFETY: as documented.
        unsafe { put(to, index) }
    }

    cuDeviceGetName(state, to: *mut c_char, len: c_int, index: c_int) {
        device(state, index)?;
        let name = c"Stand-in for a GPU".to_bytes_with_nul();
        if to.is_null() || usize::try_from(len).unwrap_or(0) < name.len() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller has so many bytes there.
        unsafe { core::ptr::copy_nonoverlapping(name.as_ptr(), to.cast(), name.len()) };
        Ok(())
    }

    cuDeviceGetAttribute(state, to: *mut c_int, attribute: c_int, index: c_int) {
        device(state, index)?;
        let Settings { capability, processors, is_integrated, .. } = state.settings;
        let value = match attribute {
            // Kilohertz of the multiprocessors and of the memory, and bits of its bus, as a Jetson TX2 has them.
            13 => 1_300_500,
            16 => processors,
            18 => is_integrated,
            36 => 1_866_000,
            37 => 128,
            75 => capability[0],
            76 => capability[1],
            ..1 | FIRST_UNKNOWN_ATTRIBUTE.. => return Err(INVALID_VALUE),
            _ => 0,
        };
        // SAFETY: as documented.
        unsafe { put(to, value) }
    }

    cuDeviceTotalMem_v2(state, to: *mut usize, index: c_int) {
        device(state, index)?;
        // SAFETY: as documented.
        unsafe { put(to, 8 << 30) }
    }

    cuDevicePrimaryCtxRetain(state, to: *mut usize, index: c_int) {
        device(state, index)?;
        if let Some(code) = state.lost {
            return Err(code);
        }
        state.retained += 1;
        // SAFETY: as documented.
        unsafe { put(to, CONTEXT) }
    }

    cuDevicePrimaryCtxRelease(state, index: c_int) {
        device(state, index)?;
        state.retained = state.retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        Ok(())
    }

    cuCtxPushCurrent_v2(state, context: usize) {
        if context != CONTEXT || state.retained == 0 {
            return Err(INVALID_CONTEXT);
        }
        CONTEXTS.with_borrow_mut(|contexts| contexts.push(context));
        Ok(())
    }

    cuCtxPopCurrent_v2(_state, to: *mut usize) {
        let context = CONTEXTS.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?;
        // SAFETY: as documented.
        unsafe { put(to, context) }
    }

    cuGetErrorName(_state, asked: Code, to: *mut *const c_char) {
        let name = NAMES.iter().find(|(code, _)| *code == asked).map(|(_, name)| name.as_ptr());
        // SAFETY: as documented.
        unsafe { put(to, name.unwrap_or_default())? };
        name.map(|_| ()).ok_or(INVALID_VALUE)
    }

    cuMemAlloc_v2(state, to: *mut u64, len: usize) {
        state.check()?;
        let address = state.allocate(len, false)?;
        // SAFETY: as documented.
        unsafe { put(to, address) }
    }

    cuMemFree_v2(state, address: u64) {
        is_there(state)?;
        match state.regions.get(&address) {
            Some(region) if !region.is_host => {}
            _ => return Err(INVALID_VALUE),
        }
        state.regions.remove(&address);
        Ok(())
    }

    cuMemHostAlloc(state, to: *mut *mut c_void, len: usize, _flags: c_uint) {
        state.check()?;
        let address = state.allocate(len, true)?;
        let start = state.bytes(address, len).ok_or(INVALID_VALUE)?.as_mut_ptr();
        // SAFETY: as documented.
        unsafe { put(to, start.cast()) }
    }

    cuMemFreeHost(state, start: *mut c_void) {
        is_there(state)?;
        let address = host_region(state, start)?;
        state.regions.remove(&address);
        Ok(())
    }

    cuMemHostGetDevicePointer_v2(state, to: *mut u64, start: *mut c_void, _flags: c_uint) {
        state.check()?;
        let address = host_region(state, start)?;
        // SAFETY: as documented.
        unsafe { put(to, address) }
    }

    cuMemcpyHtoDAsync_v2(state, to: u64, from: *const c_void, len: usize, stream: usize) {
        state.check()?;
        state.queue(stream, Op::In { to, from: from.addr(), len })
    }

    cuMemcpyDtoHAsync_v2(state, to: *mut c_void, from: u64, len: usize, stream: usize) {
        state.check()?;
        state.queue(stream, Op::Out { to: to.addr(), from, len })
    }

    cuModuleLoadDataEx(
        state, to: *mut usize, image: *const c_void, count: c_uint, options: *const c_int, values: *const *mut c_void
    ) {
        state.check()?;
        // SAFETY: PTX ends with a zero.
        let text = unsafe { CStr::from_ptr(image.cast()) }.to_str().map_err(|_| INVALID_PTX)?;
        let program = Program::parse(text);
        if let Err(error) = &program {
            // SAFETY: there are so many options and values, as documented.
            unsafe { log(&error.to_string(), count, options, values) };
        }
        if state.settings.refuses_images != 0 {
            // SAFETY: as above.
            unsafe { log("ptxas fatal : refused by the settings", count, options, values) };
            return Err(INVALID_PTX);
        }
        let program = program.map_err(|_| INVALID_PTX)?;
        if program.version() > NEWEST_PTX {
            return Err(UNSUPPORTED_PTX);
        }
        let [major, minor] = state.settings.capability;
        let target = program.target().strip_prefix("sm_").and_then(|chip| chip.parse().ok());
        if target.is_none_or(|target: i32| target > major * 10 + minor) {
            return Err(NO_BINARY);
        }
        let module = state.add(Object::Module(Arc::new(program)));
        // SAFETY: as documented.
        unsafe { put(to, module) }
    }

    cuModuleGetFunction(state, to: *mut usize, module: usize, name: *const c_char) {
        state.check()?;
        // SAFETY: names end with a zero.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        let Some(Object::Module(program)) = state.objects.get(&module) else {
            return Err(INVALID_HANDLE);
        };
        let program = Arc::clone(program);
        program.entry(&name).ok_or(NOT_FOUND)?;
        let same = |object: &Object| matches!(
            object, Object::Function { module: of, name: called, .. } if *of == module && *called == name
        );
        let known = state.objects.iter().find(|(_, object)| same(object)).map(|(&handle, _)| handle);
        let function =
            known.unwrap_or_else(|| state.add(Object::Function { module, program, name }));
        // SAFETY: as documented.
        unsafe { put(to, function) }
    }

    cuModuleUnload(state, module: usize) {
        is_there(state)?;
        remove(state, module, |object| matches!(object, Object::Module(_)))?;
        state.objects.retain(
            |_, object| !matches!(object, Object::Function { module: of, .. } if *of == module),
        );
        Ok(())
    }

    cuLaunchKernel(
        state, function: usize, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint,
        block_z: c_uint, _shared_bytes: c_uint, stream: usize, params: *const *const c_void, extra: *const c_void
    ) {
        state.check()?;
        let Some(Object::Function { program, name, .. }) = state.objects.get(&function) else {
            return Err(INVALID_HANDLE);
        };
        let len = program.entry(name).ok_or(NOT_FOUND)?.params_bytes();
        if params.is_null() || !extra.is_null() {
            return Err(INVALID_VALUE);
        }
        let mut bytes = vec![0_u8; len];
        // SAFETY: the kernels here have one parameter of so many bytes.
        unsafe { core::ptr::copy_nonoverlapping((*params).cast(), bytes.as_mut_ptr(), len) };
        let op = Op::Kernel {
            program: Arc::clone(program),
            name: name.clone(),
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            params: bytes,
        };
        state.queue(stream, op)
    }

    cuStreamCreate(state, to: *mut usize, _flags: c_uint) {
        state.check()?;
        let stream = state.add(Object::Stream { queue: Vec::new(), captured: None });
        // SAFETY: as documented.
        unsafe { put(to, stream) }
    }

    cuStreamSynchronize(state, stream: usize) {
        state.check()?;
        state.synchronize(stream)
    }

    cuStreamDestroy_v2(state, stream: usize) {
        is_there(state)?;
        remove(state, stream, |object| matches!(object, Object::Stream { .. }))
    }

    cuStreamBeginCapture_v2(state, stream: usize, _mode: c_int) {
        state.check()?;
        match state.objects.get_mut(&stream) {
            Some(Object::Stream { captured: captured @ None, .. }) => *captured = Some(Vec::new()),
            _ => return Err(INVALID_HANDLE),
        }
        Ok(())
    }

    cuStreamEndCapture(state, stream: usize, to: *mut usize) {
        state.check()?;
        let captured = match state.objects.get_mut(&stream) {
            Some(Object::Stream { captured, .. }) => captured.take().ok_or(INVALID_HANDLE)?,
            _ => return Err(INVALID_HANDLE),
        };
        let graph = state.add(Object::Graph(captured));
        // SAFETY: as documented.
        unsafe { put(to, graph) }
    }

    cuGraphInstantiate(
        state, to: *mut usize, graph: usize, _node: *mut usize, _log: *mut c_char, _log_bytes: usize
    ) {
        state.check()?;
        let ops = match state.objects.get(&graph) {
            Some(Object::Graph(ops)) => ops.clone(),
            _ => return Err(INVALID_HANDLE),
        };
        let executable = state.add(Object::Executable(ops));
        // SAFETY: as documented.
        unsafe { put(to, executable) }
    }

    cuGraphLaunch(state, executable: usize, stream: usize) {
        state.check()?;
        let ops = match state.objects.get(&executable) {
            Some(Object::Executable(ops)) => ops.clone(),
            _ => return Err(INVALID_HANDLE),
        };
        ops.into_iter().try_for_each(|op| state.queue(stream, op))
    }

    cuGraphDestroy(state, graph: usize) {
        is_there(state)?;
        remove(state, graph, |object| matches!(object, Object::Graph(_)))
    }

    cuGraphExecDestroy(state, executable: usize) {
        is_there(state)?;
        remove(state, executable, |object| matches!(object, Object::Executable(_)))
    }

    cuEventCreate(state, to: *mut usize, _flags: c_uint) {
        state.check()?;
        let event = state.add(Object::Event(None));
        // SAFETY: as documented.
        unsafe { put(to, event) }
    }

    cuEventRecord(state, event: usize, stream: usize) {
        state.check()?;
        match state.objects.get_mut(&event) {
            Some(Object::Event(at)) => *at = None,
            _ => return Err(INVALID_HANDLE),
        }
        state.queue(stream, Op::Event(event))
    }

    cuEventElapsedTime(state, to: *mut f32, from: usize, until: usize) {
        state.check()?;
        let at = |event| match state.objects.get(&event) {
            Some(Object::Event(Some(at))) => Ok(*at),
            Some(Object::Event(None)) => Err(NOT_READY),
            _ => Err(INVALID_HANDLE),
        };
        let nanoseconds = at(until)?.saturating_sub(at(from)?);
        #[expect(clippy::cast_precision_loss, reason = "the driver gives floats")]
        // SAFETY: as documented.
        unsafe { put(to, nanoseconds as f32 / 1e6) }
    }

    cuEventDestroy_v2(state, event: usize) {
        is_there(state)?;
        remove(state, event, |object| matches!(object, Object::Event(_)))
    }
}

/// Changes the settings, and finds what was lost.
///
/// # Safety
/// The pointer is to settings.
// SAFETY: no other function of this library has the name.
#[unsafe(no_mangle)]
unsafe extern "C" fn standin_set(settings: *const Settings) {
    let mut state = state();
    // SAFETY: by the contract of this function.
    state.settings = unsafe { settings.read() };
    state.lost = None;
}

/// What is held for callers.
// SAFETY: no other function of this library has the name.
#[unsafe(no_mangle)]
extern "C" fn standin_held() -> usize {
    let state = state();
    state.retained + state.regions.len() + state.objects.len()
}

/// Whether the driver was started.
fn started(state: &State) -> Result<(), Code> {
    // "Not initialized".
    if state.is_started { Ok(()) } else { Err(3) }
}

/// Whether there is such a device.
fn device(state: &State, index: c_int) -> Result<(), Code> {
    started(state)?;
    // "Invalid device".
    if (0..state.settings.devices).contains(&index) { Ok(()) } else { Err(101) }
}

/// Whether the thread has a context; a lost device still takes back what it gave.
fn is_there(_state: &State) -> Result<(), Code> {
    let is_there = CONTEXTS.with_borrow(|contexts| contexts.last() == Some(&CONTEXT));
    if is_there { Ok(()) } else { Err(INVALID_CONTEXT) }
}

fn remove(state: &mut State, handle: usize, fits: impl Fn(&Object) -> bool) -> Result<(), Code> {
    if !state.objects.get(&handle).is_some_and(fits) {
        return Err(INVALID_HANDLE);
    }
    state.objects.remove(&handle);
    Ok(())
}

/// Address of the host memory that begins here.
fn host_region(state: &State, start: *mut c_void) -> Result<u64, Code> {
    let begins = |region: &crate::state::Region| {
        region.is_host && region.words.as_ptr().addr() == start.addr()
    };
    let found = state.regions.iter().find(|(_, region)| begins(region));
    found.map(|(&address, _)| address).ok_or(INVALID_VALUE)
}

/// Writes a complaint where the options of loading say, as much of it as fits.
///
/// # Safety
/// There are `count` options and values, and a log is as long as its length says.
unsafe fn log(text: &str, count: c_uint, options: *const c_int, values: *const *mut c_void) {
    let value = |wanted: c_int| {
        (0..count as usize).find_map(|at| {
            // SAFETY: there are as many.
            let (option, value) = unsafe { (*options.add(at), *values.add(at)) };
            (option == wanted).then_some(value)
        })
    };
    if let (Some(to), Some(bytes)) = (value(ERROR_LOG), value(ERROR_LOG_BYTES)) {
        let len = text.len().min(bytes.addr().saturating_sub(1));
        // SAFETY: the caller has one more byte there.
        unsafe {
            core::ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), len);
            to.cast::<u8>().add(len).write(0);
        }
    }
}
