//! Tensors of a blob in and out of the emulated memories, as floats.

use core::ops::Range;

use crate::blob::{Desc, ElementType, TensorRef};
use crate::half;

/// Digits of an order: samples, rows, columns, channels.
pub(super) const NHWC: [u32; 4] = [4, 2, 1, 3];

/// A map as floats: samples, rows, columns, channels, the last innermost, without gaps.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) dims: [usize; 4],
    pub(super) data: Vec<f32>,
}

impl Map {
    pub(super) fn channels(&self) -> usize {
        self.dims[3]
    }
}

/// Extents of a tensor in the order of [`NHWC`].
pub(super) fn dims_of(desc: &Desc) -> [usize; 4] {
    NHWC.map(|digit| desc.dim(digit) as usize)
}

/// Reads a tensor of 16-bit floats, whatever its order is; `memory` is what it lies in.
pub(super) fn gather(memory: &[u8], tensor: &TensorRef) -> Map {
    let dims = dims_of(&tensor.desc);
    let mut data = Vec::with_capacity(dims.iter().product());
    rows(tensor, |at, stride| {
        if stride == 2 {
            data.extend(half::floats(&memory[at..at + 2 * dims[3]]));
        } else {
            data.extend((0..dims[3]).map(|c| read(memory, at + c * stride)));
        }
    });
    Map { dims, data }
}

/// Writes a tensor of 16-bit floats, rounding to the nearest, ties to even.
pub(super) fn scatter(memory: &mut [u8], tensor: &TensorRef, data: &[f32]) {
    let channels = dims_of(&tensor.desc)[3];
    let mut rest = data;
    rows(tensor, |at, stride| {
        let (row, later) = rest.split_at(channels);
        rest = later;
        for (c, &value) in row.iter().enumerate() {
            let at = at + c * stride;
            memory[at..at + 2].copy_from_slice(&half::stored(value));
        }
    });
}

/// Calls `each` with where each row of channels starts and how far its elements are apart, in bytes.
fn rows(tensor: &TensorRef, mut each: impl FnMut(usize, usize)) {
    let [n, h, w, _] = dims_of(&tensor.desc);
    let strides = NHWC.map(|digit| tensor.desc.stride(digit) as usize);
    for sample in 0..n {
        for y in 0..h {
            for x in 0..w {
                let at = sample * strides[0] + y * strides[1] + x * strides[2];
                each(tensor.offset as usize + at, strides[3]);
            }
        }
    }
}

fn read(memory: &[u8], at: usize) -> f32 {
    half::to_f32(u16::from_le_bytes([memory[at], memory[at + 1]]))
}

/// The bytes of a constant without gaps.
pub(super) fn constant<'a>(memory: &'a [u8], tensor: &TensorRef) -> Option<&'a [u8]> {
    let start = tensor.offset as usize;
    let range: Range<usize> = start..start + tensor.desc.extent_bytes()?;
    let is_plain = tensor.desc.element == ElementType::F16 && tensor.desc.is_compact();
    memory.get(range).filter(|_| is_plain)
}
