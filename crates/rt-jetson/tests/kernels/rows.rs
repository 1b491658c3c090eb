//! Dense layers of few samples, in every form of their weights.

use embdl_core::kernels::codebook::codebook_q8;
use embdl_core::kernels::gemm::{TILE_F32, TILE_Q8, gemm_f32, gemm_q8};
use embdl_core::kernels::sparse::{sparse_f32, sparse_q8};
use embdl_core::kernels::{
    CodebookQ8, GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, RowsF32, RowsQ8, SparseF32, SparseQ8,
};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::Random;
use half::f16;
use rt_jetson::kernels::{self, Kernel};
use rt_jetson::params::{self, Stage};

use super::case::Case;
use super::convolution::word;
use super::{assert_close, assert_same};

/// Samples, outputs, inputs, and inputs from one sample to the next beyond those.
const SHAPES: [[usize; 4]; 9] = [
    [1, 1, 1, 0],
    [1, 5, 7, 0],
    [1, 16, 128, 0],
    [1, 17, 300, 0],
    [1, 33, 1025, 0],
    [2, 16, 64, 0],
    [4, 20, 96, 32],
    [5, 18, 127, 0],
    [9, 3, 260, 5],
];

/// Numbers that stand in rows of `row_bytes` of the device.
fn in_rows(n: usize, row_bytes: usize, rows: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = vec![0; n * row_bytes];
    for (slot, row) in all.chunks_exact_mut(row_bytes).zip(rows) {
        slot[..row.len()].copy_from_slice(&row);
    }
    all
}

/// Two codes of 4 bits a byte.
fn nibbles(codes: &[u8]) -> Vec<u8> {
    codes.chunks(2).map(|two| two[0] | two.get(1).unwrap_or(&0) << 4).collect()
}

/// Sparse rows as the kernels take them: each begins at a multiple of four entries.
fn sparse(n: usize, k: usize, entries: &[(usize, u8)]) -> (Vec<u16>, Vec<u8>, Vec<u32>) {
    let (mut columns, mut values, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..n {
        bounds.push(word(columns.len()));
        for &(position, value) in entries.iter().filter(|(position, _)| position / k == row) {
            columns.push(u16::try_from(position % k).unwrap());
            values.push(value);
        }
        bounds.push(word(columns.len()));
        columns.resize(columns.len().next_multiple_of(4), 0xffff);
        values.resize(columns.len(), 0xff);
    }
    (columns, values, bounds)
}

/// Positions of about a tenth of all, in order.
fn positions(n: usize, k: usize, random: &mut Random) -> Vec<usize> {
    (0..n * k).filter(|_| random.integer(0, 9) == 0).collect()
}

struct Floats {
    input: Vec<f32>,
    stride: usize,
    bias: Vec<f32>,
    shape: [usize; 4],
}

impl Floats {
    fn new(shape: [usize; 4], random: &mut Random) -> Self {
        let [samples, n, k, beside] = shape;
        let stride = k + beside;
        let mut input = random.floats(samples * stride);
        // What stands between samples must not count, not even by what it is.
        for row in input.chunks_exact_mut(stride) {
            row[k..].fill(f32::NAN);
        }
        Self { input, stride, bias: random.floats(n), shape }
    }

    /// What the reference makes of weights `[n][k]`, and of all absolute values.
    fn expected(&self, weights: &[f32]) -> [Vec<f32>; 2] {
        let [samples, n, k, _] = self.shape;
        let run = |lhs: &[f32], weights: &[f32], bias: &[f32], clamp| {
            let mut out = vec![0.0; samples * n];
            let weights = &PackedF32::pack(weights, bias, n, k, TILE_F32);
            let (m, lhs_stride) = (samples, self.stride);
            gemm_f32(&GemmF32 { m, lhs, lhs_stride, weights, clamp, out_stride: n }, &mut out);
            out
        };
        let absolute = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let all = (f32::NEG_INFINITY, f32::INFINITY);
        let magnitudes =
            run(&absolute(&self.input), &absolute(weights), &absolute(&self.bias), all);
        [run(&self.input, weights, &self.bias, (-0.5, 3.0)), magnitudes]
    }

    fn check(
        &self,
        kernel: Kernel<params::RowsF32>,
        [expected, magnitudes]: [Vec<f32>; 2],
        fill: impl FnOnce(&mut Case, &mut params::RowsF32),
    ) {
        let [samples, n, k, beside] = self.shape;
        let mut case = Case::default();
        let mut params = params::RowsF32 {
            input: case.put(&self.input),
            bias: case.put(&self.bias),
            out: case.room::<f32>(samples * (n + beside) - beside),
            samples: word(samples),
            n: word(n),
            k: word(k),
            input_stride: word(self.stride),
            out_stride: word(n + beside),
            width: if self.stride.is_multiple_of(4) || samples == 1 { 4 } else { 1 },
            low: -0.5,
            high: 3.0,
            ..params::RowsF32::default()
        };
        fill(&mut case, &mut params);
        case.launch(kernel, &params);
        for outcome in case.run() {
            let what = format!("{} {} {:?}", kernel.entry, outcome.route, self.shape);
            let got = outcome.read::<f32>(params.out);
            let rows: Vec<f32> =
                got.chunks(n + beside).flat_map(|row| &row[..n]).copied().collect();
            assert_close(&what, &rows, &expected, |at| 1e-6 * (magnitudes[at] + 1.0));
        }
    }
}

#[test]
fn floats_and_halves() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let mut random = Random::new(seed);
        let floats = Floats::new(shape, &mut random);
        let [_, n, k, _] = shape;
        // Halves are exact, so that both kernels take the same weights.
        let weights: Vec<f32> =
            random.floats(n * k).into_iter().map(|x| f16::from_f32(x).to_f32()).collect();
        let expected = floats.expected(&weights);
        floats.check(kernels::ROWS_F32, expected.clone(), |case, params| {
            let row_bytes = k.next_multiple_of(4) * 4;
            let rows = weights.chunks_exact(k).map(|row| bytemuck::cast_slice(row).to_vec());
            params.row_bytes = word(row_bytes);
            params.weights = case.put(&in_rows(n, row_bytes, rows));
        });
        floats.check(kernels::ROWS_F16, expected, |case, params| {
            let row_bytes = k.next_multiple_of(8) * 2;
            let half = |x: &f32| f16::from_f32(*x).to_bits().to_le_bytes();
            let rows = weights.chunks_exact(k).map(|row| row.iter().flat_map(half).collect());
            params.row_bytes = word(row_bytes);
            params.weights = case.put(&in_rows(n, row_bytes, rows));
        });
    }
}

#[test]
fn codes_of_floats() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let mut random = Random::new(seed);
        let floats = Floats::new(shape, &mut random);
        let [_, n, k, _] = shape;
        for (kernel, entries, in_byte) in
            [(kernels::ROWS_CODE8_F32, 256, 1), (kernels::ROWS_CODE4_F32, 16, 2)]
        {
            let book = random.floats(entries);
            let codes: Vec<u8> = random
                .bytes(n * k)
                .iter()
                .map(|code| if entries == 16 { code % 16 } else { *code })
                .collect();
            let weights: Vec<f32> = codes.iter().map(|&code| book[usize::from(code)]).collect();
            floats.check(kernel, floats.expected(&weights), |case, params| {
                let row_bytes = k.div_ceil(in_byte).next_multiple_of(16);
                let rows = codes
                    .chunks_exact(k)
                    .map(|row| if in_byte == 1 { row.to_vec() } else { nibbles(row) });
                params.row_bytes = word(row_bytes);
                params.weights = case.put(&in_rows(n, row_bytes, rows));
                params.book = case.put(&book);
            });
        }
    }
}

#[test]
fn sparse_floats() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let mut random = Random::new(seed);
        let floats = Floats::new(shape, &mut random);
        let [samples, n, k, _] = shape;
        let book = random.floats(256);
        let positions = positions(n, k, &mut random);
        let entries: Vec<(usize, u8)> =
            positions.iter().map(|&position| (position, random.bytes(1)[0])).collect();
        let mut weights = vec![0.0; n * k];
        for &(position, code) in &entries {
            weights[position] = book[usize::from(code)];
        }
        // The reference of sparse rows, and what the reference of dense ones says of magnitudes.
        let [_, magnitudes] = floats.expected(&weights);
        let lhs: Vec<f32> =
            floats.input.chunks_exact(floats.stride).flat_map(|row| &row[..k]).copied().collect();
        let sparse_weights = &SparseF32::new(n, k, entries.iter().copied(), &book, &floats.bias);
        let mut expected = vec![0.0; samples * n];
        let job = RowsF32 { m: samples, lhs: &lhs, weights: sparse_weights, clamp: (-0.5, 3.0) };
        sparse_f32(&job, &mut expected);
        floats.check(kernels::ROWS_SPARSE_F32, [expected, magnitudes], |case, params| {
            let (columns, codes, bounds) = sparse(n, k, &entries);
            params.columns = case.put(&columns);
            params.weights = case.put(&codes);
            params.bounds = case.put(&bounds);
            params.book = case.put(&book);
        });
    }
}

struct Levels {
    input: Vec<u8>,
    /// The same without what lies between samples.
    lhs: Vec<u8>,
    stride: usize,
    bias: Vec<i32>,
    shape: [usize; 4],
    requant: Requant,
    kind: u32,
}

const ZERO_POINT: u8 = 131;

impl Levels {
    fn new(shape: [usize; 4], seed: u64) -> Self {
        let mut random = Random::new(seed);
        let [samples, n, k, beside] = shape;
        let stride = k + beside;
        let input = random.bytes(samples * stride);
        let lhs = input.chunks_exact(stride).flat_map(|row| &row[..k]).copied().collect();
        let bias = (0..n).map(|_| random.integer(-3000, 3000)).collect();
        let ratios: Vec<f64> =
            (0..n).map(|_| f64::from(random.unit()).mul_add(0.004, 0.005)).collect();
        let requant =
            Requant::new(&ratios, Quant { scale: 1.0, zero_point: 90 }, (3, 250)).unwrap();
        let kind = u32::try_from(seed % 3).unwrap();
        Self { input, lhs, stride, bias, shape, requant, kind }
    }

    /// Biases with the zero point folded in.
    fn folded(&self, weights: &[i8]) -> Vec<i32> {
        let rows = weights.chunks_exact(self.shape[2]);
        let sum = |row: &[i8]| row.iter().map(|&w| i32::from(w)).sum::<i32>();
        rows.zip(&self.bias).map(|(row, bias)| bias - i32::from(ZERO_POINT) * sum(row)).collect()
    }

    fn dense(&self, weights: &[i8]) -> Vec<i32> {
        let [m, n, k, _] = self.shape;
        let mut sums = vec![0; m * n];
        let weights = &PackedQ8::pack(weights, &self.bias, ZERO_POINT, n, k, TILE_Q8);
        let job = GemmQ8 { m, lhs: &self.lhs, lhs_stride: k, weights, out_stride: n };
        gemm_q8(&job, OutQ8::I32(&mut sums));
        sums
    }

    fn check(
        &self,
        kernel: Kernel<params::RowsQ8>,
        sums: &[i32],
        weights: &[i8],
        fill: impl FnOnce(&mut Case, &mut params::RowsQ8),
    ) {
        let [samples, n, k, beside] = self.shape;
        let mut case = Case::default();
        let is_levels = self.kind == params::LEVELS;
        let size = if is_levels { 1 } else { 4 };
        let mut params = params::RowsQ8 {
            input: case.put(&self.input),
            bias: case.put(&self.folded(weights)),
            multipliers: if is_levels { case.put(&self.requant.multipliers) } else { 0 },
            out: case.room::<u8>((samples * (n + beside) - beside) * size),
            samples: word(samples),
            n: word(n),
            k: word(k),
            input_stride: word(self.stride),
            out_stride: word(n + beside),
            width: if self.stride.is_multiple_of(16) || samples == 1 { 4 } else { 1 },
            stage: Stage {
                kind: self.kind,
                shift: self.requant.shift,
                zero_point: self.requant.zero_point.into(),
                min: self.requant.min.into(),
                max: self.requant.max.into(),
            },
            ..params::RowsQ8::default()
        };
        fill(&mut case, &mut params);
        case.launch(kernel, &params);
        for outcome in case.run() {
            let what = format!("{} {} {:?}", kernel.entry, outcome.route, self.shape);
            let expected = sums.iter().enumerate().map(|(at, &sum)| match self.kind {
                params::LEVELS => self.requant.apply(sum, at % n).into(),
                params::RELU_ACCUMULATORS => sum.max(0),
                _ => sum,
            });
            let got: Vec<i32> = if is_levels {
                outcome.read::<u8>(params.out).into_iter().map(i32::from).collect()
            } else {
                outcome.read(params.out)
            };
            let rows: Vec<i32> =
                got.chunks(n + beside).flat_map(|row| &row[..n]).copied().collect();
            assert_same(&what, &rows, &expected.collect::<Vec<_>>());
        }
    }
}

#[test]
fn bytes() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let levels = Levels::new(shape, seed);
        let [_, n, k, _] = shape;
        let mut weights = Random::new(seed + 100).weights(n * k, 127);
        weights[0] = -128;
        let sums = levels.dense(&weights);
        for kernel in [kernels::ROWS_Q8, kernels::ROWS_Q8_DP4A] {
            levels.check(kernel, &sums, &weights, |case, params| {
                let row_bytes = k.next_multiple_of(16);
                let rows = weights.chunks_exact(k).map(|row| bytemuck::cast_slice(row).to_vec());
                params.row_bytes = word(row_bytes);
                params.weights = case.put(&in_rows(n, row_bytes, rows));
            });
        }
    }
}

#[test]
fn codes_of_bytes() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let levels = Levels::new(shape, seed);
        let [samples, n, k, _] = shape;
        let mut random = Random::new(seed + 200);
        let mut book = random.weights(16, 127);
        book[9] = -128;
        let codes: Vec<u8> = random.bytes(n * k).iter().map(|code| code % 16).collect();
        let weights: Vec<i8> = codes.iter().map(|&code| book[usize::from(code)]).collect();
        let packed = CodebookQ8::new(&codes, &book, &levels.bias, ZERO_POINT, n, k);
        let mut sums = vec![0; samples * n];
        let job = RowsQ8 { m: samples, lhs: &levels.lhs, weights: &packed };
        codebook_q8(&job, OutQ8::I32(&mut sums));
        for kernel in [kernels::ROWS_CODE4_Q8, kernels::ROWS_CODE4_Q8_DP4A] {
            levels.check(kernel, &sums, &weights, |case, params| {
                let row_bytes = k.div_ceil(2).next_multiple_of(16);
                params.row_bytes = word(row_bytes);
                params.weights =
                    case.put(&in_rows(n, row_bytes, codes.chunks_exact(k).map(nibbles)));
                params.book = case.put(&book);
            });
        }
    }
}

#[test]
fn sparse_bytes() {
    for (seed, shape) in (0..).zip(SHAPES) {
        let levels = Levels::new(shape, seed);
        let [samples, n, k, _] = shape;
        let mut random = Random::new(seed + 300);
        let mut weights = vec![0_i8; n * k];
        let mut entries = Vec::new();
        for position in positions(n, k, &mut random) {
            let value = random.weights(1, 127)[0];
            weights[position] = value;
            entries.push((position, value));
        }
        let packed = SparseQ8::new(n, k, entries.iter().copied(), &levels.bias, ZERO_POINT);
        let mut sums = vec![0; samples * n];
        let job = RowsQ8 { m: samples, lhs: &levels.lhs, weights: &packed };
        sparse_q8(&job, OutQ8::I32(&mut sums));
        levels.check(kernels::ROWS_SPARSE_Q8, &sums, &weights, |case, params| {
            let bytes: Vec<(usize, u8)> =
                entries.iter().map(|&(at, value)| (at, value.cast_unsigned())).collect();
            let (columns, values, bounds) = sparse(n, k, &bytes);
            params.columns = case.put(&columns);
            params.weights = case.put(&values);
            params.bounds = case.put(&bounds);
        });
    }
}
