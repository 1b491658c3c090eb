//! Loads and stores, each checked.

use super::{Block, row};
use crate::error::Fault;
use crate::instruction::{Access, Place, Register, Space};
use crate::launch::Stats;
use crate::memory::Memory;

impl Block<'_> {
    pub(super) fn load(
        &mut self,
        access: &Access,
        place: Place,
        lanes: &[u32],
        memory: &mut Memory<'_>,
        stats: &mut Stats,
    ) -> Result<(), Fault> {
        let bytes = access.bytes * access.count;
        if matches!(access.space, Space::Global | Space::Fixed) {
            stats.loaded_bytes += (bytes * lanes.len()) as u64;
        }
        for &lane in lanes {
            let thread = lane as usize;
            let address = self.address(place, thread, bytes)?;
            let mut values = [0_u8; 16];
            let found = match access.space {
                Space::Params => part(self.params(), address, bytes),
                Space::Shared => part(&self.shared, address, bytes),
                Space::Global => memory.read(address, bytes, false, &mut self.hint),
                Space::Fixed => memory.read(address, bytes, true, &mut self.hint),
            };
            let found = found.ok_or_else(|| missing(access.space, thread, address, bytes))?;
            values[..bytes].copy_from_slice(found);
            let parts = values.chunks_exact(access.bytes);
            for (&register, part) in access.registers[..access.count].iter().zip(parts) {
                self.set(register, thread, number(part, access.is_signed));
            }
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        access: &Access,
        place: Place,
        lanes: &[u32],
        memory: &mut Memory<'_>,
        stats: &mut Stats,
    ) -> Result<(), Fault> {
        let bytes = access.bytes * access.count;
        if access.space == Space::Global {
            stats.stored_bytes += (bytes * lanes.len()) as u64;
        }
        for &lane in lanes {
            let thread = lane as usize;
            let address = self.address(place, thread, bytes)?;
            let mut values = [0_u8; 16];
            let parts = values.chunks_exact_mut(access.bytes);
            for (&register, part) in access.registers[..access.count].iter().zip(parts) {
                part.copy_from_slice(&self.value(register, thread).to_le_bytes()[..access.bytes]);
            }
            let found = match access.space {
                Space::Shared => part_mut(&mut self.shared, address, bytes),
                Space::Global => memory.write(address, bytes, &mut self.hint),
                Space::Params | Space::Fixed => None,
            };
            let found = found.ok_or_else(|| missing(access.space, thread, address, bytes))?;
            found.copy_from_slice(&values[..bytes]);
        }
        Ok(())
    }

    /// Where a thread accesses so many bytes. Errors: not at a multiple of them.
    fn address(&self, place: Place, thread: usize, bytes: usize) -> Result<u64, Fault> {
        let address = self.value(place.base, thread).wrapping_add_signed(place.offset);
        if address.is_multiple_of(bytes as u64) {
            Ok(address)
        } else {
            Err(Fault::Alignment { thread, address, bytes })
        }
    }

    fn value(&self, register: Register, thread: usize) -> u64 {
        match register {
            Register::Word(word, _) => u64::from(self.words[word.0 * self.threads + thread]),
            Register::Long(long) => self.longs[long.0 * self.threads + thread],
        }
    }

    fn set(&mut self, register: Register, thread: usize, value: u64) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        match register {
            #[expect(clippy::cast_possible_truncation, reason = "registers hold what they can")]
            Register::Word(word, bits) => {
                let value = if bits == 16 { value as u32 & 0xffff } else { value as u32 };
                row(words, word.0, threads)[thread].set(value);
            }
            Register::Long(long) => row(longs, long.0, threads)[thread].set(value),
        }
    }
}

/// Bytes as a number, its sign in all bits above if it has one.
fn number(bytes: &[u8], is_signed: bool) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    let unused = 64 - 8 * bytes.len();
    let value = u64::from_le_bytes(all) << unused;
    if is_signed { (value.cast_signed() >> unused).cast_unsigned() } else { value >> unused }
}

fn part(all: &[u8], address: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(address).ok()?;
    all.get(start..start.checked_add(len)?)
}

fn part_mut(all: &mut [u8], address: u64, len: usize) -> Option<&mut [u8]> {
    let start = usize::try_from(address).ok()?;
    all.get_mut(start..start.checked_add(len)?)
}

fn missing(space: Space, thread: usize, address: u64, bytes: usize) -> Fault {
    let space = match space {
        Space::Params => "parameter",
        Space::Shared => "shared",
        Space::Global | Space::Fixed => "global",
    };
    Fault::Address { thread, address, bytes, space }
}
