//! Which device a training or an evaluation runs on.

use core::fmt;
use core::str::FromStr;

use crate::cpu::Cpu;
use crate::error::TrainError;
use crate::operators::Operators;

/// Where the operators of a network run. Parameters, constraints and optimizer stay on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// All cores, by kernels of our own. Results are the same bit for bit from run to run.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number. Needs the feature `cuda`.
    Cuda(usize),
    /// The best GPU that Vulkan, Metal, DirectX 12 or OpenGL reach, software ones included. Needs the feature `wgpu`.
    Wgpu,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Wgpu => f.write_str("wgpu"),
        }
    }
}

impl FromStr for Device {
    type Err = TrainError;

    /// # Errors
    /// [`TrainError::UnknownDevice`] for anything but `cpu`, `cuda`, `cuda:N`, `wgpu`.
    fn from_str(text: &str) -> Result<Self, TrainError> {
        let unknown = || TrainError::UnknownDevice { name: text.into() };
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "wgpu" => Ok(Self::Wgpu),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                number.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

/// Something that runs on the operators of any device.
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    fn run<E: Operators>(self, on: &E) -> Result<Self::Output, TrainError>;
}

impl Device {
    /// Whether this program was built for the device and the machine has it.
    ///
    /// # Errors
    /// If not, saying which.
    pub fn check(self) -> Result<(), TrainError> {
        struct Nothing;
        impl Task for Nothing {
            type Output = ();
            fn run<E: Operators>(self, _: &E) -> Result<(), TrainError> {
                Ok(())
            }
        }
        self.run(Nothing)
    }

    pub(crate) fn run<T: Task>(self, task: T) -> Result<T::Output, TrainError> {
        match self {
            Self::Cpu => task.run(&Cpu::default()),
            #[cfg(feature = "cuda")]
            Self::Cuda(number) => on_gpu(self, burn_cubecl::CubeDevice::cuda(number), task),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => {
                let kind = burn_cubecl::cubecl::device::WgpuDeviceKind::default();
                on_gpu(self, burn_cubecl::CubeDevice::wgpu(kind), task)
            }
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => Err(TrainError::DeviceNotBuilt { device: self, feature: "cuda" }),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => Err(TrainError::DeviceNotBuilt { device: self, feature: "wgpu" }),
        }
    }
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn on_gpu<T: Task>(
    device: Device,
    found: Result<burn_cubecl::CubeDevice, burn_cubecl::cubecl::device::DeviceUnavailable>,
    task: T,
) -> Result<T::Output, TrainError> {
    let found =
        found.map_err(|cause| TrainError::NoDevice { device, reason: cause.to_string() })?;
    task.run(&crate::operators::Plain::<burn_cubecl::CubeBackend>(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(3), Device::Wgpu] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        for text in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains("cpu, cuda, cuda:N, wgpu"), "{text:?}: {error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_left_out_says_how_to_build_it() {
        let error = Device::Cuda(0).check().unwrap_err().to_string();
        assert!(error.contains("cargo build --release -p embdl-cli --features cuda"), "{error}");
        assert!(Device::Cpu.check().is_ok());
    }
}
