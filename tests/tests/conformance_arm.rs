//! The AArch64 runtime solves every problem, at every instruction set level of this machine.
#![cfg(target_arch = "aarch64")]

embdl_tests::conformance! {
    runtime: rt_arm::runtime,
    kernels: rt_arm::kernels,
    required_on: "aarch64",
    unsupported: [],
}
