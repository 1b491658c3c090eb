//! Kernels that are chosen by measuring: the results are the same, and a choice is made once.
#![cfg(target_arch = "x86_64")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::runtime::{LoadOptions, Runtime, Tuner};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use embdl_tests::models::{Data, run};
use embdl_tests::net::{Elements, Net, floats};

/// A clock that ticks by itself, and a memory.
#[derive(Debug, Default)]
struct Memory {
    clock: AtomicU64,
    choices: Mutex<BTreeMap<String, String>>,
}

impl Tuner for Memory {
    fn now_ns(&self) -> u64 {
        // Every measured run takes longer than the one before, so the first candidate, GEMM, is the fastest.
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        now * now
    }

    fn known(&self, problem: &str) -> Option<String> {
        self.choices.lock().unwrap().get(problem).cloned()
    }

    fn learn(&self, problem: &str, kernel: &str) {
        let before = self.choices.lock().unwrap().insert(problem.into(), kernel.into());
        assert_eq!(before, None, "{problem} is chosen for twice");
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
    let model = net.model();
    let inputs = vec![random.floats(14 * 14 * 64).into_iter().map(f64::from).collect::<Vec<_>>()];

    let runtime = rt_atom::runtime().expect("an x86 CPU");
    let kernel = |tuner: Option<Arc<dyn Tuner>>| {
        let clock: fn() -> u64 = || 0;
        let options = LoadOptions { tuner, clock: Some(clock), ..LoadOptions::default() };
        let mut session = runtime.load(&model, &options).expect("loads");
        let results = run(&mut *session, &inputs).expect("runs");
        let profile = session.profile().expect("there is a clock");
        (profile.nodes[0].kernel, results)
    };
    let (estimated, expected) = kernel(None);
    assert!(estimated.starts_with("winograd"), "{estimated}");
    let memory = Arc::new(Memory::default());
    let (measured, results) = kernel(Some(memory.clone()));
    assert!(measured.starts_with("gemm"), "{measured}");
    let ticks = memory.clock.load(Ordering::Relaxed);
    assert!(ticks > 0);
    assert_eq!(kernel(Some(memory.clone())).0, measured);
    assert_eq!(memory.clock.load(Ordering::Relaxed), ticks, "a known choice was measured again");

    // Another choice in memory is followed.
    let problem = memory.choices.lock().unwrap().keys().next().cloned().expect("one problem");
    memory.choices.lock().unwrap().insert(problem.clone(), estimated.into());
    assert_eq!(kernel(Some(memory.clone())).0, estimated);
    memory.choices.lock().unwrap().clear();

    let (Data::F32(found), Data::F32(want)) = (&results[0], &expected[0]) else {
        panic!("floats are expected")
    };
    let largest = want.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= 2e-5 * largest, "{f}, {w}");
    }
}
