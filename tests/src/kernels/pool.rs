//! Max pooling: the windows of depthwise convolutions, and windows that hang over the end.

use embdl_core::kernels::{Kernels, WindowGeometry};
use embdl_testkit::{Guarded, Random};

use super::depthwise::{CHANNELS, geometries, visit};
use super::{POISON_F32, POISON_U8};
use crate::report::Report;

pub(super) fn windows() -> impl Iterator<Item = (u64, WindowGeometry)> {
    let over_the_end = |channels| {
        let geometry = |input, kernel, stride, output| WindowGeometry {
            input: [input, input, channels],
            output: [output, output],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 0],
        };
        [geometry(5, 2, 2, 3), geometry(6, 3, 2, 3), geometry(24, 2, 2, 12), geometry(4, 3, 3, 2)]
    };
    let all = CHANNELS
        .into_iter()
        .flat_map(move |channels| geometries(channels).into_iter().chain(over_the_end(channels)));
    (1_u64..).zip(all)
}

/// Largest floats; equal. NaN never wins over a number.
pub fn max_pool_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in windows() {
        let mut random = Random::new(seed);
        let mut input = random.floats(geometry.input_len());
        for x in &mut input {
            match random.integer(0, 40) {
                0 => *x = f32::NAN,
                1 => *x = f32::NEG_INFINITY,
                2 => *x = f32::INFINITY,
                3 => *x = -1e30,
                _ => {}
            }
        }
        let input = Guarded::new(&input);
        let mut want = vec![f32::NEG_INFINITY; geometry.output_len()];
        visit(&geometry, |at, c, _, element| {
            let best = &mut want[at * geometry.input[2] + c];
            *best = best.max(input[element]);
        });
        let mut got = Guarded::new(&vec![POISON_F32; want.len()]);
        kernels.max_pool_f32(&geometry, &input, &mut got);
        report.equal(&format!("seed {seed}: {geometry:?}"), &got, &want);
    }
}

/// Largest levels; equal.
pub fn max_pool_u8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in windows() {
        let input = Guarded::new(&Random::new(seed).bytes(geometry.input_len()));
        let mut want = vec![0; geometry.output_len()];
        visit(&geometry, |at, c, _, element| {
            let best: &mut u8 = &mut want[at * geometry.input[2] + c];
            *best = (*best).max(input[element]);
        });
        let mut got = Guarded::new(&vec![POISON_U8; want.len()]);
        kernels.max_pool_u8(&geometry, &input, &mut got);
        report.equal(&format!("seed {seed}: {geometry:?}"), &got, &want);
    }
}
