//! Counts what a thread allocates.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

/// The system's allocator, counting. A test that counts makes it its own:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: embdl_testkit::CountingAllocator = embdl_testkit::CountingAllocator;
///
/// let (boxed, allocations) = embdl_testkit::count_allocations(|| Box::new(1));
/// assert_eq!((*boxed, allocations), (1, 1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes allocated less bytes freed on this thread, and the most that was since it was last asked.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// What `work` gives, and how often it allocated or reallocated on this thread. Zero unless [`CountingAllocator`] is the
/// global allocator.
pub fn count_allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = work();
    (result, ALLOCATIONS.get() - before)
}

/// What `work` gives, and the most bytes that it held at a time on this thread beside what was there before. Zero unless
/// [`CountingAllocator`] is the global allocator.
pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before).unsigned_abs())
}

fn count() {
    // A thread that is ending has no counter anymore, and nobody who asks.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// Notes that a block of `before` bytes is now one of `after`.
fn resize(before: usize, after: usize) {
    let change = i64::try_from(after).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every method hands its arguments on to the system's allocator, which keeps the trait's promises.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        resize(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        resize(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        count();
        // The old block may live until its content is copied.
        resize(0, new_len);
        resize(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, new_len) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        resize(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}
