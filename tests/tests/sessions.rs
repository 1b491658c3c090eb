//! What sessions promise beside results: specs, errors, profiles, memory, batches.

mod support;

use core::sync::atomic::{AtomicU64, Ordering};

use embdl_core::kernels::Reference;
use embdl_core::model::Model;
use embdl_core::op::{Activation, Dense, Lrn, Op};
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError, Session, WeightForm};
use embdl_core::tensor::{DType, Shape, TensorMut, TensorRef};
use embdl_tests::models::{Data, lenet5_int8, networks, run};
use embdl_tests::net::{Elements, Net, Store, floats, integers};

fn load(model: &Model<'_>, options: &LoadOptions) -> Result<Box<dyn Session>, RuntimeError> {
    Reference::runtime().load(model, options)
}

fn refusal(model: &Model<'_>) -> RuntimeError {
    load(model, &LoadOptions::default()).err().expect("the model is refused")
}

#[test]
fn specs_have_names_and_the_batch() {
    let net = lenet5_int8();
    let options = LoadOptions { batch: 4, ..LoadOptions::default() };
    let session = load(&net.model(), &options).expect("loads");
    assert_eq!(session.inputs()[0].kind.shape, Shape::nhwc(4, 28, 28, 1));
    assert_eq!(session.inputs()[0].name, "value0");
    assert_eq!(session.outputs()[0].kind.shape, Shape::matrix(4, 10));
    assert_eq!(session.outputs()[0].kind.dtype, DType::I32);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let net = lenet5_int8();
    let mut session = load(&net.model(), &LoadOptions::default()).expect("loads");
    let (image, mut logits) = ([0_u8; 784], [0_i32; 10]);
    let input = TensorRef::U8(&image);
    assert_eq!(
        session.run(&[], &mut [TensorMut::I32(&mut logits)]),
        Err(RuntimeError::TensorCount { what: "inputs", expected: 1, found: 0 })
    );
    assert_eq!(
        session.run(&[input], &mut []),
        Err(RuntimeError::TensorCount { what: "outputs", expected: 1, found: 0 })
    );
    assert_eq!(
        session.run(&[TensorRef::U8(&image[..783])], &mut [TensorMut::I32(&mut logits)]),
        Err(RuntimeError::TensorMismatch {
            what: "input",
            index: 0,
            expected: DType::U8,
            found: DType::U8,
            expected_len: 784,
            found_len: 783,
        })
    );
    let mut floats = [0.0; 10];
    assert_eq!(
        session.run(&[input], &mut [TensorMut::F32(&mut floats)]),
        Err(RuntimeError::TensorMismatch {
            what: "output",
            index: 0,
            expected: DType::I32,
            found: DType::F32,
            expected_len: 10,
            found_len: 10,
        })
    );
    assert_eq!(session.run(&[input], &mut [TensorMut::I32(&mut logits)]), Ok(()));
}

#[test]
fn unknown_levels_are_refused_with_those_that_there_are() {
    let net = lenet5_int8();
    for runtime in support::runtimes() {
        let options = LoadOptions { isa: Some("abacus".into()), ..LoadOptions::default() };
        let error = runtime.load(&net.model(), &options).err();
        let Some(RuntimeError::IsaUnavailable { asked, available }) = error else {
            panic!("{}: {error:?}", runtime.name());
        };
        assert_eq!(asked, "abacus");
        assert_eq!(available, runtime.capabilities().isas);
    }
}

#[test]
fn memory_is_limited_before_it_is_allocated() {
    let net = lenet5_int8();
    for weights in [WeightForm::Dense, WeightForm::Compressed] {
        let mut options = LoadOptions { weights, ..LoadOptions::default() };
        let memory = load(&net.model(), &options).expect("loads").memory();
        assert!(memory.weight_bytes > 430_500, "{memory:?}");
        assert!(memory.arena_bytes >= 11_520 + 2880, "{memory:?}");
        assert!(memory.scratch_bytes > 0, "{memory:?}");
        let needed = memory.weight_bytes + memory.arena_bytes + memory.scratch_bytes;
        options.max_memory_bytes = needed;
        assert!(load(&net.model(), &options).is_ok());
        options.max_memory_bytes = needed - 1;
        assert_eq!(
            load(&net.model(), &options).err(),
            Some(RuntimeError::TooLarge { needed, allowed: needed - 1 })
        );
    }
    for batch in [usize::MAX, 0] {
        let options = LoadOptions { batch, ..LoadOptions::default() };
        assert_eq!(load(&net.model(), &options).err(), Some(RuntimeError::Batch { batch }));
    }
    let options = LoadOptions { batch: u32::MAX as usize, ..LoadOptions::default() };
    let error = load(&net.model(), &options).err();
    assert!(matches!(error, Some(RuntimeError::TooLarge { .. })), "{error:?}");
}

#[test]
fn profiles_name_nodes_kernels_and_costs() {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    fn clock() -> u64 {
        TICKS.fetch_add(7, Ordering::Relaxed)
    }
    let net = lenet5_int8();
    let plain = load(&net.model(), &LoadOptions::default()).expect("loads");
    assert_eq!(plain.profile(), None);
    let options = LoadOptions { clock: Some(clock), ..LoadOptions::default() };
    let mut session = load(&net.model(), &options).expect("loads");
    run(&mut *session, &[vec![0.0; 784]]).expect("runs");
    let nodes = &session.profile().expect("a clock was given").nodes;
    let ops: Vec<&str> = nodes.iter().map(|node| node.op).collect();
    assert_eq!(ops, ["conv2d", "max-pool", "conv2d", "max-pool", "flatten", "dense", "dense"]);
    assert!(nodes.iter().all(|node| node.nanoseconds == 7), "{nodes:?}");
    let macs: Vec<u64> = nodes.iter().map(|node| node.macs).collect();
    assert_eq!(macs, [288_000, 0, 1_600_000, 0, 0, 400_000, 5000]);
    assert_eq!(nodes[0].kernel, "gemm_qu8_qc8w_1x8__scalar");
    assert_eq!(nodes[1].bytes, 11_520 + 2880);
    assert!(nodes[5].bytes >= 400_000 + 800 + 500 && nodes[5].bytes < 410_000);
}

#[test]
fn a_batch_gives_what_single_runs_give() {
    let mut random = embdl_testkit::Random::new(12);
    for runtime in support::runtimes() {
        for problem in networks() {
            let model = problem.net.model();
            let samples = 5;
            let options = LoadOptions { batch: samples, ..LoadOptions::default() };
            let mut many = runtime.load(&model, &options).expect("loads");
            let mut single = runtime.load(&model, &LoadOptions::default()).expect("loads");
            let kind = many.inputs()[0].kind;
            let input: Vec<f64> = match kind.dtype {
                DType::F32 => random.floats(kind.shape.len()).into_iter().map(f64::from).collect(),
                _ => random.bytes(kind.shape.len()).into_iter().map(f64::from).collect(),
            };
            let together = run(&mut *many, core::slice::from_ref(&input)).expect("runs");
            for (sample, input) in input.chunks(input.len() / samples).enumerate() {
                let alone = run(&mut *single, &[input.to_vec()]).expect("runs");
                for (alone, together) in alone.iter().zip(&together) {
                    check_same(&problem.name, alone, &part(together, sample, samples));
                }
            }
        }
    }
}

/// Integers are equal; float kernels may add up a single row in another order than several.
fn check_same(name: &str, alone: &Data, together: &Data) {
    let (Data::F32(alone), Data::F32(together)) = (alone, together) else {
        assert_eq!(alone, together, "{name}");
        return;
    };
    let largest = alone.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    for (x, y) in alone.iter().zip(together) {
        assert!((x - y).abs() <= 1e-5 * largest, "{name}: {x} and {y}");
    }
}

/// The results of one of several samples.
fn part(data: &Data, sample: usize, samples: usize) -> Data {
    fn slice<T: Clone>(data: &[T], sample: usize, samples: usize) -> Vec<T> {
        let len = data.len() / samples;
        data[sample * len..][..len].to_vec()
    }
    match data {
        Data::F32(data) => Data::F32(slice(data, sample, samples)),
        Data::U8(data) => Data::U8(slice(data, sample, samples)),
        Data::I32(data) => Data::I32(slice(data, sample, samples)),
    }
}

#[test]
fn what_cannot_be_computed_is_unsupported() {
    let levels = |scale| Elements::U8(Quant { scale, zero_point: 7 });
    let mut lrn = Net::new();
    let input = lrn.input(Shape::nhwc(1, 2, 2, 3), levels(0.1));
    let op = Op::Lrn(Lrn { size: 5, alpha: 1.0, beta: 0.75, bias: 1.0 });
    let output = lrn.node(op, &[input], levels(0.1));
    lrn.output(output);
    let error = refusal(&lrn.model());
    assert!(
        matches!(&error, RuntimeError::Unsupported { node, op: "lrn", .. } if node == "lrn0"),
        "{error}"
    );

    let dense = |from, to, activation, scales| {
        let mut net = Net::new();
        let input = net.input(Shape::matrix(1, 2), from);
        let weight = integers(Shape::matrix(2, 2), scales, &[1, 2, 3, 4], Store::Dense);
        let output = net.layer(Op::Dense(Dense { activation }), input, weight, None, to);
        net.output(output);
        net
    };
    use embdl_core::model::Scales;
    let one = || Scales::PerTensor(0.5);
    let two = Scales::PerChannel(vec![0.5, 0.25]);
    let (none, relu6) = (Activation::None, Activation::Relu6);
    for net in [
        dense(levels(0.1), Elements::F32, none, one()),
        dense(levels(0.1), Elements::I32(0.05), relu6, one()),
        dense(levels(0.1), Elements::I32(0.05), none, two),
        dense(levels(1e30), levels(1e-30), none, one()),
    ] {
        let error = refusal(&net.model());
        assert!(matches!(error, RuntimeError::Unsupported { op: "dense", .. }), "{error}");
    }
}

#[test]
fn models_that_break_the_rules_are_refused() {
    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 4), Elements::F32);
    let op = Op::Dense(Dense { activation: Activation::None });
    let weight = floats(Shape::matrix(3, 4), &[1.0; 12]);
    let hidden = net.layer(op, input, weight, None, Elements::F32);
    let output = net.node(Op::Softmax, &[hidden], Elements::F32);
    net.output(output);
    let valid = net.model();
    assert!(load(&valid, &LoadOptions::default()).is_ok());

    type Damage = fn(&mut Model<'_>);
    let damages: [(&str, Damage); 12] = [
        ("a node reads what does not exist", |model| model.nodes[1].inputs[0] = 99),
        ("a node reads its own result", |model| model.nodes[1].inputs[0] = 2),
        ("a node reads a later result", |model| model.nodes.swap(0, 1)),
        ("a node writes over an input", |model| model.nodes[1].output = 0),
        ("a result does not exist", |model| model.outputs[0] = 99),
        ("an input does not exist", |model| model.inputs[0] = 99),
        ("a weight does not exist", |model| model.nodes[0].weight = Some(99)),
        ("a bias of another length", |model| model.nodes[0].bias = Some(0)),
        ("a node without inputs", |model| model.nodes[1].inputs.clear()),
        ("a result of another shape", |model| model.values[2].kind.shape = Shape::matrix(1, 5)),
        ("a batch in the file", |model| model.values[0].kind.shape = Shape::matrix(2, 4)),
        ("a float with a scale", |model| {
            model.values[0].kind.quant = Some(Quant { scale: 1.0, zero_point: 0 });
        }),
    ];
    for (name, damage) in damages {
        let mut model = valid.clone();
        damage(&mut model);
        let error = refusal(&model);
        assert!(matches!(error, RuntimeError::Invalid { .. }), "{name}: {error}");
    }
    let mut model = valid.clone();
    model.nodes[0].weight = None;
    let error = refusal(&model);
    assert!(matches!(error, RuntimeError::Operator { .. }), "{error}");
    let mut model = valid.clone();
    model.tensors[0].symbols.bytes = &[0; 47];
    let error = refusal(&model);
    assert!(matches!(&error, RuntimeError::Weight { node, .. } if node == "dense0"), "{error}");
}
