//! Convolutions 3x3 by Winograd's filtering: transform, products, transform.

use embdl_core::kernels::gemm::{TILE_F32, gemm_f32};
use embdl_core::kernels::im2col::im2col;
use embdl_core::kernels::{GemmF32, PackedF32};
use embdl_testkit::Random;
use half::f16;
use rt_jetson::kernels::{self, Kernel};
use rt_jetson::params::{self, Window, WinogradInput, WinogradOutput};
use rt_jetson::winograd::{filter_of_2x2, filter_of_4x4};

use super::assert_close;
use super::case::Case;
use super::convolution::{Problem, word};

/// One of both sizes, with its kernels.
struct Size {
    out: usize,
    input: Kernel<WinogradInput>,
    output: Kernel<WinogradOutput>,
    filter: fn(&[f32; 9]) -> Vec<f32>,
    /// Of the sum of absolute products: transforms make numbers of other sizes than the result's.
    relative: f32,
}

fn sizes() -> [Size; 2] {
    [
        Size {
            out: 2,
            input: kernels::WINOGRAD2_INPUT,
            output: kernels::WINOGRAD2_OUTPUT,
            filter: |taps| filter_of_2x2(taps).to_vec(),
            relative: 2e-6,
        },
        Size {
            out: 4,
            input: kernels::WINOGRAD4_INPUT,
            output: kernels::WINOGRAD4_OUTPUT,
            filter: |taps| filter_of_4x4(taps).to_vec(),
            relative: 1e-5,
        },
    ]
}

fn problems() -> Vec<Problem> {
    let of = |input, pads, n| Problem::window(input, [3, 3], [1, 1], [1, 1], pads, n);
    vec![
        of([3, 3, 1], [0; 4], 1),
        of([8, 8, 4], [1; 4], 8),
        Problem { samples: 2, has_residual: true, beside: 3, ..of([7, 10, 6], [1; 4], 5) },
        Problem { samples: 2, ..of([5, 4, 3], [2, 0, 1, 2], 7) },
    ]
}

fn check(problem: &Problem, size: &Size, is_half: bool, seed: u64) {
    let mut random = Random::new(seed);
    let [_, _, ci] = problem.geometry.input;
    let [oh, ow] = problem.geometry.output;
    let (n, k) = (problem.n, problem.k());
    let input = random.floats(problem.samples * problem.geometry.input_len());
    let weights = random.floats(n * k);
    let bias = random.floats(n);
    let residual = random.floats(problem.rows() * n);
    let (low, high) = (-1.0, 4.0);
    let mut expected = vec![0.0; problem.rows() * n];
    let mut magnitudes = expected.clone();
    let absolute: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
    for (out, weights, is_absolute) in
        [(&mut expected, &weights, false), (&mut magnitudes, &absolute, true)]
    {
        let packed = PackedF32::pack(weights, &bias, n, k, TILE_F32);
        let samples = input.chunks_exact(problem.geometry.input_len());
        for (sample, out) in samples.zip(out.chunks_exact_mut(oh * ow * n)) {
            let mut lhs = vec![0.0; oh * ow * k];
            im2col(&problem.geometry, sample, 0.0, 0..ci, 0..oh * ow, &mut lhs);
            if is_absolute {
                lhs.iter_mut().for_each(|x| *x = x.abs());
            }
            let clamp = (f32::NEG_INFINITY, f32::INFINITY);
            let (m, lhs) = (oh * ow, &lhs[..]);
            let job = GemmF32 { m, lhs, lhs_stride: k, weights: &packed, clamp, out_stride: n };
            gemm_f32(&job, out);
        }
    }
    for (value, residual) in expected.iter_mut().zip(&residual) {
        *value += if problem.has_residual { *residual } else { 0.0 };
        *value = value.clamp(low, high);
    }

    let planes = (size.out + 2) * (size.out + 2);
    let (tiles_y, tiles_x) = (oh.div_ceil(size.out), ow.div_ceil(size.out));
    let tiles = problem.samples * tiles_y * tiles_x;
    let n_padded = n.next_multiple_of(8);
    let mut filters = vec![0.0; planes * ci * n_padded];
    for (channel, row) in weights.chunks_exact(k).enumerate() {
        for c in 0..ci {
            let taps: [f32; 9] = core::array::from_fn(|tap| row[tap * ci + c]);
            for (plane, &value) in (size.filter)(&taps).iter().enumerate() {
                filters[(plane * ci + c) * n_padded + channel] = value;
            }
        }
    }
    let halves: Vec<u16> = filters.iter().map(|&x| f16::from_f32(x).to_bits()).collect();

    let mut case = Case::default();
    let window = problem.window_params();
    let transformed = case.room::<f32>(planes * tiles * ci);
    let products = case.room::<f32>(planes * tiles * n);
    let out = case.room::<f32>(problem.rows() * problem.stride() - problem.beside);
    let into = WinogradInput {
        input: case.put(&input),
        out: transformed,
        samples: word(problem.samples),
        tiles_y: word(tiles_y),
        tiles_x: word(tiles_x),
        ih: window.ih,
        iw: window.iw,
        c: word(ci),
        pad_y: window.pad_y,
        pad_x: window.pad_x,
    };
    case.launch(size.input, &into);
    let product = params::GemmF32 {
        input: transformed,
        weights: if is_half { case.put(&halves) } else { case.put(&filters) },
        out: products,
        window: Window {
            oh: word(tiles),
            ow: 1,
            ih: word(tiles),
            iw: 1,
            ci: word(ci),
            kh: 1,
            kw: 1,
            stride_y: 1,
            stride_x: 1,
            dilation_y: 1,
            dilation_x: 1,
            ..Window::default()
        },
        rows: word(tiles),
        n: word(n),
        n_padded: word(n_padded),
        k: word(ci),
        depth: word(ci),
        width: if ci.is_multiple_of(4) { 4 } else { 1 },
        input_group: word(tiles * ci),
        weight_group: word(ci * n_padded),
        out_group: word(tiles * n),
        groups: word(planes),
        slices: 1,
        slice: word(ci),
        out_stride: word(n),
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
        ..params::GemmF32::default()
    };
    let multiply = if is_half { kernels::CONV_F16_32X64 } else { kernels::CONV_F32_32X32 };
    case.launch(multiply, &product);
    let from = WinogradOutput {
        input: products,
        bias: case.put(&bias),
        residual: if problem.has_residual { case.put(&residual) } else { 0 },
        out,
        samples: word(problem.samples),
        tiles_y: word(tiles_y),
        tiles_x: word(tiles_x),
        oh: word(oh),
        ow: word(ow),
        c: word(n),
        out_stride: word(problem.stride()),
        residual_stride: word(n),
        low,
        high,
    };
    case.launch(size.output, &from);
    // Halves of F(2x2): 11 bits, of numbers that four additions made.
    let relative = if is_half { 4.0 / 1024.0 } else { size.relative };
    for outcome in case.run() {
        let what = format!("F({0}x{0}) {1} {problem:?}", size.out, outcome.route);
        let got = outcome.read::<f32>(out);
        let rows: Vec<f32> =
            got.chunks(problem.stride()).flat_map(|row| &row[..n]).copied().collect();
        assert_close(&what, &rows, &expected, |at| relative * (magnitudes[at] + 1.0));
        let beside = got.chunks(problem.stride()).flat_map(|row| &row[n..]);
        assert!(beside.into_iter().all(|x| x.to_bits() == 0xeeee_eeee), "{what}: beside");
    }
}

#[test]
fn floats() {
    for (seed, problem) in (0..).zip(problems()) {
        for size in sizes() {
            check(&problem, &size, false, seed);
        }
    }
}

#[test]
fn halves() {
    for (seed, problem) in (0..).zip(problems()) {
        check(&problem, &sizes()[0], true, seed);
    }
}
