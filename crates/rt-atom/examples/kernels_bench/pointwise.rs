//! Kernels without weights: element by element, means, softmax, tables.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use core::hint::black_box;
use std::sync::Arc;

use embdl_core::kernels::pool::AverageRequant;
use embdl_core::kernels::{Kernels, WindowGeometry};
use embdl_core::op::Unary;
use embdl_core::quant::{AddRequant, MulRequant, Quant};
use embdl_testkit::Random;

use crate::bench::best;

/// Runs behind each other, because one may be shorter than the clock is exact.
const REPEAT: usize = 16;

/// What it is, input height and width, channels, kernel, stride.
const POOLS: &[(&str, usize, usize, usize, usize)] = &[
    ("average 7x7x1024 global", 7, 1024, 7, 1),
    ("average 13x13x1000 global", 13, 1000, 13, 1),
    ("average 28x28x64 2x2 /2", 28, 64, 2, 2),
    ("average 28x28x192 3x3 /1", 28, 192, 3, 1),
];

/// Prints nanoseconds an element: of the input for pools and of the result else.
pub(crate) fn run(runtimes: &[Arc<dyn Kernels>], filter: &str) {
    print!("{:30}", "ns an element");
    for kernels in runtimes {
        print!(" {:>10}", kernels.isa());
    }
    println!();
    let mut line = |name: &str, elements: usize, job: &mut dyn FnMut(&dyn Kernels)| {
        if !name.contains(filter) {
            return;
        }
        print!("{name:30}");
        for kernels in runtimes {
            let time = best(&mut || (0..REPEAT).for_each(|_| job(&**kernels)));
            print!(" {:10.4}", time.as_nanos() as f64 / (REPEAT * elements) as f64);
        }
        println!();
    };
    arithmetic(&mut line);
    for &(name, size, channels, kernel, stride) in POOLS {
        pool(name, [size, channels, kernel, stride], &mut line);
    }
    functions(&mut line);
}

type Line<'a> = &'a mut dyn FnMut(&str, usize, &mut dyn FnMut(&dyn Kernels));

const fn quant(scale: f32, zero_point: u8) -> Quant {
    Quant { scale, zero_point }
}

fn arithmetic(line: Line<'_>) {
    let mut random = Random::new(3);
    // The largest sum of MobileNetV2, and a small one.
    for len in [56 * 56 * 24, 7 * 7 * 160] {
        let rhs = random.floats(len);
        let mut data = random.floats(len);
        line(&format!("add f32 {len}"), len, &mut |kernels| {
            kernels.add_f32(black_box(&mut data), black_box(&rhs), (-3.0, 3.0));
        });
        line(&format!("clamp f32 {len}"), len, &mut |kernels| {
            kernels.clamp_f32((0.0, 6.0), black_box(&mut data));
        });
        let rhs = random.bytes(len);
        let mut data = random.bytes(len);
        let requant = AddRequant::new(quant(0.1, 120), quant(0.12, 3), quant(0.2, 99), (0, 255))
            .expect("in range");
        line(&format!("add u8 {len}"), len, &mut |kernels| {
            kernels.add_u8(black_box(&mut data), black_box(&rhs), black_box(&requant));
        });
        let requant = MulRequant::new(quant(0.1, 120), quant(0.004, 0), quant(0.1, 99));
        let requant = requant.expect("in range");
        let rows = embdl_core::kernels::product::Rows { sample: len, row: 160 };
        if len.is_multiple_of(160) {
            line(&format!("mul u8 {len}"), len, &mut |kernels| {
                kernels.mul_u8(rows, black_box(&mut data), &rhs[..160], black_box(&requant));
            });
        }
        line(&format!("clamp u8 {len}"), len, &mut |kernels| {
            kernels.clamp_u8((3, 200), black_box(&mut data));
        });
        let table: [u8; 256] = random.bytes(256).try_into().expect("256");
        line(&format!("table u8 {len}"), len, &mut |kernels| {
            kernels.map_u8(black_box(&table), black_box(&mut data));
        });
    }
    let len = 224 * 224 * 3;
    let input = random.floats(len);
    let mut levels = vec![0; len];
    line("quantize 224x224x3", len, &mut |kernels| {
        kernels.quantize(quant(0.01, 114), black_box(&input), black_box(&mut levels));
    });
    let mut floats = vec![0.0; len];
    line("dequantize 224x224x3", len, &mut |kernels| {
        kernels.dequantize_u8(quant(0.01, 114), black_box(&levels), black_box(&mut floats));
    });
}

fn pool(name: &str, [size, channels, kernel, stride]: [usize; 4], line: Line<'_>) {
    let geometry = WindowGeometry {
        input: [size, size, channels],
        output: [(size - kernel) / stride + 1; 2],
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pad_before: [0; 2],
        pad_after: [0; 2],
    };
    let mut random = Random::new(4);
    let input = random.floats(geometry.input_len());
    let mut out = vec![0.0; geometry.output_len()];
    line(&format!("{name}, f32"), input.len(), &mut |kernels| {
        kernels.average_pool_f32(&geometry, false, black_box(&input), black_box(&mut out));
    });
    let input = random.bytes(geometry.input_len());
    let mut out = vec![0; geometry.output_len()];
    let average = AverageRequant::new(&geometry, false, quant(0.1, 7), quant(0.08, 9));
    let average = average.expect("in range");
    line(&format!("{name}, u8"), input.len(), &mut |kernels| {
        kernels.average_pool_u8(&geometry, &average, black_box(&input), black_box(&mut out));
    });
}

fn functions(line: Line<'_>) {
    let mut random = Random::new(5);
    let input: Vec<f32> = random.floats(1000).iter().map(|x| 10.0 * x).collect();
    let mut out = vec![0.0; 1000];
    line("softmax 1000", 1000, &mut |kernels| {
        kernels.softmax_f32(1000, black_box(&input), black_box(&mut out));
    });
    let len = 14 * 14 * 96;
    let input: Vec<f32> = random.floats(len).iter().map(|x| 5.0 * x).collect();
    let mut data = input.clone();
    for (name, unary) in [
        ("sigmoid", Unary::Sigmoid),
        ("tanh", Unary::Tanh),
        ("elu", Unary::Elu { alpha: 1.0 }),
        ("hard-swish", Unary::HardSwish),
    ] {
        line(&format!("{name} f32, with a copy"), len, &mut |kernels| {
            data.copy_from_slice(&input);
            kernels.unary_f32(black_box(unary), black_box(&mut data));
        });
    }
}
