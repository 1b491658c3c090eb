//! LeNet-300-100 and LeNet-5 (20 and 50 channels, 500 units) with seeded weights.

use core::error::Error;

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, bias_f32, bias_i32, smallest};
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Scales, Value};
use embdl_core::op::{Activation, Conv2d, Dense, Op, Pool, PoolKind, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::{Shape, ValueType};
use embdl_testkit::Random;

/// A chain of nodes; node `i` reads value `i` and writes value `i + 1`.
pub(crate) struct Net {
    values: Vec<Value>,
    nodes: Vec<Node>,
    tensors: Vec<OwnedTensor>,
    bits: Option<u32>,
    density: i32,
    random: Random,
}

/// The network with float weights, or with weights of so many bits; `density` percent of them are not zero.
pub(crate) fn lenet(lenet5: bool, bits: Option<u32>, density: i32) -> Result<Net, Box<dyn Error>> {
    let (values, nodes, tensors) = (Vec::new(), Vec::new(), Vec::new());
    let mut net = Net { values, nodes, tensors, bits, density, random: Random::new(1) };
    if lenet5 {
        net.value(Shape::nhwc(1, 28, 28, 1));
        net.convolution(20, 1)?;
        net.convolution(50, 20)?;
        net.node(Op::Flatten, None)?;
        net.dense(500, 800)?;
        net.dense(10, 500)?;
    } else {
        net.value(Shape::matrix(1, 784));
        net.dense(300, 784)?;
        net.dense(100, 300)?;
        net.dense(10, 100)?;
    }
    if let (Some(_), Some(last)) = (bits, net.values.last_mut()) {
        last.kind = ValueType::i32(last.kind.shape, STEP * STEP);
    }
    Ok(net)
}

/// Real value of one level and of one step of a weight.
const STEP: f32 = 0.02;

impl Net {
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

    /// Convolution of 5x5 taps, then max pooling.
    fn convolution(&mut self, channels: usize, inputs: usize) -> Result<(), Box<dyn Error>> {
        let window = Window::square(5, 1);
        let op = Op::Conv2d(Conv2d { window, groups: 1, activation: Activation::None });
        let density = core::mem::replace(&mut self.density, 100);
        self.node(op, Some(Shape::nhwc(channels, 5, 5, inputs)))?;
        self.density = density;
        let window = Window::square(2, 2);
        self.node(Op::Pool(Pool { kind: PoolKind::Max, window, ceil: false }), None)
    }

    fn dense(&mut self, outputs: usize, inputs: usize) -> Result<(), Box<dyn Error>> {
        let activation = if outputs == 10 { Activation::None } else { Activation::Relu };
        self.node(Op::Dense(Dense { activation }), Some(Shape::matrix(outputs, inputs)))
    }

    fn node(&mut self, op: Op, weight: Option<Shape>) -> Result<(), Box<dyn Error>> {
        let input = self.values.len() - 1;
        let shape = op.infer(&[self.values[input].kind.shape], weight)?;
        let ids = match weight {
            Some(weight) => {
                let channels = weight.dim(0);
                let bias = if self.bits.is_some() {
                    bias_i32(&vec![100; channels], EncodeOptions::default())?
                } else {
                    bias_f32(&vec![0.1; channels])?
                };
                let weight = self.weight(weight)?;
                self.tensors.extend([weight, bias]);
                [Some(self.tensors.len() - 2), Some(self.tensors.len() - 1)]
            }
            None => [None; 2],
        };
        self.value(shape);
        let (name, inputs, output) = (format!("node{}", input + 1), vec![input], input + 1);
        self.nodes.push(Node { name, op, inputs, output, weight: ids[0], bias: ids[1] });
        Ok(())
    }

    fn weight(&mut self, shape: Shape) -> Result<OwnedTensor, Box<dyn Error>> {
        // Codes 1 to 15 stand for weights, 0 for zero.
        let sparse = self.density < 100;
        let mut code = || {
            let there = !sparse || self.random.integer(0, 99) < self.density;
            if there { self.random.integer(1, 15) } else { 0 }
        };
        let codes: Vec<i32> = (0..shape.len()).map(|_| code()).collect();
        let bytes: Vec<u8> = codes.iter().map(|&code| code.to_le_bytes()[0]).collect();
        let options = EncodeOptions { allow_sparse: sparse, allow_huffman: false };
        let Some(bits) = self.bits else {
            let book: Vec<f32> =
                (0_i16..16).map(|code| f32::from(code * (2 * (code % 2) - 1)) * 0.01).collect();
            let data = WeightData::Codebook { codes: &bytes, book: Book::F32(&book) };
            return Ok(smallest(shape, Scales::None, data, options)?);
        };
        let scales = if shape.rank() == 2 && sparse {
            Scales::PerTensor(STEP)
        } else {
            Scales::PerChannel(vec![STEP; shape.dim(0)])
        };
        let largest = (1 << (bits - 1)) - 1;
        let sign = |at: usize| if at.is_multiple_of(2) { 1 } else { -1 };
        let values: Vec<i32> =
            codes.iter().enumerate().map(|(at, code)| sign(at) * code * largest / 15).collect();
        Ok(smallest(shape, scales, WeightData::Int(&values), options)?)
    }

    fn value(&mut self, shape: Shape) {
        let kind = match self.bits {
            None => ValueType::f32(shape),
            Some(_) => ValueType::u8(shape, Quant { scale: STEP, zero_point: 100 }),
        };
        self.values.push(Value { name: String::new(), kind });
    }
}
