//! The CUDA runtime: Jetson TX2 and every newer NVIDIA GPU, by the driver alone. Never depends on another runtime.

mod cost;
mod counts;
pub mod detect;
mod draft;
mod driver;
pub mod forecast;
mod gpu;
pub mod kernels;
mod layout;
mod load;
mod lower;
pub mod params;
mod session;
pub mod winograd;

use core::fmt;
use std::sync::Arc;

use embdl_core::model::Model;
use embdl_core::runtime::{Capabilities, LoadOptions, Runtime, RuntimeError, Session};

use cost::Speed;
pub use detect::JetsonOptions;
use gpu::Gpu;
use lower::Choices;

/// An NVIDIA GPU. Sessions share its context and compiled kernels, which end with the last of them.
#[derive(Clone)]
pub struct Jetson {
    gpu: Arc<Gpu>,
    capabilities: Capabilities,
}

impl Jetson {
    /// The first device, or the one that the environment variable [`detect::DEVICE_VARIABLE`] asks for.
    ///
    /// # Errors
    /// As [`Jetson::with_options`].
    pub fn detect() -> Result<Self, RuntimeError> {
        Self::with_options(&JetsonOptions::default())
    }

    /// The device that the options ask for.
    ///
    /// # Errors
    /// If this machine has no driver of CUDA 10.2 or newer, no device of that name, or one older than a Jetson TX2.
    pub fn with_options(options: &JetsonOptions) -> Result<Self, RuntimeError> {
        let device = detect::open(options)?;
        let isas = detect::levels(&device.facts);
        let capabilities = Capabilities { isa: isas[0], isas };
        Ok(Self { gpu: Arc::new(Gpu::new(device, options)), capabilities })
    }

    /// Name of the device, as its driver has it.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.gpu.device.name
    }

    /// Version of the driver, major and minor, as CUDA counts.
    #[must_use]
    pub fn driver(&self) -> (u32, u32) {
        let version = self.gpu.device.facts.driver;
        (version / 1000, version % 1000 / 10)
    }

    /// Compute capability of the device.
    #[must_use]
    pub fn capability(&self) -> (u32, u32) {
        self.gpu.device.facts.capability
    }

    /// Whether the device shares the memory of the CPU, as Jetsons do: inputs and results are then not copied.
    #[must_use]
    pub fn is_integrated(&self) -> bool {
        self.gpu.device.facts.is_integrated
    }
}

impl Runtime for Jetson {
    fn name(&self) -> &'static str {
        "jetson"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Threads, and the tuner, are for CPUs and make no difference here.
    fn load(
        &self,
        model: &Model<'_>,
        options: &LoadOptions,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        let asked = options.isa.as_deref().unwrap_or(self.capabilities.isa);
        let is_half = asked == detect::FP16;
        if !is_half && !self.capabilities.isas.contains(&asked) {
            return Err(RuntimeError::IsaUnavailable {
                asked: asked.to_owned(),
                available: self.capabilities.isas.clone(),
            });
        }
        // Beside halves, integers are computed as at the best level.
        let level = if is_half { self.capabilities.isa } else { asked };
        let choices = Choices {
            dp4a: level == detect::DP4A,
            half_weights: is_half || self.gpu.half_weights,
            speed: Speed::of(&self.gpu.device.facts),
        };
        Ok(Box::new(load::load(&self.gpu, model, options, &choices)?))
    }
}

impl fmt::Debug for Jetson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jetson")
            .field("device", &self.gpu.device.name)
            .field("facts", &self.gpu.device.facts)
            .finish_non_exhaustive()
    }
}
