//! The Arm runtime solves every problem with float layers in halves, within the tolerance of halves, where the CPU has them.
#![cfg(target_arch = "aarch64")]

use embdl_core::runtime::Runtime;

embdl_tests::conformance! {
    runtime: rt_arm::halves,
    kernels: rt_arm::kernels,
    // Many AArch64 CPUs lack halves; the emulated one that the suite runs on first has them, and the test below asks for them there.
    required_on: "none",
    unsupported: [],
}

#[test]
fn the_level_is_there_where_the_cpu_has_it() {
    let has_halves = std::arch::is_aarch64_feature_detected!("fp16");
    assert_eq!(rt_arm::halves().is_ok(), has_halves);
    // No one gets it without asking.
    assert!(rt_arm::runtime().unwrap().capabilities().isas.iter().all(|isa| *isa != "fp16"));
}
