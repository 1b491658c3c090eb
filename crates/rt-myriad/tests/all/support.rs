//! What the tests share: small models, an emulated stick, deadlines that a test can wait for.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{EncodeOptions, WeightData, bias_f32, smallest};
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Scales, Value};
use embdl_core::op::{Activation, Conv2d, Dense, Op, Window};
use embdl_core::tensor::{Shape, ValueType};
use embdl_testkit::Random;
use rt_myriad::Deadlines;
use rt_myriad::protocol::Timing;

/// A convolution of 3x3 taps and a fully connected layer, with random weights.
pub(crate) struct Small {
    tensors: Vec<OwnedTensor>,
}

impl Small {
    pub(crate) const INPUT: usize = 6 * 6 * 4;
    pub(crate) const OUTPUT: usize = 5;

    pub(crate) fn new() -> Self {
        let mut random = Random::new(7);
        let mut weight = |shape: Shape| {
            let values: Vec<f32> = random.floats(shape.len());
            let data = WeightData::F32(&values);
            smallest(shape, Scales::None, data, EncodeOptions::default()).unwrap()
        };
        let conv = weight(Shape::nhwc(8, 3, 3, 4));
        let dense = weight(Shape::matrix(Self::OUTPUT, 6 * 6 * 8));
        let bias = bias_f32(&[0.5, -0.25, 0.0, 1.0, -1.0, 0.125, 0.75, 0.0]).unwrap();
        Self { tensors: vec![conv, bias, dense] }
    }

    pub(crate) fn model(&self) -> Model<'_> {
        let value = |name: &str, shape| Value { name: name.into(), kind: ValueType::f32(shape) };
        let node = |name: &str, op, [input, output]: [usize; 2], weight, bias| Node {
            name: name.into(),
            op,
            inputs: vec![input],
            output,
            weight,
            bias,
        };
        let window = Window::square(3, 1).padded(1);
        let conv = Conv2d { window, groups: 1, activation: Activation::Relu };
        let dense = Dense { activation: Activation::None };
        Model {
            name: "small".into(),
            values: vec![
                value("picture", Shape::nhwc(1, 6, 6, 4)),
                value("map", Shape::nhwc(1, 6, 6, 8)),
                value("flat", Shape::matrix(1, 6 * 6 * 8)),
                value("scores", Shape::matrix(1, Self::OUTPUT)),
            ],
            nodes: vec![
                node("conv", Op::Conv2d(conv), [0, 1], Some(0), Some(1)),
                node("flatten", Op::Flatten, [1, 2], None, None),
                node("dense", Op::Dense(dense), [2, 3], Some(2), None),
            ],
            tensors: self.tensors.iter().map(OwnedTensor::view).collect(),
            inputs: vec![0],
            outputs: vec![3],
            metadata: Metadata::default(),
        }
    }
}

/// An input for each of so many samples.
pub(crate) fn inputs(samples: usize) -> Vec<f32> {
    Random::new(3).floats(samples * Small::INPUT)
}

/// Short enough that a test of a stick that does not answer ends soon, long enough for a machine that is busy.
pub(crate) fn deadlines(request: Duration) -> Deadlines {
    let link = Timing { transfer: request, request, poll: Duration::from_millis(5) };
    Deadlines { link, boot: request, reset: request, inference: request, ..Deadlines::emulated() }
}

/// Waits for what another thread does.
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
}
