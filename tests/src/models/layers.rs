//! Convolutions and dense layers, float and integer, in every form of weights.

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::Book;
use embdl_core::model::Scales;
use embdl_core::op::{Activation, Conv2d, Dense, Op, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_testkit::Random;

use super::Problem;
use crate::net::{Elements, Net, Store, bias, codebook, floats, integers};
use crate::pick;

/// Convolutions: strides, uneven pads, dilations, groups, depthwise, pixels, whole samples.
#[must_use]
pub fn convolutions() -> Vec<Problem> {
    let conv = |window, groups, activation| Conv2d { window, groups, activation };
    let (none, relu, relu6) = (Activation::None, Activation::Relu, Activation::Relu6);
    let uneven = Window { kernel: [3, 2], stride: [2, 1], dilation: [1, 2], pads: [1, 0, 2, 3] };
    let dilated = Window { dilation: [2, 3], ..Window::square(3, 1) };
    let cases = [
        ("first layer of LeNet-5", [28, 28, 1], 20, conv(Window::square(5, 1), 1, none)),
        ("second layer of LeNet-5", [12, 12, 20], 50, conv(Window::square(5, 1), 1, none)),
        ("padded", [9, 7, 3], 8, conv(Window::square(3, 1).padded(1), 1, relu)),
        ("strided", [11, 11, 3], 16, conv(Window::square(3, 2).padded(1), 1, relu6)),
        ("uneven", [8, 9, 4], 5, conv(uneven, 1, none)),
        ("dilated", [9, 11, 2], 7, conv(dilated, 1, relu)),
        ("pads wider than the input", [1, 2, 3], 4, conv(Window::square(5, 1).padded(2), 1, none)),
        ("windows in the pads", [3, 4, 5], 6, conv(Window::square(2, 1).padded(3), 1, none)),
        (
            "windows in the pads, depthwise",
            [3, 4, 9],
            9,
            conv(Window::square(2, 1).padded(3), 9, none),
        ),
        (
            "windows in the pads, in groups",
            [3, 4, 6],
            4,
            conv(Window::square(2, 1).padded(3), 2, none),
        ),
        (
            "whole sample",
            [5, 4, 6],
            9,
            conv(Window { kernel: [5, 4], ..Window::square(1, 1) }, 1, none),
        ),
        ("pixels", [5, 3, 17], 11, conv(Window::square(1, 1), 1, relu)),
        ("pixels two apart", [5, 5, 8], 6, conv(Window::square(1, 2), 1, none)),
        ("two groups", [7, 7, 6], 8, conv(Window::square(3, 1).padded(1), 2, relu)),
        ("pixels in groups", [4, 4, 12], 9, conv(Window::square(1, 1), 3, none)),
        ("depthwise", [8, 8, 19], 19, conv(Window::square(3, 1).padded(1), 19, relu6)),
        ("depthwise strided", [9, 9, 16], 16, conv(Window::square(3, 2).padded(1), 16, relu)),
        ("depthwise of two filters", [6, 6, 4], 8, conv(Window::square(3, 1), 4, none)),
        ("one channel", [6, 6, 1], 1, conv(Window::square(3, 1), 1, none)),
        ("large windows", [20, 17, 24], 20, conv(Window::square(7, 1).padded(3), 1, relu)),
        ("large windows, groups", [13, 13, 32], 32, conv(Window::square(5, 1).padded(2), 2, none)),
        // Large enough to be shared out to threads.
        ("large", [23, 21, 12], 20, conv(Window::square(3, 1).padded(1), 1, relu)),
        ("large, strided", [41, 39, 3], 24, conv(Window::square(5, 2).padded(2), 1, none)),
        ("large, in groups", [19, 22, 16], 24, conv(Window::square(3, 1), 2, none)),
        ("large, pixels", [40, 31, 12], 18, conv(Window::square(1, 1), 1, relu6)),
        // A number of rows that whole tiles leave one of.
        ("pixels, one more than tiles", [13, 13, 64], 48, conv(Window::square(1, 1), 1, none)),
        ("large, pixels in groups", [40, 31, 24], 18, conv(Window::square(1, 1), 2, none)),
        ("large, depthwise", [45, 41, 34], 34, conv(Window::square(3, 2).padded(1), 34, relu)),
        ("many channels", [13, 10, 36], 41, conv(Window::square(3, 1).padded(1), 1, relu)),
        ("many channels in groups", [7, 9, 64], 24, conv(Window::square(3, 1).padded(1), 2, none)),
        ("large windows", [9, 11, 24], 34, conv(Window::square(5, 1).padded(2), 1, relu)),
        ("strided, many channels", [10, 13, 20], 33, conv(Window::square(3, 2), 1, none)),
    ];
    let mut problems = vec![conv_by_hand(), conv_by_hand_int8()];
    for (seed, (name, input, co, conv)) in (100..).zip(cases) {
        let [h, w, ci] = input;
        let [kh, kw] = conv.window.kernel.map(|taps| taps as usize);
        let weight = Shape::nhwc(co, kh, kw, ci / conv.groups as usize);
        let layer = Layer { op: Op::Conv2d(conv), input: Shape::nhwc(1, h, w, ci), weight, seed };
        problems.push(Problem::new(format!("convolution, {name}, float"), layer.float()));
        let per_channel = layer.integer(127, true, false);
        problems.push(Problem::new(format!("convolution, {name}, per channel"), per_channel));
        let per_tensor = layer.integer(64, false, false);
        problems.push(Problem::new(format!("convolution, {name}, per tensor"), per_tensor));
    }
    let layer = Layer {
        op: Op::Conv2d(conv(Window::square(3, 1), 1, none)),
        input: Shape::nhwc(1, 5, 5, 3),
        weight: Shape::nhwc(6, 3, 3, 3),
        seed: 200,
    };
    problems.push(Problem::new("convolution to accumulators", layer.integer(127, false, true)));
    problems
}

/// Dense layers: dense, sparse and codebook weights.
#[must_use]
pub fn dense_layers() -> Vec<Problem> {
    let mut problems = vec![dense_by_hand()];
    for (seed, [k, n]) in (300..).zip([[1, 1], [7, 3], [64, 10], [100, 33], [801, 50], [900, 301]])
    {
        let op = Op::Dense(Dense { activation: [Activation::Relu, Activation::None][seed % 2] });
        let (input, weight) = (Shape::matrix(1, k), Shape::matrix(n, k));
        let layer = Layer { op, input, weight, seed: seed as u64 };
        let size = format!("{k} to {n}");
        problems.push(Problem::new(format!("dense, {size}, float"), layer.float()));
        let mut int8 = |name: &str, net| {
            problems.push(Problem::new(format!("dense, {size}, {name}"), net));
        };
        int8("per channel", layer.integer(127, true, false));
        int8("7 bits", layer.integer(63, false, false));
        int8("4 bits", layer.integer(7, true, false));
        int8("codebook of 16", layer.codebook_i8(16, Store::Dense));
        int8("codebook of 40", layer.codebook_i8(40, Store::Dense));
        if k * n > 20 {
            int8("sparse", layer.sparse_integer(5));
            int8("half full", layer.sparse_integer(50));
            int8("sparse codebook", layer.codebook_i8(9, Store::Sparse));
            int8("sparse float codebook", layer.codebook_f32(31, Store::Sparse));
        }
        int8("float codebook", layer.codebook_f32(256, Store::Dense));
        // Files keep integers for integer inputs; the runtimes take them for floats too.
        let weight = layer.weight_int(&mut Random::new(9), 100, true, Store::Dense);
        let problem =
            Problem::new(format!("dense, {size}, integers on floats"), layer.on_floats(weight));
        problems.push(problem.only_in_memory());
    }
    let accumulators = |activation| Layer {
        op: Op::Dense(Dense { activation }),
        input: Shape::matrix(1, 30),
        weight: Shape::matrix(10, 30),
        seed: 400,
    };
    let logits = accumulators(Activation::None).integer(127, false, true);
    problems.push(Problem::new("dense, logits", logits));
    let relu = accumulators(Activation::Relu).integer(127, false, true);
    problems.push(Problem::new("dense, accumulators with relu", relu).only_in_memory());
    problems
}

/// A layer to be filled with random weights.
struct Layer {
    op: Op,
    input: Shape,
    weight: Shape,
    seed: u64,
}

impl Layer {
    fn float(&self) -> Net {
        let mut random = Random::new(self.seed);
        self.on_floats(floats(self.weight, &random.floats(self.weight.len())))
    }

    fn on_floats(&self, weight: OwnedTensor) -> Net {
        let mut random = Random::new(self.seed + 1);
        let n = self.weight.dim(0);
        let bias =
            (!self.seed.is_multiple_of(3)).then(|| floats(Shape::vector(n), &random.floats(n)));
        let mut net = Net::new();
        let input = net.input(self.input, Elements::F32);
        let output = net.layer(self.op.clone(), input, weight, bias, Elements::F32);
        net.output(output);
        net
    }

    /// Weights of at most `limit`.
    fn integer(&self, limit: i8, per_channel: bool, accumulators: bool) -> Net {
        let mut random = Random::new(self.seed);
        let weight = self.weight_int(&mut random, limit, per_channel, Store::Dense);
        self.on_levels(weight, limit, accumulators)
    }

    fn weight_int(
        &self,
        random: &mut Random,
        limit: i8,
        per_channel: bool,
        store: Store,
    ) -> OwnedTensor {
        let values = random.weights(self.weight.len(), limit);
        integers(self.weight, self.scales(random, per_channel), &values, store)
    }

    fn sparse_integer(&self, percent: i32) -> Net {
        let mut random = Random::new(self.seed);
        let keep = |random: &mut Random| random.integer(0, 99) < percent;
        let values: Vec<i8> = random
            .weights(self.weight.len(), 127)
            .into_iter()
            .map(|w| if keep(&mut random) { w } else { 0 })
            .collect();
        let scales = self.scales(&mut random, true);
        self.on_levels(integers(self.weight, scales, &values, Store::Sparse), 127, false)
    }

    fn codebook_i8(&self, entries: u8, store: Store) -> Net {
        let mut random = Random::new(self.seed);
        let codes = self.codes(&mut random, entries, store);
        let mut book = random.weights(usize::from(entries), 127);
        book[0] = 0;
        let scales = self.scales(&mut random, false);
        self.on_levels(codebook(self.weight, scales, &codes, Book::I8(&book), store), 100, false)
    }

    fn codebook_f32(&self, entries: u16, store: Store) -> Net {
        let mut random = Random::new(self.seed);
        let last = u8::try_from(entries - 1).expect("at most 256 entries");
        let codes = self.codes(&mut random, last, store);
        let mut book = random.floats(usize::from(entries));
        book[0] = 0.0;
        self.on_floats(codebook(self.weight, Scales::None, &codes, Book::F32(&book), store))
    }

    /// Codes below `entries`; sparse ones are mostly zero.
    fn codes(&self, random: &mut Random, entries: u8, store: Store) -> Vec<u8> {
        let code = |random: &mut Random| {
            if store == Store::Sparse && random.integer(0, 9) > 0 {
                return 0;
            }
            u8::try_from(random.integer(0, i32::from(entries) - 1)).expect("a code")
        };
        (0..self.weight.len()).map(|_| code(random)).collect()
    }

    fn scales(&self, random: &mut Random, per_channel: bool) -> Scales {
        if per_channel {
            let n = self.weight.dim(0);
            Scales::PerChannel((0..n).map(|_| 0.003 + 0.001 * random.unit()).collect())
        } else {
            Scales::PerTensor(0.0031)
        }
    }

    fn on_levels(&self, weight: OwnedTensor, limit: i8, accumulators: bool) -> Net {
        let mut random = Random::new(self.seed + 2);
        let n = self.weight.dim(0);
        let from = Quant { scale: 0.017, zero_point: pick(&[0, 128, 255, 77], self.seed) };
        #[expect(clippy::cast_precision_loss, reason = "a rough spread is enough")]
        let spread = ((self.weight.len() / n) as f32).sqrt() * f32::from(limit) * 0.7;
        let to = Quant {
            scale: from.scale * 0.003 * spread,
            zero_point: pick(&[0, 131, 20], self.seed),
        };
        let values: Vec<i32> = (0..n).map(|_| random.integer(-4000, 4000)).collect();
        let elements =
            if accumulators { Elements::I32(from.scale * 0.0031) } else { Elements::U8(to) };
        let mut net = Net::new();
        let input = net.input(self.input, Elements::U8(from));
        let bias = (!self.seed.is_multiple_of(5)).then(|| bias(&values));
        let output = net.layer(self.op.clone(), input, weight, bias, elements);
        net.output(output);
        net
    }
}

/// 2x3x1 by 2x2 with one pad on the left: every product written out.
fn conv_by_hand() -> Problem {
    let window = Window { pads: [0, 1, 0, 0], ..Window::square(2, 1) };
    let conv = Conv2d { window, groups: 1, activation: Activation::Relu };
    let mut net = Net::new();
    let input = net.input(Shape::nhwc(1, 2, 3, 1), Elements::F32);
    let weight = floats(Shape::nhwc(2, 2, 2, 1), &[1., 2., 3., 4., 1., 0., 0., -1.]);
    let bias = floats(Shape::vector(2), &[0.5, 0.0]);
    let output = net.layer(Op::Conv2d(conv), input, weight, Some(bias), Elements::F32);
    net.output(output);
    // Filter 0: 2·1 + 4·4, 1 + 2·2 + 3·4 + 4·5, 2 + 2·3 + 3·5 + 4·6, each + 0.5; filter 1: -4, 1 - 5, 2 - 6.
    let outputs = [18.5, 0.0, 37.5, 0.0, 47.5, 0.0];
    Problem::new("convolution by hand", net).by_hand(&[&[1., 2., 3., 4., 5., 6.]], &[&outputs])
}

/// The same window in levels: zero point 10, scales 0.5 · 0.25 / 0.5.
fn conv_by_hand_int8() -> Problem {
    let window = Window { pads: [0, 1, 0, 0], ..Window::square(2, 1) };
    let conv = Conv2d { window, groups: 1, activation: Activation::Relu };
    let mut net = Net::new();
    let from = Quant { scale: 0.5, zero_point: 10 };
    let input = net.input(Shape::nhwc(1, 2, 3, 1), Elements::U8(from));
    let scales = Scales::PerChannel(vec![0.25, 0.125]);
    let weight =
        integers(Shape::nhwc(2, 2, 2, 1), scales, &[1, 2, 3, 4, -1, 0, 0, 1], Store::Dense);
    let to = Quant { scale: 0.5, zero_point: 5 };
    let bias = bias(&[2, -1]);
    let output = net.layer(Op::Conv2d(conv), input, weight, Some(bias), Elements::U8(to));
    net.output(output);
    // Accumulators of filter 0: 18 + 2, 37 + 2, 47 + 2; a quarter of them is 5, 9.75, 12.25, above 5.
    // Of filter 1: 4 - 1, 5 - 1 - 1, 6 - 2 - 1; an eighth of 3 is 0.375.
    let outputs = [10.0, 5.0, 15.0, 5.0, 17.0, 5.0];
    Problem::new("integer convolution by hand", net)
        .by_hand(&[&[11., 12., 13., 14., 15., 16.]], &[&outputs])
}

fn dense_by_hand() -> Problem {
    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 3), Elements::F32);
    let weight = floats(Shape::matrix(2, 3), &[1., -1., 2., 0.5, 0., -4.]);
    let bias = floats(Shape::vector(2), &[0.25, 1.0]);
    let op = Op::Dense(Dense { activation: Activation::Relu6 });
    let output = net.layer(op, input, weight, Some(bias), Elements::F32);
    net.output(output);
    let problem = Problem::new("dense by hand", net).with_batch(2);
    problem.by_hand(&[&[1., 2., 3., 4., 0., 1.]], &[&[5.25, 0.0, 6.0, 0.0]])
}
