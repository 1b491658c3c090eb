//! A bonnet by the driver of a Raspberry Pi: one call of the system takes a request and gives the answer back in the same buffer.
//!
//! A buffer is a head of four words, and behind it the room for both: flags, milliseconds to wait, bytes of the room, bytes of the
//! message.
#![expect(unsafe_code, reason = "a call of the driver takes a pointer")]

use core::ffi::c_void;
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};

use super::{BonnetError, Exchange, MAX_MESSAGE};

/// The file of the driver, which is there once the bonnet has booted.
pub const DEVICE: &str = "/dev/vision_spicomm";
const HEAD: usize = 16;
const TRANSACT: Opcode = 0xc010_8903;
const FLAG_ERROR: u32 = 1;
const FLAG_TIMEOUT: u32 = 2;
const FLAG_OVERFLOW: u32 = 4;

/// A bonnet by its driver.
#[derive(Debug)]
pub struct Spi {
    file: File,
    buffer: Vec<u8>,
}

impl Spi {
    /// Opens the driver's file, most often [`DEVICE`].
    ///
    /// # Errors
    /// If it is not there, or this user may not open it.
    pub fn open(path: &Path) -> Result<Self, BonnetError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file =
            file.map_err(|error| BonnetError::io("opening the driver of the bonnet", error))?;
        Ok(Self { file, buffer: vec![0; HEAD + MAX_MESSAGE] })
    }
}

impl Exchange for Spi {
    fn exchange(&mut self, request: &[u8], wait: Duration) -> Result<Vec<u8>, BonnetError> {
        fill(&mut self.buffer, request, wait)?;
        let transact = Transact { buffer: &mut self.buffer };
        // SAFETY: the driver writes the head, and behind it at most as many bytes as the head says that there are, which is
        // how long the buffer is without its head: `fill` has written it.
        let called = unsafe { ioctl(&self.file, transact) };
        answer(&self.buffer, called.err(), wait)
    }
}

/// Writes a request and its head.
fn fill(buffer: &mut [u8], request: &[u8], wait: Duration) -> Result<(), BonnetError> {
    let room = buffer.len() - HEAD;
    let (len, allowed) = (request.len(), room);
    if len == 0 || len > room {
        return Err(BonnetError::TooLarge { len, allowed });
    }
    let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let head = [0, milliseconds, word(room), word(len)];
    for (slot, value) in buffer.chunks_exact_mut(4).zip(head) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    buffer[HEAD..HEAD + len].copy_from_slice(request);
    Ok(())
}

/// The answer in a buffer that the driver has written, or what its flags say.
fn answer(buffer: &[u8], error: Option<Errno>, wait: Duration) -> Result<Vec<u8>, BonnetError> {
    let word = |at: usize| {
        u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
    };
    let (flags, len, allowed) = (word(0), word(12) as usize, buffer.len() - HEAD);
    if flags & FLAG_TIMEOUT != 0 || error == Some(Errno::TIME) {
        return Err(BonnetError::TimedOut { wait });
    }
    if flags & FLAG_OVERFLOW != 0 || (error.is_none() && len > allowed) {
        return Err(BonnetError::TooLarge { len, allowed });
    }
    if flags & FLAG_ERROR != 0 {
        return Err(BonnetError::Driver { flags });
    }
    if let Some(error) = error {
        let error = std::io::Error::from_raw_os_error(error.raw_os_error());
        return Err(BonnetError::io("calling the driver of the bonnet", error));
    }
    Ok(buffer[HEAD..HEAD + len].to_vec())
}

struct Transact<'b> {
    buffer: &'b mut [u8],
}

// SAFETY: the number is that of a call that reads and writes what the pointer leads to, and the pointer is valid for as long as
// the value is borrowed.
unsafe impl Ioctl for Transact<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        TRANSACT
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn head(buffer: &mut [u8], flags: u32, len: u32) {
        buffer[..4].copy_from_slice(&flags.to_le_bytes());
        buffer[12..16].copy_from_slice(&len.to_le_bytes());
    }

    #[test]
    fn the_room_is_counted_behind_the_head() {
        let mut buffer = vec![0xff; HEAD + 64];
        fill(&mut buffer, b"abc", WAIT).unwrap();
        let golden =
            [0, 0, 0, 0, 0x88, 0x13, 0, 0, 64, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c', 0xff];
        assert_eq!(buffer[..20], golden);
        assert!(fill(&mut buffer, &[], WAIT).is_err());
        assert!(fill(&mut buffer, &[0; 65], WAIT).is_err());
        fill(&mut buffer, &[7; 64], WAIT).unwrap();
        head(&mut buffer, 8 | 16, 2);
        assert_eq!(answer(&buffer, None, WAIT).unwrap(), [7, 7]);
    }

    #[test]
    fn flags_and_errors_are_told_apart() {
        let mut buffer = vec![0; HEAD + 8];
        head(&mut buffer, 1 | 2, 0);
        let timed_out = answer(&buffer, Some(Errno::TIME), WAIT).unwrap_err();
        assert!(matches!(timed_out, BonnetError::TimedOut { .. }), "{timed_out}");
        head(&mut buffer, 4, 100);
        let large = answer(&buffer, None, WAIT).unwrap_err();
        assert!(matches!(large, BonnetError::TooLarge { len: 100, allowed: 8 }), "{large}");
        head(&mut buffer, 0, u32::MAX);
        assert!(answer(&buffer, None, WAIT).is_err());
        head(&mut buffer, 1, 0);
        let driver = answer(&buffer, Some(Errno::FAULT), WAIT).unwrap_err();
        assert!(matches!(driver, BonnetError::Driver { flags: 1 }), "{driver}");
        // What is no bonnet has no such call.
        let mut none = Spi::open(Path::new("/dev/null")).unwrap();
        let error = none.exchange(b"abc", WAIT).unwrap_err();
        assert!(matches!(error, BonnetError::Io { .. }), "{error}");
        assert!(Spi::open(Path::new("/dev/absent")).is_err());
    }
}
