//! The two demo networks, trained on Fashion-MNIST, are as accurate on an emulated Neural Compute Stick as in fp32: on all 10,000
//! test pictures, within 0.2 points.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that is skipped has to be loud, and numbers are worth a look"
)]

use embdl_bench::{RuntimeChoice, open, retest};
use embdl_compress::{EncodeOptions, encode};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::{LoadOptions, Runtime};
use embdl_data::catalog::{self, CatalogError};
use embdl_data::{Dataset, Split};
use embdl_graph::{Graph, zoo};
use embdl_train::{Device, Run, TrainConfig, train};
use rt_myriad::Myriad;
use rt_myriad::emulator::{Arithmetic, EmulatorConfig, Stick};

/// Largest distance of accuracies, as a share.
const TOLERANCE: f64 = 0.002;
/// Pictures at a time: an input is sent while another is computed.
const BATCH: usize = 100;

/// The data set, where this machine has it: `cargo xtask` sees to that.
fn data() -> Option<Split> {
    match catalog::load("fashion-mnist", &catalog::LoadOptions::default()) {
        Ok(split) => Some(split),
        Err(CatalogError::NotFound(missing)) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Trained for seconds only: what is compared is arithmetic, and it is harder on a network that is less sure.
fn trained(mut graph: Graph, split: &Split) -> Vec<u8> {
    let few = split.train.head(20_000);
    let run = Run {
        train: &few,
        validation: &split.validation.head(1000),
        teacher: None,
        checkpoints: None,
        threads: Some(2),
        device: Device::Cpu,
    };
    let config =
        TrainConfig { epochs: 1, batch: 32, learning_rate: 0.02, ..TrainConfig::default() };
    train(&mut graph, &run, &config, &mut ()).expect("it trains");
    encode(&graph, EncodeOptions::default()).expect("it encodes").bytes
}

fn accuracy(runtime: &dyn Runtime, bytes: &[u8], test: &Dataset) -> f64 {
    let model = format::read(bytes, &Limits::default()).expect("it was encoded");
    let options = LoadOptions { batch: BATCH, ..LoadOptions::default() };
    let mut session = runtime.load(&model, &options).expect("it loads");
    let isa = runtime.capabilities().isa.to_owned();
    let choice = RuntimeChoice { runtime: runtime.name().to_owned(), isa };
    retest(session.as_mut(), &choice, test, None, |_| {}).expect("it runs").accuracy
}

fn check(graph: Graph) {
    let name = graph.name.clone();
    let Some(split) = data() else { return };
    let bytes = trained(graph, &split);
    let test = split.test.for_report();
    assert_eq!(test.len(), 10_000);
    let native = open("native").expect("a runtime of this machine");
    let want = accuracy(&*native, &bytes, test);
    assert!(want > 0.7, "{name}: {want} in fp32");
    for arithmetic in [Arithmetic::Sums32, Arithmetic::Lanes16] {
        let stick = || Stick::new(EmulatorConfig { arithmetic, ..EmulatorConfig::default() });
        let myriad = Myriad::emulated(vec![stick(), stick()]).expect("emulated sticks");
        let found = accuracy(&myriad, &bytes, test);
        println!("{name}: {want:.4} in fp32, {found:.4} on the emulated stick ({arithmetic:?})");
        assert!((found - want).abs() <= TOLERANCE, "{name}: {found} instead of {want}");
    }
}

#[test]
fn lenet_300_100_is_as_accurate_on_the_emulated_stick() {
    check(zoo::lenet300(1));
}

#[test]
fn lenet_5_is_as_accurate_on_the_emulated_stick() {
    check(zoo::lenet5(1));
}
