//! The integer path computes what real numbers would, rounded once a layer.

use embdl_core::kernels::Reference;
use embdl_core::model::{EncodedTensor, Model, Node, Scales};
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, Runtime};
use embdl_core::tensor::{DType, Shape};
use embdl_testkit::Random;
use embdl_tests::models::{Data, networks, run};
use embdl_tests::net::{Elements, Net, floats};
use embdl_tests::oracle;

/// Shares of results, for the test's messages.
#[derive(Debug, Default)]
struct Tally {
    results: usize,
    different: usize,
}

#[test]
fn levels_are_those_of_real_arithmetic() {
    let mut tally = Tally::default();
    for problem in networks().iter().filter(|problem| problem.name.ends_with("int8")) {
        let net = &problem.net;
        let mut model = net.model();
        model.outputs = model.nodes.iter().map(|node| node.output).collect();
        let mut session =
            Reference::runtime().load(&model, &LoadOptions::default()).expect("loads");
        let len = session.inputs()[0].kind.shape.len();
        let levels: Vec<f64> = Random::new(4).bytes(len).into_iter().map(f64::from).collect();
        let results = run(&mut *session, core::slice::from_ref(&levels)).expect("runs");
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); model.values.len()];
        values[model.inputs[0]] = levels;
        for (node, result) in model.nodes.iter().zip(&results) {
            let real = in_reals(&model, node, &values);
            let kind = model.values[node.output].kind;
            let quant = kind.quant.expect("all values are quantized");
            let got: Vec<f64> = match result {
                Data::F32(_) => panic!("all values are quantized"),
                Data::U8(data) => data.iter().map(|&q| f64::from(q)).collect(),
                Data::I32(data) => data.iter().map(|&q| f64::from(q)).collect(),
            };
            for (&level, real) in got.iter().zip(real) {
                tally.results += 1;
                let steps = real / f64::from(quant.scale);
                if kind.dtype == DType::I32 {
                    assert!((level - steps).abs() <= 1e-5 * steps.abs() + 1e-3, "{level} {steps}");
                } else {
                    let want = (steps + 0.5).floor() + f64::from(quant.zero_point);
                    let want = want.clamp(0.0, 255.0);
                    assert!((level - want).abs() <= 1.0, "{}: {level} {want}", node.name);
                    tally.different += usize::from(level != want);
                }
            }
            values[node.output] = got;
        }
    }
    // Only ties that the 31 bits of a multiplier decide otherwise may differ.
    assert!(tally.results > 20_000 && tally.different * 1000 < tally.results, "{tally:?}");
}

/// The node alone, in real numbers, on the integers that were computed so far.
fn in_reals(model: &Model<'_>, node: &Node, values: &[Vec<f64>]) -> Vec<f64> {
    let mut net = Net::new();
    let mut inputs = Vec::new();
    let mut ids = Vec::new();
    for &input in &node.inputs {
        let kind = model.values[input].kind;
        let quant = kind.quant.expect("all values are quantized");
        ids.push(net.input(kind.shape, Elements::F32));
        inputs.push(values[input].iter().map(|&level| real(quant, level)).collect());
    }
    let output = match node.weight {
        None => net.node(node.op.clone(), &ids, Elements::F32),
        Some(weight) => {
            let weight = &model.tensors[weight];
            let bias = node.bias.map(|bias| {
                let from = model.values[node.inputs[0]].kind.quant.expect("quantized");
                real_bias(&model.tensors[bias], weight, from)
            });
            let values = weight.dequantize().expect("decodes");
            let weight = floats(weight.shape, &values);
            net.layer(node.op.clone(), ids[0], weight, bias, Elements::F32)
        }
    };
    oracle::run(&net.model(), &inputs, 1)[output].data.clone()
}

fn real(quant: Quant, level: f64) -> f64 {
    f64::from(quant.scale) * (level - f64::from(quant.zero_point))
}

fn real_bias(
    bias: &EncodedTensor<'_>,
    weight: &EncodedTensor<'_>,
    from: Quant,
) -> embdl_core::encoding::OwnedTensor {
    let bias = bias.decode_i32().expect("decodes");
    let scale = |channel: usize| match &weight.scales {
        Scales::PerTensor(scale) => *scale,
        Scales::PerChannel(scales) => scales[channel],
        Scales::None => panic!("integer weights have scales"),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the bias of a float layer")]
    let values: Vec<f32> = bias
        .iter()
        .enumerate()
        .map(|(c, &b)| (f64::from(b) * f64::from(scale(c)) * f64::from(from.scale)) as f32)
        .collect();
    floats(Shape::vector(values.len()), &values)
}
