//! The runtime "myriad": sticks of the user's choice, and sessions whose graphs are on all of them.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embdl_core::model::Model;
use embdl_core::runtime::{Capabilities, LoadOptions, Runtime, RuntimeError, Session};

use crate::blob;
use crate::boot::{self, Deadlines};
use crate::compile::{CompileOptions, Compiled, compile};
use crate::device::Device;
use crate::emulator::{EmulatorConfig, Stick};
use crate::error::MyriadError;
use crate::firmware::Firmware;
use crate::lock::{Held, Lock};
use crate::session::MyriadSession;
use crate::transport::{Bus, DeviceInfo, DeviceKind, EmulatedBus, SocketBus};

/// Name of the runtime.
pub const NAME: &str = "myriad";
/// The one instruction set level: 16-bit floats on the chip's vector cores.
pub const ISA: &str = "shave";
/// Environment variable that chooses sticks: "any", ports such as "1-1.2" with commas between them, "emulated", or the
/// addresses of `myriad-emu` processes as "emulated:127.0.0.1:7450".
pub const VARIABLE: &str = "EMBDL_MYRIAD";

/// Which sticks to use. None is ever booted that was not chosen: other products have the same boot ROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All that there are.
    Any,
    /// Those that are plugged in at these ports.
    Ports(Vec<String>),
}

/// Sticks, ready to load models onto.
#[derive(Debug)]
pub struct Myriad {
    bus: Arc<dyn Bus>,
    firmware: Firmware,
    deadlines: Deadlines,
    compile: CompileOptions,
    slots: Vec<Mutex<Slot>>,
    capabilities: Capabilities,
}

/// A stick of the user's choice.
#[derive(Debug)]
struct Slot {
    /// Where its boot ROM is.
    port: String,
    /// Where it was seen with its firmware running.
    booted: Option<String>,
    device: Option<Arc<Device>>,
}

impl Myriad {
    /// The sticks that the environment variable [`VARIABLE`] chooses, on USB or emulated.
    ///
    /// # Errors
    /// If there are none, or no firmware for them.
    pub fn detect() -> Result<Self, MyriadError> {
        let chosen = std::env::var(VARIABLE).unwrap_or_default();
        Self::chosen(&chosen, None)
    }

    /// The sticks that a text chooses as the environment variable would, with firmware from a file or from where it is found.
    ///
    /// # Errors
    /// If there are none, or no firmware for them.
    pub fn chosen(text: &str, firmware: Option<&Path>) -> Result<Self, MyriadError> {
        match text.split_once(':') {
            _ if text == "emulated" => Self::emulated(vec![Stick::new(EmulatorConfig::default())]),
            Some(("emulated", addresses)) => {
                let addresses = addresses.split(',').map(str::to_owned).collect();
                let bus = SocketBus::new(addresses);
                Self::on(Arc::new(bus), Firmware::emulated(), &Choice::Any, Deadlines::emulated())
            }
            _ => Self::on_usb(text, firmware),
        }
    }

    #[cfg(feature = "usb")]
    fn on_usb(text: &str, firmware: Option<&Path>) -> Result<Self, MyriadError> {
        let bus = Arc::new(crate::transport::UsbBus);
        let choice = match text {
            "any" => Choice::Any,
            ports => Choice::Ports(
                ports.split(',').filter(|port| !port.is_empty()).map(str::to_owned).collect(),
            ),
        };
        // Before firmware is looked for: who has no stick needs none.
        choose(&*bus, &choice)?;
        Self::on(bus, Firmware::find(firmware)?, &choice, Deadlines::default())
    }

    #[cfg(not(feature = "usb"))]
    fn on_usb(_: &str, _: Option<&Path>) -> Result<Self, MyriadError> {
        Err(MyriadError::NoUsb)
    }

    /// Emulated sticks in this process.
    ///
    /// # Errors
    /// If there are none.
    pub fn emulated(sticks: Vec<Stick>) -> Result<Self, MyriadError> {
        let bus = Arc::new(EmulatedBus::new(sticks));
        Self::on(bus, Firmware::emulated(), &Choice::Any, Deadlines::emulated())
    }

    /// The chosen sticks of a bus. They are booted when a model is loaded.
    ///
    /// # Errors
    /// If there are none.
    pub fn on(
        bus: Arc<dyn Bus>,
        firmware: Firmware,
        choice: &Choice,
        deadlines: Deadlines,
    ) -> Result<Self, MyriadError> {
        let chosen = choose(&*bus, choice)?;
        let slot = |device: DeviceInfo| {
            let is_booted = device.kind == DeviceKind::Booted;
            let booted = is_booted.then(|| device.port.clone());
            Mutex::new(Slot { port: device.port, booted, device: None })
        };
        Ok(Self {
            bus,
            firmware,
            deadlines,
            compile: CompileOptions::default(),
            slots: chosen.into_iter().map(slot).collect(),
            capabilities: Capabilities { isa: ISA, isas: vec![ISA] },
        })
    }

    /// The same sticks, with models compiled by other options.
    #[must_use]
    pub const fn with_compile_options(mut self, options: CompileOptions) -> Self {
        self.compile = options;
        self
    }

    /// How many sticks there are.
    #[must_use]
    pub const fn sticks(&self) -> usize {
        self.slots.len()
    }

    /// A stick, booted if it is not running.
    ///
    /// # Errors
    /// If it does not boot, answers something else, or another process has it.
    ///
    /// # Panics
    /// If there is no stick of this number.
    pub fn device(&self, index: usize) -> Result<Arc<Device>, MyriadError> {
        let mut slot = lock(&self.slots[index]);
        if let Some(device) = slot.device.as_ref().filter(|device| !device.has_failed()) {
            return Ok(device.clone());
        }
        // Sessions that still have the old one hold a link that has failed; it must not keep the stick from being opened.
        let kept = slot.device.take().and_then(|old| old.close());
        let held = match kept {
            Some(held) => Some(held),
            None => self.claim(&slot.port)?,
        };
        let booted = slot.booted.clone();
        let opened =
            boot::open(&*self.bus, &slot.port, booted.as_deref(), &self.firmware, &self.deadlines);
        let (info, transport) = opened?;
        slot.booted = Some(info.port);
        let dialect = self.firmware.dialect();
        let device = Arc::new(Device::start(transport, dialect, &self.deadlines)?);
        device.keep(held);
        slot.device = Some(device.clone());
        Ok(device)
    }

    /// The lock of a stick, where other processes see it as well.
    fn claim(&self, port: &str) -> Result<Option<Lock>, MyriadError> {
        let locked = self.bus.locks().map(|folder| Lock::take(&folder, port));
        let error = |held: Held| MyriadError::InUse { port: port.into(), process: held.process };
        locked.transpose().map_err(error)
    }

    /// Puts a compiled model on all sticks.
    ///
    /// # Errors
    /// If the graph does not fit, or a stick fails.
    pub fn load_compiled(
        &self,
        model: &Model<'_>,
        compiled: &Compiled,
        options: &LoadOptions,
    ) -> Result<MyriadSession, MyriadError> {
        let file = Arc::new(blob::write(&compiled.blob)?);
        let load = |index| self.device(index)?.allocate(&file, &compiled.blob);
        let graphs = (0..self.sticks()).map(load).collect::<Result<Vec<_>, _>>()?;
        Ok(MyriadSession::new(model, compiled, options, graphs))
    }
}

impl Runtime for Myriad {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn load(
        &self,
        model: &Model<'_>,
        options: &LoadOptions,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        if let Some(asked) = options.isa.as_ref().filter(|isa| *isa != ISA) {
            let (asked, available) = (asked.clone(), vec![ISA]);
            return Err(RuntimeError::IsaUnavailable { asked, available });
        }
        if options.batch == 0 || u32::try_from(options.batch).is_err() {
            return Err(RuntimeError::Batch { batch: options.batch });
        }
        let compiled = compile(model, &self.compile).map_err(MyriadError::from)?;
        let (blob, allowed) = (&compiled.blob, options.max_memory_bytes);
        let needed = blob.constants.len() + blob.bss_bytes as usize;
        if needed > allowed {
            return Err(RuntimeError::TooLarge { needed, allowed });
        }
        Ok(Box::new(self.load_compiled(model, &compiled, options)?))
    }
}

fn choose(bus: &dyn Bus, choice: &Choice) -> Result<Vec<DeviceInfo>, MyriadError> {
    let all = bus.devices()?;
    let is_ours = |device: &&DeviceInfo| device.kind != DeviceKind::OtherBootRom;
    let ours: Vec<DeviceInfo> = all.iter().filter(is_ours).cloned().collect();
    if ours.is_empty() {
        return Err(MyriadError::NoStick { other_chips: all.len() });
    }
    let ports = || ours.iter().map(|device| device.port.clone()).collect();
    match choice {
        Choice::Any => Ok(ours),
        Choice::Ports(chosen) if chosen.is_empty() => {
            Err(MyriadError::NotChosen { ports: ports() })
        }
        Choice::Ports(chosen) => {
            let find = |port: &String| {
                let found = ours.iter().find(|device| device.port == *port).cloned();
                found.ok_or_else(|| MyriadError::NoSuchPort { port: port.clone(), found: ports() })
            };
            chosen.iter().map(find).collect()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
