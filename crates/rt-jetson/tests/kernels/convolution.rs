//! Convolutions as products of matrices, in floats, halves and levels, whole and in slices.

use embdl_core::kernels::gemm::{TILE_F32, TILE_Q8, gemm_f32, gemm_q8};
use embdl_core::kernels::im2col::im2col;
use embdl_core::kernels::{GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, WindowGeometry};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::random::Random;
use half::f16;
use rt_jetson::kernels::{self, Kernel};
use rt_jetson::params::{self, Stage, SumF32, SumQ8, Window};

use super::case::Case;
use super::{SIZES, assert_close, assert_same};

/// A convolution of several samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) geometry: WindowGeometry,
    pub(crate) samples: usize,
    pub(crate) groups: usize,
    /// Output channels of all groups.
    pub(crate) n: usize,
    /// Elements of a row of the result behind those of this convolution.
    pub(crate) beside: usize,
    pub(crate) has_residual: bool,
    pub(crate) slices: usize,
}

impl Problem {
    /// `rows` positions of one row, `k` channels, `n` results: a plain product.
    pub(crate) fn product([rows, k, n]: [usize; 3]) -> Self {
        Self::window([1, rows, k], [1, 1], [1, 1], [1, 1], [0, 0, 0, 0], n)
    }

    /// One sample, one group.
    pub(crate) fn window(
        input: [usize; 3],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        pads: [usize; 4],
        n: usize,
    ) -> Self {
        let [top, left, bottom, right] = pads;
        let extent = |axis: usize, pads: usize| {
            (input[axis] + pads - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
        };
        let output = [extent(0, top + bottom), extent(1, left + right)];
        let (pad_before, pad_after) = ([top, left], [bottom, right]);
        let geometry =
            WindowGeometry { input, output, kernel, stride, dilation, pad_before, pad_after };
        Self { geometry, samples: 1, groups: 1, n, beside: 0, has_residual: false, slices: 1 }
    }

    pub(crate) fn depth(&self) -> usize {
        self.geometry.input[2] / self.groups
    }

    pub(crate) fn k(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1] * self.depth()
    }

    pub(crate) fn rows(&self) -> usize {
        self.samples * self.pixels()
    }

    fn pixels(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    pub(crate) fn stride(&self) -> usize {
        self.n + self.beside
    }

    /// Windows of all samples as rows, for each group.
    fn columns<T: Copy>(&self, input: &[T], pad: T) -> Vec<Vec<T>> {
        let depth = self.depth();
        let group = |group: usize| {
            let mut rows = vec![pad; self.rows() * self.k()];
            let samples = input.chunks_exact(self.geometry.input_len());
            for (sample, rows) in samples.zip(rows.chunks_exact_mut(self.pixels() * self.k())) {
                let channels = group * depth..(group + 1) * depth;
                im2col(&self.geometry, sample, pad, channels, 0..self.pixels(), rows);
            }
            rows
        };
        (0..self.groups).map(group).collect()
    }

    /// What the reference computes, `[rows][n]`, without residual; bounds of each by the sums of absolute products.
    fn floats(&self, input: &[f32], weights: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
        let (k, n) = (self.k(), self.n / self.groups);
        let run = |columns: Vec<Vec<f32>>, weights: &[f32], bias: &[f32]| {
            let mut out = vec![0.0; self.rows() * self.n];
            for (group, lhs) in columns.iter().enumerate() {
                let channels = group * n..(group + 1) * n;
                let bias = bias.get(channels.clone()).unwrap_or_default();
                let weights =
                    PackedF32::pack(&weights[channels.start * k..][..n * k], bias, n, k, TILE_F32);
                let (m, clamp) = (self.rows(), unbounded);
                let job =
                    GemmF32 { m, lhs, lhs_stride: k, weights: &weights, clamp, out_stride: self.n };
                gemm_f32(&job, &mut out[channels.start..]);
            }
            out
        };
        let absolute = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let magnitudes = self.columns(&absolute(input), 0.0);
        let bounds = run(magnitudes, &absolute(weights), &absolute(bias));
        (run(self.columns(input, 0.0), weights, bias), bounds)
    }

    pub(crate) fn window_params(&self) -> Window {
        let WindowGeometry { input, output, kernel, stride, dilation, pad_before, pad_after } =
            self.geometry;
        let [[ih, iw, ci], [oh, ow, _]] = [input, [output[0], output[1], 0]].map(|a| a.map(word));
        let [[kh, kw], [stride_y, stride_x], [dilation_y, dilation_x]] =
            [kernel, stride, dilation].map(|a| a.map(word));
        let [[pad_y, pad_x], [pad_bottom, pad_right]] =
            [pad_before, pad_after].map(|a| a.map(word));
        Window {
            oh,
            ow,
            ih,
            iw,
            ci,
            kh,
            kw,
            stride_y,
            stride_x,
            dilation_y,
            dilation_x,
            pad_y,
            pad_x,
            pad_bottom,
            pad_right,
        }
    }

    fn params_f32(&self, n_padded: usize) -> params::GemmF32 {
        let (k, n) = (self.k(), self.n / self.groups);
        let slice = k.div_ceil(self.slices).next_multiple_of(16);
        let is_wide = self.depth().is_multiple_of(4);
        let is_whole = self.slices == 1;
        params::GemmF32 {
            window: self.window_params(),
            rows: word(self.rows()),
            n: word(n),
            n_padded: word(n_padded),
            k: word(k),
            depth: word(self.depth()),
            width: if is_wide { 4 } else { 1 },
            input_group: word(self.depth()),
            weight_group: word(k * n_padded),
            out_group: word(n),
            groups: word(self.groups),
            slices: word(self.slices),
            slice: word(if is_whole { k } else { slice }),
            out_slice: word(self.rows() * self.n),
            out_stride: word(if is_whole { self.stride() } else { self.n }),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            ..params::GemmF32::default()
        }
    }
}

pub(crate) fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

/// Plain products of all kinds of sizes, windows of all kinds, groups, samples, slices.
pub(crate) fn problems() -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, &size) in SIZES.iter().enumerate() {
        let [k, n] = [SIZES[(at + 4) % SIZES.len()], SIZES[(at * 2 + 1) % SIZES.len()]];
        problems.push(Problem::product([size, k, n]));
    }
    problems.push(Problem::product([70, 20, 130]));
    let lenet = Problem::window([12, 12, 1], [5, 5], [1, 1], [1, 1], [0; 4], 20);
    let odd = Problem::window([7, 9, 6], [3, 2], [2, 3], [2, 1], [1, 2, 3, 0], 10);
    let wide = Problem::window([6, 7, 8], [3, 3], [1, 1], [1, 1], [1; 4], 12);
    problems.extend([
        lenet,
        Problem { samples: 2, ..lenet },
        odd,
        wide,
        Problem { samples: 3, has_residual: true, beside: 5, ..wide },
        Problem { groups: 2, has_residual: true, ..wide },
        Problem { groups: 2, beside: 3, ..odd },
        Problem { groups: 6, n: 6, ..odd },
        Problem { slices: 3, has_residual: true, ..wide },
        Problem { slices: 2, groups: 2, beside: 4, ..odd },
        Problem { slices: 2, n: 70, ..Problem::product([5, 600, 70]) },
    ]);
    problems
}

/// `[groups][k][n_padded]` of `[n][k]`.
pub(crate) fn packed<T: Copy>(problem: &Problem, weights: &[T], unit: usize, zero: T) -> Vec<T> {
    let (k, n) = (problem.k(), problem.n / problem.groups);
    let n_padded = n.next_multiple_of(unit);
    let mut out = vec![zero; problem.groups * k * n_padded];
    for (at, &weight) in weights.iter().enumerate() {
        let (channel, step) = (at / k, at % k);
        out[(channel / n * k + step) * n_padded + channel % n] = weight;
    }
    out
}

fn check_floats(problem: &Problem, kernel: Kernel<params::GemmF32>, is_half: bool, seed: u64) {
    let mut random = Random::new(seed);
    let rounded = |values: Vec<f32>| -> Vec<f32> {
        let round = |x: f32| if is_half { f16::from_f32(x).to_f32() } else { x };
        values.into_iter().map(round).collect()
    };
    let input = rounded(random.floats(problem.samples * problem.geometry.input_len()));
    let weights = rounded(random.floats(problem.n * problem.k()));
    let has_bias = seed.is_multiple_of(2);
    let bias = random.floats(if has_bias { problem.n } else { 0 });
    let residual_stride = problem.n + 1;
    let residual = random.floats(problem.rows() * residual_stride);
    let (low, high) = if seed.is_multiple_of(3) { (0.0, 6.0) } else { (f32::NEG_INFINITY, 2.5) };
    let (mut expected, magnitudes) = problem.floats(&input, &weights, &bias);
    for (at, value) in expected.iter_mut().enumerate() {
        if problem.has_residual {
            *value += residual[at / problem.n * residual_stride + at % problem.n];
        }
        *value = value.clamp(low, high);
    }

    let mut case = Case::default();
    let unit = if is_half { 8 } else { 4 };
    let packed = packed(problem, &weights, unit, 0.0);
    let n_padded = (problem.n / problem.groups).next_multiple_of(unit);
    let halves: Vec<u16> = packed.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
    let mut params = problem.params_f32(n_padded);
    params.input = case.put(&input);
    params.weights = if is_half { case.put(&halves) } else { case.put(&packed) };
    let bias = if has_bias { case.put(&bias) } else { 0 };
    let residual = if problem.has_residual { case.put(&residual) } else { 0 };
    let out = case.room::<f32>(problem.rows() * problem.stride() - problem.beside);
    if problem.slices > 1 {
        params.out = case.room::<f32>(problem.slices * problem.rows() * problem.n);
        case.launch(kernel, &params);
        let sum = SumF32 {
            partial: params.out,
            bias,
            residual,
            out,
            rows: params.rows,
            n: word(problem.n),
            slices: params.slices,
            slice: params.out_slice,
            out_stride: word(problem.stride()),
            residual_stride: word(residual_stride),
            low,
            high,
        };
        case.launch(kernels::SUM_F32, &sum);
    } else {
        let residual_stride = word(residual_stride);
        let bounds = params::GemmF32 { bias, residual, out, residual_stride, low, high, ..params };
        case.launch(kernel, &bounds);
    }
    // 16 halves are added up, each sum rounded to 11 bits; floats in any order.
    let relative = if is_half { 1.0 / 512.0 } else { 1e-6 };
    for outcome in case.run() {
        let what = format!("{} {} {problem:?}", kernel.entry, outcome.route);
        let got = outcome.read::<f32>(out);
        let rows: Vec<f32> =
            got.chunks(problem.stride()).flat_map(|row| &row[..problem.n]).copied().collect();
        assert_close(&what, &rows, &expected, |at| relative * (magnitudes[at] + 1.0));
        assert_untouched(&what, &got, problem);
    }
}

/// What lies beside the result is as it was.
fn assert_untouched<T: bytemuck::Pod>(what: &str, got: &[T], problem: &Problem) {
    for row in got.chunks(problem.stride()) {
        let beside: &[u8] = bytemuck::cast_slice(&row[problem.n..]);
        assert!(beside.iter().all(|&byte| byte == 0xee), "{what}: something beside it was written");
    }
}

#[test]
fn floats() {
    for (seed, problem) in (0..).zip(problems()) {
        check_floats(&problem, kernels::CONV_F32_64X64, false, seed);
        check_floats(&problem, kernels::CONV_F32_32X32, false, seed + 1);
    }
}

#[test]
fn halves() {
    for (seed, problem) in (0..).zip(problems()) {
        check_floats(&problem, kernels::CONV_F16_64X128, true, seed);
        check_floats(&problem, kernels::CONV_F16_32X64, true, seed + 1);
    }
}

/// `[groups][k][n_padded]` words of four channels of a tap.
fn packed_words(problem: &Problem, weights: &[i8]) -> Vec<i8> {
    let (depth, n) = (problem.depth(), problem.n / problem.groups);
    let (units, n_padded) = (depth.div_ceil(4), n.next_multiple_of(4));
    let steps = problem.k() / depth * units;
    let mut out = vec![0; problem.groups * steps * n_padded * 4];
    for (at, &weight) in weights.iter().enumerate() {
        let (channel, step) = (at / problem.k(), at % problem.k());
        let (tap, c) = (step / depth, step % depth);
        let row = channel / n * steps + tap * units + c / 4;
        out[(row * n_padded + channel % n) * 4 + c % 4] = weight;
    }
    out
}

/// An output stage, and what the reference does in it.
fn stage(kind: u32, n: usize, random: &mut Random) -> (Stage, Requant) {
    let ratios: Vec<f64> = (0..n).map(|_| f64::from(random.unit()).mul_add(0.004, 0.005)).collect();
    let output = Quant { scale: 1.0, zero_point: 100 };
    let clamp = if n.is_multiple_of(2) { (100, 255) } else { (0, 200) };
    let requant = Requant::new(&ratios, output, clamp).unwrap();
    let stage = Stage {
        kind,
        shift: requant.shift,
        zero_point: requant.zero_point.into(),
        min: requant.min.into(),
        max: requant.max.into(),
    };
    (stage, requant)
}

fn check_levels(problem: &Problem, kernel: Kernel<params::GemmQ8>, is_dot: bool, seed: u64) {
    let mut random = Random::new(seed);
    let kind = u32::try_from(seed % 3).unwrap();
    let zero_point = 77;
    let input = random.bytes(problem.samples * problem.geometry.input_len());
    let mut weights = random.weights(problem.n * problem.k(), 127);
    weights[0] = -128;
    let bias: Vec<i32> = (0..problem.n).map(|_| random.integer(-5000, 5000)).collect();
    let (stage, requant) = stage(kind, problem.n, &mut random);
    let (k, n) = (problem.k(), problem.n / problem.groups);
    let mut sums = vec![0_i32; problem.rows() * problem.n];
    for (group, lhs) in problem.columns(&input, zero_point).iter().enumerate() {
        let channels = group * n..(group + 1) * n;
        let (part, bias) = (&weights[channels.start * k..][..n * k], &bias[channels.clone()]);
        let weights = PackedQ8::pack(part, bias, zero_point, n, k, TILE_Q8);
        let (m, out_stride) = (problem.rows(), problem.n);
        let job = GemmQ8 { m, lhs, lhs_stride: k, weights: &weights, out_stride };
        gemm_q8(&job, OutQ8::I32(&mut sums[channels.start..]));
    }
    let folded: Vec<i32> = weights
        .chunks_exact(k)
        .zip(&bias)
        .map(|(row, bias)| {
            bias - i32::from(zero_point) * row.iter().map(|&w| i32::from(w)).sum::<i32>()
        })
        .collect();

    let mut case = Case::default();
    let floats = problem.params_f32(n.next_multiple_of(4));
    let steps = if is_dot { k / problem.depth() * problem.depth().div_ceil(4) } else { k };
    let is_whole = problem.slices == 1;
    let slice = steps.div_ceil(problem.slices).next_multiple_of(16);
    let mut params = params::GemmQ8 {
        window: floats.window,
        rows: floats.rows,
        n: floats.n,
        n_padded: floats.n_padded,
        k: word(steps),
        depth: floats.depth,
        width: floats.width,
        input_group: floats.input_group,
        weight_group: word(steps * n.next_multiple_of(4) * if is_dot { 4 } else { 1 }),
        out_group: floats.out_group,
        groups: floats.groups,
        slices: floats.slices,
        slice: word(if is_whole { steps } else { slice }),
        out_slice: floats.out_slice,
        out_stride: floats.out_stride,
        zero_point: zero_point.into(),
        stage: Stage { kind: params::ACCUMULATORS, shift: 1, ..Stage::default() },
        ..params::GemmQ8::default()
    };
    params.input = case.put(&input);
    params.weights = if is_dot {
        case.put(&packed_words(problem, &weights))
    } else {
        case.put(&packed(problem, &weights, 4, 0))
    };
    let bias = case.put(&folded);
    let multipliers = if kind == params::LEVELS { case.put(&requant.multipliers) } else { 0 };
    let size = if kind == params::LEVELS { 1 } else { 4 };
    let out = case.room::<u8>((problem.rows() * problem.stride() - problem.beside) * size);
    if is_whole {
        case.launch(kernel, &params::GemmQ8 { bias, multipliers, out, stage, ..params });
    } else {
        params.out = case.room::<i32>(problem.slices * problem.rows() * problem.n);
        case.launch(kernel, &params);
        let sum = SumQ8 {
            partial: params.out,
            bias,
            multipliers,
            out,
            rows: params.rows,
            n: word(problem.n),
            slices: params.slices,
            slice: params.out_slice,
            out_stride: word(problem.stride()),
            stage,
        };
        case.launch(kernels::SUM_Q8, &sum);
    }
    for outcome in case.run() {
        let what = format!("{} {} {problem:?}", kernel.entry, outcome.route);
        if kind == params::LEVELS {
            let got = outcome.read::<u8>(out);
            let rows: Vec<u8> =
                got.chunks(problem.stride()).flat_map(|row| &row[..problem.n]).copied().collect();
            let level = |(at, &sum): (usize, &i32)| requant.apply(sum, at % problem.n);
            let expected: Vec<u8> = sums.iter().enumerate().map(level).collect();
            assert_same(&what, &rows, &expected);
            assert_untouched(&what, &got, problem);
        } else {
            let got = outcome.read::<i32>(out);
            let rows: Vec<i32> =
                got.chunks(problem.stride()).flat_map(|row| &row[..problem.n]).copied().collect();
            let is_relu = kind == params::RELU_ACCUMULATORS;
            let kept = |&sum: &i32| if is_relu { sum.max(0) } else { sum };
            assert_same(&what, &rows, &sums.iter().map(kept).collect::<Vec<_>>());
            assert_untouched(&what, &got, problem);
        }
    }
}

#[test]
fn levels() {
    for (seed, problem) in (0..).zip(problems()) {
        check_levels(&problem, kernels::CONV_Q8_64X64, false, seed);
        check_levels(&problem, kernels::CONV_Q8_32X32, false, seed + 1);
    }
}

#[test]
fn levels_by_dp4a() {
    for (seed, problem) in (0..).zip(problems()) {
        check_levels(&problem, kernels::CONV_Q8_DP4A_64X64, true, seed);
        check_levels(&problem, kernels::CONV_Q8_DP4A_32X32, true, seed + 1);
    }
}

/// The largest sums that there are stay exact in floats.
#[test]
fn levels_at_their_extremes() {
    for (level, weight) in [(255_u8, -128_i8), (255, 127), (0, -128)] {
        let problem = Problem::product([2, 1100, 3]);
        for (kernel, is_dot) in
            [(kernels::CONV_Q8_64X64, false), (kernels::CONV_Q8_DP4A_32X32, true)]
        {
            let mut case = Case::default();
            let mut params = params::GemmQ8 {
                window: problem.window_params(),
                rows: 2,
                n: 3,
                n_padded: 4,
                k: if is_dot { 275 } else { 1100 },
                depth: 1100,
                width: 4,
                groups: 1,
                slices: 1,
                slice: 1104,
                out_stride: 3,
                stage: Stage { kind: params::ACCUMULATORS, shift: 1, ..Stage::default() },
                ..params::GemmQ8::default()
            };
            params.input = case.put(&[level; 2200]);
            params.weights = case.put(&[weight; 4400]);
            params.out = case.room::<i32>(6);
            case.launch(kernel, &params);
            for outcome in case.run() {
                let expected = 1100 * i32::from(level) * i32::from(weight);
                assert_same(outcome.route, &outcome.read::<i32>(params.out), &[expected; 6]);
            }
        }
    }
}
