//! The LeNets with random weights, as a session runs them: im2col, pooling and the walk over the plan included.

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, bias_f32, bias_i32, smallest};
use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::Reference;
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Scales, Value};
use embdl_core::op::{Activation, Conv2d, Dense, Op, Pool, PoolKind, Window};
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, Runtime, WeightForm};
use embdl_core::tensor::{Shape, TensorMut, TensorRef, ValueType};
use embdl_testkit::Random;

use crate::bench::Report;

/// Times the LeNets in floats and in integers, dense and with a tenth of the weights.
pub(crate) fn run(isa: &str, report: Report<'_>) {
    let runtime = if isa == "scalar" {
        Reference::runtime()
    } else {
        rt_atom::runtime().expect("its kernels were found")
    };
    for (name, input, ops) in [
        ("lenet-300-100 whole", &[1, 784][..], lenet_300_100()),
        ("lenet-5 whole", &[1, 28, 28, 1][..], lenet_5()),
    ] {
        let input = Shape::new(input).expect("a small shape");
        for (kind, limit, percent) in [
            ("f32", 0, 100),
            ("q8/127", 127, 100),
            ("q8/63", 63, 100),
            ("f32 8%", 0, 8),
            ("q8 8%", 63, 8),
        ] {
            let mut network = Network::new(limit, percent);
            for (op, weight) in &ops {
                network.push(op, weight, input);
            }
            let form = if percent < 100 { WeightForm::Compressed } else { WeightForm::Auto };
            network.time(&runtime, isa, form, &mut |macs, run| report(name, kind, macs, run));
        }
    }
}

pub(crate) fn lenet_300_100() -> Vec<(Op, Vec<usize>)> {
    vec![
        (dense(Activation::Relu), vec![300, 784]),
        (dense(Activation::Relu), vec![100, 300]),
        (dense(Activation::None), vec![10, 100]),
    ]
}

pub(crate) fn lenet_5() -> Vec<(Op, Vec<usize>)> {
    let conv = Conv2d { window: Window::square(5, 1), groups: 1, activation: Activation::None };
    let pool = Pool { kind: PoolKind::Max, window: Window::square(2, 2), ceil: false };
    vec![
        (Op::Conv2d(conv), vec![20, 5, 5, 1]),
        (Op::Pool(pool), vec![]),
        (Op::Conv2d(conv), vec![50, 5, 5, 20]),
        (Op::Pool(pool), vec![]),
        (Op::Flatten, vec![]),
        (dense(Activation::Relu), vec![500, 800]),
        (dense(Activation::None), vec![10, 500]),
    ]
}

/// Without local response normalization, which has no integer form.
pub(crate) fn alexnet() -> Vec<(Op, Vec<usize>)> {
    let conv = |kernel, stride, pad: u32, groups| {
        let window = Window { pads: [pad; 4], ..Window::square(kernel, stride) };
        Op::Conv2d(Conv2d { window, groups, activation: Activation::Relu })
    };
    let pool = || Op::Pool(Pool { kind: PoolKind::Max, window: Window::square(3, 2), ceil: false });
    vec![
        (conv(11, 4, 0, 1), vec![96, 11, 11, 3]),
        (pool(), vec![]),
        (conv(5, 1, 2, 2), vec![256, 5, 5, 48]),
        (pool(), vec![]),
        (conv(3, 1, 1, 1), vec![384, 3, 3, 256]),
        (conv(3, 1, 1, 2), vec![384, 3, 3, 192]),
        (conv(3, 1, 1, 2), vec![256, 3, 3, 192]),
        (pool(), vec![]),
        (Op::Flatten, vec![]),
        (dense(Activation::Relu), vec![4096, 9216]),
        (dense(Activation::Relu), vec![4096, 4096]),
        (dense(Activation::None), vec![1000, 4096]),
    ]
}

fn dense(activation: Activation) -> Op {
    Op::Dense(Dense { activation })
}

/// A chain of operators with random weights.
pub(crate) struct Network {
    pub(crate) random: Random,
    /// Largest absolute integer weight; 0 for floats.
    limit: i8,
    /// Share of weights that are not zero.
    percent: i32,
    values: Vec<Value>,
    nodes: Vec<Node>,
    pub(crate) tensors: Vec<OwnedTensor>,
    macs: usize,
}

impl Network {
    pub(crate) fn new(limit: i8, percent: i32) -> Self {
        let (values, nodes, tensors) = (Vec::new(), Vec::new(), Vec::new());
        Self { random: Random::new(4), limit, percent, values, nodes, tensors, macs: 0 }
    }

    pub(crate) fn push(&mut self, op: &Op, weight: &[usize], input: Shape) {
        let quant = Quant { scale: 0.02, zero_point: 0 };
        let is_float = self.limit == 0;
        if self.values.is_empty() {
            let kind = if is_float { ValueType::f32(input) } else { ValueType::u8(input, quant) };
            self.values.push(Value { name: String::new(), kind });
        }
        let from = self.values.last().expect("at least the input").kind.shape;
        let weight = Shape::new(weight).filter(|_| !weight.is_empty());
        let shape = op.infer(&[from], weight).expect("the LeNets fit");
        let kind = if is_float { ValueType::f32(shape) } else { ValueType::u8(shape, quant) };
        let parameters = weight.map(|weight| {
            self.macs += shape.len() / weight.dim(0) * weight.len();
            self.parameters(weight)
        });
        self.nodes.push(Node {
            name: String::new(),
            op: op.clone(),
            inputs: vec![self.values.len() - 1],
            output: self.values.len(),
            weight: parameters,
            bias: parameters.map(|at| at + 1),
        });
        self.values.push(Value { name: String::new(), kind });
    }

    /// Adds a weight and a bias, and gives the number of the weight.
    fn parameters(&mut self, shape: Shape) -> usize {
        let kept: Vec<bool> =
            (0..shape.len()).map(|_| self.random.integer(1, 100) <= self.percent).collect();
        let (weight, bias) = if self.limit == 0 {
            let book = self.random.floats(31);
            let codes: Vec<u8> = kept
                .iter()
                .map(|&kept| if kept { self.random.bytes(1)[0] % 30 + 1 } else { 0 })
                .collect();
            let mut entries = book;
            entries[0] = 0.0;
            let data = WeightData::Codebook { codes: &codes, book: Book::F32(&entries) };
            let options = EncodeOptions { allow_sparse: self.percent < 100, allow_huffman: false };
            let weight = smallest(shape, Scales::None, data, options);
            (weight, bias_f32(&vec![0.01; shape.dim(0)]))
        } else {
            let limit = i32::from(self.limit);
            let values: Vec<i32> = kept
                .iter()
                .map(|&kept| if kept { self.random.integer(-limit, limit) } else { 0 })
                .collect();
            let options = EncodeOptions { allow_sparse: self.percent < 100, allow_huffman: false };
            let weight =
                smallest(shape, Scales::PerTensor(0.002), WeightData::Int(&values), options);
            (weight, bias_i32(&vec![100; shape.dim(0)], options))
        };
        self.tensors.push(weight.expect("finite weights that fit"));
        self.tensors.push(bias.expect("small biases"));
        self.tensors.len() - 2
    }

    pub(crate) fn model(&self) -> Model<'_> {
        Model {
            name: String::new(),
            values: self.values.clone(),
            nodes: self.nodes.clone(),
            tensors: self.tensors.iter().map(OwnedTensor::view).collect(),
            inputs: vec![0],
            outputs: vec![self.values.len() - 1],
            metadata: Metadata::default(),
        }
    }

    pub(crate) fn time(
        &self,
        runtime: &CpuRuntime,
        isa: &str,
        weights: WeightForm,
        report: &mut dyn FnMut(usize, &mut dyn FnMut()),
    ) {
        let model = self.model();
        let options = LoadOptions { isa: Some(isa.to_owned()), weights, ..LoadOptions::default() };
        let mut session = runtime.load(&model, &options).expect("a runnable model");
        let inputs = self.values[0].kind.shape.len();
        let mut random = Random::new(5);
        let (floats, levels) = (random.floats(inputs), random.bytes(inputs));
        let outputs = self.values.last().expect("an output").kind.shape.len();
        let (mut float_results, mut level_results) = (vec![0.0; outputs], vec![0; outputs]);
        report(self.macs, &mut || {
            let outcome = if self.limit == 0 {
                session.run(&[TensorRef::F32(&floats)], &mut [TensorMut::F32(&mut float_results)])
            } else {
                session.run(&[TensorRef::U8(&levels)], &mut [TensorMut::U8(&mut level_results)])
            };
            outcome.expect("tensors that fit");
        });
    }
}
