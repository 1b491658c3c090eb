//! Small networks: operators one after the other, with skips, branches, and several inputs and results.

use embdl_core::model::{Scales, ValueId};
use embdl_core::op::{Activation, Concat, Conv2d, Dense, Lrn, Op, Pool, PoolKind, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_testkit::Random;

use super::{Problem, element_wise, layouts};
use crate::net::{Elements, Net, Store, bias, floats, integers};

/// Whole networks, float and integer.
#[must_use]
pub fn networks() -> Vec<Problem> {
    vec![
        Problem::new("LeNet-5, float", lenet5(Numbers::Float)),
        Problem::new("LeNet-5, int8", lenet5(Numbers::Int8)),
        Problem::new("inverted residual, float", residual(Numbers::Float)),
        Problem::new("inverted residual, int8", residual(Numbers::Int8)),
        Problem::new("branches, float", branches(Numbers::Float)),
        Problem::new("branches, int8", branches(Numbers::Int8)),
        Problem::new("joined, float", joined(Numbers::Float)),
        Problem::new("joined, int8", joined(Numbers::Int8)),
        Problem::new("normalized, float", normalized()),
    ]
}

/// Several samples a run, for networks and for operators that treat the leading dimension in their own way.
#[must_use]
pub fn batches() -> Vec<Problem> {
    let several = networks().into_iter().chain(element_wise()).chain(layouts());
    let several = several.filter(|problem| problem.by_hand.is_none());
    several
        .map(|mut problem| {
            problem.name = format!("{}, batch of 3", problem.name);
            problem.with_batch(3)
        })
        .collect()
}

/// LeNet-5 (the Caffe variant) on levels, with random weights.
#[must_use]
pub fn lenet5_int8() -> Net {
    lenet5(Numbers::Int8)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Floats throughout.
    Float,
    /// Levels throughout.
    Int8,
}

/// Adds layers with random weights of a fitting spread.
pub(super) struct Builder {
    pub(super) net: Net,
    pub(super) random: Random,
    numbers: Numbers,
}

impl Builder {
    pub(super) fn new(numbers: Numbers, seed: u64) -> Self {
        Self { net: Net::new(), random: Random::new(seed), numbers }
    }

    pub(super) fn input(&mut self, shape: Shape) -> ValueId {
        let elements = self.elements(0.011, 120);
        self.net.input(shape, elements)
    }

    pub(super) fn elements(&self, scale: f32, zero_point: u8) -> Elements {
        match self.numbers {
            Numbers::Float => Elements::F32,
            Numbers::Int8 => Elements::U8(Quant { scale, zero_point }),
        }
    }

    pub(super) fn conv(
        &mut self,
        input: ValueId,
        co: usize,
        window: Window,
        groups: u32,
        activation: Activation,
    ) -> ValueId {
        let ci = self.net.kind(input).shape.dim(3);
        let [kh, kw] = window.kernel.map(|taps| taps as usize);
        let weight = Shape::nhwc(co, kh, kw, ci / groups as usize);
        self.layer(Op::Conv2d(Conv2d { window, groups, activation }), input, weight)
    }

    fn dense(&mut self, input: ValueId, n: usize, activation: Activation) -> ValueId {
        let k = self.net.kind(input).shape.dim(1);
        self.layer(Op::Dense(Dense { activation }), input, Shape::matrix(n, k))
    }

    /// A layer whose results spread about as widely as its inputs.
    fn layer(&mut self, op: Op, input: ValueId, weight: Shape) -> ValueId {
        let n = weight.dim(0);
        #[expect(clippy::cast_precision_loss, reason = "a rough spread is enough")]
        let gain = 1.7 / ((weight.len() / n) as f32).sqrt();
        if self.numbers == Numbers::Float {
            let values: Vec<f32> =
                self.random.floats(weight.len()).iter().map(|w| w * gain).collect();
            let biases = floats(Shape::vector(n), &self.random.floats(n));
            let weight = floats(weight, &values);
            return self.net.layer(op, input, weight, Some(biases), Elements::F32);
        }
        let scales = (0..n).map(|_| gain / 127.0 * (1.0 + 0.3 * self.random.unit())).collect();
        let values = self.random.weights(weight.len(), 127);
        let weight = integers(weight, Scales::PerChannel(scales), &values, Store::Dense);
        let biases: Vec<i32> = (0..n).map(|_| self.random.integer(-3000, 3000)).collect();
        let zero_point = if op.activation() == Activation::None { 125 } else { 0 };
        let elements = self.elements(0.012, zero_point);
        self.net.layer(op, input, weight, Some(bias(&biases)), elements)
    }

    /// A last layer: accumulators where numbers are integers.
    fn logits(&mut self, input: ValueId, n: usize) {
        let kind = self.net.kind(input);
        let shape = Shape::matrix(n, kind.shape.dim(1));
        let output = match (self.numbers, kind.quant) {
            (Numbers::Int8, Some(quant)) => {
                let values = self.random.weights(shape.len(), 127);
                let weight = integers(shape, Scales::PerTensor(0.01), &values, Store::Dense);
                let biases: Vec<i32> = (0..n).map(|_| self.random.integer(-3000, 3000)).collect();
                let op = Op::Dense(Dense { activation: Activation::None });
                let elements = Elements::I32(quant.scale * 0.01);
                self.net.layer(op, input, weight, Some(bias(&biases)), elements)
            }
            _ => self.dense(input, n, Activation::None),
        };
        self.net.output(output);
    }

    /// A node whose result has the element type and scale of its input.
    pub(super) fn same(&mut self, op: Op, input: ValueId) -> ValueId {
        let elements = crate::net::elements_of(self.net.kind(input));
        self.net.node(op, &[input], elements)
    }
}

fn max_pool() -> Op {
    Op::Pool(Pool { kind: PoolKind::Max, window: Window::square(2, 2), ceil: false })
}

fn lenet5(numbers: Numbers) -> Net {
    let mut net = Builder::new(numbers, 5);
    let input = net.input(Shape::nhwc(1, 28, 28, 1));
    let conv = net.conv(input, 20, Window::square(5, 1), 1, Activation::None);
    let pool = net.same(max_pool(), conv);
    let conv = net.conv(pool, 50, Window::square(5, 1), 1, Activation::None);
    let pool = net.same(max_pool(), conv);
    let flat = net.same(Op::Flatten, pool);
    let hidden = net.dense(flat, 500, Activation::Relu);
    net.logits(hidden, 10);
    net.net
}

/// Expansion, depthwise, projection, skip: the block of MobileNetV2.
fn residual(numbers: Numbers) -> Net {
    let mut net = Builder::new(numbers, 6);
    let input = net.input(Shape::nhwc(1, 14, 14, 3));
    let first = net.conv(input, 8, Window::square(3, 2).padded(1), 1, Activation::Relu6);
    let wide = net.conv(first, 48, Window::square(1, 1), 1, Activation::Relu6);
    let deep = net.conv(wide, 48, Window::square(3, 1).padded(1), 48, Activation::Relu6);
    let narrow = net.conv(deep, 8, Window::square(1, 1), 1, Activation::None);
    let elements = net.elements(0.02, 90);
    let sum = net.net.node(Op::Add(Activation::None), &[first, narrow], elements);
    let pooled = net.same(Op::GlobalAveragePool, sum);
    let flat = net.same(Op::Flatten, pooled);
    net.logits(flat, 10);
    net.net
}

/// Squeeze and two expansions that are joined: the block of SqueezeNet; also gives an inner value.
fn branches(numbers: Numbers) -> Net {
    let mut net = Builder::new(numbers, 7);
    let input = net.input(Shape::nhwc(1, 12, 12, 6));
    let squeezed = net.conv(input, 4, Window::square(1, 1), 1, Activation::Relu);
    let narrow = net.conv(squeezed, 9, Window::square(1, 1), 1, Activation::Relu);
    let wide = net.conv(squeezed, 7, Window::square(3, 1).padded(1), 1, Activation::Relu);
    let elements = net.elements(0.015, 1);
    let joined = net.net.node(Op::Concat(Concat { axis: 3 }), &[narrow, wide], elements);
    let pool = Pool { kind: PoolKind::Max, window: Window::square(3, 2), ceil: true };
    let pooled = net.same(Op::Pool(pool), joined);
    let relu = net.same(Op::Activation(Activation::Relu), pooled);
    net.net.output(squeezed);
    net.net.output(relu);
    net.net
}

/// Convolutions that write straight into a concatenation of the same levels, in groups, with windows and without, next to a
/// part that is copied; then another concatenation of what was joined.
fn joined(numbers: Numbers) -> Net {
    let mut net = Builder::new(numbers, 9);
    let input = net.input(Shape::nhwc(1, 7, 5, 6));
    let squeezed = net.conv(input, 4, Window::square(1, 1), 1, Activation::Relu);
    let elements = net.elements(0.012, 0);
    let narrow = net.conv(squeezed, 9, Window::square(1, 1), 1, Activation::Relu);
    let pooled = Pool { kind: PoolKind::Max, window: Window::square(3, 1).padded(1), ceil: false };
    let pooled = net.same(Op::Pool(pooled), squeezed);
    let wide = net.conv(squeezed, 6, Window::square(3, 1).padded(1), 2, Activation::Relu);
    let inputs = [narrow, pooled, wide];
    let first = net.net.node(Op::Concat(Concat { axis: 3 }), &inputs, elements);
    let deep = net.conv(first, 19, Window::square(1, 1), 19, Activation::Relu);
    let last = net.conv(first, 3, Window::square(3, 1).padded(1), 1, Activation::Relu);
    let second = net.net.node(Op::Concat(Concat { axis: 3 }), &[last, deep, first], elements);
    net.net.output(second);
    net.net
}

/// The first stage of AlexNet, with softmax at the end.
fn normalized() -> Net {
    let mut net = Builder::new(Numbers::Float, 8);
    let input = net.input(Shape::nhwc(1, 19, 19, 3));
    let conv = net.conv(input, 16, Window::square(5, 2), 1, Activation::Relu);
    let lrn = net.same(Op::Lrn(Lrn { size: 5, alpha: 1e-2, beta: 0.75, bias: 1.0 }), conv);
    let pool = Pool { kind: PoolKind::Max, window: Window::square(3, 2), ceil: false };
    let pooled = net.same(Op::Pool(pool), lrn);
    let conv = net.conv(pooled, 12, Window::square(3, 1).padded(1), 2, Activation::Relu);
    let flat = net.same(Op::Flatten, conv);
    let dense = net.dense(flat, 10, Activation::None);
    let output = net.same(Op::Softmax, dense);
    net.net.output(output);
    net.net
}
