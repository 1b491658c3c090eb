//! What the kernel tests share: the levels of this machine, window geometries, output stages.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use embdl_core::kernels::{Kernels, OutQ8, WindowGeometry};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::{Guarded, Random};

/// Kernels of every level that this machine has; at least NEON.
pub(crate) fn levels() -> Vec<Arc<dyn Kernels>> {
    let levels: Vec<_> =
        rt_arm::isas().into_iter().map(|isa| rt_arm::kernels(Some(isa)).unwrap()).collect();
    assert!(levels.iter().any(|kernels| kernels.isa() == "neon"), "AArch64 has NEON");
    levels
}

/// An output stage for accumulators of up to about `largest`, with as many multipliers as asked for.
pub(crate) fn requant(random: &mut Random, largest: f64, channels: usize) -> Requant {
    let ratio = |random: &mut Random| 255.0 / largest * (0.1 + f64::from(random.unit()).abs());
    let ratios: Vec<f64> = (0..channels).map(|_| ratio(random)).collect();
    let zero_point = u8::try_from(random.integer(0, 255)).unwrap();
    let (a, b) = (random.integer(0, 60), random.integer(190, 255));
    let clamp = (u8::try_from(a).unwrap(), u8::try_from(b).unwrap());
    Requant::new(&ratios, Quant { scale: 1.0, zero_point }, clamp).unwrap()
}

/// Runs an integer kernel and its reference with both kinds of output and compares every element, those between the
/// rows included. Gives what differs.
pub(crate) fn compare_q8(
    len: usize,
    requants: &[Requant],
    what: &str,
    run: impl Fn(OutQ8<'_>),
    reference: impl Fn(OutQ8<'_>),
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut sums = Guarded::new(&vec![-77_i32; len]);
    let mut expected = vec![-77_i32; len];
    run(OutQ8::I32(&mut sums));
    reference(OutQ8::I32(&mut expected));
    if sums[..] != expected[..] {
        failures.push(format!("{what} i32: {} instead of {}", show(&sums), show(&expected)));
    }
    for requant in requants {
        let mut levels = Guarded::new(&vec![77_u8; len]);
        let mut expected = vec![77_u8; len];
        run(OutQ8::U8(requant, &mut levels));
        reference(OutQ8::U8(requant, &mut expected));
        if levels[..] != expected[..] {
            failures.push(format!(
                "{what} u8, shift {}: {} instead of {}",
                requant.shift,
                show(&levels),
                show(&expected)
            ));
        }
    }
    failures
}

/// Compares floats: those that are numbers by `tolerance`, the others by class. Gives what differs.
pub(crate) fn compare_f32(
    found: &[f32],
    expected: &[f32],
    tolerance: f32,
    what: &str,
) -> Vec<String> {
    assert_eq!(found.len(), expected.len());
    let close = |(x, y): (&f32, &f32)| {
        if x.is_finite() && y.is_finite() {
            (x - y).abs() <= tolerance
        } else {
            x == y || (x.is_nan() && y.is_nan())
        }
    };
    let bad = found.iter().zip(expected).position(|pair| !close(pair));
    bad.map(|at| format!("{what} at {at}: {} instead of {}", found[at], expected[at]))
        .into_iter()
        .collect()
}

/// Fails with all that differs.
pub(crate) fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

fn show<T: core::fmt::Debug>(values: &[T]) -> String {
    format!("{:?}{}", &values[..values.len().min(24)], if values.len() > 24 { "…" } else { "" })
}

/// Windows of all kinds over inputs of `channels` channels: pads, strides, dilation, overhang, single taps.
pub(crate) fn geometries(channels: usize) -> Vec<WindowGeometry> {
    let mut all = Vec::new();
    for (height, width) in [(1, 1), (3, 4), (5, 5), (6, 13)] {
        for (kernel, stride, dilation, before, after) in [
            ([1, 1], [1, 1], [1, 1], [0, 0], [0, 0]),
            ([2, 2], [2, 2], [1, 1], [0, 0], [0, 0]),
            ([3, 3], [1, 1], [1, 1], [1, 1], [1, 1]),
            ([3, 3], [2, 2], [1, 1], [0, 1], [1, 0]),
            ([2, 3], [1, 2], [2, 1], [2, 0], [0, 2]),
            ([5, 1], [1, 1], [1, 1], [2, 0], [2, 0]),
            ([3, 2], [3, 3], [1, 2], [1, 1], [2, 2]),
        ] {
            for ceil in [false, true] {
                let count = |axis: usize, input: usize| {
                    let padded = input + before[axis] + after[axis];
                    let extent = dilation[axis] * (kernel[axis] - 1) + 1;
                    let room = padded.checked_sub(extent)?;
                    let steps =
                        if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] };
                    // A window that starts beyond the input and its leading pads does not exist.
                    Some((steps + 1).min((input + before[axis]).div_ceil(stride[axis])))
                };
                if let (Some(oh), Some(ow)) = (count(0, height), count(1, width)) {
                    all.push(WindowGeometry {
                        input: [height, width, channels],
                        output: [oh, ow],
                        kernel,
                        stride,
                        dilation,
                        pad_before: before,
                        pad_after: after,
                    });
                }
            }
        }
    }
    all
}
