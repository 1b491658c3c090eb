//! The functions of the driver, by name, found in its library at run time.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;

/// What the driver gives out and takes back: a context, module, function, stream, event or graph. Never looked into.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handle(usize);

impl Handle {
    /// No object; the stream of that name is the driver's own one, which nothing here uses.
    pub(super) const NONE: Self = Self(0);
}

/// What a function answers. Not an enum: a newer driver has codes that no list of ours has.
pub(super) type Code = c_int;

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TableError {
    /// No library of any of the names.
    NoLibrary,
    /// The library lacks a function that cannot be done without.
    MissingSymbol(&'static str),
}

/// Declares the table: functions that must be there, by one of several names, and those that a driver may lack.
macro_rules! table {
    (
        required { $($name:ident: $($symbol:literal)|+ ($($kind:ty),*);)* }
        optional { $($maybe:ident: $($maybe_symbol:literal)|+ ($($maybe_kind:ty),*);)* }
    ) => {
        /// Functions of an open driver library, which stays open as long as they are.
        #[derive(Debug)]
        pub(super) struct Table {
            $(pub(super) $name: unsafe extern "C" fn($($kind),*) -> Code,)*
            $(pub(super) $maybe: Option<unsafe extern "C" fn($($maybe_kind),*) -> Code>,)*
            _library: Library,
        }

        impl Table {
            /// Looks up everything in a library.
            fn of(library: Library) -> Result<Self, TableError> {
                Ok(Self {
                    $($name: None
                        // SAFETY: the driver declares the function of this name with these parameters.
                        $(.or_else(|| unsafe { symbol(&library, $symbol) }))+
                        .ok_or(TableError::MissingSymbol([$($symbol),+][0]))?,)*
                    $($maybe: None
                        // SAFETY: the driver declares the function of this name with these parameters.
                        $(.or_else(|| unsafe { symbol(&library, $maybe_symbol) }))+,)*
                    _library: library,
                })
            }
        }

        /// Names of all functions that a driver must have, the first of each.
        #[cfg(test)]
        pub(super) const REQUIRED: &[&str] = &[$([$($symbol),+][0]),*];
    };
}

table! {
    required {
        init: "cuInit" (c_uint);
        version: "cuDriverGetVersion" (*mut c_int);
        device_count: "cuDeviceGetCount" (*mut c_int);
        device: "cuDeviceGet" (*mut c_int, c_int);
        device_name: "cuDeviceGetName" (*mut c_char, c_int, c_int);
        device_attribute: "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
        device_memory: "cuDeviceTotalMem_v2" (*mut usize, c_int);
        context_retain: "cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
        // 10.2 has the first version only, in which a reset device is no error.
        context_release: "cuDevicePrimaryCtxRelease_v2" | "cuDevicePrimaryCtxRelease" (c_int);
        context_push: "cuCtxPushCurrent_v2" (Handle);
        context_pop: "cuCtxPopCurrent_v2" (*mut Handle);
        error_name: "cuGetErrorName" (Code, *mut *const c_char);
        allocate: "cuMemAlloc_v2" (*mut u64, usize);
        free: "cuMemFree_v2" (u64);
        host_allocate: "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
        host_free: "cuMemFreeHost" (*mut c_void);
        host_address: "cuMemHostGetDevicePointer_v2" (*mut u64, *mut c_void, c_uint);
        copy_in: "cuMemcpyHtoDAsync_v2" (u64, *const c_void, usize, Handle);
        copy_out: "cuMemcpyDtoHAsync_v2" (*mut c_void, u64, usize, Handle);
        module_load: "cuModuleLoadDataEx" (*mut Handle, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
        module_function: "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
        module_unload: "cuModuleUnload" (Handle);
        launch: "cuLaunchKernel" (
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        );
        stream_create: "cuStreamCreate" (*mut Handle, c_uint);
        stream_synchronize: "cuStreamSynchronize" (Handle);
        stream_destroy: "cuStreamDestroy_v2" (Handle);
        event_create: "cuEventCreate" (*mut Handle, c_uint);
        event_record: "cuEventRecord" (Handle, Handle);
        event_elapsed: "cuEventElapsedTime" (*mut f32, Handle, Handle);
        event_destroy: "cuEventDestroy_v2" (Handle);
    }
    optional {
        capture_begin: "cuStreamBeginCapture_v2" (Handle, c_int);
        capture_end: "cuStreamEndCapture" (Handle, *mut Handle);
        // From 11.4 on, with flags; before, with a log.
        graph_instantiate_flags: "cuGraphInstantiateWithFlags" (*mut Handle, Handle, u64);
        graph_instantiate_log: "cuGraphInstantiate_v2" | "cuGraphInstantiate" (
            *mut Handle, Handle, *mut Handle, *mut c_char, usize
        );
        graph_launch: "cuGraphLaunch" (Handle, Handle);
        graph_destroy: "cuGraphDestroy" (Handle);
        graph_exec_destroy: "cuGraphExecDestroy" (Handle);
    }
}

/// Names that the driver's library has: on Linux with its version first, since the other one is for linkers.
const LIBRARIES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

impl Table {
    /// Opens the driver's library, or the one at `path`.
    ///
    /// # Errors
    /// If there is none, or it lacks a function.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, TableError> {
        // SAFETY: the initializers of a driver's library do nothing that a program need know of; who gives another path vouches
        // for that library.
        let open = |name: &std::ffi::OsStr| unsafe { Library::new(name) }.ok();
        let library = match path {
            Some(path) => open(path.as_os_str()),
            None => LIBRARIES.iter().find_map(|name| open(name.as_ref())),
        };
        Self::of(library.ok_or(TableError::NoLibrary)?)
    }

    /// The driver's name of a code.
    pub(super) fn name_of(&self, code: Code) -> String {
        let mut name = core::ptr::null();
        // SAFETY: the name is the driver's, and ends with a zero, or there is none.
        let known = unsafe { (self.error_name)(code, &raw mut name) } == 0 && !name.is_null();
        if !known {
            return format!("error {code}");
        }
        // SAFETY: it is not null, and the driver keeps it forever.
        let name = unsafe { CStr::from_ptr(name) };
        format!("{} ({code})", name.to_string_lossy())
    }
}

/// A function of a library, if it has that name.
///
/// # Safety
/// The function has the type `F`, and is not called when the library is closed.
unsafe fn symbol<F: Copy>(library: &Library, name: &str) -> Option<F> {
    // SAFETY: by the contract of this function.
    unsafe { library.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_none_is_told_from_one_that_is_another() {
        let error = Table::open(Some(Path::new("/nonexistent/libcuda.so.1"))).unwrap_err();
        assert_eq!(error, TableError::NoLibrary);
        // Any library of the system will do.
        let error = Table::open(Some(Path::new("libc.so.6"))).unwrap_err();
        assert_eq!(error, TableError::MissingSymbol("cuInit"));
    }

    #[test]
    fn functions_are_listed_once() {
        let mut names = REQUIRED.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REQUIRED.len());
    }
}
