//! From a stick on a bus to one whose firmware runs: firmware sent, re-enumeration waited for, left-overs reset.

use core::time::Duration;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use crate::error::MyriadError;
use crate::firmware::Firmware;
use crate::lock::Lock;
use crate::protocol::{Link, Role, Timing};
use crate::transport::{Bus, DeviceInfo, DeviceKind, Transport, TransportError};

/// Bytes of one transfer to the boot ROM.
const CHUNK: usize = 1 << 20;
/// How long a device may be in use before it is said to be.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait for what. The defaults are those of the vendor's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For transfers and answers of the link.
    pub link: Timing,
    /// For sending the firmware.
    pub send: Duration,
    /// For the stick to come back with its firmware, and for the first answer of that.
    pub boot: Duration,
    /// Between the first answer and the first request.
    pub settle: Duration,
    /// For a stick to come back in its boot ROM.
    pub reset: Duration,
    /// How often the bus is looked at.
    pub poll: Duration,
    /// For the result of an inference.
    pub inference: Duration,
    /// How often the firmware is told that the host is there.
    pub watchdog: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            link: Timing::default(),
            send: Duration::from_secs(10),
            boot: Duration::from_secs(15),
            settle: Duration::from_secs(1),
            reset: Duration::from_secs(10),
            poll: Duration::from_millis(10),
            inference: Duration::from_secs(30),
            watchdog: Duration::from_secs(1),
        }
    }
}

impl Deadlines {
    /// For emulated sticks, which need no time to settle.
    #[must_use]
    pub fn emulated() -> Self {
        Self { settle: Duration::ZERO, poll: Duration::from_millis(1), ..Self::default() }
    }
}

/// The stick of the user's choice with its firmware running, opened. It was in its boot ROM at `port`; once it has booted, it may
/// be somewhere else, and `booted` says where it was seen last.
pub(crate) fn open(
    bus: &dyn Bus,
    port: &str,
    booted: Option<&str>,
    firmware: &Firmware,
    deadlines: &Deadlines,
) -> Result<(DeviceInfo, Transport), MyriadError> {
    let _alone = bus.boots().lock().unwrap_or_else(PoisonError::into_inner);
    let wait = deadlines.boot + deadlines.reset;
    let locked = bus.locks().map(|folder| Lock::wait(&folder, "boot", wait, deadlines.poll));
    let _alone_of_all = locked
        .transpose()
        .map_err(|held| MyriadError::OtherBoots { wait, process: held.process })?;
    let end = Instant::now() + deadlines.reset;
    let before = loop {
        let sent = find(bus, port, booted, firmware, deadlines).and_then(|rom| {
            let before = bus.devices()?;
            send(bus, &rom, firmware, deadlines)?;
            Ok(before)
        });
        match sent {
            // It was seen, and then not any more: it is on its way from one state to another.
            Err(error) if is_gone(&error) && Instant::now() < end => thread::sleep(deadlines.poll),
            result => break result?,
        }
    };
    // The port is a hint only: on USB 3 the stick comes back at another.
    let is_new =
        |device: &DeviceInfo| device.kind == DeviceKind::Booted && !before.contains(device);
    let wait = deadlines.boot;
    let device = appears(bus, wait, deadlines.poll, is_new)?
        .ok_or_else(|| MyriadError::NotBooted { port: port.to_owned(), wait })?;
    let transport = open_patiently(bus, &device, deadlines.poll)?;
    Ok((device, transport))
}

/// The stick in its boot ROM; one that runs is reset first.
fn find(
    bus: &dyn Bus,
    port: &str,
    booted: Option<&str>,
    firmware: &Firmware,
    deadlines: &Deadlines,
) -> Result<DeviceInfo, MyriadError> {
    let devices = bus.devices()?;
    let at = |kind: DeviceKind, port: &str| {
        devices.iter().find(|device| device.kind == kind && device.port == port).cloned()
    };
    if let Some(rom) = at(DeviceKind::BootRom, port) {
        return Ok(rom);
    }
    let running = booted.and_then(|port| at(DeviceKind::Booted, port));
    if let Some(running) = running.or_else(|| at(DeviceKind::Booted, port)) {
        return reset(bus, &running, port, firmware, deadlines);
    }
    // It may be on its way back from a reset, and then shows up in either state.
    let is_here = |device: &DeviceInfo| device.port == port || Some(&*device.port) == booted;
    match appears(bus, deadlines.reset, deadlines.poll, is_here)? {
        Some(_) => Err(TransportError::Gone.into()),
        None => Err(MyriadError::NoSuchPort {
            port: port.to_owned(),
            found: devices.iter().map(|device| device.port.clone()).collect(),
        }),
    }
}

const fn is_gone(error: &MyriadError) -> bool {
    use crate::protocol::LinkError;
    matches!(
        error,
        MyriadError::Transport(TransportError::Gone)
            | MyriadError::Link(LinkError::Transport(TransportError::Gone))
    )
}

/// Opens a device; that somebody lets go of it just now takes the system a moment to see.
fn open_patiently(
    bus: &dyn Bus,
    device: &DeviceInfo,
    poll: Duration,
) -> Result<Transport, TransportError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match bus.open(device) {
            Err(TransportError::Busy { .. }) if Instant::now() < end => thread::sleep(poll),
            result => return result,
        }
    }
}

/// Sends the firmware to the boot ROM. Nothing is answered; that the device is gone in the end is as it should be.
fn send(
    bus: &dyn Bus,
    rom: &DeviceInfo,
    firmware: &Firmware,
    deadlines: &Deadlines,
) -> Result<(), MyriadError> {
    let mut transport = open_patiently(bus, rom, deadlines.poll)?;
    let end = Instant::now() + deadlines.send;
    let bytes = firmware.bytes();
    let last = bytes.len().div_ceil(CHUNK).saturating_sub(1);
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        match transport.writer.write(chunk, left.min(deadlines.link.transfer)) {
            Err(TransportError::Gone) if index == last => {}
            result => result?,
        }
    }
    tracing::debug!(port = rom.port, bytes = bytes.len(), "sent the firmware");
    Ok(())
}

/// A stick that another program, or a link that broke, has left with its firmware running: back to its boot ROM.
fn reset(
    bus: &dyn Bus,
    running: &DeviceInfo,
    port: &str,
    firmware: &Firmware,
    deadlines: &Deadlines,
) -> Result<DeviceInfo, MyriadError> {
    tracing::debug!(port = running.port, "resetting a stick that runs already");
    let transport = open_patiently(bus, running, deadlines.poll)?;
    let link = Link::start(transport, firmware.dialect(), Role::Host, deadlines.link, 0)?;
    let asked = link.reset(deadlines.link.request);
    link.close();
    if let Err(error) = asked {
        tracing::warn!(%error, port = running.port, "a stick does not reset");
        return Err(MyriadError::NotReset { port: running.port.clone() });
    }
    let is_back = |device: &DeviceInfo| {
        device.kind == DeviceKind::BootRom && (device.port == port || device.port == running.port)
    };
    appears(bus, deadlines.reset, deadlines.poll, is_back)?
        .ok_or_else(|| MyriadError::NotReset { port: running.port.clone() })
}

/// Looks at the bus until there is such a device.
fn appears(
    bus: &dyn Bus,
    wait: Duration,
    poll: Duration,
    is_it: impl Fn(&DeviceInfo) -> bool,
) -> Result<Option<DeviceInfo>, MyriadError> {
    let end = Instant::now() + wait;
    loop {
        if let Some(device) = bus.devices()?.into_iter().find(&is_it) {
            return Ok(Some(device));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(poll);
    }
}
