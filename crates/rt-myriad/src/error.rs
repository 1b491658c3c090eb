//! Why a stick cannot be used.

use core::time::Duration;

use embdl_core::runtime::RuntimeError;

use crate::blob::BlobError;
use crate::compile::CompileError;
use crate::firmware::FirmwareError;
use crate::protocol::LinkError;
use crate::protocol::messages::{AllocationStatus, MessageError};
use crate::transport::TransportError;

/// Why a stick cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MyriadError {
    /// There is none.
    #[error(
        "no Neural Compute Stick is plugged in (no USB device 03e7:2150 or 03e7:f63b){}",
        if *.other_chips > 0 { "; an NCS 2 is, which has another chip" } else { "" }
    )]
    NoStick {
        /// Sticks with a chip that is not served.
        other_chips: usize,
    },
    /// One is there that the user did not choose.
    #[error(
        "devices at {ports:?} have the boot ROM of a Neural Compute Stick, but other products (such as the RealSense T265) \
         have it too: choose one by its port with EMBDL_MYRIAD=PORT, or all with EMBDL_MYRIAD=any"
    )]
    NotChosen {
        /// Where devices are plugged in.
        ports: Vec<String>,
    },
    /// The chosen one is not there.
    #[error("no stick is plugged in at {port}; there are {found:?}")]
    NoSuchPort {
        /// The port that was chosen.
        port: String,
        /// Ports where there are devices.
        found: Vec<String>,
    },
    /// Another process has it.
    #[error(
        "the stick at {port} is in use by {}: a stick serves one process at a time",
        match .process { Some(process) => format!("process {process}"), None => "another process".into() }
    )]
    InUse {
        /// The port.
        port: String,
        /// Number of the process, if it says so.
        process: Option<u32>,
    },
    /// Another process has been booting a stick for too long.
    #[error("another process has been booting a stick for {wait:?}{}", match .process {
        Some(process) => format!(": process {process}"),
        None => String::new(),
    })]
    OtherBoots {
        /// How long was waited.
        wait: Duration,
        /// Number of the process, if it says so.
        process: Option<u32>,
    },
    /// Its firmware is missing or the wrong one.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Bytes do not get through.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It answers something else.
    #[error("the firmware answers something else: {0}")]
    Message(#[from] MessageError),
    /// It took its firmware and did not come back.
    #[error(
        "the stick at {port} did not come back within {wait:?} after its firmware was sent: is it the firmware of this chip?"
    )]
    NotBooted {
        /// Where it was.
        port: String,
        /// How long was waited.
        wait: Duration,
    },
    /// It runs already and does not reset.
    #[error(
        "the stick at {port} runs some firmware that does not reset: unplug it and plug it in again"
    )]
    NotReset {
        /// Where it is.
        port: String,
    },
    /// It has another chip than it should.
    #[error("the firmware says that its chip is {chip:#x}, not 0x2450")]
    Chip {
        /// What it says.
        chip: u32,
    },
    /// It refuses a command.
    #[error("the firmware refused {what} with status {status}")]
    Status {
        /// What it refused.
        what: &'static str,
        /// Its status.
        status: u32,
    },
    /// It takes a graph and then cannot run it.
    #[error("the firmware cannot run the graph: {0}")]
    Allocation(AllocationStatus),
    /// It has no room for another graph.
    #[error("the stick has {graphs} graphs already, or no FIFOs left")]
    Full {
        /// Graphs that it has.
        graphs: usize,
    },
    /// The graph needs more memory than the firmware reports.
    #[error("the graph needs {needed} bytes, the firmware reports {available}")]
    Memory {
        /// Bytes needed.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// What the firmware says of a graph is not what was sent.
    #[error("the firmware sees {what} of {found} bytes in the graph, not {expected}")]
    OtherGraph {
        /// "inputs", "outputs".
        what: &'static str,
        /// Bytes that were compiled.
        expected: u32,
        /// Bytes that the firmware says.
        found: u32,
    },
    /// The graph is one for firmware of the other line.
    #[error("this is firmware of {firmware}, which runs {takes}")]
    GraphOfOtherLine {
        /// The line of the firmware.
        firmware: &'static str,
        /// What it runs.
        takes: &'static str,
    },
    /// An inference gave nothing.
    #[error(
        "no result within {wait:?}{}",
        if .debug.is_empty() { String::new() } else { format!("; the firmware says: {}", .debug) }
    )]
    NoResult {
        /// How long was waited.
        wait: Duration,
        /// The debug text of the firmware; may be empty.
        debug: String,
    },
    /// The model is no graph for this chip.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file is no graph for this chip.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// This build has no USB.
    #[error(
        "this build speaks to emulated sticks only: build with the feature `usb`, or set EMBDL_MYRIAD=emulated"
    )]
    NoUsb,
    /// The system gives no more threads.
    #[error("no thread can be started")]
    Thread,
}

impl From<MyriadError> for RuntimeError {
    fn from(error: MyriadError) -> Self {
        match error {
            MyriadError::Compile(CompileError::Unsupported { node, op, reason }) => {
                Self::Unsupported { node, op, reason }
            }
            MyriadError::Compile(CompileError::Weight { node, source }) => {
                Self::Weight { node, source }
            }
            MyriadError::Compile(CompileError::Model(error)) => error,
            other => Self::Device {
                device: crate::runtime::NAME.into(),
                doing: "exchanging messages",
                reason: other.to_string(),
            },
        }
    }
}
