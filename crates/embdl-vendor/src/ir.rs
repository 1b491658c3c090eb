//! OpenVINO IR version 10 with the operators of opset1, everything in 16-bit floats: what the compilers of 2020.1 to 2020.3 read, the
//! last that serve the MA2450.
//!
//! Source: the specification of IR version 10 and opset1 in OpenVINO's documentation.

mod xml;

use embdl_core::op::{PoolKind, Window};
use embdl_graph::Graph;
use half::f16;

use crate::VendorError;
use crate::lower::{Kind, Layer, Net};
use xml::{Ir, Port, list};

/// A network in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IrFiles {
    /// The layers: `NAME.xml`.
    pub xml: String,
    /// The weights: `NAME.bin`, beside it.
    pub bin: Vec<u8>,
}

/// Writes a graph for a batch of one. Weights are [effective](embdl_graph::Param::effective): pruned ones zero, shared ones
/// their centroid; they are rounded to the nearest 16-bit float. Inputs and outputs have channels before rows and columns.
///
/// # Errors
/// If a node computes what opset1 cannot say, or a weight is no 16-bit float.
///
/// # Panics
/// Never: in a graph that is valid, every value is written before it is read.
pub fn write(graph: &Graph) -> Result<IrFiles, VendorError> {
    let net = Net::of(graph)?;
    let mut ir = Ir::default();
    let mut ports: Vec<Option<Port>> = vec![None; net.values.len()];
    for &input in &net.inputs {
        let dims = net.dims(input).to_vec();
        ports[input] = Some(ir.parameter(&net.values[input].name, dims));
    }
    for layer in &net.layers {
        let inputs: Vec<Port> = layer
            .inputs
            .iter()
            .map(|&value| ports[value].clone().expect("the graph is in order of its values"))
            .collect();
        let dims = net.dims(layer.output).to_vec();
        ports[layer.output] = Some(emit(&mut ir, layer, &inputs, dims)?);
    }
    for &output in &net.outputs {
        let port = ports[output].as_ref().expect("the graph is in order of its values");
        ir.result(&net.values[output].name, port);
    }
    let (xml, bin) = ir.finish(&net.name);
    Ok(IrFiles { xml, bin })
}

fn emit(
    ir: &mut Ir,
    layer: &Layer,
    inputs: &[Port],
    dims: Vec<usize>,
) -> Result<Port, VendorError> {
    let name = &layer.name;
    let first = inputs.first().ok_or_else(|| layer.unsupported("it has no input"))?;
    let simple = |ir: &mut Ir, kind: &str, data: &[(&str, String)], dims: Vec<usize>| {
        ir.layer(name, kind, data, inputs, dims)
    };
    Ok(match &layer.kind {
        Kind::Conv { weights, dims: [co, ci, kh, kw], bias, window, groups } => {
            let (kind, shape) = match groups {
                1 => ("Convolution", vec![*co, *ci, *kh, *kw]),
                _ => ("GroupConvolution", vec![*groups, co / groups, *ci, *kh, *kw]),
            };
            let weights = ir.floats(&format!("{name}/weights"), shape, &halves(layer, weights)?);
            let mut data = window_data(window);
            data.push(("dilations", list(window.dilation)));
            data.push(("auto_pad", "explicit".into()));
            let inner = if bias.is_some() { format!("{name}/product") } else { name.clone() };
            let product = ir.layer(&inner, kind, &data, &[first.clone(), weights], dims.clone());
            biased(ir, layer, product, bias.as_deref(), dims)?
        }
        Kind::Dense { weights, dims: [outputs, features], bias } => {
            let shape = vec![*outputs, *features];
            let weights = ir.floats(&format!("{name}/weights"), shape, &halves(layer, weights)?);
            let data = [("transpose_a", "false".into()), ("transpose_b", "true".into())];
            let inner = if bias.is_some() { format!("{name}/product") } else { name.clone() };
            let product =
                ir.layer(&inner, "MatMul", &data, &[first.clone(), weights], dims.clone());
            biased(ir, layer, product, bias.as_deref(), dims)?
        }
        Kind::Pool { kind, window, ceil } => {
            let mut data = window_data(window);
            data.push(("kernel", list(window.kernel)));
            data.push(("rounding_type", if *ceil { "ceil" } else { "floor" }.into()));
            data.push(("auto_pad", "explicit".into()));
            match kind {
                PoolKind::Max => simple(ir, "MaxPool", &data, dims),
                PoolKind::Average { include_pads } => {
                    data.push(("exclude-pad", (!include_pads).to_string()));
                    simple(ir, "AvgPool", &data, dims)
                }
            }
        }
        Kind::GlobalAverage => {
            let data = [
                ("strides", list([1, 1])),
                ("pads_begin", list([0, 0])),
                ("pads_end", list([0, 0])),
                ("kernel", list(&first.dims[2..])),
                ("rounding_type", "floor".into()),
                ("auto_pad", "explicit".into()),
                ("exclude-pad", "true".into()),
            ];
            simple(ir, "AvgPool", &data, dims)
        }
        Kind::Relu => simple(ir, "ReLU", &[], dims),
        Kind::Clamp { min, max } => {
            // 16-bit floats have no bounds beyond these.
            let [min, max] = [min, max].map(|bound| bound.clamp(-65504.0, 65504.0).to_string());
            simple(ir, "Clamp", &[("min", min), ("max", max)], dims)
        }
        Kind::Sigmoid => simple(ir, "Sigmoid", &[], dims),
        Kind::Tanh => simple(ir, "Tanh", &[], dims),
        Kind::Elu { alpha } => simple(ir, "Elu", &[("alpha", alpha.to_string())], dims),
        Kind::PRelu { slopes } => {
            let values = halves(layer, slopes)?;
            let slopes = ir.floats(&format!("{name}/slopes"), vec![slopes.len()], &values);
            ir.layer(name, "PReLU", &[], &[first.clone(), slopes], dims)
        }
        Kind::Affine { scale, shift } => {
            let ones = vec![1; dims.len()];
            let factor = halves(layer, &[*scale])?;
            let factor = ir.floats(&format!("{name}/scale"), ones.clone(), &factor);
            let inner = format!("{name}/product");
            let product =
                ir.layer(&inner, "Multiply", &numpy(), &[first.clone(), factor], dims.clone());
            let shift = halves(layer, &[*shift])?;
            let shift = ir.floats(&format!("{name}/shift"), ones, &shift);
            ir.layer(name, "Add", &numpy(), &[product, shift], dims)
        }
        Kind::Add => simple(ir, "Add", &numpy(), dims),
        Kind::Mul => simple(ir, "Multiply", &numpy(), dims),
        Kind::Concat { axis } => simple(ir, "Concat", &[("axis", axis.to_string())], dims),
        Kind::Lrn(lrn) => {
            let axes = ir.integers(&format!("{name}/axes"), &[1]);
            let data = [
                ("alpha", lrn.alpha.to_string()),
                ("beta", lrn.beta.to_string()),
                ("bias", lrn.bias.to_string()),
                ("size", lrn.size.to_string()),
            ];
            ir.layer(name, "LRN", &data, &[first.clone(), axes], dims)
        }
        Kind::Softmax => simple(ir, "SoftMax", &[("axis", "1".into())], dims),
        Kind::Flatten => {
            let to = ir.integers(&format!("{name}/shape"), &[0, -1]);
            let data = [("special_zero", "true".into())];
            ir.layer(name, "Reshape", &data, &[first.clone(), to], dims)
        }
    })
}

/// How the two operands of a sum or product are brought to one shape.
fn numpy() -> [(&'static str, String); 1] {
    [("auto_broadcast", "numpy".into())]
}

/// A bias is a sum with one number a channel.
fn biased(
    ir: &mut Ir,
    layer: &Layer,
    product: Port,
    bias: Option<&[f32]>,
    dims: Vec<usize>,
) -> Result<Port, VendorError> {
    let Some(bias) = bias else { return Ok(product) };
    let mut shape = vec![1; dims.len()];
    shape[1] = bias.len();
    let bias = ir.floats(&format!("{}/bias", layer.name), shape, &halves(layer, bias)?);
    Ok(ir.layer(&layer.name, "Add", &numpy(), &[product, bias], dims))
}

fn window_data(window: &Window) -> Vec<(&'static str, String)> {
    let [top, left, bottom, right] = window.pads;
    vec![
        ("strides", list(window.stride)),
        ("pads_begin", list([top, left])),
        ("pads_end", list([bottom, right])),
    ]
}

fn halves(layer: &Layer, values: &[f32]) -> Result<Vec<f16>, VendorError> {
    let half = |&value: &f32| match f16::from_f32(value) {
        rounded if rounded.is_finite() => Ok(rounded),
        _ => Err(VendorError::WeightRange { node: layer.node.clone(), value }),
    };
    values.iter().map(half).collect()
}
