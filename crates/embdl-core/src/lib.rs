//! All that ships on a device: tensors, quantization, encodings, the file format, planning, execution.
//! Never does I/O, reads a clock, starts a thread, or allocates inside [`Session::run`](runtime::Session::run).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod encoding;
pub mod exec;
pub mod format;
pub mod kernels;
pub mod metadata;
pub mod model;
pub mod op;
pub mod plan;
pub mod quant;
pub mod runtime;
pub mod tensor;
