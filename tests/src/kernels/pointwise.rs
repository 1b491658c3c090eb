//! Kernels without weights: element by element, means, tables, softmax. Lengths around every vector; in place. Each is compared
//! with what it should compute, and the floats that are rounded more than once also with the bits of the scalar reference.

use embdl_core::kernels::pool::AverageRequant;
use embdl_core::kernels::product::Rows;
use embdl_core::kernels::{Kernels, Pointwise, Reference, WindowGeometry};
use embdl_core::op::Unary;
use embdl_core::quant::{AddRequant, MulRequant, Quant};
use embdl_testkit::{Guarded, Random};

use super::depthwise::visit;
use super::pool::windows;
use super::{CLAMPS, POISON_F32, POISON_U8, clamp_f64};
use crate::pick;
use crate::report::Report;

/// Lengths around vectors of 4, 8 and 16 floats, and of 16, 32 and 64 bytes.
const LENGTHS: [usize; 28] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 66, 95, 127, 128, 129, 130,
    255, 256, 1031,
];

/// Floats of all sizes, with infinities and NaN.
fn floats(random: &mut Random, len: usize) -> Vec<f32> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e30, -1e30, 1e-30];
    let one = |random: &mut Random| match usize::try_from(random.integer(0, 40)).expect("positive")
    {
        at if at < special.len() => special[at],
        10..=14 => 90.0 * random.unit(),
        15..=19 => 0.1 * random.unit(),
        _ => 6.0 * random.unit(),
    };
    (0..len).map(|_| one(random)).collect()
}

/// Scales and zero points, at both ends too.
fn quants(random: &mut Random) -> Quant {
    let scale =
        [0.01, 0.5, 1.0 / 255.0, 3.0][usize::try_from(random.integer(0, 3)).expect("small")];
    let zero_point = [0, 255, 128, 17][usize::try_from(random.integer(0, 3)).expect("small")];
    Quant { scale: scale * (1.2 + random.unit() / 8.0), zero_point }
}

/// Rounds an exact result once.
fn f32_of(x: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "rounds, which is meant")]
    let rounded = x as f32;
    f64::from(rounded)
}

fn as_f64(data: &[f32]) -> Vec<f64> {
    data.iter().copied().map(f64::from).collect()
}

/// Clamps, sums and products of floats; equal, because each rounds once.
pub fn arithmetic_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, len) in (1_u64..).zip(LENGTHS) {
        let mut random = Random::new(seed);
        let data = floats(&mut random, len);
        let other = Guarded::new(&floats(&mut random, len));
        let exact = vec![0.0; len];
        for bounds in CLAMPS {
            let case = format!("{len} floats within {bounds:?}");
            let mut got = Guarded::new(&data);
            kernels.clamp_f32(bounds, &mut got);
            let want: Vec<f64> = data.iter().map(|&x| clamp_f64(f64::from(x), bounds)).collect();
            report.close(&case, &got, &want, &exact);
            let mut got = Guarded::new(&data);
            kernels.add_f32(&mut got, &other, bounds);
            let sum =
                |(&x, &y): (&f32, &f32)| clamp_f64(f32_of(f64::from(x) + f64::from(y)), bounds);
            let want: Vec<f64> = data.iter().zip(&other[..]).map(sum).collect();
            report.close(&format!("sums, {case}"), &got, &want, &exact);
        }
        for (samples, pixels) in [(1, 1), (1, 3), (2, 2)] {
            let rows = Rows { sample: pixels * len, row: len };
            let factors = Guarded::new(&floats(&mut random, samples * len));
            let data = floats(&mut random, samples * pixels * len);
            if len == 0 {
                continue;
            }
            let mut got = Guarded::new(&data);
            kernels.mul_f32(rows, &mut got, &factors);
            let product = |(at, &x): (usize, &f32)| {
                let factor = factors[at / rows.sample * len + at % len];
                f32_of(f64::from(x) * f64::from(factor))
            };
            let want: Vec<f64> = data.iter().enumerate().map(product).collect();
            let exact = vec![0.0; want.len()];
            report.close(&format!("products, {samples} of {rows:?}"), &got, &want, &exact);
        }
    }
}

/// Clamps, sums, products and tables of levels; equal.
///
/// # Panics
/// If a problem has a ratio of scales that is out of range.
pub fn arithmetic_u8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, len) in (1_u64..).zip(LENGTHS) {
        let mut random = Random::new(seed);
        let data = random.bytes(len);
        let other = Guarded::new(&random.bytes(len));
        for (low, high) in [(0, 255), (3, 250), (128, 128), (0, 6)] {
            let mut got = Guarded::new(&data);
            kernels.clamp_u8((low, high), &mut got);
            let want: Vec<u8> = data.iter().map(|&x| x.clamp(low, high)).collect();
            report.equal(&format!("{len} levels within {low}..={high}"), &got, &want);
        }
        for _ in 0..6 {
            let [lhs, rhs, to] = core::array::from_fn(|_| quants(&mut random));
            let clamp = pick(&[(0, 255), (to.zero_point, 255), (20, 90)], seed);
            let requant = AddRequant::new(lhs, rhs, to, clamp).expect("ratios in range");
            let mut got = Guarded::new(&data);
            kernels.add_u8(&mut got, &other, &requant);
            let pairs = data.iter().zip(&other[..]);
            let want: Vec<u8> = pairs.map(|(&x, &y)| requant.apply(x, y)).collect();
            report.equal(&format!("sums of {len}, {requant:?}"), &got, &want);

            let requant = MulRequant::new(lhs, rhs, to).expect("a ratio in range");
            for pixels in [1, 3] {
                if len == 0 {
                    continue;
                }
                let data = random.bytes(pixels * len);
                let mut got = Guarded::new(&data);
                let rows = Rows { sample: pixels * len, row: len };
                kernels.mul_u8(rows, &mut got, &other, &requant);
                let product = |(at, &x): (usize, &u8)| requant.apply(x, other[at % len]);
                let want: Vec<u8> = data.iter().enumerate().map(product).collect();
                report.equal(&format!("products of {rows:?}, {requant:?}"), &got, &want);
            }
        }
        let table: [u8; 256] = random.bytes(256).try_into().expect("256 bytes");
        let mut got = Guarded::new(&data);
        kernels.map_u8(&table, &mut got);
        let want: Vec<u8> = data.iter().map(|&x| table[usize::from(x)]).collect();
        report.equal(&format!("table for {len}"), &got, &want);
        for (rows, gap) in [(1, 0), (3, 0), (4, 5)] {
            if len == 0 {
                continue;
            }
            let input = Guarded::new(&random.bytes(rows * len));
            let stride = len + gap;
            let mut want = vec![POISON_U8; (rows - 1) * stride + len];
            for (at, &x) in input.iter().enumerate() {
                want[at / len * stride + at % len] = table[usize::from(x)];
            }
            let mut got = Guarded::new(&vec![POISON_U8; want.len()]);
            kernels.map_rows_u8(&table, &input, len, &mut got, stride);
            report.equal(&format!("table for {rows} rows of {len}, gap {gap}"), &got, &want);
        }
    }
    every_pair(kernels, report);
    // Every level once, in every lane.
    let levels: Vec<u8> = (0..=255).chain(0..=255).chain(0..=255).collect();
    for start in 0..64 {
        let table = core::array::from_fn(|at| u8::try_from((at * 167 + start) % 256).expect("u8"));
        let mut got = Guarded::new(&levels[start..start + 512]);
        kernels.map_u8(&table, &mut got);
        let want: Vec<u8> =
            levels[start..start + 512].iter().map(|&x| table[usize::from(x)]).collect();
        report.equal(&format!("all levels from {start}"), &got, &want);
    }
}

/// Sums and products of all pairs of levels.
fn every_pair(kernels: &dyn Kernels, report: &mut Report) {
    let all: Vec<[u8; 2]> = (0..=255).flat_map(|x| (0..=255).map(move |y| [x, y])).collect();
    let lhs: Vec<u8> = all.iter().map(|[x, _]| *x).collect();
    let rhs: Vec<u8> = all.iter().map(|[_, y]| *y).collect();
    let quant = |scale, zero_point| Quant { scale, zero_point };
    for (from, and, to) in [
        (quant(0.013, 128), quant(0.021, 3), quant(0.03, 100)),
        (quant(1.0, 0), quant(1e-4, 255), quant(0.9, 0)),
        (quant(1e-5, 7), quant(1e-6, 9), quant(0.5, 30)),
        (quant(3.0, 255), quant(2.0, 0), quant(1e-5, 128)),
        (quant(1.0, 255), quant(1.0, 255), quant(1.0, 255)),
        (quant(1e-8, 0), quant(1e-8, 255), quant(1.0, 3)),
    ] {
        let requant = AddRequant::new(from, and, to, (0, 255)).expect("ratios in range");
        let mut got = lhs.clone();
        kernels.add_u8(&mut got, &rhs, &requant);
        let want: Vec<u8> = all.iter().map(|&[x, y]| requant.apply(x, y)).collect();
        report.equal(&format!("all sums, {requant:?}"), &got, &want);
        let Some(requant) = MulRequant::new(from, and, to) else { continue };
        let mut got = lhs.clone();
        kernels.mul_u8(Rows { sample: 1 << 16, row: 1 << 16 }, &mut got, &rhs, &requant);
        let want: Vec<u8> = all.iter().map(|&[x, y]| requant.apply(x, y)).collect();
        report.equal(&format!("all products, {requant:?}"), &got, &want);
    }
}

/// Functions of floats. Tolerance: 2e-6 of the value; pieces of lines also 2e-6 of 1, which they subtract from.
pub fn unary_f32(kernels: &dyn Kernels, report: &mut Report) {
    let functions = [
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Tanh,
        Unary::Elu { alpha: 0.7 },
        Unary::HardSwish,
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Clip { min: -1.0, max: 2.5 },
    ];
    for (seed, len) in (1_u64..).zip(LENGTHS) {
        for unary in functions {
            let data = floats(&mut Random::new(seed), len);
            let want: Vec<f64> =
                data.iter().map(|&x| crate::oracle::unary::real(unary, f64::from(x))).collect();
            let hard = matches!(unary, Unary::HardSwish | Unary::HardSigmoid { .. });
            let least = if hard { 2e-6 } else { 1e-35 };
            let allowed: Vec<f64> = want.iter().map(|want| 2e-6 * want.abs() + least).collect();
            let mut got = Guarded::new(&data);
            kernels.unary_f32(unary, &mut got);
            let case = format!("{unary:?} of {len}");
            report.close(&case, &got, &want, &allowed);
            let mut same = data.clone();
            Reference.unary_f32(unary, &mut same);
            report.same_bits(&case, &got, &same);
        }
    }
}

/// Those of maximum pools; channels of several vectors, and windows with more taps than 16 bits can sum up.
fn average_windows() -> impl Iterator<Item = (u64, WindowGeometry)> {
    let whole = |height, width, channels| WindowGeometry {
        input: [height, width, channels],
        output: [1, 1],
        kernel: [height, width],
        stride: [1, 1],
        dilation: [1, 1],
        pad_before: [0, 0],
        pad_after: [0, 0],
    };
    let more = [
        whole(7, 7, 65),
        whole(2, 3, 257),
        whole(3, 1, 200),
        whole(1, 257, 64),
        whole(2, 257, 66),
        whole(20, 20, 130),
        whole(1, 300, 80),
        WindowGeometry { output: [5, 5], kernel: [3, 3], ..whole(7, 7, 100) },
    ];
    windows().chain((1001..).zip(more))
}

/// Means of floats. Tolerance: one rounding for each tap.
pub fn average_pool_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in average_windows() {
        let include_pads = seed % 2 == 0;
        let channels = geometry.input[2];
        let input = Guarded::new(&Random::new(seed).floats(geometry.input_len()));
        let mut want = vec![0.0; geometry.output_len()];
        let mut allowed = vec![0.0; geometry.output_len()];
        visit(&geometry, |at, c, _, element| {
            want[at * channels + c] += f64::from(input[element]);
            allowed[at * channels + c] += f64::from(input[element].abs());
        });
        for (at, (want, allowed)) in want.iter_mut().zip(&mut allowed).enumerate() {
            let count = count(&geometry, include_pads, at / channels);
            *want /= count;
            *allowed *= f64::from(f32::EPSILON);
        }
        let mut got = Guarded::new(&vec![POISON_F32; geometry.output_len()]);
        kernels.average_pool_f32(&geometry, include_pads, &input, &mut got);
        let case = format!("seed {seed}: pads {include_pads}, {geometry:?}");
        report.close(&case, &got, &want, &allowed);
        let mut same = vec![POISON_F32; geometry.output_len()];
        Reference.average_pool_f32(&geometry, include_pads, &input, &mut same);
        report.same_bits(&case, &got, &same);
    }
}

/// Means of levels; the nearest level to the mean, or one of two where the mean lies between them.
///
/// # Panics
/// If a problem has a ratio of scales that is out of range.
pub fn average_pool_u8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in average_windows() {
        let include_pads = seed % 2 == 0;
        let channels = geometry.input[2];
        let mut random = Random::new(seed);
        let mut input = random.bytes(geometry.input_len());
        if seed % 3 == 0 {
            input.fill(255);
        } else if geometry.kernel[0] * geometry.kernel[1] > 256 {
            // What 16 bits sum up of as few levels as possible.
            input.iter_mut().for_each(|x| *x |= 0xf0);
        }
        let input = Guarded::new(&input);
        let [from, to] = core::array::from_fn(|_| quants(&mut random));
        let average = AverageRequant::new(&geometry, include_pads, from, to).expect("in range");
        let mut want = vec![0.0; geometry.output_len()];
        visit(&geometry, |at, c, _, element| {
            want[at * channels + c] += f64::from(input[element]) - f64::from(from.zero_point);
        });
        for (at, want) in want.iter_mut().enumerate() {
            let mean = *want / count(&geometry, include_pads, at / channels);
            let ratio = f64::from(from.scale) / f64::from(to.scale);
            *want = (mean * ratio + f64::from(to.zero_point)).clamp(0.0, 255.0);
        }
        let mut got = Guarded::new(&vec![POISON_U8; geometry.output_len()]);
        kernels.average_pool_u8(&geometry, &average, &input, &mut got);
        let mut same = vec![POISON_U8; geometry.output_len()];
        Reference.average_pool_u8(&geometry, &average, &input, &mut same);
        report.equal(&format!("seed {seed}, as the reference: {geometry:?}"), &got, &same);
        let got: Vec<f32> = got.iter().copied().map(f32::from).collect();
        let case = format!("seed {seed}: pads {include_pads}, {from:?} to {to:?}, {geometry:?}");
        report.close(&case, &got, &want, &vec![0.5 + 1e-4; want.len()]);
    }
}

/// Taps that count at result position `at`; one where there are none, as nothing is divided there.
fn count(geometry: &WindowGeometry, include_pads: bool, at: usize) -> f64 {
    let position = [at / geometry.output[1], at % geometry.output[1]];
    let taps = |axis: usize| {
        if include_pads {
            geometry.padded_taps(axis, position[axis])
        } else {
            geometry.valid_taps(axis, position[axis]).len()
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "windows are small")]
    let count = (taps(0) * taps(1)) as f64;
    count
}

/// Softmax. Tolerance: 1e-6 of the sum, which is 1.
pub fn softmax_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, features) in (1_u64..).zip(LENGTHS).filter(|(_, features)| *features > 0) {
        for rows in [1, 3] {
            let mut random = Random::new(seed);
            let mut input: Vec<f32> =
                random.floats(rows * features).iter().map(|x| 20.0 * x).collect();
            match seed % 6 {
                1 => input[features / 2] = f32::NAN,
                2 => input[features / 2] = f32::NEG_INFINITY,
                3 => input[features / 2] = 3e38,
                _ => {}
            }
            let input = Guarded::new(&input);
            let mut want = Vec::new();
            for row in as_f64(&input).chunks(features) {
                let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
                want.extend(row.iter().map(|x| (x - max).exp() / sum));
            }
            let mut got = Guarded::new(&vec![POISON_F32; want.len()]);
            kernels.softmax_f32(features, &input, &mut got);
            let allowed = vec![1e-6; want.len()];
            let case = format!("seed {seed}: {rows} x {features}");
            report.close(&case, &got, &want, &allowed);
            let mut same = vec![POISON_F32; want.len()];
            Reference.softmax_f32(features, &input, &mut same);
            report.same_bits(&case, &got, &same);
        }
    }
}

/// The way between floats and levels; equal.
pub fn conversions(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, len) in (1_u64..).zip(LENGTHS) {
        let mut random = Random::new(seed);
        let quant = quants(&mut random);
        let mut data = floats(&mut random, len);
        for x in data.iter_mut().skip(1).step_by(3) {
            // Ties and what is next to them.
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let steps = random.integer(-600, 600) as f32 / 2.0;
            *x = steps * quant.scale;
        }
        let input = Guarded::new(&data);
        let mut got = Guarded::new(&vec![POISON_U8; len]);
        kernels.quantize(quant, &input, &mut got);
        let level = |&x: &f32| {
            let level = (x / quant.scale + 0.5).floor() + f32::from(quant.zero_point);
            if level.is_nan() { f32::from(quant.zero_point) } else { level.clamp(0.0, 255.0) }
        };
        let want: Vec<f64> = data.iter().map(|x| f64::from(level(x))).collect();
        let floats: Vec<f32> = got.iter().copied().map(f32::from).collect();
        report.close(&format!("{len} to {quant:?}"), &floats, &want, &vec![0.0; len]);

        let input = Guarded::new(&random.bytes(len));
        let mut got = Guarded::new(&vec![POISON_F32; len]);
        kernels.dequantize_u8(quant, &input, &mut got);
        let real = |&level: &u8| {
            let steps = f64::from(level) - f64::from(quant.zero_point);
            f32_of(f64::from(quant.scale) * steps)
        };
        let want: Vec<f64> = input.iter().map(real).collect();
        report.close(&format!("{len} of {quant:?}"), &got, &want, &vec![0.0; len]);
    }
}
