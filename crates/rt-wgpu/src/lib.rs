//! The portable GPU runtime: WGSL kernels through Vulkan, which is loaded at run time. Never depends on another runtime.
#![forbid(unsafe_code)]

pub mod detect;
mod draft;
mod error;
mod gpu;
mod kernels;
mod load;
mod lower;
mod session;
mod timer;

use core::fmt;
use std::sync::Arc;

use embdl_core::model::Model;
use embdl_core::runtime::{Capabilities, LoadOptions, Runtime, RuntimeError, Session};

pub use detect::WgpuOptions;
use gpu::Gpu;

/// The only level there is.
const ISA: &str = "wgsl";

/// A GPU. Sessions share the device and the compiled kernels, which end with the last of them.
#[derive(Clone)]
pub struct Wgpu {
    gpu: Arc<Gpu>,
    is_software: bool,
    capabilities: Capabilities,
}

impl Wgpu {
    /// The fastest adapter, or the one that the environment variable [`detect::ADAPTER_VARIABLE`] asks for.
    ///
    /// # Errors
    /// As [`Wgpu::with_options`].
    pub fn detect() -> Result<Self, RuntimeError> {
        Self::with_options(&WgpuOptions::default())
    }

    /// The adapter that the options ask for.
    ///
    /// # Errors
    /// If this machine has no Vulkan driver, no adapter of that name, or the device does not open.
    pub fn with_options(options: &WgpuOptions) -> Result<Self, RuntimeError> {
        let found = detect::open(options)?;
        let is_software = found.is_software;
        let capabilities = Capabilities { isa: ISA, isas: vec![ISA] };
        Ok(Self {
            gpu: Arc::new(Gpu::new(found, options.half_weights)?),
            is_software,
            capabilities,
        })
    }

    /// Gives the device and its memory back at once, not only when the last session is dropped. What is left of the sessions
    /// answers that the device is lost.
    pub fn close(&self) {
        self.gpu.device.destroy();
    }

    /// Name of the adapter, as its driver has it.
    #[must_use]
    pub fn adapter(&self) -> &str {
        &self.gpu.name
    }

    /// Whether the adapter is a program on the CPU, whose times say nothing about any GPU.
    #[must_use]
    pub const fn is_software(&self) -> bool {
        self.is_software
    }
}

impl Runtime for Wgpu {
    fn name(&self) -> &'static str {
        "wgpu"
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
        match options.isa.as_deref() {
            None | Some(ISA) => Ok(Box::new(load::load(&self.gpu, model, options)?)),
            Some(asked) => Err(RuntimeError::IsaUnavailable {
                asked: asked.to_owned(),
                available: self.capabilities.isas.clone(),
            }),
        }
    }
}

impl fmt::Debug for Wgpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wgpu")
            .field("adapter", &self.gpu.name)
            .field("is_software", &self.is_software)
            .finish_non_exhaustive()
    }
}
