//! An emulated stick: on a bus, being booted, or with its firmware running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::app;
use super::config::EmulatorConfig;
use crate::protocol::{Link, Role};
use crate::transport::{DeviceKind, Transport, TransportError};

/// No firmware is larger.
const MAX_FIRMWARE_BYTES: usize = 64 << 20;

/// An emulated stick. Clones are the same stick.
#[derive(Clone, Debug)]
pub struct Stick {
    config: Arc<EmulatorConfig>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    is_claimed: bool,
    is_plugged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rom,
    /// On no bus until then, and for ever without a time; afterwards in its ROM or booted.
    Away {
        until: Option<Instant>,
        is_booted: bool,
    },
    Booted,
}

impl Stick {
    /// A stick that was just plugged in.
    #[must_use]
    pub fn new(config: EmulatorConfig) -> Self {
        let state = State { phase: Phase::Rom, is_claimed: false, is_plugged: true };
        Self { config: Arc::new(config), state: Arc::new(Mutex::new(state)) }
    }

    /// What it shows itself as on its bus; `None` while it is on none.
    #[must_use]
    pub fn kind(&self) -> Option<DeviceKind> {
        let mut state = self.lock();
        if let Phase::Away { until: Some(until), is_booted } = state.phase
            && until <= Instant::now()
        {
            state.phase = if is_booted { Phase::Booted } else { Phase::Rom };
        }
        match state.phase {
            _ if !state.is_plugged => None,
            Phase::Rom => Some(DeviceKind::BootRom),
            Phase::Booted => Some(DeviceKind::Booted),
            Phase::Away { .. } => None,
        }
    }

    /// What is added to the name of its port now.
    #[must_use]
    pub fn port_suffix(&self) -> &'static str {
        if self.config.moves && self.kind() == Some(DeviceKind::Booted) { ".usb3" } else { "" }
    }

    /// Takes it away from its bus.
    pub fn unplug(&self) {
        let mut state = self.lock();
        state.is_plugged = false;
        state.phase = Phase::Rom;
    }

    /// Puts it back.
    pub fn plug(&self) {
        self.lock().is_plugged = true;
    }

    /// Whether a host has it open.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.lock().is_claimed
    }

    /// Takes it for one host; `false` if another has it.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.lock();
        let is_free = !state.is_claimed && state.is_plugged;
        state.is_claimed |= is_free;
        is_free
    }

    pub(crate) fn release(&self) {
        self.lock().is_claimed = false;
    }

    /// Serves the host that has claimed it until that closes, the stick is reset, or it is unplugged.
    pub(crate) fn serve_claimed(&self, transport: Transport) {
        match self.kind() {
            Some(DeviceKind::BootRom) => self.serve_rom(transport),
            Some(_) => self.serve_firmware(transport),
            None => {}
        }
        self.release();
    }

    /// Takes bytes until they are the expected firmware, or the host closes.
    fn serve_rom(&self, mut transport: Transport) {
        let poll = self.config.timing.poll;
        let mut buffer = vec![0; 64 << 10];
        let mut hash = Sha256::new();
        let mut len = 0_usize;
        let is_firmware = loop {
            if !self.is_plugged() {
                return;
            }
            match transport.reader.read(&mut buffer, poll) {
                Ok(read) => {
                    len += read;
                    hash.update(&buffer[..read]);
                    let is_whole = self.config.firmware.is_some_and(|firmware| {
                        len == firmware.len && hash.clone().finalize()[..] == firmware.sha256
                    });
                    if is_whole {
                        break true;
                    }
                    if len > MAX_FIRMWARE_BYTES {
                        return;
                    }
                }
                Err(TransportError::TimedOut { .. }) => {}
                // Without a known firmware, anything is one.
                Err(_) => break self.config.firmware.is_none() && len > 0,
            }
        };
        drop(transport);
        if is_firmware {
            tracing::debug!(len, "the emulated boot ROM starts its firmware");
            self.go_away(true);
        }
    }

    fn serve_firmware(&self, transport: Transport) {
        let config = &self.config;
        let most = u32::try_from(crate::blob::MAX_GRAPH_BYTES).unwrap_or(u32::MAX);
        let link = Link::start(transport, config.dialect, Role::Device, config.timing, most);
        let link = match link {
            Ok(link) => link,
            Err(error) => return tracing::error!(%error, "the emulated firmware cannot start"),
        };
        let ended = app::serve(&link, config, &|| self.is_plugged());
        let is_reset = link.is_reset();
        tracing::debug!(?ended, is_reset, "the emulated firmware ends");
        link.close();
        if is_reset {
            self.go_away(false);
        }
    }

    fn go_away(&self, is_booted: bool) {
        let faults = self.config.faults;
        let until = (!(is_booted && faults.never_boots))
            .then(|| Instant::now() + self.config.reenumeration);
        self.lock().phase = Phase::Away { until, is_booted };
    }

    fn is_plugged(&self) -> bool {
        self.lock().is_plugged
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
