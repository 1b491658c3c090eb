//! A device with the kernels that were needed so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use embdl_core::runtime::RuntimeError;

use crate::detect::JetsonOptions;
use crate::draft::Draft;
use crate::driver::{Device, Kernels, Launch};
use crate::kernels::Module;

/// A device, its compiled kernels, and how it is to be used.
#[derive(Debug)]
pub(crate) struct Gpu {
    /// Modules stay: the driver takes a while to compile one. They are given back before the device.
    modules: Mutex<HashMap<Module, Arc<Kernels>>>,
    pub(crate) device: Arc<Device>,
    pub(crate) half_weights: bool,
    pub(crate) launch_list: bool,
}

impl Gpu {
    pub(crate) fn new(device: Device, options: &JetsonOptions) -> Self {
        Self {
            modules: Mutex::default(),
            device: Arc::new(device),
            half_weights: options.half_weights,
            launch_list: options.launch_list,
        }
    }

    /// What a draft becomes when its module is loaded.
    ///
    /// # Errors
    /// If the driver does not compile it.
    pub(crate) fn launch(&self, draft: &Draft<'_>) -> Result<Launch, RuntimeError> {
        let function = self.module(draft.module)?.function(draft.entry)?;
        let Draft { grid, threads, .. } = *draft;
        Ok(Launch { function, grid, threads, params: draft.params.clone() })
    }

    fn module(&self, module: Module) -> Result<Arc<Kernels>, RuntimeError> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernels) = modules.get(&module) {
            return Ok(Arc::clone(kernels));
        }
        let kernels = Arc::new(Kernels::compile(&self.device, module.ptx())?);
        modules.insert(module, Arc::clone(&kernels));
        Ok(kernels)
    }
}
