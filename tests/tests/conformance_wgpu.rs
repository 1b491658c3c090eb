//! The GPU runtime solves every problem, on the adapter that it takes by itself: software Vulkan where there is no GPU.

embdl_tests::conformance! {
    device: rt_wgpu::Wgpu::detect,
    required_on: "ci",
    unsupported: [],
}
