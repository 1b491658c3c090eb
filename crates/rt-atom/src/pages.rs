//! Large pages for large memory. A dense layer of AlexNet streams 150 MB of weights once an inference; in pages of 4 KiB
//! that is 37,000 translations, and the run of the network takes a quarter longer.

/// From here on memory is worth a call of the system.
const MIN_BYTES: usize = 1 << 20;

/// Asks the system to back `memory`, which nothing has written yet, with large pages. A refusal changes nothing but speed.
pub(crate) fn prefer_large(memory: &mut [u8]) {
    if memory.len() < MIN_BYTES {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = memory.as_mut_ptr_range().start;
        let skipped = start.align_offset(PAGE);
        let len = (memory.len() - skipped) / PAGE * PAGE;
        // SAFETY: whole pages of the slice; MADV_HUGEPAGE leaves their contents as they are.
        unsafe { libc::madvise(start.add(skipped).cast(), len, libc::MADV_HUGEPAGE) };
    }
}
