//! Sticks on the USB of this machine.
//!
//! Not yet run with a stick: none was at hand.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nusb::transfer::{Buffer, Bulk, In, Out, TransferError};
use nusb::{Endpoint, MaybeFuture};

use super::{BulkIn, BulkOut, Bus, DeviceInfo, DeviceKind, Transport, TransportError, VENDOR};

const ENDPOINT_OUT: u8 = 0x01;
const ENDPOINT_IN: u8 = 0x81;

/// The USB of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsbBus;

impl UsbBus {
    fn list() -> Result<impl Iterator<Item = (DeviceInfo, nusb::DeviceInfo)>, TransportError> {
        let all = nusb::list_devices().wait().map_err(|error| failed(&error, "USB"))?;
        Ok(all.filter(|found| found.vendor_id() == VENDOR).filter_map(|found| {
            let kind = DeviceKind::of_product(found.product_id())?;
            Some((DeviceInfo { port: port(&found), kind }, found))
        }))
    }
}

impl Bus for UsbBus {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        Ok(Self::list()?.map(|(device, _)| device).collect())
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let port = &device.port;
        let found = Self::list()?.find(|(found, _)| found == device);
        let (_, found) = found.ok_or(TransportError::Gone)?;
        let opened = found.open().wait().map_err(|error| failed(&error, port))?;
        // A needless change of the configuration resets devices on some hosts.
        if opened.active_configuration().is_err() {
            opened.set_configuration(1).wait().map_err(|error| failed(&error, port))?;
        }
        let interface = opened.claim_interface(0).wait().map_err(|error| failed(&error, port))?;
        let missing = |_| TransportError::Endpoints { port: port.clone() };
        let reader = interface.endpoint::<Bulk, In>(ENDPOINT_IN).map_err(missing)?;
        let writer = interface.endpoint::<Bulk, Out>(ENDPOINT_OUT).map_err(missing)?;
        Ok(Transport {
            reader: Box::new(Reader { endpoint: reader, left: Vec::new() }),
            writer: Box::new(Writer(writer)),
        })
    }

    fn boots(&self) -> &Mutex<()> {
        // There is one USB in a machine.
        static BOOTS: Mutex<()> = Mutex::new(());
        &BOOTS
    }

    fn locks(&self) -> Option<PathBuf> {
        Some(std::env::temp_dir())
    }
}

/// Bus and the ports on the way, such as "1-1.2".
fn port(device: &nusb::DeviceInfo) -> String {
    let chain: Vec<String> = device.port_chain().iter().map(u8::to_string).collect();
    format!("{}-{}", device.bus_id(), chain.join("."))
}

fn failed(error: &nusb::Error, port: &str) -> TransportError {
    match error.kind() {
        nusb::ErrorKind::Disconnected | nusb::ErrorKind::NotFound => TransportError::Gone,
        nusb::ErrorKind::Busy => TransportError::Busy { port: port.to_owned() },
        nusb::ErrorKind::PermissionDenied => TransportError::Permission { port: port.to_owned() },
        _ => TransportError::Io(Arc::new(std::io::Error::other(error.to_string()))),
    }
}

fn broken(error: TransferError, wait: Duration) -> TransportError {
    match error {
        TransferError::Disconnected => TransportError::Gone,
        TransferError::Cancelled => TransportError::TimedOut { wait },
        other => TransportError::Io(Arc::new(std::io::Error::other(other))),
    }
}

struct Reader {
    endpoint: Endpoint<Bulk, In>,
    /// Received, but not read yet.
    left: Vec<u8>,
}

impl BulkIn for Reader {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        if self.left.is_empty() {
            if self.endpoint.pending() == 0 {
                // The system takes whole packets only. This asks for no more than the device sends: its transfer ends with
                // the last packet, which is short unless the length is a multiple of the packet.
                let packet = self.endpoint.max_packet_size();
                self.endpoint.submit(Buffer::new(into.len().next_multiple_of(packet)));
            }
            // A transfer that is not done stays under way: nothing of it is lost.
            let Some(done) = self.endpoint.wait_next_complete(wait) else {
                return Err(TransportError::TimedOut { wait });
            };
            let buffer = done.into_result().map_err(|error| broken(error, wait))?;
            self.left = buffer.into_vec();
            if self.left.is_empty() {
                return Err(TransportError::TimedOut { wait });
            }
        }
        let len = self.left.len().min(into.len());
        into[..len].copy_from_slice(&self.left[..len]);
        self.left.drain(..len);
        Ok(len)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

struct Writer(Endpoint<Bulk, Out>);

impl BulkOut for Writer {
    fn write(&mut self, bytes: &[u8], wait: Duration) -> Result<(), TransportError> {
        let mut buffer = Buffer::new(bytes.len());
        buffer.extend_from_slice(bytes);
        let done = self.0.transfer_blocking(buffer, wait);
        done.into_result().map_err(|error| broken(error, wait))?;
        Ok(())
    }
}
