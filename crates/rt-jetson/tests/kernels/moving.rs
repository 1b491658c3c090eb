//! What only moves elements, or is between two of them.

use bytemuck::Pod;
use embdl_core::kernels::elementwise::{copy_rows, map_rows_u8};
use embdl_core::kernels::layout::{pad, transpose};
use embdl_core::kernels::resize::{
    ResizePlan, resize_linear_f32, resize_linear_u8, resize_nearest,
};
use embdl_core::op::{Coordinates, Resize, ResizeMode};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use rt_jetson::kernels::{self, Kernel};
use rt_jetson::params::{self, Concat, Pad, Params, Transpose};

use super::case::Case;
use super::convolution::word;
use super::{assert_close, assert_same};

/// One launch from an input to a result.
fn check<T: Pod + PartialEq + core::fmt::Debug, P: Params>(
    kernel: Kernel<P>,
    input: &[T],
    expected: &[T],
    params: impl FnOnce(&mut Case, u64, u64) -> P,
) {
    let mut case = Case::default();
    let (input, out) = (case.put(input), case.room::<T>(expected.len()));
    let params = params(&mut case, input, out);
    case.launch(kernel, &params);
    for outcome in case.run() {
        let what = format!("{} {}", kernel.entry, outcome.route);
        assert_same(&what, &outcome.read::<T>(out), expected);
    }
}

#[test]
fn other_orders_of_axes() {
    let mut random = Random::new(1);
    for (dims, order) in [
        ([1, 1, 1, 1], [0, 1, 2, 3]),
        ([2, 3, 4, 5], [0, 3, 1, 2]),
        ([2, 3, 4, 5], [3, 2, 1, 0]),
        ([1, 7, 9, 8], [2, 0, 3, 1]),
    ] {
        let count: usize = dims.iter().product();
        let strides = [dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1];
        let params = |_: &mut Case, input, out| {
            let [dim1, dim2, dim3] = [1, 2, 3].map(|axis| word(dims[order[axis]]));
            let [stride0, stride1, stride2, stride3] = order.map(|axis| word(strides[axis]));
            let count = word(count);
            Transpose { input, out, count, dim1, dim2, dim3, stride0, stride1, stride2, stride3 }
        };
        let (floats, levels) = (random.floats(count), random.bytes(count));
        let (mut words, mut bytes) = (vec![0.0; count], vec![0; count]);
        transpose(dims, order, &floats, &mut words);
        transpose(dims, order, &levels, &mut bytes);
        check(kernels::TRANSPOSE_WORDS, &floats, &words, params);
        check(kernels::TRANSPOSE_LEVELS, &levels, &bytes, params);
    }
}

#[test]
fn borders() {
    let mut random = Random::new(2);
    for (samples, [height, row], [top, left, bottom, right]) in [
        (1, [1, 1], [0; 4]),
        (2, [3, 5], [1, 2, 0, 3]),
        (3, [4, 12], [0, 0, 2, 4]),
        (1, [5, 60], [1; 4]),
    ] {
        let [out_height, out_row] = [top + height + bottom, left + row + right];
        let params = |border| {
            move |_: &mut Case, input, out| Pad {
                input,
                out,
                count: word(samples * out_height * out_row),
                border,
                height: word(height),
                row: word(row),
                out_height: word(out_height),
                out_row: word(out_row),
                top: word(top),
                left: word(left),
            }
        };
        let (floats, levels) =
            (random.floats(samples * height * row), random.bytes(samples * height * row));
        let (mut words, mut bytes) =
            (vec![0.0; samples * out_height * out_row], vec![0; samples * out_height * out_row]);
        for sample in 0..samples {
            let (from, to) = (sample * height * row, sample * out_height * out_row);
            let size = (height * row, out_height * out_row);
            let border = [top, left, bottom, right];
            pad([height, row], border, 0.0, &floats[from..][..size.0], &mut words[to..][..size.1]);
            pad([height, row], border, 99, &levels[from..][..size.0], &mut bytes[to..][..size.1]);
        }
        check(kernels::PAD_WORDS, &floats, &words, params(0));
        check(kernels::PAD_LEVELS, &levels, &bytes, params(99));
    }
}

#[test]
fn other_heights_and_widths() {
    let mut random = Random::new(3);
    for (mode, coordinates) in [
        (ResizeMode::Nearest, Coordinates::Asymmetric),
        (ResizeMode::Nearest, Coordinates::HalfPixel),
        (ResizeMode::Linear, Coordinates::HalfPixel),
        (ResizeMode::Linear, Coordinates::AlignCorners),
    ] {
        for (samples, [ih, iw, c], [oh, ow]) in
            [(1, [1, 1, 1], [3, 2]), (2, [4, 5, 3], [7, 11]), (1, [6, 8, 9], [3, 3])]
        {
            let resize = Resize { height: oh, width: ow, mode, coordinates };
            let plan = ResizePlan::new(&resize, Shape::nhwc(samples, ih, iw, c));
            let axes: Vec<u32> = plan
                .rows
                .iter()
                .chain(&plan.columns)
                .flat_map(|n| [n.low, n.high, n.weight.to_bits(), n.weight_q12])
                .collect();
            let count = samples * oh * ow * c;
            let params = |case: &mut Case, input, out| params::Resize {
                input,
                axes: case.put(&axes),
                out,
                count: word(count),
                ih: word(ih),
                iw: word(iw),
                c: word(c),
                oh: word(oh),
                ow: word(ow),
            };
            let (floats, levels) =
                (random.floats(samples * ih * iw * c), random.bytes(samples * ih * iw * c));
            let (mut words, mut bytes) = (vec![0.0; count], vec![0; count]);
            if mode == ResizeMode::Nearest {
                resize_nearest(&plan, &floats, &mut words);
                resize_nearest(&plan, &levels, &mut bytes);
                check(kernels::NEAREST_WORDS, &floats, &words, params);
                check(kernels::NEAREST_LEVELS, &levels, &bytes, params);
                continue;
            }
            resize_linear_f32(&plan, &floats, &mut words);
            resize_linear_u8(&plan, &levels, &mut bytes);
            check(kernels::RESIZE_Q8, &levels, &bytes, params);
            let mut case = Case::default();
            let (input, out) = (case.put(&floats), case.room::<f32>(count));
            let params = params(&mut case, input, out);
            case.launch(kernels::RESIZE_F32, &params);
            for outcome in case.run() {
                assert_close(outcome.route, &outcome.read(out), &words, |_| 1e-6);
            }
        }
    }
}

#[test]
fn parts_of_concatenations() {
    let mut random = Random::new(4);
    let table: [u8; 256] = core::array::from_fn(|_| random.bytes(1)[0]);
    for (rows, row, stride, at) in [(1, 4, 4, 0), (5, 8, 20, 12), (3, 7, 12, 3), (40, 16, 48, 16)] {
        let input = random.bytes(rows * row);
        for has_table in [false, true] {
            // What other parts wrote stays.
            let mut expected = vec![0xee; rows * stride];
            if has_table {
                map_rows_u8(&table, &input, row, &mut expected[at..], stride);
            } else {
                copy_rows(&input, row, &mut expected[at..], stride);
            }
            let is_words = [row, stride, at].iter().all(|bytes| bytes % 4 == 0);
            for words in [false, true].into_iter().take(1 + usize::from(is_words)) {
                let unit = if words { 4 } else { 1 };
                let kernel = if words { kernels::CONCAT_WORDS } else { kernels::CONCAT_LEVELS };
                check(kernel, &input, &expected, |case, input, out| Concat {
                    input,
                    table: if has_table { case.put(&table) } else { 0 },
                    out: out + at as u64,
                    count: word(rows * row / unit),
                    row: word(row / unit),
                    stride: word(stride / unit),
                    unused: 0,
                });
            }
        }
    }
}
