//! Requests about the device and their answers.

use super::{Fields, MessageError, THERMAL_SAMPLES, words};
use crate::protocol::header::Dialect;

/// A request about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// Temperatures and throttling.
    ThermalStats,
    /// What the firmware can do.
    Capabilities,
    /// Bytes in use.
    UsedMemory,
    /// Says that the host is alive; has no answer. Not in NCSDK's line.
    WatchdogPing,
    /// The text that identifies the device. The facts at hand do not say what it looks like. Not in NCSDK's line.
    DeviceId,
}

impl DeviceRequest {
    /// Their numbers by line of firmware.
    const fn all(dialect: Dialect) -> &'static [(Self, u32)] {
        match dialect {
            Dialect::OpenVino2020 => &[
                (Self::ThermalStats, 0),
                (Self::Capabilities, 1),
                (Self::UsedMemory, 2),
                (Self::DeviceId, 3),
                (Self::WatchdogPing, 4),
            ],
            Dialect::Ncsdk2 => {
                &[(Self::ThermalStats, 1), (Self::Capabilities, 2), (Self::UsedMemory, 3)]
            }
        }
    }

    /// Bytes of a request: its number and an argument; with a class of options between them in NCSDK's line.
    const fn len(dialect: Dialect) -> usize {
        match dialect {
            Dialect::OpenVino2020 => 8,
            Dialect::Ncsdk2 => 12,
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// If firmware of this line does not know it.
    pub fn encode(self, dialect: Dialect) -> Result<Vec<u8>, MessageError> {
        let known = Self::all(dialect).iter().find(|(request, _)| *request == self);
        let (_, code) = known.ok_or(MessageError::Dialect { what: "such request" })?;
        let mut bytes = code.to_le_bytes().to_vec();
        bytes.resize(Self::len(dialect), 0);
        Ok(bytes)
    }

    /// Reads one. Options of other classes than the first are refused by the firmware that is sold, and here.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8], dialect: Dialect) -> Result<Self, MessageError> {
        let what = "a device request";
        let fields = Fields::new(what, bytes, Self::len(dialect))?;
        if dialect == Dialect::Ncsdk2 && fields.u32(4) != 0 {
            return Err(MessageError::Type { what, found: fields.u32(4) });
        }
        let found = fields.u32(0);
        let known = Self::all(dialect).iter().find(|&&(_, code)| code == found);
        known.map(|&(request, _)| request).ok_or(MessageError::Type { what, found })
    }
}

/// What the firmware can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCapabilities {
    /// Graphs at the same time.
    pub max_graphs: u32,
    /// FIFOs at the same time.
    pub max_fifos: u32,
    /// Bytes for graphs and what they need.
    pub max_memory: u32,
    /// Highest classes of options of devices and of graphs; 0 in `OpenVINO`'s line, which has none.
    pub option_classes: [u32; 2],
    /// Inferences of a graph at the same time.
    pub max_executors: u32,
    /// Version of the firmware; one of the middle two names the chip, such as 0x2450.
    pub firmware: [u32; 4],
    /// Version of its tensor library.
    pub tensor_library: [u32; 2],
}

impl DeviceCapabilities {
    /// Its bytes: 40, or 48 in NCSDK's line.
    #[must_use]
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let first = [self.max_graphs, self.max_fifos, self.max_memory];
        let classes: &[u32] = match dialect {
            Dialect::OpenVino2020 => &[],
            Dialect::Ncsdk2 => &self.option_classes,
        };
        let rest = self.firmware.iter().chain(&self.tensor_library);
        words(first.iter().chain(classes).chain([&self.max_executors]).chain(rest))
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(bytes: &[u8], dialect: Dialect) -> Result<Self, MessageError> {
        let classes = if dialect == Dialect::Ncsdk2 { 2 } else { 0 };
        let fields = Fields::new("the capabilities of a device", bytes, 4 * (10 + classes))?;
        let first = |at: usize| fields.u32(4 * at);
        let word = |at: usize| fields.u32(4 * (at + classes));
        Ok(Self {
            max_graphs: first(0),
            max_fifos: first(1),
            max_memory: first(2),
            option_classes: if classes == 2 { [first(3), first(4)] } else { [0; 2] },
            max_executors: word(3),
            firmware: [word(4), word(5), word(6), word(7)],
            tensor_library: [word(8), word(9)],
        })
    }

    /// The chip that the firmware says it runs on, such as 0x2450: firmware lines have it in different places.
    #[must_use]
    pub fn chip(&self) -> Option<u32> {
        self.firmware[1..3].iter().copied().find(|chip| [0x2450, 0x2480].contains(chip))
    }
}

/// A reading of temperatures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThermalStats {
    /// 0 none, 1 short sleeps between inferences, 2 heavy throttling.
    pub throttling: u8,
    /// Degrees Celsius, the last samples.
    pub celsius: [f32; THERMAL_SAMPLES],
}

impl ThermalStats {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let level = f32::from(self.throttling);
        [level].iter().chain(&self.celsius).flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it has another length, or a level that does not exist.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let what = "a thermal reading";
        let fields = Fields::new(what, bytes, 4 + 4 * THERMAL_SAMPLES)?;
        let level = f32::from_bits(fields.u32(0));
        let known = [0_u8, 1, 2].into_iter().find(|&known| f32::from(known) == level);
        let throttling = known.ok_or(MessageError::Type { what, found: level.to_bits() })?;
        let celsius = core::array::from_fn(|at| f32::from_bits(fields.u32(4 + 4 * at)));
        Ok(Self { throttling, celsius })
    }
}
