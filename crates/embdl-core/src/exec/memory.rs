//! The arena and how nodes borrow from it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use bytemuck::{cast_slice, must_cast_slice, must_cast_slice_mut};

use crate::plan::{ALIGNMENT, Place};
use crate::tensor::TensorRef;

/// Bytes that start at a multiple of [`ALIGNMENT`]; they are allocated once and never move.
#[derive(Debug)]
pub(super) struct Arena {
    words: Vec<u64>,
    start: usize,
    len: usize,
}

impl Arena {
    pub(super) fn new(len: usize) -> Self {
        // A vector of words is only aligned to words, so there is room to start later.
        let words = vec![0; len.div_ceil(8) + ALIGNMENT / 8];
        let start = words.as_ptr().align_offset(ALIGNMENT) * 8;
        Self { words, start, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &must_cast_slice::<u64, u8>(&self.words)[self.start..][..self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut must_cast_slice_mut::<u64, u8>(&mut self.words)[self.start..][..self.len]
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// What a node may read while it writes its result: the caller's inputs and the arena around the result.
#[derive(Debug)]
pub(super) struct Readable<'a> {
    inputs: &'a [TensorRef<'a>],
    before: &'a [u8],
    after: &'a [u8],
    after_start: usize,
}

impl<'a> Readable<'a> {
    /// Splits the arena into the result `out` and the rest.
    pub(super) fn split(
        arena: &'a mut [u8],
        inputs: &'a [TensorRef<'a>],
        out: Range<usize>,
    ) -> (Self, &'a mut [u8]) {
        let (before, rest) = arena.split_at_mut(out.start);
        let (result, after) = rest.split_at_mut(out.len());
        (Self { inputs, before, after, after_start: out.end }, result)
    }

    /// All of the arena, while nothing is written.
    pub(super) const fn all(arena: &'a [u8], inputs: &'a [TensorRef<'a>]) -> Self {
        Self { inputs, before: arena, after: &[], after_start: arena.len() }
    }

    /// The bytes of a value.
    ///
    /// # Panics
    /// If it overlaps the result that is being written, which plans exclude.
    pub(super) fn bytes(&self, place: &Place) -> &'a [u8] {
        match place {
            Place::Input(index) => match self.inputs[*index] {
                TensorRef::F32(data) => must_cast_slice(data),
                TensorRef::U8(data) => data,
                TensorRef::I32(data) => must_cast_slice(data),
            },
            Place::Arena(range) if range.end <= self.before.len() => &self.before[range.clone()],
            Place::Arena(range) => {
                let start = range.start.checked_sub(self.after_start);
                &self.after[start.expect("plans keep results off what is read")..][..range.len()]
            }
        }
    }

    pub(super) fn f32(&self, place: &Place) -> &'a [f32] {
        cast_slice(self.bytes(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_are_aligned_and_as_long_as_asked() {
        for len in [0, 1, 63, 64, 1000] {
            let mut arena = Arena::new(len);
            assert_eq!(arena.bytes_mut().len(), len);
            assert_eq!(arena.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        }
    }

    #[test]
    fn what_is_read_lies_around_what_is_written() {
        let mut arena = Arena::new(192);
        arena.bytes_mut().iter_mut().zip(0..).for_each(|(slot, byte)| *slot = byte);
        let floats = [1.5_f32];
        let inputs = [TensorRef::F32(&floats)];
        let (readable, out) = Readable::split(arena.bytes_mut(), &inputs, 64..128);
        assert_eq!(out[0], 64);
        assert_eq!(readable.bytes(&Place::Arena(0..2)), [0, 1]);
        assert_eq!(readable.bytes(&Place::Arena(128..130)), [128, 129]);
        assert_eq!(readable.f32(&Place::Input(0)), floats);
    }
}
