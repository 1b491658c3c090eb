//! Compiled graphs: the blob format 5.0 of the Myriad, read from untrusted bytes and written; and the graphs of NCSDK 2, read.
//!
//! Source: the writer in `OpenVINO` 2020.3 (Apache-2.0). See the book for the layout.

mod desc;
mod describe;
mod ncsdk;
mod read;
mod stage;
mod write;

use std::borrow::Cow;

pub use desc::{Desc, ElementType, Location, Order, TensorRef};
pub use describe::Description;
pub use ncsdk::{NcsdkGraph, NcsdkStage, NcsdkTensor, Place};
pub use read::{BlobError, read};
pub use stage::{BUFFERS_LAST, Eltwise, Params, Slide, Stage, StageKind, WeightLayout};
pub use write::write;

/// In bytes 52 to 56 of a file.
pub const MAGIC: u32 = 9709;
/// The version that is read and written: `OpenVINO` 2019 R2 to 2020.3.
pub const VERSION: [u32; 2] = [5, 0];
/// Sections, tensors and constants start at multiples of this many bytes.
pub const ALIGNMENT: usize = 64;
/// Largest graph that the chip's tools accept, in bytes.
pub const MAX_GRAPH_BYTES: usize = 320 << 20;
/// Memory of the chip, in bytes.
pub const MAX_DDR_BYTES: usize = 512 << 20;
/// Scratchpad on the chip, in bytes.
pub const CMX_BYTES: usize = 2 << 20;
/// Largest intermediate tensor, in bytes.
pub const MAX_TENSOR_BYTES: usize = 100 << 20;
/// Cores for neural networks.
pub const SHAVES: u32 = 12;

/// A compiled graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob<'a> {
    /// What the host gives, in one buffer.
    pub inputs: Vec<Io>,
    /// What the host gets, in one buffer.
    pub outputs: Vec<Io>,
    /// Bytes of all inputs.
    pub inputs_bytes: u32,
    /// Bytes of all outputs.
    pub outputs_bytes: u32,
    /// Samples a run.
    pub batch: u32,
    /// Bytes of the memory for intermediate tensors.
    pub bss_bytes: u32,
    /// Slices of the scratchpad that the graph wants, 128 KiB each.
    pub cmx_slices: u32,
    /// Cores that the graph wants.
    pub shaves: u32,
    /// What is computed, in this order.
    pub stages: Vec<Stage>,
    /// Weights.
    pub constants: Cow<'a, [u8]>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// Name.
    pub name: String,
    /// Where it starts in the buffer of all inputs or outputs.
    pub offset: u32,
    /// What it is.
    pub desc: Desc,
}

impl Blob<'_> {
    /// Bytes of chip memory that an allocated graph takes: constants, intermediate tensors, `fifo_elements` of each FIFO.
    #[must_use]
    pub fn ddr_bytes(&self, fifo_elements: usize) -> usize {
        let io = self.inputs_bytes as usize + self.outputs_bytes as usize;
        self.constants.len() + self.bss_bytes as usize + fifo_elements * io
    }
}
