//! The x86 runtime solves every problem, at every instruction set level of this machine.
#![cfg(target_arch = "x86_64")]

embdl_tests::conformance! {
    runtime: rt_atom::runtime,
    kernels: rt_atom::kernels,
    required_on: "x86_64",
    unsupported: [],
}
