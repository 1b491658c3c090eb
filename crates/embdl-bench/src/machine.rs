//! What machine this is, and its clock.

use std::sync::OnceLock;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::runtimes::RuntimeChoice;

/// The machine that a number was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor, as the system names it.
    pub cpu: String,
    /// "x86_64", "aarch64".
    pub arch: String,
    /// "linux".
    pub system: String,
    /// Frequency governor of the first core, where the system says it.
    pub governor: Option<String>,
    /// Whether an emulator runs this program, as far as the caller said (`EMBDL_EMULATED` holds the CPU model), or its device is
    /// emulated.
    pub emulated: bool,
}

impl Machine {
    /// The machine that this runs on.
    #[must_use]
    pub fn detect() -> Self {
        let emulated = std::env::var("EMBDL_EMULATED").ok().filter(|model| !model.is_empty());
        let governor =
            std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok();
        Self {
            cpu: emulated.clone().unwrap_or_else(cpu_name),
            arch: std::env::consts::ARCH.into(),
            system: std::env::consts::OS.into(),
            governor: governor.map(|text| text.trim().to_owned()).filter(|_| emulated.is_none()),
            emulated: emulated.is_some(),
        }
    }
}

impl Machine {
    /// The machine that a runtime computes on: a stick is another than this one, and may be emulated; a GPU is named with its driver.
    #[must_use]
    pub fn of(choice: &RuntimeChoice) -> Self {
        let mut machine = Self::detect();
        if choice.runtime == "myriad" {
            let sticks = std::env::var("EMBDL_MYRIAD").unwrap_or_default();
            machine.emulated |= sticks.starts_with("emulated");
            machine.cpu = format!("Movidius MA2450 at {}", machine.cpu);
            machine.governor = None;
        }
        #[cfg(feature = "jetson")]
        if choice.runtime == "jetson"
            && let Ok(gpu) = rt_jetson::Jetson::detect()
        {
            let ((major, minor), (chip, of_chip)) = (gpu.driver(), gpu.capability());
            machine.cpu = format!(
                "{} (compute capability {chip}.{of_chip}, CUDA {major}.{minor}) at {}",
                gpu.device(),
                machine.cpu
            );
        }
        machine
    }
}

/// Nanoseconds since the first call: the clock that profiles take.
#[must_use]
pub fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_nanos();
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

/// Nanoseconds of CPU time that this process has taken, over all its threads; `None` where the system does not say.
#[must_use]
pub fn cpu_nanoseconds() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let [seconds, rest] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).ok());
        Some(seconds? * 1_000_000_000 + rest?)
    }
    #[cfg(not(unix))]
    None
}

/// The largest resident size that this process has had, in bytes; 0 where the system does not say.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::trim))
    };
    let model = std::fs::read_to_string("/proc/device-tree/model").ok();
    model
        .map(|text| text.trim_end_matches('\0').to_owned())
        .or_else(|| field("model name").or_else(|| field("CPU part")).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}
