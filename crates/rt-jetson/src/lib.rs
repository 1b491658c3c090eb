//! The CUDA runtime: Jetson TX2 and every newer NVIDIA GPU, by the driver alone. Never depends on another runtime.

pub mod kernels;
pub mod params;
pub mod winograd;
