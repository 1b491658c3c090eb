//! Transposing and padding of `[n, ...]` values.

use embdl_core::tensor::Shape;
use rayon::prelude::*;

/// Another order of axes of one shape; the batch stays first.
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    input: Shape,
    order: [usize; 4],
}

impl Permutation {
    /// Axis `i` of the result is axis `order[i]` of the input.
    pub(crate) fn new(input: Shape, order: [usize; 4]) -> Self {
        Self { input, order }
    }

    /// Shape of the result.
    pub(crate) fn output(&self) -> Shape {
        let order = &self.order[..self.input.rank()];
        let dims: Vec<usize> = order.iter().map(|&axis| self.input.dim(axis)).collect();
        Shape::new(&dims).expect("the same extents in another order")
    }

    /// The way back.
    pub(crate) fn inverse(&self) -> Self {
        let mut order = self.order;
        for (at, &axis) in self.order.iter().enumerate() {
            order[axis] = at;
        }
        Self { input: self.output(), order }
    }

    /// Moves the elements.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        // Extents and strides of one sample in the order of the result, ones in front.
        let rank = self.input.rank();
        let (mut dims, mut strides) = ([1; 3], [0; 3]);
        for at in 1..rank {
            let axis = self.order[at];
            let slot = 3 + at - rank;
            dims[slot] = self.input.dim(axis);
            strides[slot] = self.input.iter().skip(axis + 1).product();
        }
        let mut y = vec![0.0; x.len()];
        let len = dims.iter().product::<usize>();
        y.par_chunks_exact_mut(len).zip(x.par_chunks_exact(len)).for_each(|(y, x)| {
            let mut y = y.iter_mut();
            for i in 0..dims[0] {
                for j in 0..dims[1] {
                    let first = i * strides[0] + j * strides[1];
                    for (k, y) in y.by_ref().take(dims[2]).enumerate() {
                        *y = x[first + k * strides[2]];
                    }
                }
            }
        });
        y
    }
}

/// Puts maps of shape `input` into zeros of shape `output`, with their first pixel at `[row, column]`.
pub(crate) fn pad(x: &[f32], input: Shape, output: Shape, [row, column]: [usize; 2]) -> Vec<f32> {
    let (len, out_len) = (input.len() / input.dim(0), output.len() / output.dim(0));
    let (run, out_run) = (input.dim(2) * input.dim(3), output.dim(2) * output.dim(3));
    let mut y = vec![0.0; output.len()];
    y.par_chunks_exact_mut(out_len).zip(x.par_chunks_exact(len)).for_each(|(y, x)| {
        let rows = y[row * out_run..].chunks_exact_mut(out_run).zip(x.chunks_exact(run));
        rows.for_each(|(y, x)| y[column * input.dim(3)..][..run].copy_from_slice(x));
    });
    y
}

/// Takes maps of shape `output` out of maps of shape `input`, from the pixel at `[row, column]`.
pub(crate) fn crop(x: &[f32], input: Shape, output: Shape, [row, column]: [usize; 2]) -> Vec<f32> {
    let (len, out_len) = (input.len() / input.dim(0), output.len() / output.dim(0));
    let (run, out_run) = (input.dim(2) * input.dim(3), output.dim(2) * output.dim(3));
    let mut y = vec![0.0; output.len()];
    y.par_chunks_exact_mut(out_len).zip(x.par_chunks_exact(len)).for_each(|(y, x)| {
        let rows = y.chunks_exact_mut(out_run).zip(x[row * run..].chunks_exact(run));
        rows.for_each(|(y, x)| y.copy_from_slice(&x[column * input.dim(3)..][..out_run]));
    });
    y
}
