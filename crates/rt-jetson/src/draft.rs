//! A launch before its kernel is loaded: what a node of the model becomes; and where in memory it reads and writes.

use core::cell::Cell;
use core::ops::Range;

use embdl_core::runtime::RuntimeError;

use crate::cost::{Counts, Work};
use crate::counts::Counted;
use crate::kernels::{Kernel, Module};
use crate::params::{Address, Params};

/// Every part of the device's memory begins at a multiple of this many bytes: what the widest loads need, and whole lines of
/// its caches.
pub(crate) const ALIGNMENT: usize = 256;
/// What the parts of a launch's constants begin at a multiple of: the widest load.
const VECTOR: usize = 16;
/// Elements that a value, a weight or a scratch may have: kernels count in 32 bits with a sign.
pub(crate) const MAX_COUNT: usize = i32::MAX as usize;
/// Blocks on each axis.
const MAX_GRID: [usize; 3] = [i32::MAX as usize, 65_535, 65_535];

/// Writes constants, which are zero before.
pub(crate) type Fill<'l> = Box<dyn Fn(&mut [u8]) -> Result<(), RuntimeError> + 'l>;

/// What the host writes at load for a kernel to read.
pub(crate) struct Constants<'l> {
    pub(crate) address: Address,
    pub(crate) len: usize,
    pub(crate) fill: Fill<'l>,
}

/// One launch.
pub(crate) struct Draft<'l> {
    /// Name of the kernel, for profiles.
    pub(crate) name: &'static str,
    pub(crate) module: Module,
    pub(crate) entry: &'static str,
    pub(crate) threads: u32,
    pub(crate) grid: [u32; 3],
    pub(crate) params: Vec<u64>,
    pub(crate) constants: Option<Constants<'l>>,
    /// What it does.
    pub(crate) work: Work,
}

impl<'l> Draft<'l> {
    /// A launch of `kernel`.
    ///
    /// # Errors
    /// If it takes more blocks than there can be.
    pub(crate) fn new<P: Counted>(
        name: &'static str,
        kernel: Kernel<P>,
        params: &P,
        constants: Option<Constants<'l>>,
    ) -> Result<Self, RuntimeError> {
        Self::counting(name, kernel, params, constants, params.counts())
    }

    /// A launch of `kernel` that does this, besides reading its constants.
    ///
    /// # Errors
    /// As [`Draft::new`].
    pub(crate) fn counting<P: Params>(
        name: &'static str,
        kernel: Kernel<P>,
        params: &P,
        constants: Option<Constants<'l>>,
        counts: Counts,
    ) -> Result<Self, RuntimeError> {
        let blocks = (kernel.grid)(params);
        let mut grid = [1; 3];
        for ((slot, needed), allowed) in grid.iter_mut().zip(blocks).zip(MAX_GRID) {
            let fits = |needed: &u32| *needed as usize <= allowed;
            *slot = u32::try_from(needed)
                .ok()
                .filter(fits)
                .ok_or(RuntimeError::TooLarge { needed, allowed })?
                .max(1);
        }
        let mut words = vec![0_u64; size_of::<P>().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..size_of::<P>()]
            .copy_from_slice(bytemuck::bytes_of(params));
        let (module, entry, threads) = (kernel.module, kernel.entry, kernel.threads);
        let read = constants.as_ref().map_or(0, |constants| constants.len as u64);
        let work = Work {
            counts: Counts { bytes: counts.bytes.saturating_add(read), ..counts },
            lanes: kernel.lanes(),
            blocks: grid.iter().fold(1_u64, |blocks, &axis| blocks.saturating_mul(axis.into())),
        };
        Ok(Self { name, module, entry, threads, grid, params: words, constants, work })
    }
}

/// A count as kernels take it.
///
/// # Errors
/// If it is too large for them.
pub(crate) fn count(count: usize) -> Result<u32, RuntimeError> {
    let too_large = RuntimeError::TooLarge { needed: count, allowed: MAX_COUNT };
    u32::try_from(count).ok().filter(|_| count <= MAX_COUNT).ok_or(too_large)
}

/// The parts of a launch's constants, one behind the other.
#[derive(Default)]
pub(crate) struct Parts {
    len: usize,
}

impl Parts {
    /// The next `len` bytes.
    pub(crate) const fn take(&mut self, len: usize) -> Range<usize> {
        // Saturates: what is that large is refused when it is counted.
        let start = self.len;
        self.len = match start.saturating_add(len).checked_next_multiple_of(VECTOR) {
            Some(end) => end,
            None => usize::MAX / VECTOR * VECTOR,
        };
        start..start.saturating_add(len)
    }
}

/// Where everything lies. Drafts are made twice: first to count bytes, at addresses that nobody uses, then at real ones.
#[derive(Debug)]
pub(crate) struct Places {
    /// Activations.
    pub(crate) arena: Address,
    /// The caller's inputs.
    pub(crate) inputs: Vec<Address>,
    /// Constants of all launches, one behind the other.
    constants: Address,
    constant_bytes: Cell<usize>,
    /// What one node's launches hand each other.
    scratch: Address,
    scratch_bytes: Cell<usize>,
}

impl Places {
    pub(crate) const fn new(arena: Address, inputs: Vec<Address>, ends: [Address; 2]) -> Self {
        let [constants, scratch] = ends;
        Self {
            arena,
            inputs,
            constants,
            constant_bytes: Cell::new(0),
            scratch,
            scratch_bytes: Cell::new(0),
        }
    }

    /// Bytes of all constants, and of scratch.
    pub(crate) fn counted(&self) -> [usize; 2] {
        [self.constant_bytes.get(), self.scratch_bytes.get()]
    }

    /// Room for constants of these parts.
    pub(crate) fn constants<'l>(&self, parts: &Parts, fill: Fill<'l>) -> Constants<'l> {
        let at = self.constant_bytes.get();
        let len = parts.len;
        let end = at.saturating_add(len).checked_next_multiple_of(ALIGNMENT);
        self.constant_bytes.set(end.unwrap_or(usize::MAX / ALIGNMENT * ALIGNMENT));
        Constants { address: self.constants.wrapping_add(at as u64), len, fill }
    }

    /// Scratch that begins behind `skipped` bytes of the same node.
    pub(crate) fn scratch(&self, skipped: usize, len: usize) -> Address {
        let start = skipped.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        let end = start.saturating_add(len);
        self.scratch_bytes.set(self.scratch_bytes.get().max(end));
        self.scratch.wrapping_add(start as u64)
    }
}

impl Constants<'_> {
    /// Address of a part; 0, which kernels take for none, if it is empty.
    pub(crate) const fn at(&self, part: &Range<usize>) -> Address {
        if part.start == part.end { 0 } else { self.address.wrapping_add(part.start as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{CONV_F32_64X64, SOFTMAX};
    use crate::params::{GemmF32, Softmax};

    #[test]
    fn grids_beyond_the_limits_are_errors() {
        let params = GemmF32 { rows: 65, n: 64, groups: 2, slices: 3, ..GemmF32::default() };
        let draft = Draft::new("conv", CONV_F32_64X64, &params, None).unwrap();
        assert_eq!((draft.grid, draft.params.len() * 8), ([2, 1, 6], size_of::<GemmF32>()));
        let params = GemmF32 { groups: 65_536, slices: 1, ..params };
        let error = Draft::new("conv", CONV_F32_64X64, &params, None).err();
        assert_eq!(error, Some(RuntimeError::TooLarge { needed: 65_536, allowed: 65_535 }));
        let nothing = Softmax::default();
        assert_eq!(Draft::new("softmax", SOFTMAX, &nothing, None).unwrap().grid, [1, 1, 1]);
    }

    #[test]
    fn parts_and_places_do_not_overlap_and_count() {
        let mut parts = Parts::default();
        assert_eq!([parts.take(3), parts.take(16), parts.take(0)], [0..3, 16..32, 32..32]);
        let places = Places::new(0, Vec::new(), [1 << 20, 1 << 30]);
        let first = places.constants(&parts, Box::new(|_| Ok(())));
        assert_eq!((first.at(&(16..32)), first.at(&(32..32))), ((1 << 20) + 16, 0));
        assert_eq!(places.constants(&parts, Box::new(|_| Ok(()))).address, (1 << 20) + 256);
        assert_eq!(places.scratch(0, 100), 1 << 30);
        assert_eq!(places.scratch(100, 50), (1 << 30) + 256);
        assert_eq!(places.counted(), [512, 306]);
        assert_eq!(count(MAX_COUNT + 1).ok(), None);
    }
}
