//! Models for tests of the file format: LeNet-5, and small random ones that use every operator and encoding.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers are drawn from ranges that fit what they are cast to"
)]

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{self, Book, Candidate, EncodeOptions, WeightData};
use embdl_core::format::HEADER_LEN;
use embdl_core::metadata::{Channels, Filter, Fit, Metadata, Preprocess};
use embdl_core::model::{Model, Node, Scales, Value, ValueId};
use embdl_core::op::{
    Activation, Concat, Conv2d, Coordinates, Dense, Lrn, Op, Pad, Pool, PoolKind, Reshape, Resize,
    ResizeMode, Transpose, Unary, Window,
};
use embdl_core::quant::Quant;
use embdl_core::tensor::{DType, Shape, ValueType};

/// A seeded generator (SplitMix64), so that a failure can be run again.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0 .. bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    pub fn byte(&mut self) -> u8 {
        self.word() as u8
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn real(&mut self) -> f32 {
        (self.word() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    pub fn scale(&mut self) -> f32 {
        (self.below(1000) + 1) as f32 / 4096.0
    }

    pub fn quant(&mut self) -> Quant {
        Quant { scale: self.scale(), zero_point: self.below(256) as u8 }
    }
}

/// Puts the right length and checksum in, so that the parser sees the rest.
pub fn seal(file: &mut [u8]) {
    let len = u32::try_from(file.len()).unwrap();
    file[8..12].copy_from_slice(&len.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..12]);
    hasher.update(&file[HEADER_LEN..]);
    let checksum = hasher.finalize();
    file[12..16].copy_from_slice(&checksum.to_le_bytes());
}

/// A model that owns its tensors.
#[derive(Clone, Debug, Default)]
pub struct Made {
    pub name: String,
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
    pub tensors: Vec<OwnedTensor>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    pub metadata: Metadata,
}

impl Made {
    pub fn model(&self) -> Model<'_> {
        Model {
            name: self.name.clone(),
            values: self.values.clone(),
            nodes: self.nodes.clone(),
            tensors: self.tensors.iter().map(OwnedTensor::view).collect(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            metadata: self.metadata.clone(),
        }
    }

    pub fn input(&mut self, kind: ValueType) -> ValueId {
        self.values.push(Value { name: String::new(), kind });
        self.inputs.push(self.values.len() - 1);
        self.values.len() - 1
    }

    /// Appends a node; its result is the newest value.
    pub fn node(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        weights: (Option<usize>, Option<usize>),
        dtype: DType,
        quant: Option<Quant>,
    ) -> ValueId {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.values[id].kind.shape).collect();
        let weight = weights.0.map(|id| self.tensors[id].shape);
        let shape = op.infer(&shapes, weight).expect("the generator makes nodes that fit");
        let output = self.values.len();
        self.values.push(Value { name: String::new(), kind: ValueType { shape, dtype, quant } });
        self.nodes.push(Node {
            name: String::new(),
            op,
            inputs: inputs.to_vec(),
            output,
            weight: weights.0,
            bias: weights.1,
        });
        output
    }

    pub fn tensor(&mut self, tensor: OwnedTensor) -> Option<usize> {
        self.tensors.push(tensor);
        Some(self.tensors.len() - 1)
    }
}

/// LeNet-5 in Caffe's variant: sparse 16-entry codebooks at the densities of Deep Compression, table 3.
pub fn lenet5(random: &mut Random) -> Made {
    let mut made = Made::default();
    let mut at = made.input(ValueType::f32(Shape::nhwc(1, 28, 28, 1)));
    let pool = Op::Pool(Pool { kind: PoolKind::Max, window: Window::square(2, 2), ceil: false });
    let layers: [(Shape, usize); 4] = [
        (Shape::nhwc(20, 5, 5, 1), 66),
        (Shape::nhwc(50, 5, 5, 20), 12),
        (Shape::matrix(500, 800), 8),
        (Shape::matrix(10, 500), 19),
    ];
    for (index, (shape, density)) in layers.into_iter().enumerate() {
        let book: Vec<f32> = (0..16).map(|i| (i as f32 - 8.0) / 32.0).collect();
        let codes: Vec<u8> = (0..shape.len())
            .map(|_| if random.chance(density) { random.below(16) as u8 } else { 8 })
            .collect();
        let data = WeightData::Codebook { codes: &codes, book: Book::F32(&book) };
        let weight = encode::smallest(shape, Scales::None, data, EncodeOptions::default()).unwrap();
        let bias: Vec<f32> = (0..shape.dim(0)).map(|_| random.real()).collect();
        let weight = made.tensor(weight);
        let bias = made.tensor(encode::bias_f32(&bias).unwrap());
        let activation = if index == 2 { Activation::Relu } else { Activation::None };
        let op = if index < 2 {
            Op::Conv2d(Conv2d { window: Window::square(5, 1), groups: 1, activation })
        } else {
            Op::Dense(Dense { activation })
        };
        at = made.node(op, &[at], (weight, bias), DType::F32, None);
        if index < 2 {
            at = made.node(pool.clone(), &[at], (None, None), DType::F32, None);
        }
        if index == 1 {
            at = made.node(Op::Flatten, &[at], (None, None), DType::F32, None);
        }
    }
    made.outputs.push(at);
    made
}

/// A random valid model of up to a dozen nodes, float or quantized or both, numbered as a file numbers it.
pub fn random_model(random: &mut Random) -> Made {
    let mut made = Made::default();
    if random.chance(50) {
        made.name = "net-ü".into();
    }
    let input_count = 1 + random.below(2);
    let shape = Shape::nhwc(1, 1 + random.below(9), 1 + random.below(9), 1 + random.below(6));
    for _ in 0..input_count {
        let kind = if random.chance(50) {
            ValueType::f32(shape)
        } else {
            ValueType::u8(shape, random.quant())
        };
        made.input(kind);
    }
    for _ in 0..1 + random.below(12) {
        random_node(&mut made, random);
    }
    let mut is_read = vec![false; made.values.len()];
    for node in &made.nodes {
        for &id in &node.inputs {
            is_read[id] = true;
        }
    }
    // An input that nothing reads is flattened into an output.
    for id in made.inputs.clone() {
        if !is_read[id] {
            let kind = made.values[id].kind;
            made.node(Op::Flatten, &[id], (None, None), kind.dtype, kind.quant);
            is_read.push(false);
        }
    }
    made.outputs = (made.inputs.len()..made.values.len()).filter(|&id| !is_read[id]).collect();
    if random.chance(30) {
        for value in &mut made.values {
            value.name = format!("v{}", random.below(100));
        }
        for node in &mut made.nodes {
            node.name = format!("node/{}", random.below(100));
        }
    }
    if random.chance(40) {
        made.metadata = random_metadata(&made, random);
    }
    made
}

/// Preprocessing and labels, each where the network takes it.
fn random_metadata(made: &Made, random: &mut Random) -> Metadata {
    let [input, output] = [made.inputs[0], made.outputs[0]].map(|id| made.values[id].kind.shape);
    let classes = output.iter().last().unwrap_or(0);
    let labels = match random.chance(50) {
        true => (0..classes).map(|class| "ä".repeat(class % 3)).collect(),
        false => Vec::new(),
    };
    let channels = match input.dim(3) {
        1 => Some(Channels::Gray),
        3 => Some([Channels::Rgb, Channels::Bgr][random.below(2)]),
        _ => None,
    };
    let preprocess = channels.map(|channels| Preprocess {
        fit: [Fit::Crop, Fit::Stretch, Fit::ShorterSide(9 + random.below(300) as u32)]
            [random.below(3)],
        filter: [Filter::Nearest, Filter::Bilinear, Filter::Bicubic][random.below(3)],
        channels,
        scale: random.scale(),
        mean: (0..channels.count()).map(|_| random.real()).collect(),
        std: (0..channels.count()).map(|_| random.scale()).collect(),
    });
    Metadata { preprocess, labels }
}

/// Appends a node that fits one of the newest values, if the drawn operator does.
fn random_node(made: &mut Made, random: &mut Random) {
    let newest = made.values.len() - 1;
    let input = newest.saturating_sub(if random.chance(70) { 0 } else { random.below(3) });
    let kind = made.values[input].kind;
    let none = (None, None);
    let keep = (kind.dtype, kind.quant);
    if kind.dtype == DType::I32 {
        made.node(Op::Dequantize, &[input], none, DType::F32, None);
        return;
    }
    let is_float = kind.dtype == DType::F32;
    let activation = [Activation::None, Activation::Relu, Activation::Relu6][random.below(3)];
    match random.below(18) {
        0..=4 => random_layer(made, random, input, activation),
        5 | 6 if kind.shape.rank() == 4 => {
            let is_max = random.chance(50);
            let kind_of_pool = if is_max {
                PoolKind::Max
            } else {
                PoolKind::Average { include_pads: random.chance(50) }
            };
            let window = random_window(random, kind.shape);
            let op = Op::Pool(Pool { kind: kind_of_pool, window, ceil: random.chance(30) });
            if op.infer(&[kind.shape], None).is_ok() {
                let (dtype, mut quant) = keep;
                if !is_float && !is_max && random.chance(50) {
                    quant = Some(random.quant());
                }
                made.node(op, &[input], none, dtype, quant);
            }
        }
        7 if kind.shape.rank() == 4 => {
            let quant = if !is_float && random.chance(50) { Some(random.quant()) } else { keep.1 };
            made.node(Op::GlobalAveragePool, &[input], none, keep.0, quant);
        }
        8 => {
            made.node(Op::Activation(activation), &[input], none, keep.0, keep.1);
        }
        9 => {
            let twin = (0..made.values.len()).rev().find(|&id| {
                let other = made.values[id].kind;
                other.dtype == kind.dtype && other.shape == kind.shape
            });
            let quant = if is_float { None } else { Some(random.quant()) };
            let inputs = [input, twin.unwrap_or(input)];
            made.node(Op::Add(activation), &inputs, none, keep.0, quant);
        }
        10 if kind.shape.rank() > 1 => {
            let axis = 1 + random.below(kind.shape.rank() - 1) as u32;
            let quant = if is_float || random.chance(50) { keep.1 } else { Some(random.quant()) };
            let inputs = vec![input; 1 + random.below(3)];
            made.node(Op::Concat(Concat { axis }), &inputs, none, keep.0, quant);
        }
        11 if is_float => {
            if kind.shape.rank() == 4 && random.chance(50) {
                let lrn = Lrn { size: 5, alpha: random.scale(), beta: 0.75, bias: 1.0 };
                made.node(Op::Lrn(lrn), &[input], none, DType::F32, None);
            } else {
                made.node(Op::Softmax, &[input], none, DType::F32, None);
            }
        }
        12 => {
            if random.chance(50) {
                made.node(Op::Flatten, &[input], none, keep.0, keep.1);
            } else {
                let len = kind.shape.len();
                let reshape = Reshape { shape: Shape::nhwc(1, 1, 1, len) };
                made.node(Op::Reshape(reshape), &[input], none, keep.0, keep.1);
            }
        }
        13..=16 => random_newer(made, random, input),
        _ if is_float => {
            let quant = random.quant();
            made.node(Op::Quantize, &[input], none, DType::U8, Some(quant));
        }
        _ => {
            made.node(Op::Dequantize, &[input], none, DType::F32, None);
        }
    }
}

/// Appends an operator of version 2 of the format.
fn random_newer(made: &mut Made, random: &mut Random, input: ValueId) {
    let ValueType { shape, dtype, quant } = made.values[input].kind;
    let none = (None, None);
    let own = if dtype == DType::F32 { None } else { Some(random.quant()) };
    let is_map = shape.rank() == 4;
    match random.below(6) {
        0 => {
            let (alpha, beta) = (random.real(), random.real());
            let unary = [
                Unary::Sigmoid,
                Unary::HardSigmoid { alpha, beta },
                Unary::HardSwish,
                Unary::Silu,
                Unary::Tanh,
                Unary::LeakyRelu { alpha },
                Unary::Elu { alpha },
                Unary::Clip { min: f32::NEG_INFINITY, max: alpha },
            ][random.below(8)];
            made.node(Op::Unary(unary), &[input], none, dtype, own);
        }
        1 => {
            let mut factor = input;
            if is_map && random.chance(50) {
                factor = made.node(Op::GlobalAveragePool, &[input], none, dtype, quant);
            }
            made.node(Op::Mul, &[input, factor], none, dtype, own);
        }
        2 => {
            let channels = Shape::vector(shape.dim(shape.rank() - 1));
            let slopes = made.tensor(random_floats(random, channels));
            made.node(Op::PRelu, &[input], (slopes, None), dtype, own);
            if random.chance(30) {
                made.node(Op::PRelu, &[input], (slopes, None), dtype, own);
            }
        }
        3 if is_map => {
            let coordinates =
                [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric];
            let resize = Resize {
                height: 1 + random.below(9),
                width: 1 + random.below(9),
                mode: [ResizeMode::Nearest, ResizeMode::Linear][random.below(2)],
                coordinates: coordinates[random.below(3)],
            };
            made.node(Op::Resize(resize), &[input], none, dtype, quant);
        }
        4 => {
            let mut order: Vec<usize> = (0..shape.rank()).collect();
            for at in 1..order.len() {
                order.swap(at, 1 + random.below(at));
            }
            let transpose = Transpose::new(&order).expect("a permutation that keeps the batch");
            made.node(Op::Transpose(transpose), &[input], none, dtype, quant);
        }
        5 if is_map => {
            let [top, left, bottom, right] = [0; 4].map(|_: u8| random.below(3));
            let pad = Op::Pad(Pad { top, left, bottom, right });
            made.node(pad, &[input], none, dtype, quant);
        }
        _ => {}
    }
}

fn random_window(random: &mut Random, shape: Shape) -> Window {
    let side = |random: &mut Random, axis| 1 + random.below(shape.dim(axis).min(4)) as u32;
    let mut window =
        Window::square(side(random, 1).min(side(random, 2)), 1 + random.below(3) as u32);
    if random.chance(30) {
        window.kernel = [side(random, 1), side(random, 2)];
    }
    if random.chance(30) {
        window.stride = window.kernel;
    }
    if random.chance(20) {
        window.dilation = [1 + random.below(2) as u32, 1 + random.below(2) as u32];
    }
    if random.chance(40) {
        window = window.padded(random.below(3) as u32);
        if random.chance(40) {
            window.pads = [0; 4].map(|_: u32| random.below(3) as u32);
        }
    }
    window
}

fn random_layer(made: &mut Made, random: &mut Random, input: ValueId, activation: Activation) {
    let kind = made.values[input].kind;
    let co = 1 + random.below(5);
    let (op, shape) = match kind.shape.rank() {
        2 => (Op::Dense(Dense { activation }), Shape::matrix(co, kind.shape.dim(1))),
        4 => {
            let ci = kind.shape.dim(3);
            let (groups, co) = if random.chance(30) { (ci, ci * 2) } else { (1, co) };
            let window = random_window(random, kind.shape);
            let [kh, kw] = window.kernel.map(|dim| dim as usize);
            let op = Op::Conv2d(Conv2d { window, groups: groups as u32, activation });
            (op, Shape::nhwc(co, kh, kw, ci / groups))
        }
        _ => return,
    };
    if op.infer(&[kind.shape], Some(shape)).is_err() {
        return;
    }
    let co = shape.dim(0);
    if kind.dtype == DType::F32 {
        let weight = made.tensor(random_floats(random, shape));
        let bias = if random.chance(70) {
            let values: Vec<f32> = (0..co).map(|_| random.real()).collect();
            made.tensor(encode::bias_f32(&values).unwrap())
        } else {
            None
        };
        made.node(op, &[input], (weight, bias), DType::F32, None);
        // A second node with the same weights.
        if random.chance(20) {
            let twin = made.nodes.last().unwrap().op.clone();
            made.node(twin, &[input], (weight, bias), DType::F32, None);
        }
        return;
    }
    let to_i32 = activation != Activation::Relu6 && random.chance(30);
    let scales = if to_i32 || random.chance(50) {
        Scales::PerTensor(random.scale())
    } else {
        Scales::PerChannel((0..co).map(|_| random.scale()).collect())
    };
    let weight = random_integers(random, shape, scales.clone());
    let weight = made.tensor(weight);
    let bias = if random.chance(70) {
        let values: Vec<i32> =
            (0..co).map(|_| random.below(2_000_001) as i32 - 1_000_000).collect();
        made.tensor(encode::bias_i32(&values, EncodeOptions::default()).unwrap())
    } else {
        None
    };
    let (dtype, quant) = match (&scales, kind.quant) {
        (Scales::PerTensor(scale), Some(input)) if to_i32 => {
            (DType::I32, Quant { scale: input.scale * scale, zero_point: 0 })
        }
        _ => (DType::U8, random.quant()),
    };
    made.node(op, &[input], (weight, bias), dtype, Some(quant));
}

fn random_floats(random: &mut Random, shape: Shape) -> OwnedTensor {
    if random.chance(30) {
        let values: Vec<f32> = (0..shape.len()).map(|_| random.real()).collect();
        return encode::smallest(
            shape,
            Scales::None,
            WeightData::F32(&values),
            EncodeOptions::default(),
        )
        .unwrap();
    }
    if random.chance(30) {
        // Integers with a scale are floats in fewer bits.
        let scales = Scales::PerTensor(random.scale());
        return random_integers(random, shape, scales);
    }
    let entries = 1 + random.below(20);
    let mut book: Vec<f32> = (0..entries).map(|_| random.real()).collect();
    book[0] = 0.0;
    let codes = random_codes(random, shape.len(), entries);
    random_form(
        random,
        shape,
        Scales::None,
        WeightData::Codebook { codes: &codes, book: Book::F32(&book) },
    )
}

fn random_integers(random: &mut Random, shape: Shape, scales: Scales) -> OwnedTensor {
    if random.chance(50) {
        let entries = 1 + random.below(20);
        let mut book: Vec<i8> = (0..entries).map(|_| random.below(256) as u8 as i8).collect();
        book[0] = 0;
        let codes = random_codes(random, shape.len(), entries);
        let data = WeightData::Codebook { codes: &codes, book: Book::I8(&book) };
        return random_form(random, shape, scales, data);
    }
    let range = 1 << (1 + random.below(7));
    let zeros = random.below(100);
    let values: Vec<i32> =
        (0..shape.len())
            .map(|_| {
                if random.chance(zeros) { 0 } else { random.below(2 * range) as i32 - range as i32 }
            })
            .collect();
    random_form(random, shape, scales, WeightData::Int(&values))
}

fn random_codes(random: &mut Random, len: usize, entries: usize) -> Vec<u8> {
    let zeros = random.below(100);
    (0..len).map(|_| if random.chance(zeros) { 0 } else { random.below(entries) as u8 }).collect()
}

/// Any of the forms that there are, not only the smallest.
fn random_form(
    random: &mut Random,
    shape: Shape,
    scales: Scales,
    data: WeightData<'_>,
) -> OwnedTensor {
    let forms = encode::candidates(shape, &scales, data, EncodeOptions::default()).unwrap();
    let form: &Candidate = &forms[random.below(forms.len())];
    encode::encode(shape, scales, data, form).unwrap()
}
