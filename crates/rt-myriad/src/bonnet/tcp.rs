//! A bonnet over TCP, as its vendor has it beside the driver: the length of a message in four bytes, the highest first, and the
//! message.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use super::{BonnetError, Exchange, MAX_MESSAGE};

/// Where a bonnet listens that is plugged in by USB.
pub const ADDRESS: &str = "172.28.28.10:35000";

/// A connection to a bonnet.
#[derive(Debug)]
pub struct Tcp(TcpStream);

impl Tcp {
    /// Connects.
    ///
    /// # Errors
    /// If nobody answers in time.
    pub fn connect(address: &str, wait: Duration) -> Result<Self, BonnetError> {
        let what = "connecting to the bonnet";
        let mut last = std::io::Error::from(ErrorKind::AddrNotAvailable);
        let addresses = address.to_socket_addrs().map_err(|error| BonnetError::io(what, error))?;
        for address in addresses {
            match TcpStream::connect_timeout(&address, wait) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|error| BonnetError::io(what, error))?;
                    return Ok(Self(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(BonnetError::io(what, last))
    }
}

impl Exchange for Tcp {
    fn exchange(&mut self, request: &[u8], wait: Duration) -> Result<Vec<u8>, BonnetError> {
        let set = self.0.set_read_timeout(Some(wait)).and(self.0.set_write_timeout(Some(wait)));
        set.map_err(|error| BonnetError::io("setting a deadline", error))?;
        let failed = |what| {
            move |error: std::io::Error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => BonnetError::TimedOut { wait },
                _ => BonnetError::io(what, error),
            }
        };
        send(&mut self.0, request).map_err(failed("sending a request"))?;
        receive(&mut self.0)
            .map_err(failed("reading an answer"))?
            .map_err(|len| BonnetError::TooLarge { len, allowed: MAX_MESSAGE })
    }
}

pub(super) fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&len.to_be_bytes())?;
    stream.write_all(message)
}

/// A message, or how long it would be if it is too long.
pub(super) fn receive(stream: &mut TcpStream) -> std::io::Result<Result<Vec<u8>, usize>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > MAX_MESSAGE {
        return Ok(Err(len));
    }
    // No more room than bytes that come: a length alone is only a claim.
    let mut message = Vec::new();
    stream.take(len as u64).read_to_end(&mut message)?;
    if message.len() < len { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(Ok(message)) }
}
