//! Sharing out work to the threads of a session: the interface that a pool of threads has, and slices that tasks share.
#![expect(unsafe_code, reason = "tasks write disjoint parts of one slice")]

use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;

use super::OutQ8;
use crate::quant::Requant;

/// Threads that run the tasks of a kernel.
///
/// # Safety
/// `for_each` must call `task` once for each index below `tasks`, return after the last call has, and never give the same
/// worker number to two calls that run at the same time; worker numbers are below `threads()`.
pub unsafe trait Parallel: Send + Sync + fmt::Debug {
    /// Threads, the calling one included; at least 1.
    fn threads(&self) -> usize;

    /// Into how many equal parts work is cut so that threads that take one after the other finish at about the same time:
    /// as many as threads, unless their cores differ; no fewer.
    fn shares(&self) -> usize {
        self.threads()
    }

    /// Calls `task(worker, index)` for all indices. Allocates nothing.
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync));
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OneThread;

// SAFETY: a loop on one thread.
unsafe impl Parallel for OneThread {
    fn threads(&self) -> usize {
        1
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        (0..tasks).for_each(|index| task(0, index));
    }
}

/// A slice of which tasks that run at the same time borrow disjoint parts.
pub struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: what the tasks get are disjoint `&mut [T]`, which may go to other threads where `T` may.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<T> fmt::Debug for Shared<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<'a, T> Shared<'a, T> {
    /// Shares `slice`.
    pub const fn new(slice: &'a mut [T]) -> Self {
        Self { data: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Elements of the whole.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first element, for tasks that write elements here and there: those of different tasks must differ.
    #[must_use]
    pub const fn as_mut_ptr(&self) -> *mut T {
        self.data
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// While the part is in use, no other part that overlaps it may be.
    ///
    /// # Panics
    /// If the range is not within the slice.
    #[must_use]
    #[expect(clippy::mut_from_ref, reason = "disjoint by the contract")]
    #[inline]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: within the slice that is borrowed for 'a, and disjoint by the contract.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

/// Integer results that tasks share.
#[derive(Debug)]
pub enum SharedOut<'a> {
    /// Requantized to u8.
    U8(&'a Requant, Shared<'a, u8>),
    /// As they are.
    I32(Shared<'a, i32>),
}

impl<'a> SharedOut<'a> {
    /// Shares `out`.
    #[must_use]
    pub fn new(out: OutQ8<'a>) -> Self {
        match out {
            OutQ8::U8(requant, out) => Self::U8(requant, Shared::new(out)),
            OutQ8::I32(out) => Self::I32(Shared::new(out)),
        }
    }

    /// Number of results that fit.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(_, out) => out.len(),
            Self::I32(out) => out.len(),
        }
    }

    /// Whether no result fits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The results of `range`.
    ///
    /// # Safety
    /// While the part is in use, no other part that overlaps it may be.
    #[inline(always)]
    #[must_use]
    pub unsafe fn part(&self, range: Range<usize>) -> OutQ8<'_> {
        match self {
            // SAFETY: by the contract.
            Self::U8(requant, out) => OutQ8::U8(requant, unsafe { out.part(range) }),
            // SAFETY: by the contract.
            Self::I32(out) => OutQ8::I32(unsafe { out.part(range) }),
        }
    }
}

/// Calls `each(index, piece, scratch)` for pieces of `len` elements of `out`, the last of which may be shorter. Every worker
/// has a scratch of its own: an equal part of `scratch`.
///
/// # Panics
/// If `len` is zero.
pub fn for_each_piece<T: Send, S: Send>(
    parallel: &dyn Parallel,
    out: &mut [T],
    len: usize,
    scratch: &mut [S],
    each: impl Fn(usize, &mut [T], &mut [S]) + Sync,
) {
    assert!(len > 0, "pieces without elements");
    let total = out.len();
    let own = scratch.len() / parallel.threads();
    let (out, scratch) = (Shared::new(out), Shared::new(scratch));
    parallel.for_each(total.div_ceil(len), &|worker, index| {
        let start = index * len;
        // SAFETY: each index is called once, and pieces of different indices are disjoint.
        let piece = unsafe { out.part(start..(start + len).min(total)) };
        // SAFETY: workers that run at the same time have different numbers below the number of threads.
        let scratch = unsafe { scratch.part(worker * own..(worker + 1) * own) };
        each(index, piece, scratch);
    });
}

/// As [`for_each_piece`], for the first `total` results of integers, wherever they go.
///
/// # Panics
/// If `len` is zero, or there are fewer results.
pub fn for_each_piece_q8(
    parallel: &dyn Parallel,
    out: OutQ8<'_>,
    [total, len]: [usize; 2],
    scratch: &mut [u8],
    each: &(dyn Fn(usize, OutQ8<'_>, &mut [u8]) + Sync),
) {
    assert!(len > 0, "pieces without elements");
    assert!(out.len() >= total, "{} results are not {total}", out.len());
    let own = scratch.len() / parallel.threads();
    let (out, scratch) = (SharedOut::new(out), Shared::new(scratch));
    parallel.for_each(total.div_ceil(len), &|worker, index| {
        let start = index * len;
        // SAFETY: each index is called once, and pieces of different indices are disjoint.
        let piece = unsafe { out.part(start..(start + len).min(total)) };
        // SAFETY: workers that run at the same time have different numbers below the number of threads.
        let scratch = unsafe { scratch.part(worker * own..(worker + 1) * own) };
        each(index, piece, scratch);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_slice_once() {
        for (len, piece) in [(0, 1), (1, 3), (9, 3), (10, 3)] {
            let mut out = alloc::vec![0; len];
            for_each_piece(&OneThread, &mut out, piece, &mut [0_u8; 5], |index, out, scratch| {
                assert_eq!(scratch.len(), 5);
                out.iter_mut().for_each(|slot| *slot += index + 1);
            });
            let expected: alloc::vec::Vec<usize> = (0..len).map(|at| at / piece + 1).collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    #[should_panic(expected = "3..6 of 5")]
    fn parts_end_with_the_slice() {
        let mut data = [0; 5];
        let shared = Shared::new(&mut data);
        // SAFETY: the only part.
        let _ = unsafe { shared.part(3..6) };
    }
}
