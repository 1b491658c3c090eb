//! An emulated device in another process, over TCP. The other end is [`serve`], which `myriad-emu` runs.
//!
//! A connection starts with eight bytes from the host, `"embdl-L\n"` to list or `"embdl-O\n"` to open. The answer is
//! `"myriad-emu"`, one byte (0 well, 1 in use, 2 no device now), and the product id in two bytes, little-endian. After
//! a successful open, the connection carries what the bulk endpoints would.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{BulkIn, BulkOut, Bus, DeviceInfo, DeviceKind, Transport, TransportError};
use crate::emulator::Stick;

const LIST: &[u8; 8] = b"embdl-L\n";
const OPEN: &[u8; 8] = b"embdl-O\n";
const MARK: &[u8; 10] = b"myriad-emu";
/// How long the greeting may take.
const GREETING: Duration = Duration::from_secs(2);

/// Sticks that `myriad-emu` processes emulate, one an address.
#[derive(Clone, Debug)]
pub struct SocketBus {
    addresses: Vec<String>,
    boots: Arc<Mutex<()>>,
}

impl SocketBus {
    /// Sticks at these addresses, such as "127.0.0.1:7450". The address is the port of the stick.
    #[must_use]
    pub fn new(addresses: Vec<String>) -> Self {
        Self { addresses, boots: Arc::default() }
    }
}

impl Bus for SocketBus {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        let mut devices = Vec::new();
        for address in &self.addresses {
            let (_, state, product) = match greet(address, LIST) {
                Ok(answer) => answer,
                // A process that is not there is a stick that is not plugged in.
                Err(TransportError::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let (0 | 1, Some(kind)) = (state, DeviceKind::of_product(product)) {
                devices.push(DeviceInfo { port: address.clone(), kind });
            }
        }
        Ok(devices)
    }

    fn open(&self, device: &DeviceInfo) -> Result<Transport, TransportError> {
        let (stream, state, product) = greet(&device.port, OPEN)?;
        match state {
            0 if product == device.kind.product() => transport(stream),
            1 => Err(TransportError::Busy { port: device.port.clone() }),
            _ => Err(TransportError::Gone),
        }
    }

    fn boots(&self) -> &Mutex<()> {
        &self.boots
    }

    fn locks(&self) -> Option<PathBuf> {
        Some(std::env::temp_dir())
    }
}

fn greet(address: &str, verb: &[u8; 8]) -> Result<(TcpStream, u8, u16), TransportError> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_nodelay(true)?;
    stream.write_all(verb)?;
    let mut answer = [0; MARK.len() + 3];
    let read = stream.read_exact(&mut answer);
    if read.is_err() || !answer.starts_with(MARK) {
        return Err(TransportError::NoEmulator { address: address.to_owned() });
    }
    let [state, low, high] = [0, 1, 2].map(|at| answer[MARK.len() + at]);
    Ok((stream, state, u16::from_le_bytes([low, high])))
}

fn transport(stream: TcpStream) -> Result<Transport, TransportError> {
    let other = stream.try_clone()?;
    Ok(Transport { reader: Box::new(Half(stream)), writer: Box::new(Half(other)) })
}

struct Half(TcpStream);

impl BulkIn for Half {
    fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, TransportError> {
        // A timeout of zero would be none at all.
        self.0.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.0.read(into) {
            Ok(0) => Err(TransportError::Gone),
            Ok(len) => Ok(len),
            Err(error) if is_timeout(&error) => Err(TransportError::TimedOut { wait }),
            Err(error) => Err(error.into()),
        }
    }
}

impl BulkOut for Half {
    fn write(&mut self, bytes: &[u8], wait: Duration) -> Result<(), TransportError> {
        self.0.set_write_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.0.write_all(bytes) {
            Err(error) if is_timeout(&error) => Err(TransportError::TimedOut { wait }),
            result => Ok(result?),
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // The other half of the connection is open still: without this, neither end would see the end of it. An error
        // means that it has ended already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Serves `stick` to whoever connects, until the listener fails.
///
/// # Errors
/// If no connection can be accepted.
pub fn serve(stick: &Stick, listener: &TcpListener) -> Result<(), TransportError> {
    for stream in listener.incoming() {
        let stream = stream?;
        let stick = stick.clone();
        // A client that says nothing must not keep others waiting.
        let spawned = thread::Builder::new()
            .name("myriad-emu client".into())
            .spawn(move || answer(&stick, stream));
        spawned?;
    }
    Ok(())
}

/// A client that breaks off is no concern of the server.
fn answer(stick: &Stick, mut stream: TcpStream) {
    let greeted = (|| -> Result<bool, TransportError> {
        stream.set_read_timeout(Some(GREETING))?;
        stream.set_nodelay(true)?;
        let mut verb = [0; 8];
        stream.read_exact(&mut verb)?;
        let kind = stick.kind();
        let product = kind.map_or(0, DeviceKind::product);
        let opens = &verb == OPEN;
        let state = match kind {
            None => 2,
            Some(_) if opens && !stick.claim() => 1,
            Some(_) => 0,
        };
        let mut answer = MARK.to_vec();
        answer.push(state);
        answer.extend(product.to_le_bytes());
        stream.write_all(&answer)?;
        Ok(opens && state == 0)
    })();
    match greeted {
        Ok(true) => match transport(stream) {
            Ok(transport) => stick.serve_claimed(transport),
            Err(_) => stick.release(),
        },
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "a client broke off"),
    }
}
