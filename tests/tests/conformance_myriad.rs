//! The Myriad runtime solves every problem of floats that its chip has stages for, on an emulated stick, and refuses the others.

use embdl_core::model::Model;
use embdl_core::op::{Op, Pool, PoolKind};
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError};
use embdl_core::tensor::DType;
use embdl_tests::models::{self, Problem};
use embdl_tests::report::Report;
use rt_myriad::emulator::{Arithmetic, EmulatorConfig, Stick};
use rt_myriad::{ISA, Myriad};

/// What one rounding to 16 bits, of inputs and of the result, may do to a result, relative to the largest: four times 2^-11.
const ROUNDING: f64 = 4.0 / 2048.0;
/// What eight sums of 16 bits may do more: the partial sums of these problems have up to a hundred additions.
const LANES: f64 = 8.0 / 2048.0;

/// Why a model has to be refused, if it has to.
fn why_not(model: &Model<'_>) -> Option<&'static str> {
    if model.values.iter().any(|value| value.kind.dtype != DType::F32) {
        return Some("the chip computes in 16-bit floats");
    }
    model.nodes.iter().find_map(|node| {
        let shape = |value: usize| model.values[value].kind.shape;
        match &node.op {
            Op::Resize(_) => Some("positions of a resized map are not known"),
            Op::Pad(_) => Some("modes of pads are not known"),
            Op::Mul if shape(node.inputs[0]) != shape(node.inputs[1]) => {
                Some("products with one factor a channel are not known")
            }
            Op::Lrn(lrn) if lrn.size % 2 == 0 => Some("sides of an even size are not known"),
            Op::Pool(pool) if pool.window.dilation != [1, 1] => Some("pools have no dilation"),
            Op::Pool(pool) if overhangs(pool, [shape(node.inputs[0]), shape(node.output)]) => {
                Some("divisors of windows that hang over counted pads are not known")
            }
            _ => None,
        }
    })
}

fn overhangs(pool: &Pool, [from, to]: [embdl_core::tensor::Shape; 2]) -> bool {
    let window = &pool.window;
    pool.kind == (PoolKind::Average { include_pads: true })
        && (0..2).any(|axis| {
            let [stride, kernel, before, after] = [
                window.stride[axis],
                window.kernel[axis],
                window.pads[axis],
                window.pads[axis + 2],
            ]
            .map(|value| value as usize);
            (to.dim(axis + 1) - 1) * stride + kernel > from.dim(axis + 1) + before + after
        })
}

fn check(problems: Vec<Problem>, arithmetic: Arithmetic) {
    // It chooses no code by the CPU, and would take minutes in the emulation of another.
    if std::env::var_os("EMBDL_EMULATED").is_some_and(|value| !value.is_empty()) {
        eprintln!("SKIPPED: emulated, and the same on every CPU");
        return;
    }
    let stick = Stick::new(EmulatorConfig { arithmetic, ..EmulatorConfig::default() });
    let runtime = Myriad::emulated(vec![stick]).expect("an emulated stick");
    assert_eq!(runtime.capabilities().isas, [ISA]);
    let mut report = Report::new();
    for problem in problems {
        let (is_refused, nodes) = {
            let model = problem.net.model();
            (why_not(&model).is_some(), model.nodes.len())
        };
        #[expect(clippy::cast_precision_loss, reason = "a few nodes")]
        let roundings = nodes as f64;
        let each = if arithmetic == Arithmetic::Sums32 { ROUNDING } else { ROUNDING + LANES };
        let problem = Problem { tolerance: roundings * each, ..problem };
        problem.check(&runtime, ISA, is_refused, &mut report);
    }
    report.finish("myriad");
}

macro_rules! families {
    ($($family:ident)*) => {$(
        #[test]
        fn $family() {
            check(models::$family(), Arithmetic::Sums32);
        }
    )*};
}

families! {
    convolutions dense_layers pools element_wise layouts normalizations functions products moved networks batches
}

/// Levels and accumulators are none of its business: each of these is refused, and says so.
#[test]
fn boundaries_are_refused() {
    let runtime = Myriad::emulated(vec![Stick::new(EmulatorConfig::default())]).expect("emulated");
    let problems = models::boundaries();
    assert!(!problems.is_empty());
    for problem in problems {
        let model = problem.net.model();
        assert!(why_not(&model).is_some(), "{}", problem.name);
        let refusal = runtime.load(&model, &LoadOptions::default()).err();
        assert!(matches!(refusal, Some(RuntimeError::Unsupported { .. })), "{}", problem.name);
    }
}

#[test]
fn convolutions_in_eight_sums_of_16_bits() {
    check(models::convolutions(), Arithmetic::Lanes16);
}

#[test]
fn networks_in_eight_sums_of_16_bits() {
    check(models::networks(), Arithmetic::Lanes16);
}
