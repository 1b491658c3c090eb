//! Files come back as the models they were written from, account for all their bytes, and waste few.

mod support;

use embdl_core::format::{
    FormatError, Limits, WriteOptions, layout, read, verify, write, write_with,
};
use embdl_core::model::{Model, Scales};
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::tensor::{DType, Shape, ValueType};
use support::{Made, Random, lenet5, random_model};

#[test]
fn random_models_come_back() {
    for seed in 0..3_000 {
        let made = random_model(&mut Random(seed));
        let model = made.model();
        let bytes = write(&model).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{model:?}"));
        let back = read(&bytes, &Limits::default()).unwrap();
        assert_eq!(back, model, "seed {seed}");
        assert_eq!(verify(&back), Ok(()), "seed {seed}");
        assert_eq!(write(&back).unwrap(), bytes, "seed {seed}");
        let layout = layout(&bytes, &Limits::default()).unwrap();
        assert_eq!(layout.total_bytes(), bytes.len(), "seed {seed}");
        assert_eq!(layout.tensors.len(), model.tensors.len(), "seed {seed}");
    }
}

#[test]
fn streams_are_slices_of_the_file() {
    let bytes = write(&lenet5(&mut Random(1)).model()).unwrap();
    let model = read(&bytes, &Limits::default()).unwrap();
    let file = bytes.as_ptr_range();
    for tensor in &model.tensors {
        for stream in tensor.gaps.iter().chain([&tensor.symbols]) {
            let range = stream.bytes.as_ptr_range();
            assert!(file.start <= range.start && range.end <= file.end);
        }
    }
}

#[test]
fn lenet5_takes_few_bytes_beside_its_weights() {
    let bytes = write(&lenet5(&mut Random(1)).model()).unwrap();
    let layout = layout(&bytes, &Limits::default()).unwrap();
    assert_eq!(layout.total_bytes(), bytes.len());
    assert!(layout.overhead_bytes() <= 110, "{} bytes: {layout:?}", layout.overhead_bytes());
}

#[test]
fn names_can_be_left_out() {
    let mut made = lenet5(&mut Random(1));
    made.name = "lenet-5".into();
    made.nodes[0].name = "conv1".into();
    let named = write(&made.model()).unwrap();
    let stripped = write_with(&made.model(), WriteOptions { names: false }).unwrap();
    assert_eq!(read(&named, &Limits::default()).unwrap(), made.model());
    let names = layout(&named, &Limits::default()).unwrap().name_bytes;
    assert_eq!(names, 1 + 7 + 5 + made.values.len() + made.nodes.len());
    assert_eq!(named.len() - stripped.len(), names);
    made.name.clear();
    made.nodes[0].name.clear();
    assert_eq!(read(&stripped, &Limits::default()).unwrap(), made.model());
}

#[test]
fn other_numbering_is_put_in_order() {
    let made = lenet5(&mut Random(1));
    let count = made.values.len();
    let mut turned = made.clone();
    turned.values.reverse();
    turned.inputs = vec![count - 1];
    turned.outputs = vec![0];
    for node in &mut turned.nodes {
        node.output = count - 1 - node.output;
        node.inputs = node.inputs.iter().map(|id| count - 1 - id).collect();
    }
    turned.tensors.reverse();
    let last = turned.tensors.len() - 1;
    for node in &mut turned.nodes {
        node.weight = node.weight.map(|id| last - id);
        node.bias = node.bias.map(|id| last - id);
    }
    assert_eq!(write(&turned.model()), write(&made.model()));
}

/// What the writer says about a model after a change.
fn refused(change: impl FnOnce(&mut Model<'_>)) -> FormatError {
    let made = lenet5(&mut Random(1));
    let mut model = made.model();
    change(&mut model);
    write(&model).expect_err("the model is broken")
}

#[test]
fn broken_models_are_refused() {
    type Change = fn(&mut Model<'_>);
    let message = |change: Change| refused(change).to_string();
    let cases: [(Change, &str); 14] = [
        (|m| m.inputs.clear(), "no inputs"),
        (|m| m.outputs.clear(), "no outputs"),
        (|m| m.nodes[0].output = 0, "written twice"),
        (|m| m.nodes[0].inputs = vec![4], "read before it is written"),
        (|m| m.nodes[0].inputs = vec![99], "uses value 99"),
        (|m| m.nodes[0].weight = Some(99), "uses tensor 99"),
        (|m| m.nodes[0].weight = None, "tensor 0 is not used"),
        (|m| m.outputs.push(7), "listed twice"),
        (|m| m.outputs[0] = 0, "is an input"),
        (|m| m.values[3].kind.shape = Shape::nhwc(1, 8, 8, 49), "value 3 is stated as"),
        (|m| m.values[3].kind.dtype = DType::I32, "value 3 is stated as"),
        (|m| m.tensors[0].scales = Scales::PerTensor(1.0), "is neither float nor scaled"),
        (|m| m.name = "\u{1b}[2J".into(), "is not text"),
        (|m| m.tensors[1].symbols.bytes = &[0; 79], "tensor 1: a stream of 79 bytes ends"),
    ];
    for (change, expected) in cases {
        let found = message(change);
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
}

#[test]
fn integer_layers_keep_within_i32() {
    for (taps, is_accepted) in [(32_768, true), (32_769, false)] {
        let mut made = Made::default();
        let quant = embdl_core::quant::Quant { scale: 0.5, zero_point: 0 };
        let input = made.input(ValueType::u8(Shape::matrix(1, taps), quant));
        let weight = embdl_core::encoding::encode::smallest(
            Shape::matrix(1, taps),
            Scales::PerTensor(0.25),
            embdl_core::encoding::encode::WeightData::Int(&vec![-128; taps]),
            Default::default(),
        );
        let weight = made.tensor(weight.unwrap());
        let op = Op::Dense(Dense { activation: Activation::None });
        let quant = embdl_core::quant::Quant { scale: 0.125, zero_point: 0 };
        let output = made.node(op, &[input], (weight, None), DType::I32, Some(quant));
        made.outputs.push(output);
        assert_eq!(write(&made.model()).is_ok(), is_accepted, "{taps} taps");
    }
}
