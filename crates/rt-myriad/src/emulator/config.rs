//! What an emulated stick is like, and what is wrong with it.

use core::time::Duration;

use super::execute::Arithmetic;
use super::model::CostModel;
use crate::protocol::messages::{AllocationStatus, DeviceCapabilities};
use crate::protocol::{Dialect, Timing};

/// An emulated stick.
#[derive(Clone, Debug)]
pub struct EmulatorConfig {
    /// The only firmware that its boot ROM starts; without one, whatever the host sends before it closes.
    pub firmware: Option<ExpectedFirmware>,
    /// Headers that its firmware speaks.
    pub dialect: Dialect,
    /// How long it is on no bus after it has got its firmware, or has been reset.
    pub reenumeration: Duration,
    /// Whether it shows up at another port once it has booted, as sticks do on USB 3.
    pub moves: bool,
    /// What its firmware says about itself.
    pub capabilities: DeviceCapabilities,
    /// How its layers add up.
    pub arithmetic: Arithmetic,
    /// How long things take and how warm it gets, in modelled time.
    pub cost: CostModel,
    /// Whether an inference really takes the time of the model.
    pub real_time: bool,
    /// How long it waits for what.
    pub timing: Timing,
    /// What is wrong with it.
    pub faults: DeviceFaults,
}

impl Default for EmulatorConfig {
    /// As a posted log of NCSDK 2.08 firmware shows a stick; the version of firmware is made up.
    fn default() -> Self {
        Self {
            firmware: None,
            dialect: Dialect::OpenVino2020,
            reenumeration: Duration::from_millis(1),
            moves: false,
            capabilities: DeviceCapabilities {
                max_graphs: 10,
                max_fifos: 20,
                max_memory: 522_059_056,
                option_classes: [1, 1],
                max_executors: 1,
                firmware: [0, 0x2450, 0, 0],
                tensor_library: [2, 8],
            },
            arithmetic: Arithmetic::default(),
            cost: CostModel::default(),
            real_time: false,
            timing: Timing { poll: Duration::from_millis(20), ..Timing::default() },
            faults: DeviceFaults::default(),
        }
    }
}

/// How a boot ROM knows its firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedFirmware {
    /// Bytes.
    pub len: usize,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// What is wrong with a stick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFaults {
    /// It takes its firmware and never shows up again.
    pub never_boots: bool,
    /// What it answers to every check of a blob's version.
    pub verify_status: u32,
    /// What it answers when asked whether a graph is ready.
    pub allocation: Option<AllocationStatus>,
    /// The throttling level that it reports, whatever its temperature is.
    pub throttling: Option<u8>,
    /// After so many packets of the host it does nothing any more, though its USB still answers.
    pub stuck_after: Option<usize>,
}
