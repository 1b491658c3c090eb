//! Emulated devices in this process.

use std::sync::{Arc, Mutex};
use std::thread;

use super::{Bus, DeviceInfo, Transport, TransportError, pipe};
use crate::emulator::Stick;

/// A bus with emulated sticks, called "emulated.0" and so on.
#[derive(Clone, Debug, Default)]
pub struct EmulatedBus {
    sticks: Vec<Stick>,
    boots: Arc<Mutex<()>>,
}

impl EmulatedBus {
    /// A bus with these sticks.
    #[must_use]
    pub fn new(sticks: Vec<Stick>) -> Self {
        Self { sticks, boots: Arc::default() }
    }

    fn port(index: usize, stick: &Stick) -> String {
        format!("emulated.{index}{}", stick.port_suffix())
    }
}

impl Bus for EmulatedBus {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        let device = |(index, stick): (usize, &Stick)| {
            Some(DeviceInfo { port: Self::port(index, stick), kind: stick.kind()? })
        };
        Ok(self.sticks.iter().enumerate().filter_map(device).collect())
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let numbered = self.sticks.iter().enumerate();
        let found = numbered.into_iter().find(|&(index, of)| Self::port(index, of) == device.port);
        let (_, stick) = found.ok_or(TransportError::Gone)?;
        if stick.kind() != Some(device.kind) {
            return Err(TransportError::Gone);
        }
        if !stick.claim() {
            return Err(TransportError::Busy { port: device.port.clone() });
        }
        let (host, end) = pipe();
        let stick = stick.clone();
        thread::Builder::new()
            .name("emulated stick".into())
            .spawn(move || stick.serve_claimed(end))?;
        Ok(host)
    }

    fn boots(&self) -> &Mutex<()> {
        &self.boots
    }
}
