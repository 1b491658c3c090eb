//! The loops that reach the peak, one set a level, and their clock.
#![expect(clippy::print_stdout, reason = "lines of JSON are what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]

use core::arch::asm;
use core::arch::x86_64::*;
use core::hint::black_box;
use core::time::Duration;
use std::time::Instant;

use rt_atom::detect::Level;

/// Sums at the same time: enough to hide five cycles of two units, few enough for sixteen registers.
const SUMS: usize = 10;
/// Rounds of one repetition, some tens of microseconds.
const ROUNDS: usize = 10_000;
/// Repetitions, the best of which counts.
const REPETITIONS: usize = 300;
/// Bytes that fit the second cache of all CPUs that we know, and the first of none.
const L2_BYTES: usize = 256 << 10;
/// Bytes that fit no cache.
const MEMORY_BYTES: usize = 256 << 20;

/// Prints the peaks of `wanted`, or of all levels of this CPU.
pub(crate) fn run(wanted: Option<&str>) {
    for level in Level::available() {
        if wanted.is_some_and(|wanted| wanted != level.name()) {
            continue;
        }
        let [f32_gmacs, int8_gmacs] = products(level);
        let [l2_gbps, memory_gbps] =
            [(L2_BYTES, REPETITIONS), (MEMORY_BYTES, 10)].map(|size| bandwidth(level, size));
        println!(
            "{{\"isa\":\"{}\",\"f32_gmacs\":{f32_gmacs:.1},\"int8_gmacs\":{int8_gmacs:.1},\
             \"l2_gbps\":{l2_gbps:.1},\"memory_gbps\":{memory_gbps:.1}}}",
            level.name()
        );
    }
}

/// Multiply-accumulates of floats and of bytes in a nanosecond.
fn products(level: Level) -> [f64; 2] {
    let rate = |macs: usize, run: &dyn Fn()| {
        (macs * SUMS * ROUNDS) as f64 / best(REPETITIONS, run).as_nanos() as f64
    };
    // SAFETY: the level is one of those that were detected, and its features are those of the loops.
    unsafe {
        match level {
            Level::Sse41(_) => [rate(4, &|| sse41::floats()), rate(16, &|| sse41::bytes())],
            Level::Avx2(_) => [rate(8, &|| avx2::floats()), rate(32, &|| avx2::bytes())],
            Level::AvxVnni(_) => [rate(8, &|| avx2::floats()), rate(32, &|| avxvnni::bytes())],
            Level::Avx512(_) => [rate(16, &|| avx512::floats()), rate(64, &|| avx512::bytes())],
            Level::Avx512Vnni(_) => {
                [rate(16, &|| avx512::floats()), rate(64, &|| avx512vnni::bytes())]
            }
        }
    }
}

/// Bytes read in a nanosecond.
fn bandwidth(level: Level, (len_bytes, repetitions): (usize, usize)) -> f64 {
    let data = vec![1_u64; len_bytes / 8];
    let time = best(repetitions, &|| {
        // SAFETY: the level is one of those that were detected.
        black_box(unsafe {
            match level {
                Level::Sse41(_) => sse41::read(&data),
                Level::Avx2(_) | Level::AvxVnni(_) => avx2::read(&data),
                Level::Avx512(_) | Level::Avx512Vnni(_) => avx512::read(&data),
            }
        });
    });
    len_bytes as f64 / time.as_nanos() as f64
}

fn best(repetitions: usize, run: &dyn Fn()) -> Duration {
    run();
    let times = (0..repetitions).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default().max(Duration::from_nanos(1))
}

/// A loop at one level: `SUMS` sums, each of which takes `$step` of itself and of two factors that the compiler cannot
/// foresee.
macro_rules! sums {
    ($name:ident, $features:literal, $class:ident, $zero:expr,
     |$sum:ident, $x:ident, $y:ident| $step:expr) => {
        #[target_feature(enable = $features)]
        pub(super) fn $name() {
            let mut sums = [$zero; SUMS];
            let (mut $x, $y) = (black_box($zero), black_box($zero));
            for _ in 0..ROUNDS {
                for $sum in &mut sums {
                    // SAFETY: no instruction at all; it only hides where the value comes from.
                    unsafe {
                        asm!("/* {0} */", inout($class) $x, options(nomem, nostack, preserves_flags));
                    }
                    *$sum = $step;
                }
            }
            black_box(sums);
        }
    };
}

/// Reads all of `data`, as wide as the compiler can with these features.
macro_rules! read {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn read(data: &[u64]) -> u64 {
            let mut sums = [0_u64; 64];
            for chunk in data.chunks_exact(sums.len()) {
                sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum ^= value);
            }
            sums.iter().fold(0, |all, sum| all ^ sum)
        }
    };
}

mod sse41 {
    use super::*;
    sums!(floats, "sse4.1", xmm_reg, _mm_setzero_ps(), |sum, x, y| {
        _mm_add_ps(*sum, _mm_mul_ps(x, y))
    });
    sums!(bytes, "sse4.1,ssse3", xmm_reg, _mm_setzero_si128(), |sum, x, y| {
        _mm_add_epi32(*sum, _mm_madd_epi16(_mm_maddubs_epi16(x, y), y))
    });
    read!("sse4.1");
}

mod avx2 {
    use super::*;
    sums!(floats, "avx2,fma", ymm_reg, _mm256_setzero_ps(), |sum, x, y| {
        _mm256_fmadd_ps(x, y, *sum)
    });
    sums!(bytes, "avx2", ymm_reg, _mm256_setzero_si256(), |sum, x, y| {
        _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), y))
    });
    read!("avx2");
}

mod avxvnni {
    use super::*;
    sums!(bytes, "avx2,avxvnni", ymm_reg, _mm256_setzero_si256(), |sum, x, y| {
        _mm256_dpbusd_avx_epi32(*sum, x, y)
    });
}

mod avx512 {
    use super::*;
    sums!(floats, "avx512f", zmm_reg, _mm512_setzero_ps(), |sum, x, y| {
        _mm512_fmadd_ps(x, y, *sum)
    });
    sums!(bytes, "avx512f,avx512bw", zmm_reg, _mm512_setzero_si512(), |sum, x, y| {
        _mm512_add_epi32(*sum, _mm512_madd_epi16(_mm512_maddubs_epi16(x, y), y))
    });
    read!("avx512f");
}

mod avx512vnni {
    use super::*;
    sums!(bytes, "avx512f,avx512vnni", zmm_reg, _mm512_setzero_si512(), |sum, x, y| {
        _mm512_dpbusd_epi32(*sum, x, y)
    });
}
