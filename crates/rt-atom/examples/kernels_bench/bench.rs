//! Which kernels are timed on which shapes, and how.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]

use core::hint::black_box;
use core::time::Duration;
use std::arch::asm;
use std::sync::Arc;
use std::time::Instant;

use embdl_core::kernels::{GemmF32, GemmQ8, Kernels, OutQ8, PackedF32, PackedQ8, Reference};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::Random;

use crate::{compressed, convolutions, forms, networks, pointwise, rows, sparse, windows};

/// Times what it is given.
pub(crate) type Time<'a> = &'a mut dyn FnMut(&mut dyn FnMut());
/// Times what it is given, under a name: shape, kernel, multiply-accumulates as if dense.
pub(crate) type Report<'a> = &'a mut dyn FnMut(&str, &str, usize, &mut dyn FnMut());

/// Matrix products of layers: what it is, rows, channels, k.
const PRODUCTS: &[(&str, usize, usize, usize)] = &[
    ("lenet-300-100 fc1", 1, 300, 784),
    ("lenet-300-100 fc2", 1, 100, 300),
    ("lenet-300-100 fc3", 1, 10, 100),
    ("lenet-5 conv1", 576, 20, 25),
    ("lenet-5 conv2", 64, 50, 500),
    ("lenet-5 fc1", 1, 500, 800),
    ("lenet-5 fc2", 1, 10, 500),
    ("square 256", 256, 256, 256),
    ("square 512", 512, 512, 512),
    ("mobilenet 28x28x256", 784, 256, 256),
    ("mobilenet 7x7x1024", 49, 1024, 1024),
];

/// Prints the table.
pub(crate) fn run() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let mut runtimes: Vec<Arc<dyn Kernels>> = vec![Arc::new(Reference)];
    let levels = rt_atom::detect::Level::available();
    runtimes
        .extend(levels.iter().rev().filter_map(|level| rt_atom::kernels(Some(level.name())).ok()));
    if let Some(level) = filter.strip_prefix("compressed") {
        let isas: Vec<&str> = runtimes[1..].iter().map(|kernels| kernels.isa()).collect();
        return compressed::run(&isas, level.trim_start_matches(":"));
    }
    if let Some(level) = filter.strip_prefix("sparse") {
        return sparse::run(&runtimes[1..], level.trim_start_matches(":"));
    }
    if let Some(level) = filter.strip_prefix("forms") {
        return forms::run(&runtimes[1..], level.trim_start_matches(":"));
    }
    if let Some(filter) = filter.strip_prefix("pointwise") {
        return pointwise::run(&runtimes, filter.trim_start_matches(":"));
    }
    println!("{:26} {:16} {:>10} {:>8} {:>7}", "shape", "kernel", "us", "GMAC/s", "of peak");
    let cycle_ns = cycle_ns();
    for kernels in &runtimes {
        let isa = kernels.isa();
        let (f32_peak, q8_peak) = match isa {
            // Two multipliers a cycle: 4 or 8 floats each, half of 16 or 32 bytes each.
            "sse41" => (8.0 / cycle_ns, 16.0 / cycle_ns),
            "avx2" => (16.0 / cycle_ns, 32.0 / cycle_ns),
            _ => (f64::NAN, f64::NAN),
        };
        let report = |name: &str, kernel: &str, macs: usize, peak: f64, run: &mut dyn FnMut()| {
            if name.contains(&filter) {
                report(name, &format!("{kernel} {isa}"), best(run), macs as f64, peak);
            }
        };
        for &(name, m, n, k) in PRODUCTS {
            float_product(&**kernels, [m, n, k], &mut |run| {
                report(name, "f32", m * n * k, f32_peak, run);
            });
            for limit in [127, 63, 31] {
                integer_product(&**kernels, [m, n, k], limit, &mut |run| {
                    report(name, &format!("q8/{limit}"), m * n * k, q8_peak, run);
                });
            }
        }
        convolutions::run(&**kernels, &mut |name, kernel, macs, run| {
            report(name, kernel, macs, f32_peak, run);
        });
        networks::run(isa, &mut |name, kernel, macs, run| {
            report(name, kernel, macs, f64::NAN, run);
        });
        rows::run(&**kernels, &mut |name, kernel, macs, run| {
            report(name, kernel, macs, f64::NAN, run);
        });
        windows::run(&**kernels, &mut |name, kernel, macs, run| {
            report(name, kernel, macs, f64::NAN, run);
        });
    }
}

fn report(name: &str, kernel: &str, time: Duration, macs: f64, peak: f64) {
    let rate = macs / time.as_nanos() as f64;
    let micros = time.as_nanos() as f64 / 1e3;
    println!("{name:26} {kernel:16} {micros:10.2} {rate:8.1} {:6.0} %", 100.0 * rate / peak);
}

fn float_product(kernels: &dyn Kernels, [m, n, k]: [usize; 3], time: Time<'_>) {
    let mut random = Random::new(1);
    let weights = PackedF32::pack(&random.floats(n * k), &[], n, k, kernels.tile_f32());
    let lhs = random.floats(m * k);
    let clamp = (0.0, f32::INFINITY);
    let job = GemmF32 { m, lhs: &lhs, lhs_stride: k, weights: &weights, clamp, out_stride: n };
    let mut out = vec![0.0; m * n];
    time(&mut || kernels.gemm_f32(black_box(&job), black_box(&mut out)));
}

fn integer_product(kernels: &dyn Kernels, [m, n, k]: [usize; 3], limit: i8, time: Time<'_>) {
    let mut random = Random::new(1);
    let weights = random.weights(n * k, limit);
    let weights = PackedQ8::pack(&weights, &[], 3, n, k, kernels.tile_q8());
    let lhs = random.bytes(m * k);
    let job = GemmQ8 { m, lhs: &lhs, lhs_stride: k, weights: &weights, out_stride: n };
    let requant = usual_requant(n);
    let mut out = vec![0; m * n];
    time(&mut || kernels.gemm_q8(black_box(&job), OutQ8::U8(&requant, black_box(&mut out))));
}

pub(crate) fn usual_requant(channels: usize) -> Requant {
    Requant::new(&vec![0.001; channels], Quant { scale: 1.0, zero_point: 0 }, (0, 255))
        .expect("a usual ratio")
}

/// Shortest of the repetitions that fit in a few milliseconds, at least five.
pub(crate) fn best(run: &mut dyn FnMut()) -> Duration {
    run();
    let start = Instant::now();
    let mut shortest = Duration::MAX;
    let mut repetitions = 0;
    while repetitions < 5 || start.elapsed() < Duration::from_millis(20) {
        let begin = Instant::now();
        run();
        shortest = shortest.min(begin.elapsed());
        repetitions += 1;
    }
    shortest
}

/// Length of a core cycle: a chain of dependent additions takes one cycle each.
fn cycle_ns() -> f64 {
    const STEPS: u32 = 100_000;
    let mut chain = || {
        let mut x = 1_u64;
        for _ in 0..STEPS / 10 {
            // SAFETY: ten additions to a register, which the compiler cannot fold.
            unsafe {
                asm!(
                    "add {x}, 1", "add {x}, 1", "add {x}, 1", "add {x}, 1", "add {x}, 1",
                    "add {x}, 1", "add {x}, 1", "add {x}, 1", "add {x}, 1", "add {x}, 1",
                    x = inout(reg) x,
                );
            }
        }
        black_box(x);
    };
    best(&mut chain).as_nanos() as f64 / f64::from(STEPS)
}
