//! What sessions on an NVIDIA GPU promise beside results: errors where driver, device, memory or kernels fail, nothing kept.

use core::sync::atomic::{AtomicU64, Ordering};
use std::path::Path;

use embdl_core::kernels::Reference;
use embdl_core::model::Model;
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::runtime::{LoadOptions, MemoryUse, Runtime, RuntimeError, Session, WeightForm};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use embdl_tests::models::{
    Data, convolutions, dense_layers, lenet5_int8, networks, random_networks, run,
};
use embdl_tests::net::{Elements, Net, floats as floats_of};
use embdl_tests::report::Report;
use rt_jetson::forecast::jetson_tx2;
use rt_jetson::{Jetson, JetsonOptions};
use standin_cuda::{Settings, Standin};

fn driver(settings: Settings) -> Standin {
    Standin::new(settings).expect("the stand-in is built with the tests")
}

fn options(standin: &Standin) -> JetsonOptions {
    JetsonOptions { library: Some(standin.path().into()), ..JetsonOptions::default() }
}

fn open(standin: &Standin) -> Result<Jetson, RuntimeError> {
    Jetson::with_options(&options(standin))
}

fn load(gpu: &Jetson, model: &Model<'_>, options: &LoadOptions) -> Box<dyn Session> {
    gpu.load(model, options).expect("loads")
}

fn image() -> Vec<f64> {
    Random::new(3).bytes(784).into_iter().map(f64::from).collect()
}

/// A small network of each kind of layer, so that the interpreter is done soon.
fn small() -> Net {
    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 4), Elements::F32);
    let op = Op::Dense(Dense { activation: Activation::Relu });
    let weight = floats_of(Shape::matrix(3, 4), &[1.0; 12]);
    let output = net.layer(op, input, weight, None, Elements::F32);
    net.output(output);
    net
}

fn four() -> Vec<Vec<f64>> {
    vec![vec![1.0, 2.0, 3.0, -4.0]]
}

#[test]
fn without_a_driver_or_a_device_there_is_an_error_that_says_so() {
    let nowhere = JetsonOptions {
        library: Some(Path::new("/nonexistent/libcuda.so.1").into()),
        ..JetsonOptions::default()
    };
    let error = Jetson::with_options(&nowhere).unwrap_err();
    let text = "this machine has no driver of an NVIDIA GPU (libcuda.so.1), which the jetson runtime needs";
    assert_eq!(error.to_string(), text);
    let other = JetsonOptions { library: Some("libc.so.6".into()), ..JetsonOptions::default() };
    let error = Jetson::with_options(&other).unwrap_err();
    assert!(error.to_string().contains("lacks cuInit"), "{error}");

    let none = driver(Settings { devices: 0, ..Settings::default() });
    let error = open(&none).unwrap_err();
    assert!(matches!(error, RuntimeError::NotDetected { needed: "NVIDIA GPU", .. }), "{error}");
    let old = driver(Settings { version: 9000, ..Settings::default() });
    let error = open(&old).unwrap_err();
    assert!(error.to_string().contains("CUDA 9.0, and 10.2 is needed"), "{error}");
    // A Jetson Nano.
    let chip = driver(Settings { capability: [5, 3], ..Settings::default() });
    let error = open(&chip).unwrap_err();
    assert!(error.to_string().contains("capability is 5.3, and 6.2 is needed"), "{error}");
    let standin = driver(Settings::default());
    let asked = JetsonOptions { device: Some("abacus".into()), ..options(&standin) };
    let error = Jetson::with_options(&asked).unwrap_err();
    assert!(matches!(error, RuntimeError::NoSuchDevice { .. }), "{error}");
    assert_eq!([none.held(), old.held(), chip.held(), standin.held()], [0; 4]);
}

#[test]
fn no_function_that_10_2_lacks_is_needed() {
    let standin = driver(Settings::default());
    // The stand-in is no newer than it says.
    for name in [
        c"cuDevicePrimaryCtxRelease_v2",
        c"cuGraphInstantiateWithFlags",
        c"cuGraphInstantiate_v2",
        c"cuMemAllocAsync",
        c"cuEventElapsedTime_v2",
        c"cuGetProcAddress",
    ] {
        assert!(!standin.has(name), "{name:?}");
    }
    assert!(standin.has(c"cuGraphInstantiate") && standin.has(c"cuTexObjectCreate"));
    let gpu = open(&standin).expect("10.2 is enough");
    assert_eq!((gpu.driver(), gpu.capability(), gpu.is_integrated()), ((10, 2), (6, 2), true));
    let net = small();
    let model = net.model();
    let mut session = load(&gpu, &model, &LoadOptions::default());
    assert_eq!(run(&mut *session, &four()), Ok(vec![Data::F32(vec![2.0; 3])]));
}

#[test]
fn a_graph_a_list_and_a_card_of_its_own_memory_give_the_same() {
    let net = lenet5_int8();
    let model = net.model();
    let mut reference = Reference::runtime().load(&model, &LoadOptions::default()).expect("loads");
    let want = run(&mut *reference, &[image()]);
    for is_integrated in [0, 1] {
        let standin = driver(Settings { is_integrated, ..Settings::default() });
        for launch_list in [false, true] {
            let options = JetsonOptions { launch_list, ..options(&standin) };
            let gpu = Jetson::with_options(&options).expect("opens");
            let mut session = load(&gpu, &model, &LoadOptions::default());
            assert_eq!(run(&mut *session, &[image()]), want, "{is_integrated} {launch_list}");
            drop(gpu);
            // The session keeps what it needs.
            assert_eq!(run(&mut *session, &[image()]), want, "{is_integrated} {launch_list}");
        }
        assert_eq!(standin.held(), 0, "everything is given back");
    }
}

#[test]
fn a_forecast_counts_the_launches_and_the_memory_of_a_session() {
    for (net, input) in [(small(), four()), (lenet5_int8(), vec![image()])] {
        let model = net.model();
        let forecast = jetson_tx2(&model, &LoadOptions::default(), false).expect("is planned");
        let kernels = forecast.launches - model.outputs.len();
        for (kernels, is_enough) in [(kernels, true), (kernels - 1, false)] {
            let kernels = i64::try_from(kernels).expect("few");
            let standin = driver(Settings { kernels, ..Settings::default() });
            let gpu = open(&standin).expect("opens");
            let mut session = load(&gpu, &model, &LoadOptions::default());
            let MemoryUse { weight_bytes, arena_bytes, scratch_bytes, .. } = session.memory();
            assert_eq!(forecast.memory_bytes, weight_bytes + arena_bytes + scratch_bytes);
            assert_eq!(run(&mut *session, &input).is_ok(), is_enough, "{kernels} kernels");
        }
    }
    let net = small();
    let little = LoadOptions { max_memory_bytes: 100, ..LoadOptions::default() };
    let error = jetson_tx2(&net.model(), &little, false).unwrap_err();
    assert!(matches!(error, RuntimeError::TooLarge { allowed: 100, .. }), "{error}");
}

#[test]
fn four_products_at_a_time_are_the_same_products() {
    let standin = driver(Settings { capability: [7, 2], processors: 8, ..Settings::default() });
    let gpu = open(&standin).expect("opens");
    assert_eq!(gpu.capabilities().isas, ["dp4a", "sm62"]);
    let mut report = Report::new();
    let layers = convolutions().into_iter().chain(dense_layers());
    for problem in layers.filter(|problem| !problem.name.ends_with("float")).step_by(3) {
        problem.check(&gpu, "dp4a", false, &mut report);
    }
    report.finish("dp4a");
}

#[test]
fn a_lost_device_is_an_error_and_its_sessions_can_be_dropped() {
    let net = small();
    let model = net.model();
    for launch_list in [false, true] {
        let standin = driver(Settings { kernels: 1, ..Settings::default() });
        let options = JetsonOptions { launch_list, ..options(&standin) };
        let gpu = Jetson::with_options(&options).expect("opens");
        let mut session = load(&gpu, &model, &LoadOptions::default());
        let before = run(&mut *session, &four()).expect("the first kernel goes well");
        for _ in 0..2 {
            let error = run(&mut *session, &four()).expect_err("the device is gone");
            assert!(matches!(error, RuntimeError::DeviceLost { .. }), "{error}");
        }
        let error = gpu.load(&model, &LoadOptions::default()).err().expect("the device is gone");
        assert!(error.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{error}");
        drop(session);
        drop(gpu);
        assert_eq!(standin.held(), 0, "everything is given back");
        standin.set(Settings::default());
        let again = open(&standin).expect("the device is back");
        let mut session = load(&again, &model, &LoadOptions::default());
        assert_eq!(run(&mut *session, &four()), Ok(before));
    }
}

#[test]
fn no_memory_left_is_an_error_at_every_allocation() {
    let net = small();
    let model = net.model();
    let mut failures = 0;
    for allocations in 0.. {
        let standin = driver(Settings { allocations, ..Settings::default() });
        let gpu = open(&standin).expect("opens");
        match gpu.load(&model, &LoadOptions::default()) {
            Ok(_) => break,
            Err(error) => {
                assert!(matches!(error, RuntimeError::DeviceMemory { .. }), "{error}");
                failures += 1;
            }
        }
        drop(gpu);
        assert_eq!(standin.held(), 0, "everything is given back after {allocations}");
    }
    // One on the device, one of pinned memory.
    assert_eq!(failures, 2);
}

#[test]
fn a_refused_kernel_is_an_error_with_the_reason() {
    let standin = driver(Settings { refuses_images: 1, ..Settings::default() });
    let gpu = open(&standin).expect("opens");
    let net = small();
    let error = gpu.load(&net.model(), &LoadOptions::default()).err().expect("refused");
    let text = error.to_string();
    assert!(
        text.contains("compiling kernels: CUDA_ERROR_INVALID_PTX (218): ptxas fatal"),
        "{text}"
    );
    standin.set(Settings::default());
    assert!(gpu.load(&net.model(), &LoadOptions::default()).is_ok(), "the device is not lost");
    drop(gpu);
    assert_eq!(standin.held(), 0);
}

#[test]
fn memory_is_limited_before_it_is_allocated() {
    let standin = driver(Settings::default());
    let gpu = open(&standin).expect("opens");
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
    // More than kernels count, whatever the options allow.
    let max_memory_bytes = usize::MAX;
    let options = LoadOptions { batch: 4_000_000_000, max_memory_bytes, ..LoadOptions::default() };
    let error = gpu.load(&model, &options).err();
    assert!(matches!(error, Some(RuntimeError::TooLarge { .. })), "{error:?}");
}

#[test]
fn weights_that_do_not_decode_are_an_error() {
    let standin = driver(Settings::default());
    let gpu = open(&standin).expect("opens");
    let net = small();
    let mut model = net.model();
    model.tensors[0].symbols.bytes = &[0; 47];
    let error = gpu.load(&model, &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Weight { .. })), "{error:?}");
    model.nodes[0].weight = Some(99);
    let error = gpu.load(&model, &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Invalid { .. })), "{error:?}");
    let options = LoadOptions { isa: Some("abacus".into()), ..LoadOptions::default() };
    let error = gpu.load(&net.model(), &options).err();
    assert!(matches!(error, Some(RuntimeError::IsaUnavailable { .. })), "{error:?}");
}

#[test]
fn profiles_name_nodes_kernels_and_costs() {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    fn clock() -> u64 {
        TICKS.fetch_add(7, Ordering::Relaxed)
    }
    let standin = driver(Settings::default());
    let gpu = open(&standin).expect("opens");
    let net = lenet5_int8();
    let model = net.model();
    let mut plain = load(&gpu, &model, &LoadOptions::default());
    let options = LoadOptions { clock: Some(clock), ..LoadOptions::default() };
    let mut profiled = load(&gpu, &model, &options);
    let (want, got) = (run(&mut *plain, &[image()]), run(&mut *profiled, &[image()]));
    assert_eq!(got, want, "profiled or not");
    assert_eq!(plain.profile(), None);
    let nodes = &profiled.profile().expect("a clock was given").nodes;
    for node in nodes.iter().filter(|node| node.kernel != "alias") {
        assert!(node.nanoseconds > 0 && node.bytes > 0, "{node:?}");
    }
    let kernels: Vec<&str> = nodes.iter().map(|node| node.kernel).collect();
    let expected = [
        "gemm_qu8_qc8w_32x32c16__sm62",
        "maxpool_qu8_qu8_1x4__sm62",
        "gemm_qu8_qc8w_32x32c16__sm62",
        "maxpool_qu8_qu8_1x4__sm62",
        "alias",
        "gemm_qu8_qc8w_4x16c512__sm62",
        "gemm_qu8_qc8w_4x16c512__sm62",
    ];
    assert_eq!(kernels, expected);
}

#[test]
fn random_networks_are_computed_as_the_oracle_does() {
    let standin = driver(Settings::default());
    let gpu = open(&standin).expect("opens");
    let mut report = Report::new();
    for problem in random_networks(0..10) {
        problem.check(&gpu, "sm62", false, &mut report);
    }
    report.finish("random networks");
}

/// Products of 16 bits, summed up 16 at a time before they become floats, are off by some 2^-11 each.
#[test]
fn half_weights_take_half_the_memory_and_are_almost_as_good() {
    let standin = driver(Settings::default());
    let gpu = open(&standin).expect("opens");
    let options = JetsonOptions { half_weights: true, ..options(&standin) };
    let half = Jetson::with_options(&options).expect("opens");
    let mut report = Report::new();
    let mut bytes = [0, 0];
    let layers = convolutions().into_iter().step_by(4).chain(dense_layers().into_iter().step_by(2));
    let problems = networks().into_iter().chain(layers);
    for mut problem in problems.filter(|problem| problem.name.ends_with("float")) {
        problem.tolerance = 1e-2;
        let model = problem.net.model();
        bytes[0] += load(&gpu, &model, &LoadOptions::default()).memory().weight_bytes;
        let of_half = load(&half, &model, &LoadOptions::default()).memory().weight_bytes;
        bytes[1] += of_half;
        // The same by the name of a level.
        let level = LoadOptions { isa: Some("fp16".into()), ..LoadOptions::default() };
        assert_eq!(load(&gpu, &model, &level).memory().weight_bytes, of_half);
        problem.check(&half, "sm62", false, &mut report);
    }
    report.finish("weights in 16 bits");
    assert!(bytes[1] * 10 < bytes[0] * 8, "{bytes:?}");

    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 2), Elements::F32);
    let op = Op::Dense(Dense { activation: Activation::None });
    let weight = floats_of(Shape::matrix(1, 2), &[1.0, 65_536.0]);
    let output = net.layer(op, input, weight, None, Elements::F32);
    net.output(output);
    let error = half.load(&net.model(), &LoadOptions::default()).err();
    assert!(matches!(&error, Some(RuntimeError::Unsupported { .. })), "{error:?}");
}
