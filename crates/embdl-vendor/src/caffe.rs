//! Caffe: the layers as text (`deploy.prototxt`), the weights as a protobuf message (`.caffemodel`), in 32-bit floats. `mvNCCompile`
//! of NCSDK reads both, rounds to 16 bits itself, and takes zeros for weights that it does not find by name.
//!
//! Source: the field numbers of `caffe.proto` (BSD 2-Clause); which layers `mvNCCompile` takes, from NCSDK's documentation.

mod wire;

use core::fmt::Write as _;

use embdl_core::op::{PoolKind, Window};
use embdl_graph::Graph;

use crate::VendorError;
use crate::lower::{Kind, Layer, Net};
pub use wire::{Blob, LayerWeights, WireError, read};

/// A network in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaffeFiles {
    /// The layers: `NAME.prototxt`.
    pub prototxt: String,
    /// The weights: `NAME.caffemodel`.
    pub caffemodel: Vec<u8>,
}

/// What NCSDK wants the input to be called.
const INPUT: &str = "data";

/// Writes a graph for a batch of one. Weights are [effective](embdl_graph::Param::effective): pruned ones zero, shared ones
/// their centroid.
///
/// # Errors
/// If a node computes what Caffe's layers cannot say, or there is more than one input.
pub fn write(graph: &Graph) -> Result<CaffeFiles, VendorError> {
    let net = Net::of(graph)?;
    let [input] = net.inputs[..] else {
        return Err(VendorError::Node {
            node: graph.name.clone(),
            op: "input",
            reason: "NCSDK takes one input",
        });
    };
    // The vendor's tool finds the input by this name; no other value may have it.
    let blob = |value: usize| match &net.values[value].name {
        _ if value == input => INPUT.to_owned(),
        name if name == INPUT => format!("{name}.value"),
        name => name.clone(),
    };
    let mut text = format!("name: {}\n", quoted(&net.name));
    let dims: String = net.dims(input).iter().map(|dim| format!(" dim: {dim}")).collect();
    line(
        &mut text,
        &format!(
            "layer {{ name: \"{INPUT}\" type: \"Input\" top: \"{INPUT}\" input_param {{ shape {{{dims} }} }} }}"
        ),
    );
    let mut weights = Vec::new();
    for layer in &net.layers {
        let bottoms: Vec<String> = layer.inputs.iter().map(|&value| blob(value)).collect();
        let bottoms: String =
            bottoms.iter().map(|name| format!(" bottom: {}", quoted(name))).collect();
        let (name, top) = (quoted(&layer.name), quoted(&blob(layer.output)));
        let Part { kind, params, blobs } = emit(&net, layer)?;
        line(
            &mut text,
            &format!("layer {{ name: {name} type: \"{kind}\"{bottoms} top: {top}{params} }}"),
        );
        if !blobs.is_empty() {
            weights.push(LayerWeights { name: layer.name.clone(), kind: kind.into(), blobs });
        }
    }
    let caffemodel = wire::write(&net.name, &weights);
    Ok(CaffeFiles { prototxt: text, caffemodel })
}

/// A layer of Caffe.
struct Part {
    kind: &'static str,
    /// What stands behind the names, with a space before it.
    params: String,
    blobs: Vec<Blob>,
}

impl Part {
    fn of(kind: &'static str, params: String) -> Self {
        let params = if params.is_empty() { params } else { format!(" {params}") };
        Self { kind, params, blobs: Vec::new() }
    }

    fn with(mut self, shape: Vec<usize>, data: &[f32]) -> Self {
        self.blobs.push(Blob { shape, data: data.to_vec() });
        self
    }
}

fn emit(net: &Net, layer: &Layer) -> Result<Part, VendorError> {
    let input = net.dims(layer.inputs[0]);
    let plain = |kind| Part::of(kind, String::new());
    Ok(match &layer.kind {
        Kind::Conv { weights, dims, bias, window, groups } => {
            let [co, _, kh, kw] = dims;
            let mut params = format!(
                "num_output: {co} bias_term: {} kernel_h: {kh} kernel_w: {kw} {}",
                bias.is_some(),
                window_params(layer, window)?
            );
            if *groups > 1 {
                write!(params, " group: {groups}").expect("strings take everything");
            }
            match window.dilation {
                [1, 1] => {}
                [h, w] if h == w => {
                    write!(params, " dilation: {h}").expect("strings take everything");
                }
                _ => return Err(layer.unsupported("Caffe has one dilation for both axes")),
            }
            let part = Part::of("Convolution", format!("convolution_param {{ {params} }}"));
            with_bias(part.with(dims.to_vec(), weights), bias.as_deref())
        }
        Kind::Dense { weights, dims, bias } => {
            let params = format!("num_output: {} bias_term: {}", dims[0], bias.is_some());
            let part = Part::of("InnerProduct", format!("inner_product_param {{ {params} }}"));
            with_bias(part.with(dims.to_vec(), weights), bias.as_deref())
        }
        Kind::Pool { kind, window, .. } => {
            check_pool(layer, *kind, window, input, net.dims(layer.output))?;
            let method = if *kind == PoolKind::Max { "MAX" } else { "AVE" };
            let [kh, kw] = window.kernel;
            let window = window_params(layer, window)?;
            let params = format!("pool: {method} kernel_h: {kh} kernel_w: {kw} {window}");
            Part::of("Pooling", format!("pooling_param {{ {params} }}"))
        }
        Kind::GlobalAverage => {
            Part::of("Pooling", "pooling_param { pool: AVE global_pooling: true }".into())
        }
        Kind::Relu => plain("ReLU"),
        // 6 - max(6 - x, 0) would say it, and lose all but two digits of small values in 16 bits.
        Kind::Clamp { .. } => {
            return Err(layer.unsupported("Caffe has no bounded ReLU; export it for OpenVINO"));
        }
        Kind::Sigmoid => plain("Sigmoid"),
        Kind::Tanh => plain("TanH"),
        Kind::Elu { alpha } => Part::of("ELU", format!("elu_param {{ alpha: {alpha} }}")),
        Kind::PRelu { slopes } => match slopes[..] {
            [slope] => Part::of("ReLU", format!("relu_param {{ negative_slope: {slope} }}")),
            _ => Part::of("PReLU", String::new()).with(vec![slopes.len()], slopes),
        },
        Kind::Affine { scale, shift } => power(*scale, *shift),
        Kind::Add => Part::of("Eltwise", "eltwise_param { operation: SUM }".into()),
        Kind::Mul => Part::of("Eltwise", "eltwise_param { operation: PROD }".into()),
        Kind::Concat { axis } => Part::of("Concat", format!("concat_param {{ axis: {axis} }}")),
        Kind::Lrn(lrn) if lrn.size % 2 == 0 => {
            return Err(layer.unsupported("Caffe normalizes over an odd number of channels only"));
        }
        Kind::Lrn(lrn) => {
            let (size, alpha, beta, k) = (lrn.size, lrn.alpha, lrn.beta, lrn.bias);
            let params = format!("local_size: {size} alpha: {alpha} beta: {beta} k: {k}");
            Part::of("LRN", format!("lrn_param {{ {params} }}"))
        }
        Kind::Softmax => plain("Softmax"),
        Kind::Flatten => plain("Flatten"),
    })
}

fn power(scale: f32, shift: f32) -> Part {
    Part::of("Power", format!("power_param {{ power: 1 scale: {scale} shift: {shift} }}"))
}

fn with_bias(part: Part, bias: Option<&[f32]>) -> Part {
    match bias {
        Some(bias) => part.with(vec![bias.len()], bias),
        None => part,
    }
}

fn window_params(layer: &Layer, window: &Window) -> Result<String, VendorError> {
    let [top, left, bottom, right] = window.pads;
    if top != bottom || left != right {
        return Err(layer.unsupported("Caffe has the same pad at both sides"));
    }
    let [sh, sw] = window.stride;
    Ok(format!("stride_h: {sh} stride_w: {sw} pad_h: {top} pad_w: {left}"))
}

/// Caffe rounds extents of pools up, always, and lets no window start beyond the map and its first pad; its means count
/// pads.
fn check_pool(
    layer: &Layer,
    kind: PoolKind,
    window: &Window,
    input: &[usize],
    output: &[usize],
) -> Result<(), VendorError> {
    for axis in [0, 1] {
        let [kernel, stride, pad] =
            [window.kernel[axis], window.stride[axis], window.pads[axis]].map(|x| x as usize);
        let extent = input[2 + axis];
        let span = (extent + 2 * pad).saturating_sub(kernel);
        let mut count = span.div_ceil(stride) + 1;
        if pad > 0 && (count - 1) * stride >= extent + pad {
            count -= 1;
        }
        if count != output[2 + axis] {
            return Err(layer.unsupported("Caffe rounds the extent of pools up, this one is down"));
        }
        let hangs_over = (count - 1) * stride + kernel > extent + 2 * pad;
        if matches!(kind, PoolKind::Average { include_pads: false }) && pad > 0 {
            return Err(layer.unsupported("Caffe's means count pads"));
        }
        if kind != PoolKind::Max && pad > 0 && hangs_over {
            let reason = "what is divided by where a window hangs over counted pads differs";
            return Err(layer.unsupported(reason));
        }
    }
    Ok(())
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A string of protobuf's text format.
fn quoted(name: &str) -> String {
    let mut text = String::from("\"");
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            other if other.is_control() => text.push('_'),
            other => text.push(other),
        }
    }
    text + "\""
}
