//! The CUDA driver: the only module that calls it, with a surface on which nothing can be freed twice or used too late.

mod codes;
mod device;
mod memory;
mod table;
mod work;

pub(crate) use device::{Device, Entered, Facts, find};
pub(crate) use memory::{DeviceMemory, Pinned};
pub(crate) use work::{Event, Graph, Kernels, Launch, Stream};
