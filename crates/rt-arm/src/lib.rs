//! The AArch64 runtime: NEON and dotprod kernels behind embdl-core's Kernels trait. Never depends on another runtime.
