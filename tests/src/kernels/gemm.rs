//! Matrix products of every small size, with gaps between rows, extremes, and NaN.

use embdl_core::kernels::{GemmF32, GemmQ8, Kernels, PackedF32, PackedQ8};
use embdl_testkit::{Guarded, Random};

use super::{CLAMPS, POISON_F32, check_q8, clamp_f64, gemm_tolerance, requants};
use crate::pick;
use crate::report::Report;

/// Sizes around every tile of rows and steps that kernels have.
const ROWS: [usize; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13];
const DEPTHS: [usize; 17] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65];

fn widths(nr: usize) -> Vec<usize> {
    let mut widths = vec![0, 1, nr - 1, nr, nr + 1, 2 * nr + 1];
    widths.dedup();
    widths
}

/// `[m, n, k]` of layers: LeNet-5's second convolution and dense layers, and shapes that divide by nothing.
const LARGE: [[usize; 3]; 5] =
    [[64, 50, 500], [1, 500, 800], [7, 10, 500], [61, 67, 301], [3, 1, 2049]];

/// `[m, n, k]` and gaps after the rows of lhs and of the result.
fn cases(nr: usize) -> Vec<([usize; 3], [usize; 2])> {
    let mut cases = Vec::new();
    for (at, &m) in ROWS.iter().enumerate() {
        for &n in &widths(nr) {
            for (step, &k) in DEPTHS.iter().enumerate() {
                let gaps = [[0, 0], [3, 0], [0, 5], [1, 1]][(at + step) % 4];
                cases.push(([m, n, k], gaps));
            }
        }
    }
    cases.extend(LARGE.map(|size| (size, [0, 0])));
    cases.extend(LARGE.map(|size| (size, [5, 3])));
    cases
}

fn lhs_len(m: usize, k: usize, stride: usize) -> usize {
    if m == 0 { 0 } else { (m - 1) * stride + k }
}

/// f32 products. Tolerance: `gemm_tolerance` of the exact product.
pub fn gemm_f32(kernels: &dyn Kernels, report: &mut Report) {
    let tile = kernels.tile_f32();
    for (seed, ([m, n, k], gaps)) in (1_u64..).zip(cases(tile.nr)) {
        let mut random = Random::new(seed);
        let weights = random.floats(n * k);
        let bias = if seed % 5 == 0 { Vec::new() } else { random.floats(n) };
        let stride = k + gaps[0];
        let mut lhs = random.floats(lhs_len(m, k, stride));
        if seed % 7 == 0 && m > 1 && k > 0 {
            lhs[stride + k / 2] = [f32::NAN, f32::INFINITY][usize::from(seed % 2 == 0)];
        }
        let clamp = pick(&CLAMPS, seed);
        let case = format!("seed {seed}: {m}x{n}x{k}, gaps {gaps:?}, clamp {clamp:?}");
        run_f32(kernels, report, &case, ([m, n, k], gaps), (&lhs, &weights, &bias), clamp);
    }
}

fn run_f32(
    kernels: &dyn Kernels,
    report: &mut Report,
    case: &str,
    ([m, n, k], gaps): ([usize; 3], [usize; 2]),
    (lhs, weights, bias): (&[f32], &[f32], &[f32]),
    clamp: (f32, f32),
) {
    let mut packed = PackedF32::pack(weights, bias, n, k, kernels.tile_f32());
    kernels.finish_f32(&mut packed);
    let lhs = Guarded::new(lhs);
    let (lhs_stride, out_stride) = (k + gaps[0], n + gaps[1]);
    let len = if m == 0 { 0 } else { (m - 1) * out_stride + n };
    let mut want = vec![f64::from(POISON_F32); len];
    let mut allowed = vec![0.0; len];
    for i in 0..m {
        for j in 0..n {
            let start = bias.get(j).copied().map_or(0.0, f64::from);
            let products =
                (0..k).map(|p| f64::from(lhs[i * lhs_stride + p]) * f64::from(weights[j * k + p]));
            let magnitude = start.abs() + products.clone().map(f64::abs).sum::<f64>();
            want[i * out_stride + j] = clamp_f64(start + products.sum::<f64>(), clamp);
            allowed[i * out_stride + j] = gemm_tolerance(kernels.isa(), k, magnitude);
        }
    }
    let mut got = Guarded::new(&vec![POISON_F32; len]);
    let job = GemmF32 { m, lhs: &lhs, lhs_stride, weights: &packed, clamp, out_stride };
    kernels.gemm_f32(&job, &mut got);
    report.close(&case, &got, &want, &allowed);
}

/// Integer products; equal, whatever the weights' range.
pub fn gemm_q8(kernels: &dyn Kernels, report: &mut Report) {
    let tile = kernels.tile_q8();
    for (seed, ([m, n, k], gaps)) in (1_u64..).zip(cases(tile.nr)) {
        let mut random = Random::new(seed);
        // 64 is the largest magnitude that `pmaddubsw` adds without saturation.
        let limit = pick(&[127, 64, 7, 65, 1], seed);
        let weights = random.weights(n * k, limit);
        let lhs = random.bytes(lhs_len(m, k, k + gaps[0]));
        let zero_point = pick(&[0, 128, 255, 3], seed);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-70_000, 70_000)).collect();
        let bias = if seed % 6 == 0 { Vec::new() } else { bias };
        let case = format!(
            "seed {seed}: {m}x{n}x{k}, gaps {gaps:?}, |w| <= {limit}, zero point {zero_point}"
        );
        let every = requants(&mut random, n);
        let some = [pick(&every, seed)];
        run_q8(
            kernels,
            report,
            &case,
            ([m, n, k], gaps),
            (&lhs, &weights, &bias, zero_point),
            &some,
        );
    }
    extremes(kernels, report);
}

/// All activations and weights at an end of their range, at every requantization.
fn extremes(kernels: &dyn Kernels, report: &mut Report) {
    let nr = kernels.tile_q8().nr;
    let mut random = Random::new(77);
    type Pattern = fn(usize) -> i8;
    let patterns: [(&str, Pattern); 7] = [
        ("127", |_| 127),
        ("-127", |_| -127),
        ("-128", |_| -128),
        ("64", |_| 64),
        ("-64", |_| -64),
        ("65", |_| 65),
        ("pairs of 127 and -128", |at| if at / 2 % 2 == 0 { 127 } else { -128 }),
    ];
    for (name, pattern) in patterns {
        for (n, k) in [(nr, 64), (nr + 1, 37), (3, 2), (1, 32_768)] {
            for zero_point in [0, 128, 255] {
                let weights: Vec<i8> = (0..n * k).map(pattern).collect();
                let lhs = vec![255; 2 * k];
                let bias: Vec<i32> = (0..n).map(|_| random.integer(-(1 << 20), 1 << 20)).collect();
                let case = format!("all 255 by {name}: 2x{n}x{k}, zero point {zero_point}");
                let every = requants(&mut random, n);
                let data = (&lhs[..], &weights[..], &bias[..], zero_point);
                run_q8(kernels, report, &case, ([2, n, k], [0, 0]), data, &every);
            }
        }
    }
}

fn run_q8(
    kernels: &dyn Kernels,
    report: &mut Report,
    case: &str,
    ([m, n, k], gaps): ([usize; 3], [usize; 2]),
    (lhs, weights, bias, zero_point): (&[u8], &[i8], &[i32], u8),
    requants: &[embdl_core::quant::Requant],
) {
    let packed = PackedQ8::pack(weights, bias, zero_point, n, k, kernels.tile_q8());
    let lhs = Guarded::new(lhs);
    let (lhs_stride, out_stride) = (k + gaps[0], n + gaps[1]);
    let mut want = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let products = (0..k).map(|p| {
                (i64::from(lhs[i * lhs_stride + p]) - i64::from(zero_point))
                    * i64::from(weights[j * k + p])
            });
            want.push(bias.get(j).copied().map_or(0, i64::from) + products.sum::<i64>());
        }
    }
    check_q8(report, case, &want, [m, n, out_stride], requants, |out| {
        kernels.gemm_q8(&GemmQ8 { m, lhs: &lhs, lhs_stride, weights: &packed, out_stride }, out);
    });
}
