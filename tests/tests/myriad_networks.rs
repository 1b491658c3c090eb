//! The networks of the zoo as graphs for the Myriad: they fit the chip, read back, and give what the scalar reference gives.

use embdl_compress::{EncodeOptions, encode};
use embdl_core::format::{self, Limits};
use embdl_core::kernels::Reference;
use embdl_core::runtime::{LoadOptions, Runtime};
use embdl_core::tensor::{TensorMut, TensorRef};
use embdl_graph::{fold_batch_norm, fuse_activations, zoo};
use embdl_testkit::Random;
use rt_myriad::Myriad;
use rt_myriad::blob::{self, MAX_DDR_BYTES, MAX_GRAPH_BYTES};
use rt_myriad::compile::{CompileOptions, FIFO_ELEMENTS, compile};
use rt_myriad::emulator::{Arithmetic, CostModel, EmulatorConfig, Stick, total};

/// The bytes of a network with initial weights.
fn network(name: &str) -> Vec<u8> {
    let mut graph = zoo::by_name(name, 1).expect("a network of the zoo");
    fold_batch_norm(&mut graph).expect("it folds");
    fuse_activations(&mut graph).expect("it fuses");
    encode(&graph, EncodeOptions::default()).expect("it encodes").bytes
}

/// Under another CPU's emulation these would take minutes, and they choose no code by the CPU.
fn is_emulated() -> bool {
    let emulated = std::env::var_os("EMBDL_EMULATED").is_some_and(|value| !value.is_empty());
    if emulated {
        eprintln!("SKIPPED: emulated, and the same on every CPU");
    }
    emulated
}

#[test]
fn networks_fit_the_chip() {
    if is_emulated() {
        return;
    }
    for name in [
        "lenet-300-100",
        "lenet-5",
        "squeezenet-1.0",
        "squeezenet-1.1",
        "mobilenet-v1",
        "mobilenet-v2",
        "alexnet",
        "alexnet-caffe",
    ] {
        let bytes = network(name);
        let model = format::read(&bytes, &Limits::default()).expect("it was encoded");
        let compiled = compile(&model, &CompileOptions::default()).expect(name);
        let file = blob::write(&compiled.blob).expect(name);
        assert!(file.len() <= MAX_GRAPH_BYTES, "{name}: {}", file.len());
        let ddr = compiled.blob.ddr_bytes(FIFO_ELEMENTS);
        assert!(ddr <= MAX_DDR_BYTES, "{name}: {ddr}");
        // Parameters of 16 bits are rounded once, when they are written.
        let again = blob::write(&blob::read(&file).expect(name)).expect(name);
        assert!(again == file, "{name}: what was read is written otherwise");
        eprintln!(
            "{name}: {} stages, file {} bytes, memory {ddr} bytes",
            compiled.blob.stages.len(),
            file.len()
        );
        let mut slower = f64::INFINITY;
        for shaves in [1, 4, 8, 12] {
            let mut blob = compiled.blob.clone();
            blob.stages.iter_mut().for_each(|stage| stage.shaves = shaves);
            let cost = total(&blob, &CostModel::default());
            eprintln!(
                "  modelled on {shaves} cores: {:.1} ms, {:.2} W",
                1e3 * cost.seconds,
                cost.watts()
            );
            assert!(cost.seconds <= slower, "{name} on {shaves} cores");
            slower = cost.seconds;
        }
    }
}

/// 138 million weights of 16 bits are below the limit of 320 MiB. With less memory than the chip has, it is said what to do instead.
#[test]
fn vgg_16_fits_by_its_bytes_or_says_what_to_take_instead() {
    if is_emulated() {
        return;
    }
    let graph = zoo::zeroed("vgg-16").expect("a network of the zoo");
    let bytes = encode(&graph, EncodeOptions::default()).expect("it encodes").bytes;
    let model = format::read(&bytes, &Limits::default()).expect("it was encoded");
    let compiled = compile(&model, &CompileOptions::default()).expect("it fits");
    let constants = compiled.blob.constants.len();
    assert!((2 * 138_357_544..=MAX_GRAPH_BYTES).contains(&constants), "{constants}");
    let ddr = compiled.blob.ddr_bytes(FIFO_ELEMENTS);
    eprintln!("vgg-16: constants {constants} bytes, memory {ddr} bytes");
    let cost = total(&compiled.blob, &CostModel::default());
    eprintln!("  modelled: {:.1} ms, {:.2} W", 1e3 * cost.seconds, cost.watts());
    let less = CompileOptions { ddr_bytes: 256 << 20, ..CompileOptions::default() };
    let error = compile(&model, &less).expect_err("it does not fit").to_string();
    assert!(error.contains("smaller network such as squeezenet-1.1"), "{error}");
}

/// Scores of a picture of noise, on a runtime.
fn scores(runtime: &dyn Runtime, bytes: &[u8]) -> Vec<f32> {
    let model = format::read(bytes, &Limits::default()).expect("it was encoded");
    let mut session = runtime.load(&model, &LoadOptions::default()).expect("it loads");
    let input = Random::new(5).floats(session.inputs()[0].kind.shape.len());
    let mut output = vec![0.0; session.outputs()[0].kind.shape.len()];
    session.run(&[TensorRef::F32(&input)], &mut [TensorMut::F32(&mut output)]).expect("it runs");
    output
}

fn check(name: &str, arithmetic: Arithmetic, tolerance: f32) {
    if is_emulated() {
        return;
    }
    let bytes = network(name);
    let want = scores(&Reference::runtime(), &bytes);
    let stick = Stick::new(EmulatorConfig { arithmetic, ..EmulatorConfig::default() });
    let got = scores(&Myriad::emulated(vec![stick]).expect("an emulated stick"), &bytes);
    let largest = want.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let worst = got.iter().zip(&want).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    eprintln!("{name} {arithmetic:?}: off by {worst:e} of {largest:e}");
    assert!(worst <= tolerance * largest, "{name}: {worst} of {largest}");
    assert!(got.iter().any(|&x| x != got[0]), "{name}: all scores are equal");
}

/// Eighteen layers with a rounding of inputs and result each: a hundredth of the largest score.
#[test]
fn squeezenet_runs() {
    check("squeezenet-1.1", Arithmetic::Sums32, 0.01);
}

#[test]
fn mobilenet_runs() {
    check("mobilenet-v2-0.5@160", Arithmetic::Sums32, 0.02);
}

/// Sums of 16 bits are off by more, the more products there are.
#[test]
fn lenet_runs_in_eight_sums_of_16_bits() {
    check("lenet-5", Arithmetic::Lanes16, 0.02);
}
