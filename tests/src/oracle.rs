//! A plain interpreter of models in double precision: loops that follow the operators' definitions and nothing else.
//!
//! Values are real numbers for float models, and whole numbers (levels, accumulators) for integer ones, which doubles
//! hold exactly; requantization goes through `embdl_core::quant`, where it is defined. Slow, on purpose.

mod moving;
pub(crate) mod unary;

use embdl_core::model::{Model, Node};
use embdl_core::op::{Activation, Conv2d, Lrn, Op, Pool, PoolKind};
use embdl_core::quant::{AddRequant, Requant, rescale_table};
use embdl_core::tensor::{DType, Shape, ValueType};

/// A value: its type with the batch, and its elements.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Shape, element type, quantization.
    pub kind: ValueType,
    /// Elements in row-major order.
    pub data: Vec<f64>,
}

impl Tensor {
    fn shape(&self) -> Shape {
        self.kind.shape
    }

    fn at(&self, [n, y, x, c]: [usize; 4]) -> f64 {
        let [h, w, channels] = [1, 2, 3].map(|axis| self.shape().dim(axis));
        self.data[((n * h + y) * w + x) * channels + c]
    }

    /// Level that stands for zero.
    fn zero(&self) -> f64 {
        match (self.kind.dtype, self.kind.quant) {
            (DType::U8, Some(quant)) => f64::from(quant.zero_point),
            _ => 0.0,
        }
    }
}

/// All values of a model for these inputs; values that nothing writes are empty.
///
/// # Panics
/// If the model is not valid, or the inputs do not fit.
#[must_use]
pub fn run(model: &Model<'_>, inputs: &[Vec<f64>], batch: usize) -> Vec<Tensor> {
    let mut values: Vec<Tensor> = model
        .values
        .iter()
        .map(|value| {
            let shape = value.kind.shape.with_batch(batch);
            Tensor { kind: ValueType { shape, ..value.kind }, data: Vec::new() }
        })
        .collect();
    for (&value, input) in model.inputs.iter().zip(inputs) {
        assert_eq!(input.len(), values[value].shape().len(), "elements of an input");
        values[value].data.clone_from(input);
    }
    for node in &model.nodes {
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|&input| &values[input]).collect();
        let data = compute(model, node, &inputs, values[node.output].kind);
        assert_eq!(data.len(), values[node.output].shape().len(), "result of {}", node.name);
        values[node.output].data = data;
    }
    values
}

fn compute(model: &Model<'_>, node: &Node, inputs: &[&Tensor], to: ValueType) -> Vec<f64> {
    let input = inputs[0];
    match &node.op {
        Op::Conv2d(conv) => finish(model, node, input, to, &convolve(model, node, conv, input, to)),
        Op::Dense(_) => finish(model, node, input, to, &dense(model, node, input)),
        Op::Pool(pool) => pooled(pool, input, to),
        Op::GlobalAveragePool => global_average(input, to),
        Op::Activation(activation) => activate(*activation, input, to),
        Op::Flatten | Op::Reshape(_) => activate(Activation::None, input, to),
        Op::Add(activation) => add(*activation, input, inputs[1], to),
        Op::Concat(concat) => concatenate(concat.axis as usize, inputs, to),
        Op::Lrn(lrn) => normalize(lrn, input),
        Op::BatchNorm(_) => panic!("models have no batch normalization"),
        Op::Softmax => softmax(input),
        Op::Quantize => {
            let quant = to.quant.expect("quantized");
            #[expect(clippy::cast_possible_truncation, reason = "inputs were floats")]
            input.data.iter().map(|&x| f64::from(quant.quantize(x as f32))).collect()
        }
        Op::Dequantize => {
            let quant = input.kind.quant.expect("quantized");
            input.data.iter().map(|&q| (q - input.zero()) * f64::from(quant.scale)).collect()
        }
        Op::Unary(unary) => unary::apply(*unary, input, to),
        Op::Mul => unary::product(input, inputs[1], to),
        Op::PRelu => {
            let slopes = model.tensors[node.weight.expect("slopes")].dequantize().expect("decodes");
            unary::slopes(&slopes, input, to)
        }
        Op::Resize(resize) => moving::resize(resize, input, to),
        Op::Transpose(transpose) => moving::transpose(transpose.order, input, to),
        Op::Pad(pad) => moving::pad(*pad, input, to),
    }
}

/// Weights as the accumulators see them: reals for float inputs, integers for quantized ones.
fn weights(model: &Model<'_>, node: &Node, input: &Tensor) -> Vec<f64> {
    let tensor = &model.tensors[node.weight.expect("a weight")];
    if input.kind.dtype == DType::F32 {
        tensor.dequantize().expect("decodes").into_iter().map(f64::from).collect()
    } else {
        tensor.decode_i8().expect("decodes").into_iter().map(f64::from).collect()
    }
}

fn bias(model: &Model<'_>, node: &Node, input: &Tensor) -> Option<Vec<f64>> {
    let tensor = &model.tensors[node.bias?];
    Some(if input.kind.dtype == DType::F32 {
        tensor.decode_f32().expect("decodes").into_iter().map(f64::from).collect()
    } else {
        tensor.decode_i32().expect("decodes").into_iter().map(f64::from).collect()
    })
}

fn convolve(
    model: &Model<'_>,
    node: &Node,
    conv: &Conv2d,
    input: &Tensor,
    to: ValueType,
) -> Vec<f64> {
    let weights = weights(model, node, input);
    let bias = bias(model, node, input);
    let [batch, height, width, ci] = [0, 1, 2, 3].map(|axis| input.shape().dim(axis));
    let [oh, ow, co] = [1, 2, 3].map(|axis| to.shape.dim(axis));
    let window = &conv.window;
    let [kh, kw] = window.kernel.map(|taps| taps as usize);
    let depth = ci / conv.groups as usize;
    let mut out = Vec::new();
    for n in 0..batch {
        for oy in 0..oh {
            for ox in 0..ow {
                for o in 0..co {
                    let group = o / (co / conv.groups as usize);
                    let mut sum = bias.as_ref().map_or(0.0, |bias| bias[o]);
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let y = tap(window, 0, oy, ky);
                            let x = tap(window, 1, ox, kx);
                            let (Some(y), Some(x)) = (inside(y, height), inside(x, width)) else {
                                continue;
                            };
                            for c in 0..depth {
                                let value = input.at([n, y, x, group * depth + c]) - input.zero();
                                sum += value * weights[((o * kh + ky) * kw + kx) * depth + c];
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

fn dense(model: &Model<'_>, node: &Node, input: &Tensor) -> Vec<f64> {
    let weights = weights(model, node, input);
    let bias = bias(model, node, input);
    let [m, k] = [0, 1].map(|axis| input.shape().dim(axis));
    let n = weights.len() / k;
    let mut out = Vec::new();
    for i in 0..m {
        for j in 0..n {
            let products =
                (0..k).map(|p| (input.data[i * k + p] - input.zero()) * weights[j * k + p]);
            out.push(bias.as_ref().map_or(0.0, |bias| bias[j]) + products.sum::<f64>());
        }
    }
    out
}

/// The output stage of layers with weights.
fn finish(model: &Model<'_>, node: &Node, input: &Tensor, to: ValueType, sums: &[f64]) -> Vec<f64> {
    let (low, high) = node.op.activation().bounds();
    if to.dtype != DType::U8 {
        return sums.iter().map(|&sum| clamp(sum, low, high)).collect();
    }
    use embdl_core::model::Scales;
    let weight = &model.tensors[node.weight.expect("a weight")];
    let scales = match &weight.scales {
        Scales::None => panic!("an integer weight without a scale"),
        Scales::PerTensor(scale) => vec![*scale],
        Scales::PerChannel(scales) => scales.clone(),
    };
    let (from, to) = (input.kind.quant.expect("quantized"), to.quant.expect("quantized"));
    let ratios: Vec<f64> = scales
        .iter()
        .map(|&scale| f64::from(from.scale) * f64::from(scale) / f64::from(to.scale))
        .collect();
    let requant = Requant::new(&ratios, to, to.clamp_levels(low, high)).expect("ratios in range");
    let channels = weight.shape.dim(0);
    let level = |(at, &sum)| f64::from(requant.apply(whole(sum), at % channels));
    sums.iter().enumerate().map(level).collect()
}

fn pooled(pool: &Pool, input: &Tensor, to: ValueType) -> Vec<f64> {
    let [batch, height, width, channels] = [0, 1, 2, 3].map(|axis| input.shape().dim(axis));
    let window = &pool.window;
    let padded = |axis: usize, at: isize, extent: usize| {
        let extent = extent + window.pads[axis + 2] as usize;
        at < isize::try_from(extent).expect("small")
    };
    let mut out = Vec::new();
    for n in 0..batch {
        for oy in 0..to.shape.dim(1) {
            for ox in 0..to.shape.dim(2) {
                for c in 0..channels {
                    let (mut largest, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0_usize);
                    for ky in 0..window.kernel[0] as usize {
                        for kx in 0..window.kernel[1] as usize {
                            let (y, x) = (tap(window, 0, oy, ky), tap(window, 1, ox, kx));
                            if let (Some(y), Some(x)) = (inside(y, height), inside(x, width)) {
                                let value = input.at([n, y, x, c]);
                                largest = largest.max(value);
                                sum += value - input.zero();
                                count += 1;
                            } else if pool.kind == (PoolKind::Average { include_pads: true })
                                && padded(0, y, height)
                                && padded(1, x, width)
                            {
                                count += 1;
                            }
                        }
                    }
                    out.push(match pool.kind {
                        PoolKind::Max => rescaled(largest, input.kind, to),
                        PoolKind::Average { .. } => mean(sum, count, input.kind, to),
                    });
                }
            }
        }
    }
    out
}

fn global_average(input: &Tensor, to: ValueType) -> Vec<f64> {
    let [batch, height, width, channels] = [0, 1, 2, 3].map(|axis| input.shape().dim(axis));
    let mut out = Vec::new();
    for n in 0..batch {
        for c in 0..channels {
            let pixels = (0..height * width).map(|at| [n, at / width, at % width, c]);
            let sum = pixels.map(|at| input.at(at) - input.zero()).sum();
            out.push(mean(sum, height * width, input.kind, to));
        }
    }
    out
}

/// A sum over `count` elements as their mean.
fn mean(sum: f64, count: usize, from: ValueType, to: ValueType) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "windows are small")]
    let count = count as f64;
    match (from.quant, to.quant) {
        (Some(from), Some(to)) => {
            let ratio = f64::from(from.scale) / (f64::from(to.scale) * count);
            let requant = Requant::new(&[ratio], to, (0, 255)).expect("a ratio in range");
            f64::from(requant.apply(whole(sum), 0))
        }
        _ => sum / count,
    }
}

fn activate(activation: Activation, input: &Tensor, to: ValueType) -> Vec<f64> {
    let (low, high) = activation.bounds();
    match to.quant {
        Some(quant) if to.dtype == DType::U8 => {
            let (low, high) = quant.clamp_levels(low, high);
            let level = |&x: &f64| rescaled(x, input.kind, to).clamp(low.into(), high.into());
            input.data.iter().map(level).collect()
        }
        _ => input.data.iter().map(|&x| clamp(x, low, high)).collect(),
    }
}

fn add(activation: Activation, lhs: &Tensor, rhs: &Tensor, to: ValueType) -> Vec<f64> {
    let (low, high) = activation.bounds();
    let pairs = lhs.data.iter().zip(&rhs.data);
    let (DType::U8, Some(quant)) = (to.dtype, to.quant) else {
        return pairs.map(|(x, y)| clamp(x + y, low, high)).collect();
    };
    let [from, other] = [lhs, rhs].map(|side| side.kind.quant.expect("quantized"));
    let levels = quant.clamp_levels(low, high);
    let requant = AddRequant::new(from, other, quant, levels).expect("ratios in range");
    pairs.map(|(&x, &y)| f64::from(requant.apply(level(x), level(y)))).collect()
}

fn concatenate(axis: usize, inputs: &[&Tensor], to: ValueType) -> Vec<f64> {
    let outer: usize = to.shape.iter().take(axis).product();
    let mut out = Vec::new();
    for row in 0..outer {
        for input in inputs {
            let len = input.data.len() / outer;
            let part = &input.data[row * len..][..len];
            out.extend(part.iter().map(|&x| rescaled(x, input.kind, to)));
        }
    }
    out
}

fn normalize(lrn: &Lrn, input: &Tensor) -> Vec<f64> {
    let channels = input.shape().dim(3);
    let size = lrn.size as usize;
    let mut out = Vec::new();
    for row in input.data.chunks(channels) {
        for c in 0..channels {
            let from = c.saturating_sub((size - 1) / 2);
            let to = (c + size / 2).min(channels - 1);
            let squares: f64 = row[from..=to].iter().map(|x| x * x).sum();
            let base = f64::from(lrn.bias) + f64::from(lrn.alpha) / f64::from(lrn.size) * squares;
            out.push(row[c] / base.powf(f64::from(lrn.beta)));
        }
    }
    out
}

fn softmax(input: &Tensor) -> Vec<f64> {
    let features = input.shape().dim(input.shape().rank() - 1);
    let mut out = Vec::new();
    for row in input.data.chunks(features) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        out.extend(row.iter().map(|x| (x - max).exp() / sum));
    }
    out
}

/// A level of one value as a level of another; floats and accumulators stay.
fn rescaled(x: f64, from: ValueType, to: ValueType) -> f64 {
    match (to.dtype, from.quant, to.quant) {
        (DType::U8, Some(from), Some(to)) if from != to => {
            let table = rescale_table(from, to, (0, 255)).expect("a ratio in range");
            f64::from(table[usize::from(level(x))])
        }
        _ => x,
    }
}

/// Row or column that a tap reads, pads taken off.
fn tap(window: &embdl_core::op::Window, axis: usize, at: usize, tap: usize) -> isize {
    let at = at * window.stride[axis] as usize + tap * window.dilation[axis] as usize;
    isize::try_from(at).expect("small") - isize::try_from(window.pads[axis]).expect("small")
}

fn inside(at: isize, extent: usize) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < extent)
}

fn clamp(x: f64, low: f32, high: f32) -> f64 {
    if x.is_nan() { x } else { x.clamp(f64::from(low), f64::from(high)) }
}

#[expect(clippy::cast_possible_truncation, reason = "asserted to be a whole number in range")]
fn whole(x: f64) -> i32 {
    assert!(x.fract() == 0.0 && x.abs() < 2_147_483_648.0, "{x} is no accumulator");
    x as i32
}

fn level(x: f64) -> u8 {
    u8::try_from(whole(x)).expect("a level")
}
