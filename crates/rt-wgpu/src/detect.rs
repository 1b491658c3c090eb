//! Which adapter: the only place that asks the driver what there is.

use std::env;

use embdl_core::runtime::RuntimeError;
use wgpu::{
    Adapter, Backends, Device, DeviceDescriptor, DeviceType, ExperimentalFeatures, Features,
    Instance, InstanceDescriptor, MemoryHints, Queue, Trace,
};

use crate::error::ready;

/// Name of the environment variable that asks for an adapter where no option does.
pub const ADAPTER_VARIABLE: &str = "EMBDL_WGPU_ADAPTER";

/// Which adapter to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WgpuOptions {
    /// A part of the adapter's name, in any case, such as "intel"; without it what [`ADAPTER_VARIABLE`] holds, else the
    /// fastest kind: discrete, integrated, virtual, then software.
    pub adapter: Option<String>,
    /// Take the times of a profile by the clock of the load options, each node submitted by itself, even where the device has
    /// a clock of its own.
    pub host_clock: bool,
    /// Keep weights of float layers in 16 bits: half the memory, and for single samples half of what is read, for results that
    /// are off by up to 2^-11 of each product. Sums and activations stay floats. A weight beyond 65,504 is an error.
    pub half_weights: bool,
}

/// A device that answers, with its queue and its name.
pub(crate) struct Found {
    pub(crate) device: Device,
    pub(crate) queue: Queue,
    pub(crate) name: String,
    pub(crate) is_software: bool,
}

/// Opens the adapter that the options ask for.
///
/// # Errors
/// If there is no driver, no adapter of that name, or its device does not open.
pub(crate) fn open(options: &WgpuOptions) -> Result<Found, RuntimeError> {
    let environment = env::var(ADAPTER_VARIABLE).ok().filter(|name| !name.is_empty());
    let asked = options.adapter.clone().or(environment);
    let adapters = adapters();
    let infos: Vec<(String, DeviceType)> = adapters
        .iter()
        .map(|adapter| adapter.get_info())
        .map(|info| (info.name, info.device_type))
        .collect();
    let chosen = choose(&infos, asked.as_deref())?;
    let (adapter, (name, kind)) = (&adapters[chosen], infos[chosen].clone());
    let descriptor = DeviceDescriptor {
        label: Some("embdl"),
        required_features: if options.host_clock {
            Features::empty()
        } else {
            // Only profiles need it.
            adapter.features() & Features::TIMESTAMP_QUERY
        },
        required_limits: adapter.limits(),
        experimental_features: ExperimentalFeatures::disabled(),
        memory_hints: MemoryHints::MemoryUsage,
        trace: Trace::Off,
    };
    let failed =
        |reason: String| RuntimeError::Device { device: name.clone(), doing: "opening it", reason };
    let (device, queue) = ready(adapter.request_device(&descriptor))
        .ok_or_else(|| failed("no answer".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Found { device, queue, name, is_software: kind == DeviceType::Cpu })
}

/// Names of all adapters that can be asked for.
#[must_use]
pub fn adapter_names() -> Vec<String> {
    adapters().iter().map(|adapter| adapter.get_info().name).collect()
}

fn adapters() -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor {
        backends: Backends::VULKAN,
        ..InstanceDescriptor::new_without_display_handle()
    });
    ready(instance.enumerate_adapters(Backends::VULKAN)).unwrap_or_default()
}

/// The first of the best kind among those whose name has what is `asked`.
fn choose(adapters: &[(String, DeviceType)], asked: Option<&str>) -> Result<usize, RuntimeError> {
    if adapters.is_empty() {
        let needed = "adapter of a Vulkan driver";
        return Err(RuntimeError::NotDetected { runtime: "wgpu", needed });
    }
    let rank = |kind| match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    let fits =
        |name: &str| asked.is_none_or(|asked| name.to_lowercase().contains(&asked.to_lowercase()));
    let fitting = (0..adapters.len()).filter(|&at| fits(&adapters[at].0));
    fitting.min_by_key(|&at| rank(adapters[at].1)).ok_or_else(|| RuntimeError::NoSuchDevice {
        asked: asked.unwrap_or_default().to_owned(),
        available: adapters.iter().map(|(name, _)| name.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters() -> Vec<(String, DeviceType)> {
        [
            ("llvmpipe (LLVM 15)", DeviceType::Cpu),
            ("Intel(R) HD Graphics 500", DeviceType::IntegratedGpu),
            ("Radeon", DeviceType::DiscreteGpu),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
        .to_vec()
    }

    #[test]
    fn the_fastest_kind_is_taken_unless_another_is_asked_for() {
        assert_eq!(choose(&adapters(), None), Ok(2));
        assert_eq!(choose(&adapters()[..2], None), Ok(1));
        assert_eq!(choose(&adapters(), Some("LLVMPIPE")), Ok(0));
        assert_eq!(choose(&adapters(), Some("hd graphics")), Ok(1));
    }

    #[test]
    fn what_is_not_there_is_an_error_that_says_so() {
        let error = choose(&[], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this machine has no adapter of a Vulkan driver, which the wgpu runtime needs"
        );
        let error = choose(&adapters()[..1], Some("mali")).unwrap_err();
        let available = vec!["llvmpipe (LLVM 15)".to_owned()];
        assert_eq!(error, RuntimeError::NoSuchDevice { asked: "mali".to_owned(), available });
    }
}
