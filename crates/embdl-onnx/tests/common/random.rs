//! Small random graphs in the form that an import gives: activations fused where they can be.

use embdl_core::op::{
    Activation, Concat, Conv2d, Coordinates, Dense, Lrn, Op, Pool, PoolKind, Reshape, Resize,
    ResizeMode, Unary, Window,
};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder, Param, ParamId, ParamRole, ValueId};

use super::noise;

struct Grower {
    builder: GraphBuilder,
    count: u64,
    /// Values of the graph so far.
    values: Vec<ValueId>,
    /// Whether the last value may be followed by an activation of its own.
    is_layer: bool,
}

/// A graph of one operator for each three genes, those that do not fit left out; with `all`, of those too that tract does
/// not know.
pub(crate) fn random_graph(genes: &[u8], all: bool) -> Graph {
    let gene = |at: usize| usize::from(genes.get(at).copied().unwrap_or(0));
    let mut builder = GraphBuilder::new("random", 1);
    let shape = Shape::nhwc(1, 1 + gene(0) % 7, 1 + gene(1) % 7, 1 + gene(2) % 4);
    let first = builder.input("input", shape);
    let mut grower = Grower { builder, count: 0, values: vec![first], is_layer: false };
    for triple in genes.get(3..).unwrap_or_default().chunks_exact(3) {
        if all && triple[0] >= 192 {
            grower.grow_more(triple[0], triple[1], triple[2]);
        } else {
            grower.grow(triple[0], triple[1], triple[2]);
        }
    }
    let mut outputs = vec![*grower.values.last().expect("there is an input")];
    if outputs[0] == first {
        let flat = grower.builder.op("only", Op::Flatten, &[first]).expect("any map is flattened");
        outputs = vec![flat];
    } else if gene(0) > 128 {
        // A value in the middle leaves too, unless it is an input.
        let middle = grower.values[grower.values.len() / 2];
        if middle != first && middle != outputs[0] {
            outputs.push(middle);
        }
    }
    let mut graph = grower.builder.finish(&outputs).expect("each operator fitted");
    // Nodes need not have the names of their outputs.
    graph.nodes.iter_mut().for_each(|node| node.name = format!("node {}", node.name));
    graph
}

impl Grower {
    /// Functions of one element, products, slopes and resizing.
    fn grow_more(&mut self, kind: u8, a: u8, b: u8) {
        let input = *self.values.last().expect("there is an input");
        let shape = self.builder.shape(input);
        let parameter = f32::from(a) / 256.0;
        let modes = [ResizeMode::Nearest, ResizeMode::Linear];
        let places = [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric];
        match kind % 10 {
            0 => self.add(Op::Unary(Unary::Tanh), &[input]),
            1 => self.add(Op::Unary(Unary::HardSwish), &[input]),
            2 => self.add(Op::Unary(Unary::Silu), &[input]),
            3 => self.add(Op::Unary(Unary::LeakyRelu { alpha: parameter }), &[input]),
            4 => self.add(Op::Unary(Unary::Elu { alpha: parameter }), &[input]),
            5 => {
                let bounds = Unary::Clip { min: -parameter, max: f32::from(b) / 64.0 + 0.1 };
                self.add(Op::Unary(bounds), &[input]);
            }
            6 => {
                let function = Unary::HardSigmoid { alpha: parameter, beta: 0.25 };
                self.add(Op::Unary(function), &[input]);
            }
            7 if shape.rank() != 3 => {
                let slopes = Shape::vector(shape.dim(shape.rank() - 1));
                self.layer(Op::PRelu, slopes, false);
                self.is_layer = false;
            }
            8 if shape.rank() == 4 => self.add(
                Op::Resize(Resize {
                    height: shape.dim(1) * (1 + usize::from(a & 1)),
                    width: shape.dim(2) * (1 + usize::from(a >> 1 & 1)),
                    mode: modes[usize::from(b & 1)],
                    coordinates: places[usize::from(b >> 1) % 3],
                }),
                &[input],
            ),
            _ => {
                let mates: Vec<ValueId> = self.values.clone();
                let fits = |&&mate: &&ValueId| self.builder.shape(mate) == shape;
                let mate = mates.iter().filter(fits).nth(usize::from(a) % 3).copied();
                self.add(Op::Mul, &[input, mate.unwrap_or(input)]);
            }
        }
    }

    fn grow(&mut self, kind: u8, a: u8, b: u8) {
        let input = *self.values.last().expect("there is an input");
        let shape = self.builder.shape(input);
        let activation =
            [Activation::None, Activation::Relu, Activation::Relu6][usize::from(b) % 3];
        let window = Window {
            kernel: [1 + u32::from(a & 3), 1 + u32::from(a >> 2 & 3)],
            stride: [1 + u32::from(a >> 4 & 1), 1 + u32::from(a >> 5 & 1)],
            dilation: [1 + u32::from(a >> 6 & 1), 1 + u32::from(a >> 7)],
            pads: [b & 1, b >> 1 & 1, b >> 2 & 1, b >> 3 & 1].map(u32::from),
        };
        let pooling = Window { dilation: [1; 2], ..window };
        let ceil = b & 16 != 0 && shape.rank() == 4 && hangs_over(&pooling, shape);
        match kind % 12 {
            0 | 1 if shape.rank() == 4 => {
                let ci = shape.dim(3);
                let groups = if b & 32 != 0 { ci } else { 1 };
                let co = groups * (1 + usize::from(b >> 6));
                let [kh, kw] = window.kernel.map(|taps| taps as usize);
                let weight = Shape::nhwc(co, kh, kw, ci / groups);
                let groups = u32::try_from(groups).expect("few groups");
                self.layer(Op::Conv2d(Conv2d { window, groups, activation }), weight, b & 4 != 0);
            }
            2 if shape.rank() == 4 => {
                self.add(Op::Pool(Pool { kind: PoolKind::Max, window: pooling, ceil }), &[input]);
            }
            3 if shape.rank() == 4 => {
                let kind = PoolKind::Average { include_pads: b & 32 != 0 };
                self.add(Op::Pool(Pool { kind, window: pooling, ceil }), &[input]);
            }
            4 if shape.rank() == 4 => self.add(Op::GlobalAveragePool, &[input]),
            5 if shape.rank() == 4 => {
                let lrn = Lrn { size: 1 + u32::from(a % 6), alpha: 0.5, beta: 0.75, bias: 2.0 };
                self.add(Op::Lrn(lrn), &[input]);
            }
            6 => self.add(Op::Softmax, &[input]),
            7 if !self.is_layer && activation != Activation::None => {
                self.add(Op::Activation(activation), &[input]);
            }
            8 | 9 => {
                let mates: Vec<ValueId> = self.values.clone();
                let fits = |&&mate: &&ValueId| self.builder.shape(mate) == shape;
                let mate = mates.iter().filter(fits).nth(usize::from(a) % 3).copied();
                let mate = mate.unwrap_or(input);
                if kind % 12 == 8 {
                    self.add(Op::Add(activation), &[mate, input]);
                } else {
                    let axis = 1 + u32::from(b) % u32::try_from(shape.rank() - 1).expect("small");
                    self.add(Op::Concat(Concat { axis }), &[input, mate]);
                }
            }
            10 => {
                let len = shape.len();
                let split = 1 + usize::from(a) % 4;
                let to = match b % 3 {
                    0 => Shape::matrix(1, len),
                    1 if len.is_multiple_of(split) => Shape::nhwc(1, split, 1, len / split),
                    2 if len.is_multiple_of(split * 2) => Shape::nhwc(1, 2, len / split / 2, split),
                    _ => return self.add(Op::Flatten, &[input]),
                };
                self.add(Op::Reshape(Reshape { shape: to }), &[input]);
            }
            _ if shape.rank() == 2 => {
                let weight = Shape::matrix(1 + usize::from(a) % 6, shape.dim(1));
                self.layer(Op::Dense(Dense { activation }), weight, b & 4 != 0);
            }
            _ => self.add(Op::Flatten, &[input]),
        }
    }

    fn add(&mut self, op: Op, inputs: &[ValueId]) {
        let is_layer = matches!(op, Op::Add(_));
        self.push(op, inputs, [None, None], is_layer);
    }

    fn layer(&mut self, op: Op, shape: Shape, with_bias: bool) {
        let input = *self.values.last().expect("there is an input");
        if op.infer(&[self.builder.shape(input)], Some(shape)).is_err() {
            return;
        }
        let count = self.count;
        let name = format!("v{count}");
        let weight = Param::new(
            format!("{name}.weight"),
            ParamRole::Weight,
            shape,
            noise(count * 2 + 1, shape.len()),
        );
        let weight = self.builder.param(weight);
        let bias = with_bias.then(|| {
            let len = shape.dim(0);
            let values = noise(count * 2 + 2, len);
            let shape = Shape::vector(len);
            self.builder.param(Param::new(format!("{name}.bias"), ParamRole::Bias, shape, values))
        });
        self.push(op, &[input], [Some(weight), bias], true);
    }

    fn push(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        [weight, bias]: [Option<ParamId>; 2],
        is_layer: bool,
    ) {
        let name = format!("v{}", self.count);
        let last = self.builder.node(&name, op, inputs, weight, bias);
        if let Ok(value) = last
            && self.builder.shape(value).len() < 4096
        {
            self.count += 1;
            self.values.push(value);
            self.is_layer = is_layer;
        } else if last.is_ok() {
            // Too large to go on from; its name is taken all the same.
            self.count += 1;
        }
    }
}

/// Whether ceil mode adds a window, and drops none that would start on a pad: the checker of opset 17 counts those.
fn hangs_over(window: &Window, shape: Shape) -> bool {
    let extents = |axis: usize| {
        let size = shape.dim(axis + 1);
        let floor = window.extent("pool", axis, size, false).ok()?;
        let ceil = window.extent("pool", axis, size, true).ok()?;
        let padded = size + (window.pads[axis] + window.pads[axis + 2]) as usize;
        let room = padded - window.kernel[axis] as usize;
        Some((floor, ceil, room.div_ceil(window.stride[axis] as usize) + 1))
    };
    let (Some(rows), Some(columns)) = (extents(0), extents(1)) else { return false };
    (rows.0 != rows.1 || columns.0 != columns.1) && rows.1 == rows.2 && columns.1 == columns.2
}
