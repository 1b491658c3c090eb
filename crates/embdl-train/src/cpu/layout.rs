//! Operators that move elements: joining, transposing, padding, resizing.

use burn_flex::FlexTensor;
use embdl_core::op::{Pad, Resize, Transpose};
use embdl_core::tensor::Shape;

use super::tape::{Saved, Tensor, record, values};
use crate::kernels::layout::{self, Permutation};
use crate::kernels::pointwise;
use crate::kernels::resize::{Interpolation, neighbours};
use crate::operators::shape_of;
use crate::storage::{elements, flat};

pub(super) fn concat(inputs: &[&Tensor], axis: usize) -> Tensor {
    let run = |shape: Shape| shape.iter().skip(axis).product::<usize>();
    let mut joined = inputs[0].clone();
    for &input in &inputs[1..] {
        let (shape, more) = (shape_of(&joined), shape_of(input));
        let (lhs, rhs) = (run(shape), run(more));
        let y = pointwise::concat(values(&joined), lhs, values(input), rhs);
        let mut extents: Vec<usize> = shape.iter().collect();
        extents[axis] += more.dim(axis);
        let output = Shape::new(&extents).expect("a valid graph's shapes have a length");
        joined = record([&joined, input], y, output, |_| SavedConcat { lhs, rhs });
    }
    joined
}

#[derive(Clone, Debug)]
struct SavedConcat {
    lhs: usize,
    rhs: usize,
}

impl Saved<2> for SavedConcat {
    fn gradients(self, dy: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (lhs, rhs) = pointwise::split(elements(&dy), self.lhs, self.rhs);
        [Some(flat(lhs)), Some(flat(rhs))]
    }
}

pub(super) fn transpose(transpose: &Transpose, x: &Tensor) -> Tensor {
    let permutation = Permutation::new(shape_of(x), transpose.order.map(usize::from));
    let y = permutation.forward(values(x));
    record([x], y, permutation.output(), |_| SavedTranspose { permutation })
}

#[derive(Clone, Debug)]
struct SavedTranspose {
    permutation: Permutation,
}

impl Saved<1> for SavedTranspose {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(self.permutation.inverse().forward(elements(&dy))))]
    }
}

pub(super) fn pad(pad: &Pad, x: &Tensor) -> Tensor {
    let input = shape_of(x);
    let (height, width) =
        (pad.top + input.dim(1) + pad.bottom, pad.left + input.dim(2) + pad.right);
    let output = Shape::nhwc(input.dim(0), height, width, input.dim(3));
    let y = layout::pad(values(x), input, output, [pad.top, pad.left]);
    record([x], y, output, |_| SavedPad { input, output, corner: [pad.top, pad.left] })
}

#[derive(Clone, Debug)]
struct SavedPad {
    input: Shape,
    output: Shape,
    corner: [usize; 2],
}

impl Saved<1> for SavedPad {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(layout::crop(elements(&dy), self.output, self.input, self.corner)))]
    }
}

pub(super) fn resize(resize: &Resize, x: &Tensor) -> Tensor {
    let input = shape_of(x);
    let interpolation = Interpolation {
        input,
        rows: neighbours(resize, input.dim(1), resize.height),
        columns: neighbours(resize, input.dim(2), resize.width),
    };
    let y = interpolation.forward(values(x));
    record([x], y, interpolation.output(), |_| SavedResize { interpolation })
}

#[derive(Clone, Debug)]
struct SavedResize {
    interpolation: Interpolation,
}

impl Saved<1> for SavedResize {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(self.interpolation.gradient(elements(&dy))))]
    }
}
