//! What works element by element, or on the channels of one pixel.

use embdl_core::kernels::elementwise::{
    add_f32, add_u8, clamp_f32, dequantize_i32, dequantize_u8, map_u8, quantize, unary_f32,
};
use embdl_core::kernels::lrn::lrn_f32;
use embdl_core::kernels::product::{Rows, mul_f32, mul_u8, prelu_f32, prelu_u8};
use embdl_core::kernels::softmax::softmax_f32;
use embdl_core::op::{Lrn, Unary};
use embdl_core::quant::{AddRequant, MulRequant, PReluRequant, Quant, thresholds};
use embdl_testkit::Random;
use rt_jetson::kernels;
use rt_jetson::params::{
    self, Dequantize, MapLevels, MapWords, PAIR_PRODUCT, PAIR_SLOPES, PAIR_SUM, PairsF32, PairsQ8,
    Quantize, Softmax, Stage, function,
};

use super::case::Case;
use super::convolution::word;
use super::{assert_close, assert_same};

/// Elements: less than a word, a word, a block, a little more.
const COUNTS: [usize; 5] = [1, 4, 7, 1024, 1031];

/// Floats of all sizes, with those at which functions change.
fn floats_of_all_sizes(count: usize) -> Vec<f32> {
    let mut random = Random::new(7);
    let special = [0.0, -0.0, 0.624, -0.626, 1e-30, -1e-7, 88.0, -90.0, 300.0, -300.0, f32::NAN];
    let spread = (special.len()..count).map(|at| random.unit() * [0.1, 1.0, 8.0, 100.0][at % 4]);
    special.into_iter().chain(spread).take(count).collect()
}

#[test]
fn functions_of_floats() {
    let unaries = [
        (Unary::Sigmoid, function::SIGMOID, [0.0; 2]),
        (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, function::HARD_SIGMOID, [0.2, 0.5]),
        (Unary::HardSwish, function::HARD_SWISH, [0.0; 2]),
        (Unary::Silu, function::SILU, [0.0; 2]),
        (Unary::Tanh, function::TANH, [0.0; 2]),
        (Unary::LeakyRelu { alpha: 0.1 }, function::LEAKY_RELU, [0.1, 0.0]),
        (Unary::Elu { alpha: 1.5 }, function::ELU, [1.5, 0.0]),
        (Unary::Clip { min: -1.0, max: 3.0 }, function::BOUND, [-1.0, 3.0]),
    ];
    for count in COUNTS {
        let input = floats_of_all_sizes(count);
        for (unary, function, [a, b]) in unaries {
            let mut expected = input.clone();
            unary_f32(unary, &mut expected);
            map_words(&format!("{unary:?}"), &input, function, [a, b], &expected, 2e-6);
        }
        let mut expected = input.clone();
        clamp_f32((0.0, f32::INFINITY), &mut expected);
        map_words("relu", &input, function::BOUND, [0.0, f32::INFINITY], &expected, 0.0);
    }
}

/// A function, in place, of floats.
fn map_words(
    what: &str,
    input: &[f32],
    function: u32,
    [a, b]: [f32; 2],
    expected: &[f32],
    relative: f32,
) {
    let mut case = Case::default();
    let input = case.put(input);
    let params = MapWords { input, out: input, count: word(expected.len()), function, a, b };
    case.launch(kernels::MAP_WORDS, &params);
    for outcome in case.run() {
        let what = format!("{what} {}", outcome.route);
        assert_close(&what, &outcome.read(input), expected, |at| relative * expected[at].abs());
    }
}

#[test]
fn functions_of_accumulators() {
    let mut random = Random::new(3);
    let input: Vec<i32> = (0..300).map(|_| random.integer(-1 << 30, 1 << 30)).collect();
    let mut case = Case::default();
    let address = case.put(&input);
    let (relu, scaled) = (case.room::<i32>(300), case.room::<f32>(300));
    let map = |out, function, a| MapWords { input: address, out, count: 300, function, a, b: 0.0 };
    case.launch(kernels::MAP_WORDS, &map(relu, function::RELU_I32, 0.0));
    case.launch(kernels::MAP_WORDS, &map(scaled, function::SCALE_I32, 0.037));
    let mut expected = vec![0.0; 300];
    dequantize_i32(0.037, &input, &mut expected);
    for outcome in case.run() {
        let kept: Vec<i32> = input.iter().map(|&x| x.max(0)).collect();
        assert_same(outcome.route, &outcome.read::<i32>(relu), &kept);
        assert_same(outcome.route, &outcome.read::<f32>(scaled), &expected);
    }
}

#[test]
fn tables_of_levels() {
    let mut random = Random::new(4);
    let table: [u8; 256] = core::array::from_fn(|_| random.bytes(1)[0]);
    for count in COUNTS {
        let input = random.bytes(count);
        let mut expected = input.clone();
        map_u8(&table, &mut expected);
        let mut case = Case::default();
        let input = case.put(&input);
        let table = case.put(&table);
        let params = MapLevels { input, table, out: input, count: word(count), unused: 0 };
        case.launch(kernels::MAP_LEVELS, &params);
        for outcome in case.run() {
            assert_same(outcome.route, &outcome.read::<u8>(input), &expected);
        }
    }
}

/// How the second value lies under the first: all of it, a row, a row of each sample.
const ROWS: [[usize; 3]; 4] = [[7, 7, 7], [120, 120, 10], [1024, 512, 8], [1030, 515, 5]];

#[test]
fn pairs_of_floats() {
    let mut random = Random::new(5);
    for [count, sample, row] in ROWS {
        let lhs = random.floats(count);
        for (function, seconds) in
            [(PAIR_SUM, count), (PAIR_PRODUCT, count / sample * row), (PAIR_SLOPES, row)]
        {
            let rhs = random.floats(seconds);
            let mut expected = lhs.clone();
            let (mut sample, mut row) = (sample, row);
            match function {
                PAIR_SUM => {
                    (sample, row) = (count, count);
                    add_f32(&mut expected, &rhs, (-0.3, 0.9));
                }
                PAIR_PRODUCT => mul_f32(Rows { sample, row }, &mut expected, &rhs),
                _ => prelu_f32(&rhs, &mut expected),
            }
            let mut case = Case::default();
            let lhs = case.put(&lhs);
            let params = PairsF32 {
                lhs,
                rhs: case.put(&rhs),
                out: lhs,
                count: word(count),
                sample: word(sample),
                row: word(row),
                function,
                low: -0.3,
                high: 0.9,
            };
            case.launch(kernels::PAIRS_F32, &params);
            for outcome in case.run() {
                let what = format!("pairs_f32 {function} {} {count}", outcome.route);
                assert_same(&what, &outcome.read::<f32>(lhs), &expected);
            }
        }
    }
}

#[test]
fn pairs_of_levels() {
    let mut random = Random::new(6);
    let quant = |scale, zero_point| Quant { scale, zero_point };
    let (a, b, to) = (quant(0.02, 128), quant(0.013, 30), quant(0.03, 100));
    let add = AddRequant::new(a, b, to, (100, 240)).unwrap();
    let mul = MulRequant::new(a, b, quant(0.004, 77)).unwrap();
    for [count, sample, row] in ROWS {
        let lhs = random.bytes(count);
        let slopes: Vec<f32> = random.floats(row);
        let prelu = PReluRequant::new(&slopes, a, to).unwrap();
        for (function, seconds) in
            [(PAIR_SUM, count), (PAIR_PRODUCT, count / sample * row), (PAIR_SLOPES, 0)]
        {
            let rhs = random.bytes(seconds);
            let mut expected = lhs.clone();
            let mut case = Case::default();
            let out = case.put(&lhs);
            let stage = |shift, zero_point: u8, min: u8, max: u8| Stage {
                kind: params::LEVELS,
                shift,
                zero_point: zero_point.into(),
                min: min.into(),
                max: max.into(),
            };
            let mut params = PairsQ8 {
                lhs: out,
                rhs: if seconds > 0 { case.put(&rhs) } else { case.put(&prelu.negative) },
                out,
                count: word(count),
                sample: word(sample),
                row: word(row),
                function,
                ..PairsQ8::default()
            };
            match function {
                PAIR_SUM => {
                    add_u8(&mut expected, &rhs, &add);
                    (params.sample, params.row) = (word(count), word(count));
                    (params.lhs_multiplier, params.rhs_multiplier) =
                        (add.lhs_multiplier, add.rhs_multiplier);
                    (params.lhs_zero, params.rhs_zero) = (128, 30);
                    params.stage = stage(add.shift, add.zero_point, add.min, add.max);
                }
                PAIR_PRODUCT => {
                    mul_u8(Rows { sample, row }, &mut expected, &rhs, &mul);
                    params.lhs_multiplier = mul.requant.multipliers[0];
                    (params.lhs_zero, params.rhs_zero) = (128, 30);
                    params.stage = stage(mul.requant.shift, mul.requant.zero_point, 0, 255);
                }
                _ => {
                    prelu_u8(&prelu, &mut expected);
                    (params.lhs_multiplier, params.lhs_zero) = (prelu.positive, 128);
                    params.stage = stage(prelu.shift, prelu.zero_point, 0, 255);
                }
            }
            case.launch(kernels::PAIRS_Q8, &params);
            for outcome in case.run() {
                let what = format!("pairs_q8 {function} {} {count}", outcome.route);
                assert_same(&what, &outcome.read::<u8>(out), &expected);
            }
        }
    }
}

#[test]
fn conversions() {
    for (quant, count) in [(0.037, 128), (1.0, 0), (3e30, 7), (1e-30, 255)]
        .map(|(scale, zero_point)| Quant { scale, zero_point })
        .into_iter()
        .zip(COUNTS.into_iter().rev())
    {
        let mut random = Random::new(8);
        let mut input: Vec<f32> = (0..count).map(|_| f32::from_bits(random.next_u32())).collect();
        for (at, x) in input.iter_mut().enumerate().filter(|(at, _)| at % 2 == 0) {
            // Around the borders of levels.
            *x = quant.scale * (f32::from(u8::try_from(at % 256).unwrap()) - 100.5);
        }
        let mut levels = vec![0; count];
        quantize(quant, &input, &mut levels);
        let mut floats = vec![0.0; count];
        dequantize_u8(quant, &levels, &mut floats);
        let mut case = Case::default();
        let zero_point = quant.zero_point.into();
        let down = Quantize {
            input: case.put(&input),
            thresholds: case.put(&thresholds(quant)),
            out: case.room::<u8>(count),
            count: word(count),
            zero_point,
        };
        let up = Dequantize {
            input: down.out,
            out: case.room::<f32>(count),
            count: word(count),
            zero_point,
            scale: quant.scale,
            unused: 0,
        };
        case.launch(kernels::QUANTIZE, &down);
        case.launch(kernels::DEQUANTIZE, &up);
        for outcome in case.run() {
            let what = format!("{quant:?} {}", outcome.route);
            assert_same(&what, &outcome.read::<u8>(down.out), &levels);
            assert_same(&what, &outcome.read::<f32>(up.out), &floats);
        }
    }
}

#[test]
fn local_response_normalization() {
    for (lrn, channels) in [
        (Lrn { size: 5, alpha: 1e-4, beta: 0.75, bias: 1.0 }, 96),
        (Lrn { size: 4, alpha: 0.5, beta: 0.6, bias: 2.0 }, 7),
        (Lrn { size: 9, alpha: 2.0, beta: 0.75, bias: 1.0 }, 3),
    ] {
        let mut random = Random::new(9);
        let input: Vec<f32> = random.floats(channels * 5).iter().map(|x| x * 20.0).collect();
        let mut expected = vec![0.0; input.len()];
        lrn_f32(&lrn, channels, &input, &mut expected);
        let mut case = Case::default();
        let params = params::Lrn {
            input: case.put(&input),
            out: case.room::<f32>(input.len()),
            count: word(input.len()),
            c: word(channels),
            before: (lrn.size - 1) / 2,
            after: lrn.size / 2,
            factor: lrn.alpha / lrn.size as f32,
            bias: lrn.bias,
            exponent: lrn.beta,
            unused: 0,
        };
        case.launch(kernels::LRN, &params);
        for outcome in case.run() {
            let what = format!("{lrn:?} {}", outcome.route);
            let got = outcome.read(params.out);
            assert_close(&what, &got, &expected, |at| 3e-6 * expected[at].abs());
        }
    }
}

#[test]
fn softmax() {
    for [rows, features] in [[1, 1], [3, 10], [2, 255], [2, 257], [1, 1000]] {
        let mut random = Random::new(10);
        let mut input: Vec<f32> = random.floats(rows * features).iter().map(|x| x * 30.0).collect();
        input[0] = 1000.0;
        let mut expected = vec![0.0; input.len()];
        softmax_f32(features, &input, &mut expected);
        let mut case = Case::default();
        let input = case.put(&input);
        let params = Softmax { input, out: input, rows: word(rows), features: word(features) };
        case.launch(kernels::SOFTMAX, &params);
        for outcome in case.run() {
            let what = format!("{rows} rows of {features} {}", outcome.route);
            assert_close(&what, &outcome.read(input), &expected, |at| 2e-6 * expected[at] + 1e-30);
        }
    }
}
