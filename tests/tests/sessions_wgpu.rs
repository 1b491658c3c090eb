//! What sessions on a GPU promise beside results: errors where the device, its memory or the model fail, profiles, batches.

use core::sync::atomic::{AtomicU64, Ordering};

use embdl_core::kernels::Reference;
use embdl_core::model::Model;
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::runtime::{LoadOptions, NodeProfile, Runtime, RuntimeError, Session, WeightForm};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use embdl_tests::models::{
    Data, convolutions, dense_layers, lenet5_int8, networks, random_networks, run,
};
use embdl_tests::net::{Elements, Net, floats as floats_of};
use embdl_tests::report::Report;
use rt_wgpu::detect::adapter_names;
use rt_wgpu::{Wgpu, WgpuOptions};

/// A GPU, or nothing where this machine has none and need not have one.
fn gpu() -> Option<Wgpu> {
    match Wgpu::detect() {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn load(gpu: &Wgpu, model: &Model<'_>, options: &LoadOptions) -> Box<dyn Session> {
    gpu.load(model, options).expect("loads")
}

fn image() -> Vec<f64> {
    Random::new(3).bytes(784).into_iter().map(f64::from).collect()
}

#[test]
fn a_lost_device_is_an_error_and_its_sessions_can_be_dropped() {
    let Some(gpu) = gpu() else { return };
    let net = lenet5_int8();
    let model = net.model();
    let mut session = load(&gpu, &model, &LoadOptions::default());
    let before = run(&mut *session, &[image()]).expect("runs");
    gpu.close();
    for _ in 0..2 {
        let error = run(&mut *session, &[image()]).expect_err("the device is gone");
        assert!(matches!(error, RuntimeError::DeviceLost { .. }), "{error}");
    }
    let error = gpu.load(&model, &LoadOptions::default()).err().expect("the device is gone");
    assert!(matches!(error, RuntimeError::DeviceLost { .. }), "{error}");
    drop(session);
    drop(gpu);
    // The adapter is as good as before.
    let again = Wgpu::detect().expect("there was one");
    let mut session = load(&again, &model, &LoadOptions::default());
    assert_eq!(run(&mut *session, &[image()]), Ok(before));
}

#[test]
fn memory_is_limited_before_it_is_allocated() {
    let Some(gpu) = gpu() else { return };
    let net = lenet5_int8();
    let model = net.model();
    for weights in [WeightForm::Dense, WeightForm::Compressed] {
        let mut options = LoadOptions { weights, ..LoadOptions::default() };
        let memory = load(&gpu, &model, &options).memory();
        assert!(memory.weight_bytes > 430_500, "{memory:?}");
        assert!(memory.arena_bytes >= memory.arena_lower_bound_bytes, "{memory:?}");
        let needed = memory.weight_bytes + memory.arena_bytes + memory.scratch_bytes;
        options.max_memory_bytes = needed;
        assert!(gpu.load(&model, &options).is_ok());
        options.max_memory_bytes = needed - 1;
        let error = gpu.load(&model, &options).err();
        assert_eq!(error, Some(RuntimeError::TooLarge { needed, allowed: needed - 1 }));
    }
    for batch in [usize::MAX, 0] {
        let options = LoadOptions { batch, ..LoadOptions::default() };
        assert_eq!(gpu.load(&model, &options).err(), Some(RuntimeError::Batch { batch }));
    }
    // More than any buffer holds, whatever the options allow.
    let max_memory_bytes = usize::MAX;
    let options = LoadOptions { batch: 4_000_000_000, max_memory_bytes, ..LoadOptions::default() };
    let error = gpu.load(&model, &options).err();
    assert!(matches!(error, Some(RuntimeError::TooLarge { .. })), "{error:?}");
}

#[test]
fn names_that_are_not_there_are_refused_with_those_that_are() {
    let Some(gpu) = gpu() else { return };
    assert!(adapter_names().iter().any(|name| name == gpu.adapter()));
    let options = WgpuOptions { adapter: Some("abacus".into()), ..WgpuOptions::default() };
    let error = Wgpu::with_options(&options).expect_err("there is no such adapter");
    let (asked, available) = ("abacus".into(), adapter_names());
    assert_eq!(error, RuntimeError::NoSuchDevice { asked, available });
    let net = lenet5_int8();
    let options = LoadOptions { isa: Some("abacus".into()), ..LoadOptions::default() };
    let error = gpu.load(&net.model(), &options).err();
    assert!(matches!(error, Some(RuntimeError::IsaUnavailable { .. })), "{error:?}");
}

#[test]
fn weights_that_do_not_decode_are_an_error() {
    let Some(gpu) = gpu() else { return };
    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 4), Elements::F32);
    let op = Op::Dense(Dense { activation: Activation::None });
    let weight = floats_of(Shape::matrix(3, 4), &[1.0; 12]);
    let output = net.layer(op, input, weight, None, Elements::F32);
    net.output(output);
    let mut model = net.model();
    model.tensors[0].symbols.bytes = &[0; 47];
    let error = gpu.load(&model, &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Weight { .. })), "{error:?}");
    model.nodes[0].weight = Some(99);
    let error = gpu.load(&model, &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Invalid { .. })), "{error:?}");
}

#[test]
fn profiles_name_nodes_kernels_and_costs() {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    fn clock() -> u64 {
        TICKS.fetch_add(7, Ordering::Relaxed)
    }
    let Some(gpu) = gpu() else { return };
    let net = lenet5_int8();
    let model = net.model();
    let mut plain = load(&gpu, &model, &LoadOptions::default());
    let options = LoadOptions { clock: Some(clock), ..LoadOptions::default() };
    let mut profiled = load(&gpu, &model, &options);
    let (want, got) = (run(&mut *plain, &[image()]), run(&mut *profiled, &[image()]));
    assert_eq!(got, want, "profiled or not");
    assert_eq!(plain.profile(), None);
    let nodes = &profiled.profile().expect("a clock was given").nodes;
    // By the device's clock, or by the given one where it has none.
    let takes_time = |node: &&NodeProfile| node.kernel != "alias";
    assert!(nodes.iter().filter(takes_time).all(|node| node.nanoseconds > 0), "{nodes:?}");
    let by_host = WgpuOptions { host_clock: true, ..WgpuOptions::default() };
    let by_host = Wgpu::with_options(&by_host).expect("there is one");
    let mut session = load(&by_host, &model, &options);
    assert_eq!(run(&mut *session, &[image()]), want, "node by node or not");
    let ticks = &session.profile().expect("a clock was given").nodes;
    assert!(ticks.iter().all(|node| node.nanoseconds == 7), "{ticks:?}");
    let kernels: Vec<&str> = nodes.iter().map(|node| node.kernel).collect();
    let expected = [
        "gemm_qu8_qc8w_32x32c64__wgsl",
        "maxpool_qu8_qu8_1x4__wgsl",
        "gemm_qu8_qc8w_32x32c64__wgsl",
        "maxpool_qu8_qu8_1x4__wgsl",
        "alias",
        "gemm_qu8_qc8w_1x8c128__wgsl",
        "gemm_qu8_qc8w_1x8c128__wgsl",
    ];
    assert_eq!(kernels, expected);
    let macs: Vec<u64> = nodes.iter().map(|node| node.macs).collect();
    assert_eq!(macs, [288_000, 0, 1_600_000, 0, 0, 400_000, 5000]);
}

#[test]
fn sessions_of_one_device_run_on_several_threads() {
    let Some(gpu) = gpu() else { return };
    std::thread::scope(|scope| {
        for problem in networks() {
            let gpu = &gpu;
            scope.spawn(move || {
                let mut report = Report::new();
                problem.check(gpu, "wgsl", false, &mut report);
                report.finish(&problem.name);
            });
        }
    });
}

#[test]
fn a_batch_gives_what_single_runs_give() {
    let Some(gpu) = gpu() else { return };
    let net = lenet5_int8();
    let model = net.model();
    let samples = 5;
    let input: Vec<f64> = Random::new(12).bytes(784 * samples).into_iter().map(f64::from).collect();
    let options = LoadOptions { batch: samples, ..LoadOptions::default() };
    let together = run(&mut *load(&gpu, &model, &options), core::slice::from_ref(&input));
    let Data::I32(together) = &together.expect("runs")[0] else { panic!("logits are i32") };
    let mut single = load(&gpu, &model, &LoadOptions::default());
    let reference = Reference::runtime();
    let mut reference = reference.load(&model, &LoadOptions::default()).expect("loads");
    for (input, logits) in input.chunks(784).zip(together.chunks(10)) {
        let alone = run(&mut *single, &[input.to_vec()]).expect("runs");
        assert_eq!(alone[0], Data::I32(logits.to_vec()));
        assert_eq!(run(&mut *reference, &[input.to_vec()]), Ok(alone));
    }
}

#[test]
fn random_networks_are_computed_as_the_oracle_does() {
    let Some(gpu) = gpu() else { return };
    let mut report = Report::new();
    for problem in random_networks(0..40) {
        problem.check(&gpu, "wgsl", false, &mut report);
    }
    report.finish("random networks");
}

/// Weights in 16 bits are off by 2^-11 at most, relative, and so are sums of products in the mean less than that of the largest.
#[test]
fn half_weights_take_half_the_memory_and_are_almost_as_good() {
    let Some(gpu) = gpu() else { return };
    let options = WgpuOptions { half_weights: true, ..WgpuOptions::default() };
    let half = Wgpu::with_options(&options).expect("there is one");
    let mut report = Report::new();
    let mut bytes = [0, 0];
    let layers = convolutions().into_iter().step_by(2).chain(dense_layers());
    let problems = networks().into_iter().chain(layers);
    let floats = problems.filter(|problem| problem.name.ends_with("float"));
    for mut problem in floats {
        // Dense layers have a form for one sample, and another one for several.
        let is_convolution = problem.name.starts_with("convolution");
        for batch in if is_convolution { 2..3 } else { 1..3 } {
            problem.batch = batch;
            problem.tolerance = 3e-3;
            let options = LoadOptions { batch, ..LoadOptions::default() };
            let model = problem.net.model();
            bytes[0] += load(&gpu, &model, &options).memory().weight_bytes;
            bytes[1] += load(&half, &model, &options).memory().weight_bytes;
            problem.check(&half, "wgsl", false, &mut report);
        }
    }
    report.finish("weights in 16 bits");
    assert!(bytes[1] * 10 < bytes[0] * 7, "{bytes:?}");

    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 2), Elements::F32);
    let op = Op::Dense(Dense { activation: Activation::None });
    let weight = floats_of(Shape::matrix(1, 2), &[1.0, 65_536.0]);
    let output = net.layer(op, input, weight, None, Elements::F32);
    net.output(output);
    let error = half.load(&net.model(), &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Unsupported { .. })), "{error:?}");
}
