//! What device the driver pretends to have, and what goes wrong with it.

/// Settings; the default is a healthy Jetson TX2.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Devices that there are.
    pub devices: i32,
    /// Version of the driver, 1000 times the major one, 10 times the minor one.
    pub version: i32,
    /// Compute capability, major and minor.
    pub capability: [i32; 2],
    /// Multiprocessors.
    pub processors: i32,
    /// 1 if the device shares the memory of the CPU.
    pub is_integrated: i32,
    /// Allocations that go well before there is no memory left; negative for all.
    pub allocations: i64,
    /// Kernels that go well before the device is lost; negative for all.
    pub kernels: i64,
    /// 1 if the driver refuses all kernels.
    pub refuses_images: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            devices: 1,
            version: 10_020,
            capability: [6, 2],
            processors: 2,
            is_integrated: 1,
            allocations: -1,
            kernels: -1,
            refuses_images: 0,
        }
    }
}
