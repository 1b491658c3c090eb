//! What the driver's codes mean to a runtime. Source: the CUDA driver API's documentation of `CUresult`.

use embdl_core::runtime::RuntimeError;

use super::table::Code;

/// What a code asks of the one who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The call did what it was to do.
    Success,
    /// There is no memory left; all else goes on.
    Memory,
    /// There is no GPU.
    NoDevice,
    /// The driver does not fit the device, or the kernel module of the system.
    Driver,
    /// The context is gone: every later call fails too.
    Lost,
    /// The call was refused; all else goes on.
    Refused,
}

pub(super) const fn meaning(code: Code) -> Meaning {
    match code {
        0 => Meaning::Success,
        2 => Meaning::Memory,
        // None, or none that may be used.
        100 | 101 => Meaning::NoDevice,
        // Insufficient driver, stub library, version mismatch, not supported on the device.
        34 | 35 | 803 | 804 => Meaning::Driver,
        // Deinitialized, device unavailable, invalid context, uncorrectable ECC or link errors, illegal address, launch out of
        // resources or time, destroyed context, assert, hardware faults from the stack to the program counter, launch failure,
        // external device, unknown.
        4 | 46 | 201 | 214 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 911 | 999 => {
            Meaning::Lost
        }
        _ => Meaning::Refused,
    }
}

/// The error of a code that is no success.
pub(super) fn failure(
    code: Code,
    device: &str,
    doing: &'static str,
    reason: String,
) -> RuntimeError {
    let device = device.to_owned();
    match meaning(code) {
        Meaning::Memory => RuntimeError::DeviceMemory { device, doing },
        Meaning::Lost => RuntimeError::DeviceLost { device, reason },
        Meaning::NoDevice => RuntimeError::NotDetected { runtime: "jetson", needed: "NVIDIA GPU" },
        Meaning::Success | Meaning::Driver | Meaning::Refused => {
            RuntimeError::Device { device, doing, reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_the_errors_that_say_what_can_be_done() {
        let error = |code| failure(code, "gpu", "running", "why".to_owned());
        assert!(matches!(error(2), RuntimeError::DeviceMemory { .. }));
        assert!(matches!(error(700), RuntimeError::DeviceLost { .. }));
        assert!(matches!(error(100), RuntimeError::NotDetected { .. }));
        assert!(matches!(error(218), RuntimeError::Device { .. }));
        // One that no list has.
        assert!(matches!(error(123_456), RuntimeError::Device { .. }));
    }
}
