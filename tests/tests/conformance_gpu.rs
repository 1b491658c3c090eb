//! The CUDA runtime solves every problem on the GPU of this machine, by its own driver: `cargo xtask gpu-test` runs this.

use rt_jetson::Jetson;

embdl_tests::conformance! {
    device: Jetson::detect,
    required_on: "any",
    unsupported: [],
}
