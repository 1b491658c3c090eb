//! Every kernel of every level that this CPU has, against the scalar reference: integers bit for bit, floats within
//! [`close`]. Slices end at unreadable pages; all sizes around the tiles are tried.
#![cfg(all(target_arch = "x86_64", unix))]

mod gemm;
mod rows;
mod window;

use std::sync::Arc;

use embdl_core::kernels::{Kernels, OutQ8};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::{Guarded, Random};

/// The kernels of each level that this CPU has.
fn levels() -> Vec<Arc<dyn Kernels>> {
    let levels: Vec<_> = rt_atom::detect::Level::available()
        .into_iter()
        .map(|level| rt_atom::kernels(Some(level.name())).expect("an available level"))
        .collect();
    assert!(!levels.is_empty(), "an x86 CPU without SSE4.1 cannot test this crate");
    levels
}

/// Whether two sums of `terms` products agree: each of at most `terms` roundings costs half a unit in the last place
/// of a sum whose size is at most `size`. NaN equals NaN.
fn close(a: f32, b: f32, terms: usize, size: f32) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "tests have few terms")]
    let tolerance = (terms as f32 + 2.0) * f32::EPSILON * size;
    a.is_nan() && b.is_nan() || a == b || (a - b).abs() <= tolerance
}

/// Ways to requantize `channels` channels: per channel, per layer, with the scalar path's small shift, with the largest.
fn requants(channels: usize, random: &mut Random) -> Vec<Requant> {
    let output = Quant { scale: 0.1, zero_point: 3 };
    let mut ratios = |scale: f64| -> Vec<f64> {
        (0..channels).map(|_| scale * (1.05 + f64::from(random.unit()))).collect()
    };
    let tiny = ratios(0.000_01);
    let usual = ratios(0.01);
    let halves = ratios(0.4);
    vec![
        Requant::new(&usual, output, (0, 255)).expect("ratios in range"),
        Requant::new(&[0.003], output, (3, 200)).expect("ratios in range"),
        Requant::new(&halves, output, (0, 255)).expect("ratios in range"),
        Requant::new(&tiny, output, (1, 254)).expect("ratios in range"),
    ]
}

/// Runs an integer kernel and its reference into guarded results of `len`, in all the ways that results are wanted.
fn check_q8(
    case: &str,
    len: usize,
    requants: &[Requant],
    kernel: &dyn Fn(OutQ8<'_>),
    reference: &dyn Fn(OutQ8<'_>),
) {
    let mut expected = vec![-77; len];
    let mut found = Guarded::new(&expected);
    reference(OutQ8::I32(&mut expected));
    kernel(OutQ8::I32(&mut found));
    assert_eq!(&found[..], &expected[..], "{case}, accumulators");
    for requant in requants {
        let mut expected = vec![77; len];
        let mut found = Guarded::new(&expected);
        reference(OutQ8::U8(requant, &mut expected));
        kernel(OutQ8::U8(requant, &mut found));
        assert_eq!(&found[..], &expected[..], "{case}, {requant:?}");
    }
}
