//! Convolutions that the suites of floats and of integers share.

use embdl_core::kernels::{ConvProblem, WindowGeometry};

/// What a case computes: input, kernel, stride, pads (top, left, bottom, right), output channels, groups.
pub(super) type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 4], usize, usize);

pub(super) const CASES: [Case; 30] = [
    ([3, 3, 16], [3; 2], [1; 2], [0; 4], 16, 1),
    ([1, 1, 17], [3; 2], [1; 2], [1; 4], 16, 1),
    ([4, 4, 32], [3; 2], [1; 2], [1; 4], 33, 1),
    ([6, 7, 20], [3; 2], [1; 2], [1; 4], 40, 1),
    ([8, 8, 64], [3; 2], [1; 2], [1, 0, 0, 1], 16, 1),
    ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
    ([12, 5, 18], [3; 2], [1; 2], [2, 3, 1, 0], 19, 1),
    ([30, 29, 16], [3; 2], [1; 2], [1; 4], 24, 1),
    ([5, 64, 33], [3; 2], [1; 2], [1; 4], 31, 1),
    ([70, 30, 70], [3; 2], [1; 2], [1; 4], 9, 1),
    ([28, 28, 1], [5; 2], [1; 2], [0; 4], 20, 1),
    ([12, 12, 20], [5; 2], [1; 2], [0; 4], 50, 1),
    ([11, 9, 24], [5; 2], [1; 2], [2; 4], 34, 2),
    ([15, 14, 17], [5; 2], [1; 2], [2, 1, 3, 4], 16, 1),
    ([9, 10, 4], [7; 2], [1; 2], [3; 4], 8, 1),
    ([9, 10, 12], [3, 4], [1; 2], [0, 1, 1, 0], 3, 3),
    ([31, 33, 3], [3; 2], [2; 2], [1; 4], 32, 1),
    ([19, 17, 3], [3; 2], [2; 2], [1; 4], 70, 1),
    ([35, 29, 3], [11; 2], [4; 2], [0, 2, 1, 2], 37, 1),
    ([9, 40, 2], [2, 5], [3, 1], [1, 4, 0, 6], 9, 1),
    ([3, 2, 5], [5; 2], [1; 2], [4; 4], 3, 1),
    ([17, 6, 4], [3, 1], [1, 2], [0, 0, 5, 0], 8, 1),
    ([20, 20, 12], [1; 2], [2; 2], [0; 4], 16, 1),
    ([64, 64, 8], [3; 2], [2; 2], [1, 1, 0, 0], 50, 1),
    ([7, 70, 40], [4, 3], [1; 2], [1; 4], 65, 1),
    ([5, 7, 33], [1; 2], [1; 2], [0; 4], 31, 1),
    ([9, 3, 24], [1; 2], [1; 2], [0; 4], 18, 3),
    ([13, 1, 64], [1; 2], [1; 2], [0; 4], 32, 1),
    ([1, 1, 6], [1; 2], [1; 2], [0; 4], 5, 1),
    ([1, 2, 3], [3; 2], [1; 2], [5, 7, 4, 9], 5, 1),
];

/// A case with results a few elements apart.
pub(super) fn problem(
    (input, kernel, stride, pads, n, groups): Case,
    dilation: [usize; 2],
) -> ConvProblem {
    let [top, left, bottom, right] = pads;
    let span = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
    let geometry = WindowGeometry {
        input,
        output: [
            (input[0] + top + bottom - span[0]) / stride[0] + 1,
            (input[1] + left + right - span[1]) / stride[1] + 1,
        ],
        kernel,
        stride,
        dilation,
        pad_before: [top, left],
        pad_after: [bottom, right],
    };
    ConvProblem {
        geometry,
        groups,
        n,
        out_stride: n + n % 3,
        density: 1.0,
        blocks: 1.0,
        max_abs: 127,
        threads: 1,
    }
}
