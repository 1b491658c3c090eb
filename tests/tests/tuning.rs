//! Kernels that are chosen by measuring: the results are the same, and a choice is made once.
#![cfg(target_arch = "x86_64")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use embdl_core::model::Scales;
use embdl_core::op::{Activation, Conv2d, Dense, Op, Window};
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, Runtime, Tuner};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use embdl_tests::models::{Data, run};
use embdl_tests::net::{Elements, Net, Store, floats, integers};

/// A clock that ticks by itself, and a memory.
#[derive(Debug)]
struct Memory {
    fastest: Fastest,
    clock: AtomicU64,
    choices: Mutex<BTreeMap<String, String>>,
    measures: bool,
    /// What was observed last of a kernel.
    factors: Mutex<BTreeMap<String, f32>>,
}

impl Memory {
    fn new(fastest: Fastest, measures: bool) -> Self {
        let (clock, choices, factors) = Default::default();
        Self { fastest, clock, choices, measures, factors }
    }
}

/// Which candidate the clock makes the fastest.
#[derive(Clone, Copy, Debug)]
enum Fastest {
    /// Every measured run takes longer than the one before.
    First,
    /// Every measured run takes less long.
    Last,
}

impl Tuner for Memory {
    fn now_ns(&self) -> u64 {
        /// More than the ticks of any test.
        const END: u64 = 1 << 20;
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        match self.fastest {
            Fastest::First => now * now,
            Fastest::Last => END * END - (END - now) * (END - now),
        }
    }

    fn known(&self, problem: &str) -> Option<String> {
        self.choices.lock().unwrap().get(problem).cloned()
    }

    fn learn(&self, problem: &str, kernel: &str) {
        let before = self.choices.lock().unwrap().insert(problem.into(), kernel.into());
        assert_eq!(before, None, "{problem} is chosen for twice");
    }

    fn measures(&self) -> bool {
        self.measures
    }

    fn factor(&self, kernel: &str) -> f32 {
        self.factors.lock().unwrap().get(kernel).copied().unwrap_or(1.0)
    }

    fn observe(&self, kernel: &str, factor: f32) {
        assert!(factor.is_finite() && factor > 0.0, "{kernel}: {factor}");
        self.factors.lock().unwrap().insert(kernel.into(), factor);
    }
}

#[test]
fn a_choice_is_measured_once_and_then_known() {
    let mut net = Net::new();
    let mut random = Random::new(77);
    let input = net.input(Shape::nhwc(1, 14, 14, 64), Elements::F32);
    let op =
        Conv2d { window: Window::square(3, 1).padded(1), groups: 1, activation: Activation::Relu };
    let weight = floats(Shape::nhwc(64, 3, 3, 64), &random.floats(64 * 9 * 64));
    let bias = floats(Shape::vector(64), &random.floats(64));
    let out = net.layer(Op::Conv2d(op), input, weight, Some(bias), Elements::F32);
    net.output(out);
    let [expected, measured] = check_choices(&net, "winograd", Fastest::First);

    let (Data::F32(found), Data::F32(want)) = (measured, expected) else {
        panic!("floats are expected")
    };
    let largest = want.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= 2e-5 * largest, "{f}, {w}");
    }
}

#[test]
fn the_form_of_dense_weights_is_a_choice_too() {
    let mut net = Net::new();
    let mut random = Random::new(78);
    let quant = Quant { scale: 0.02, zero_point: 128 };
    let input = net.input(Shape::matrix(1, 512), Elements::U8(quant));
    let weights: Vec<i8> = random
        .weights(512 * 256, 100)
        .into_iter()
        .map(|w| if random.integer(0, 99) < 5 { w } else { 0 })
        .collect();
    let scales = Scales::PerTensor(0.01);
    let weight = integers(Shape::matrix(256, 512), scales, &weights, Store::Sparse);
    let op = Op::Dense(Dense { activation: Activation::None });
    let out = net.layer(op, input, weight, None, Elements::U8(quant));
    net.output(out);
    let [Data::U8(expected), Data::U8(measured)] =
        check_choices(&net, "gemm_qu8_ellw", Fastest::Last)
    else {
        panic!("levels are expected")
    };
    assert_eq!(measured, expected, "the forms give the same integers");
}

/// Loads the network by estimate, then with a tuner that finds another kernel the fastest, then with what the tuner knows.
/// Gives the results of the first two.
fn check_choices(net: &Net, by_estimate: &str, fastest: Fastest) -> [Data; 2] {
    let model = net.model();
    let len = model.values[model.inputs[0]].kind.shape.len();
    let mut random = Random::new(79);
    let inputs = vec![random.bytes(len).into_iter().map(f64::from).collect::<Vec<_>>()];
    let runtime = rt_atom::runtime().expect("an x86 CPU");
    let kernel = |tuner: Option<Arc<dyn Tuner>>| {
        let clock: fn() -> u64 = || 0;
        let options = LoadOptions { tuner, clock: Some(clock), ..LoadOptions::default() };
        let mut session = runtime.load(&model, &options).expect("loads");
        let results = run(&mut *session, &inputs).expect("runs");
        let profile = session.profile().expect("there is a clock");
        (profile.nodes[0].kernel, results.into_iter().next().expect("one output"))
    };
    let (estimated, expected) = kernel(None);
    assert!(estimated.starts_with(by_estimate), "{estimated}");
    let memory = Arc::new(Memory::new(fastest, true));
    let (measured, results) = kernel(Some(memory.clone()));
    assert_ne!(measured, estimated);
    let ticks = memory.clock.load(Ordering::Relaxed);
    assert!(ticks > 0);
    assert_eq!(kernel(Some(memory.clone())).0, measured);
    assert_eq!(memory.clock.load(Ordering::Relaxed), ticks, "a known choice was measured again");
    assert!(!memory.factors.lock().unwrap().is_empty(), "nobody learned what estimates are worth");

    // A memory that never measures follows what it knows, and what it knows of kernels where it was not asked before.
    let quiet = Arc::new(Memory::new(fastest, false));
    assert_eq!(kernel(Some(quiet.clone())).0, estimated);
    quiet.factors.lock().unwrap().insert(estimated.into(), 1e6);
    assert_ne!(kernel(Some(quiet.clone())).0, estimated);
    quiet.factors.lock().unwrap().clear();
    *quiet.choices.lock().unwrap() = memory.choices.lock().unwrap().clone();
    assert_eq!(kernel(Some(quiet.clone())).0, measured);
    // A choice of another version is as none.
    quiet.choices.lock().unwrap().values_mut().for_each(|choice| *choice = "none such".into());
    assert_eq!(kernel(Some(quiet.clone())).0, estimated);
    assert_eq!(quiet.clock.load(Ordering::Relaxed), 0, "a quiet memory was asked for the time");

    // Another choice in memory is followed.
    let problem = memory.choices.lock().unwrap().keys().next().cloned().expect("one problem");
    memory.choices.lock().unwrap().insert(problem, estimated.into());
    assert_eq!(kernel(Some(memory)).0, estimated);
    [expected, results]
}
