//! A file in the address space of the process, read only.

use core::ffi::c_void;
use core::ops::Range;
use std::fs::File;
use std::io;

use rustix::fs::{FileType, fstat};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::param::page_size;

/// A mapping of a whole file that is not empty.
pub(crate) struct Mapping {
    start: *mut c_void,
    len: usize,
}

// SAFETY: the bytes are never written, and the address is the process's.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `file`; `None` where it is no regular file, or an empty one.
    pub(crate) fn new(file: &File) -> io::Result<Option<Self>> {
        let stat = fstat(file)?;
        let len = usize::try_from(stat.st_size).unwrap_or(0);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || len == 0 {
            return Ok(None);
        }
        // SAFETY: the kernel chooses an address where nothing is.
        let start = unsafe {
            mmap(core::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0)?
        };
        Ok(Some(Self { start, len }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped for as long as `self` lives, and nothing here writes them.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// Lets go of the whole pages of `part`; they come back from the file when they are read again. Bytes that are not of this
    /// file are left alone.
    pub(crate) fn release(&self, part: &[u8]) {
        let all = self.bytes().as_ptr_range();
        let part = part.as_ptr_range();
        if part.start < all.start || part.end > all.end {
            return;
        }
        let first = part.start.addr() - all.start.addr();
        let Some(pages) = whole_pages(first..part.end.addr() - all.start.addr(), self.len) else {
            return;
        };
        // SAFETY: pages of the mapping; it is private, read only and of a file, so its bytes stay the same.
        let released = unsafe {
            madvise(self.start.byte_add(pages.start), pages.len(), Advice::LinuxDontNeed)
        };
        // It is advice: without it, memory is all that is lost.
        _ = released;
    }
}

/// The pages that `part` of a file of `len` bytes covers; the last page ends with the file.
fn whole_pages(part: Range<usize>, len: usize) -> Option<Range<usize>> {
    let page = page_size();
    let start = part.start.next_multiple_of(page);
    let end = if part.end == len { len } else { part.end / page * page };
    (start < end).then_some(start..end)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped; slices of it have ended with the borrow.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_are_covered_as_a_whole_are_let_go() {
        let page = page_size();
        let len = 3 * page + 5;
        assert_eq!(whole_pages(1..page + 1, len), None);
        assert_eq!(whole_pages(1..2 * page, len), Some(page..2 * page));
        assert_eq!(whole_pages(0..len, len), Some(0..len));
        assert_eq!(whole_pages(3 * page..len - 1, len), None);
        assert_eq!(whole_pages(3 * page + 1..len, len), None);
    }
}
