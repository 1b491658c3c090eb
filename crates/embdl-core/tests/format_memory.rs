//! Reading allocates in proportion to the bytes of the file, whatever they claim.
#![expect(unsafe_code, reason = "a global allocator that counts cannot be written without")]

mod support;

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

use embdl_core::format::{HEADER_LEN, Limits, read, write};
use support::{Random, lenet5, random_model, seal};

/// Counts live bytes and their peak. The test below is the only one of this program, so they are its own.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` took the block from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peak of bytes that `work` holds at a time beside what was there.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn reading_allocates_at_most_512_bytes_for_each_byte() {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for seed in 0..500 {
        files.push(write(&random_model(&mut Random(seed)).model()).unwrap());
    }
    let honest = files.len();
    let mut random = Random(3);
    for index in 0..20_000 {
        let mut file = files[index % honest].clone();
        for _ in 0..1 + random.below(3) {
            let at = HEADER_LEN + random.below(file.len() - HEADER_LEN);
            file[at] = [random.byte(), 0xff, 0x7f][random.below(3)];
        }
        seal(&mut file);
        files.push(file);
    }
    // The shortest nodes there are: a chain of softmax.
    let mut chain = b"EMBD\x01\x00\x00\x00".to_vec();
    chain.extend([0; 8]);
    chain.extend([1, 0xa0, 0x1f, 2, 3]);
    chain.extend([9; 4000]);
    chain.extend([1, 0]);
    seal(&mut chain);
    files.push(chain.clone());
    assert_eq!(read(&chain, &Limits::default()).unwrap().nodes.len(), 4000);

    for file in &files {
        let used = peak(|| drop(read(file, &Limits::none())));
        assert!(used <= 512 * file.len(), "{used} bytes for {} of {file:02x?}", file.len());
    }

    // Payload is not copied: what a large file costs does not grow with its weights.
    let lenet = write(&lenet5(&mut Random(1)).model()).unwrap();
    let used = peak(|| drop(read(&lenet, &Limits::default())));
    assert!(used < 16 * 1024, "{used} bytes for a file of {}", lenet.len());
}
