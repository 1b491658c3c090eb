//! Slices that end at an unreadable page and start right after one: a kernel that reads or writes beyond them stops
//! the test process.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;

/// A slice whose end touches a page without access; the page before its first page has no access either.
///
/// Units: elements; the memory is as large as the slice, rounded up to pages, plus the two guards.
#[derive(Debug)]
pub struct Guarded<T> {
    mapping: *mut libc::c_void,
    mapping_len: usize,
    start: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Copy> Guarded<T> {
    /// A guarded copy of `values`.
    ///
    /// # Panics
    /// If the system gives no memory, or `T` has no size.
    #[must_use]
    pub fn new(values: &[T]) -> Self {
        assert!(size_of::<T>() > 0, "elements without size");
        let page = page_bytes();
        let data_len = size_of_val(values).next_multiple_of(page);
        let mapping_len = data_len + 2 * page;
        // SAFETY: an anonymous private mapping at an address of the system's choice touches no memory of ours.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapping_len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(mapping != libc::MAP_FAILED, "no memory for {mapping_len} guarded bytes");
        if data_len > 0 {
            // SAFETY: the pages from `page` to `page + data_len` lie inside the mapping made above.
            let status = unsafe {
                libc::mprotect(mapping.byte_add(page), data_len, libc::PROT_READ | libc::PROT_WRITE)
            };
            assert!(status == 0, "the pages of the slice cannot be made writable");
        }
        let start = page + data_len - size_of_val(values);
        let mut guarded =
            Self { mapping, mapping_len, start, len: values.len(), element: PhantomData };
        guarded.copy_from_slice(values);
        guarded
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` made `len` elements from `start` readable and filled them (for `T: Copy` alone, and zero bytes
        // of a fresh mapping are never read before that copy); `start` differs from a page boundary by a multiple of
        // the element's size, so it is aligned.
        unsafe { core::slice::from_raw_parts(self.mapping.byte_add(self.start).cast(), self.len) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; the mapping belongs to this value alone.
        unsafe {
            core::slice::from_raw_parts_mut(self.mapping.byte_add(self.start).cast(), self.len)
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no borrow outlives the value.
        let status = unsafe { libc::munmap(self.mapping, self.mapping_len) };
        debug_assert!(status == 0, "a mapping that cannot be released");
    }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("the system knows its page size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_values_and_ends_at_a_page() {
        for len in [0_u16, 1, 3, 2047, 2048, 2049] {
            let values: Vec<u16> = (0..len).collect();
            let mut guarded = Guarded::new(&values);
            assert_eq!(&guarded[..], &values[..]);
            assert_eq!(guarded.as_ptr_range().end as usize % page_bytes(), 0, "length {len}");
            for value in guarded.iter_mut() {
                *value += 1;
            }
            assert!(guarded.iter().zip(&values).all(|(g, v)| *g == v + 1));
        }
    }

    #[test]
    fn reading_past_the_end_stops_the_process() {
        let guarded = Guarded::new(&[1_u8, 2, 3]);
        // SAFETY: the child only reads one byte and exits, or is stopped by the signal that the test looks for.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no child process");
        if child == 0 {
            let end = guarded.as_ptr_range().end;
            // SAFETY: not safe at all, which is the point: the page is unreadable and the child ends here.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                let byte = ptr::read_volatile(end);
                libc::_exit(i32::from(byte & 1));
            }
        }
        let mut status = 0;
        // SAFETY: `child` is the process made above, `status` a valid place.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        assert!(libc::WIFSIGNALED(status), "the byte after the slice was readable");
    }
}
