//! Which device, and how it is used.

use std::env;
use std::path::PathBuf;

use embdl_core::runtime::RuntimeError;

use crate::driver::{self, Device, Facts};

/// Name of the environment variable that asks for a device where no option does.
pub const DEVICE_VARIABLE: &str = "EMBDL_JETSON_DEVICE";

/// Integer kernels by an instruction for four products at a time.
pub(crate) const DP4A: &str = "dp4a";
/// What every chip from the Jetson TX2 on has.
pub(crate) const SM62: &str = "sm62";

/// Float layers in 16 bits, as by [`JetsonOptions::half_weights`]. Not among the levels that a device lists, since its results are
/// others: it has to be asked for by name.
pub const FP16: &str = "fp16";

/// Which device to take, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JetsonOptions {
    /// A part of the device's name, in any case, such as "tegra", or its number; without it what [`DEVICE_VARIABLE`] holds, else
    /// the first device.
    pub device: Option<String>,
    /// The driver's library, for tests against another one than the system's. It is code that runs in this process.
    pub library: Option<PathBuf>,
    /// Multiply in 16 bits, two products at a time, and keep weights of float layers in 16 bits: twice as fast on a Jetson TX2,
    /// for results that are off by some 2^-11 of each product. Activations stay floats between layers. A weight beyond 65,504
    /// is an error; an activation beyond that makes the result of its layer infinite.
    pub half_weights: bool,
    /// Launch kernels one by one even where the driver takes a whole run as a graph.
    pub launch_list: bool,
}

/// Opens the device that the options ask for.
///
/// # Errors
/// If there is no driver, too old a one, or no such device.
pub(crate) fn open(options: &JetsonOptions) -> Result<Device, RuntimeError> {
    let environment = env::var(DEVICE_VARIABLE).ok().filter(|name| !name.is_empty());
    let asked = options.device.clone().or(environment);
    driver::find(options.library.as_deref(), asked.as_deref())
}

/// The levels of a chip, best first.
pub(crate) fn levels(facts: &Facts) -> Vec<&'static str> {
    // sm_62 itself has no such instruction: its driver would make eight multiplications of each.
    if facts.capability >= (7, 0) { vec![DP4A, SM62] } else { vec![SM62] }
}
