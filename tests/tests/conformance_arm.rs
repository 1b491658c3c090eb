//! The Arm runtime solves every problem, at every instruction set level of this machine.
#![cfg(any(target_arch = "aarch64", target_arch = "arm"))]

embdl_tests::conformance! {
    runtime: rt_arm::runtime,
    kernels: rt_arm::kernels,
    required_on: std::env::consts::ARCH,
    unsupported: [],
}
