//! The x86 runtime: SSE4.1 to AVX2 kernels behind embdl-core's Kernels trait. Never depends on another runtime.
