//! Global memory: regions of bytes at addresses, with nothing between them.

use thiserror::Error;

use crate::error::Fault;

/// What kernels can reach. Regions are borrowed, so that whoever owns them sees what kernels wrote.
#[derive(Debug, Default)]
pub struct Memory<'a> {
    /// By address.
    regions: Vec<Region<'a>>,
    /// Whether read-only loads of what the same launch writes are faults.
    checks_fixed: bool,
}

#[derive(Debug)]
struct Region<'a> {
    base: u64,
    bytes: &'a mut [u8],
    /// One bit for every four bytes that this launch read as fixed, and wrote; empty where nobody asks.
    fixed: Vec<u64>,
    written: Vec<u64>,
}

/// A region that cannot be where it is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{len} bytes at {base:#x} overlap others, or the end of all addresses")]
pub struct MapError {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: usize,
}

impl<'a> Memory<'a> {
    /// Puts bytes at an address.
    ///
    /// # Errors
    /// If they overlap others.
    pub fn map(&mut self, base: u64, bytes: &'a mut [u8]) -> Result<(), MapError> {
        let error = MapError { base, len: bytes.len() };
        let end = base.checked_add(bytes.len() as u64).ok_or(error)?;
        let at = self.regions.partition_point(|region| region.base < base);
        let overlaps_next = self.regions.get(at).is_some_and(|next| next.base < end);
        let previous = at.checked_sub(1).map(|before| &self.regions[before]);
        if overlaps_next || previous.is_some_and(|region| region.end() > base) {
            return Err(error);
        }
        let (fixed, written) = (Vec::new(), Vec::new());
        self.regions.insert(at, Region { base, bytes, fixed, written });
        Ok(())
    }

    /// Lets launches fail that read by a read-only load (`ld.global.nc`) what they also write. Costs an eighth of the memory.
    #[must_use]
    pub fn checking_fixed(mut self) -> Self {
        self.checks_fixed = true;
        self
    }

    /// Forgets what earlier launches read and wrote.
    pub(crate) fn begin(&mut self) {
        for region in &mut self.regions {
            let words = if self.checks_fixed { region.bytes.len().div_ceil(256) } else { 0 };
            for marks in [&mut region.fixed, &mut region.written] {
                marks.clear();
                marks.resize(words, 0);
            }
        }
    }

    /// Whether the launch kept to what it said of fixed memory.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        for region in &self.regions {
            let both = region.fixed.iter().zip(&region.written).position(|(a, b)| a & b != 0);
            if let Some(word) = both {
                let bit = (region.fixed[word] & region.written[word]).trailing_zeros();
                let address = region.base + (word as u64 * 64 + u64::from(bit)) * 4;
                return Err(Fault::NotFixed { address });
            }
        }
        Ok(())
    }

    /// The region that holds bytes from an address on; `hint` is where to look first, and where they were found.
    fn find(&self, address: u64, len: usize, hint: &mut usize) -> Option<(usize, usize)> {
        let holds = |at: usize| {
            let region = self.regions.get(at)?;
            let start = usize::try_from(address.checked_sub(region.base)?).ok()?;
            (start.checked_add(len)? <= region.bytes.len()).then_some((at, start))
        };
        if let Some(found) = holds(*hint) {
            return Some(found);
        }
        let at = self.regions.partition_point(|region| region.base <= address).checked_sub(1)?;
        *hint = at;
        holds(at)
    }

    /// Bytes from an address on.
    pub(crate) fn read(
        &mut self,
        address: u64,
        len: usize,
        is_fixed: bool,
        hint: &mut usize,
    ) -> Option<&[u8]> {
        let (at, start) = self.find(address, len, hint)?;
        let region = &mut self.regions[at];
        if is_fixed {
            mark(&mut region.fixed, start, len);
        }
        region.bytes.get(start..start + len)
    }

    /// The same to be written.
    pub(crate) fn write(
        &mut self,
        address: u64,
        len: usize,
        hint: &mut usize,
    ) -> Option<&mut [u8]> {
        let (at, start) = self.find(address, len, hint)?;
        let region = &mut self.regions[at];
        mark(&mut region.written, start, len);
        region.bytes.get_mut(start..start + len)
    }
}

impl Region<'_> {
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }
}

/// Sets the bits of some bytes.
fn mark(marks: &mut [u64], start: usize, len: usize) {
    if marks.is_empty() {
        return;
    }
    for word in start / 4..(start + len).div_ceil(4) {
        if let Some(marks) = marks.get_mut(word / 64) {
            *marks |= 1 << (word % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_overlap_and_nothing_is_between_them() {
        let (mut a, mut b, mut c) = ([1_u8; 8], [2_u8; 4], [3_u8; 1]);
        let mut memory = Memory::default();
        memory.map(100, &mut a).unwrap();
        assert_eq!(memory.map(104, &mut c).unwrap_err(), MapError { base: 104, len: 1 });
        memory.map(112, &mut b).unwrap();
        let mut hint = 0;
        let mut has = |address, len| memory.read(address, len, false, &mut hint).is_some();
        assert!(has(100, 8) && has(107, 1) && has(112, 4) && has(115, 1));
        assert!(!has(99, 1) && !has(107, 2) && !has(108, 1) && !has(113, 4) && !has(u64::MAX, 8));
    }

    #[test]
    fn what_is_read_as_fixed_must_not_be_written() {
        let mut bytes = [0_u8; 1024];
        let mut memory = Memory::default().checking_fixed();
        memory.map(4096, &mut bytes).unwrap();
        memory.begin();
        let mut hint = 0;
        memory.read(4096 + 512, 4, true, &mut hint).unwrap();
        memory.write(4096 + 516, 4, &mut hint).unwrap();
        assert_eq!(memory.end(), Ok(()));
        memory.write(4096 + 513, 1, &mut hint).unwrap();
        assert_eq!(memory.end(), Err(Fault::NotFixed { address: 4096 + 512 }));
        memory.begin();
        assert_eq!(memory.end(), Ok(()));
    }
}
