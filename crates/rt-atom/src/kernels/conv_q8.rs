//! Integer convolutions in ways of their own: exact Winograd, and matrix products without a matrix of windows.

use core::fmt;
use core::ops::Range;

use embdl_core::kernels::parallel::{Shared, SharedOut};
use embdl_core::kernels::{ConvProblem, ConvWay, ConvWeights, OutQ8, PreparedQ8};

use crate::detect::{Avx2, Avx512, Avx512Vnni, AvxVnni, Sse41};
use crate::simd::words::Words;

mod direct;
mod spill;
mod winograd;

use direct::Direct;
use spill::StepCosts;
use winograd::{Band, Plan, Winograd};

/// The parts of these convolutions that are compiled for a level.
pub(crate) trait Compiled: Words + fmt::Debug + Send + Sync + 'static {
    /// Name of Winograd at the level.
    const WINOGRAD: &'static str;
    /// Name of the matrix product without a matrix.
    const DIRECT: &'static str;
    /// What products of bytes cost where there is no exact dot product of them.
    const STEPS: Option<StepCosts>;

    /// [`winograd::input_tiles`].
    fn winograd_input(
        self,
        conv: &Winograd<Self>,
        input: &[u8],
        words: &Shared<'_, i16>,
        band: &Band,
        patch: &mut [u8],
    );

    /// [`winograd::output_tiles`].
    fn winograd_output(
        self,
        conv: &Winograd<Self>,
        words: &[i16],
        panel: usize,
        band: &Band,
        products: &mut [i32],
        out: &SharedOut<'_>,
    );

    /// [`direct::rows`].
    fn direct_rows(
        self,
        conv: &Direct<Self>,
        input: &[u8],
        rows: Range<usize>,
        scratch: &mut [u8],
        out: OutQ8<'_>,
    );
}

/// Compiles them.
macro_rules! compiled {
    ($level:ident, $features:literal, $winograd:literal, $direct:literal, $steps:expr) => {
        impl Compiled for $level {
            const WINOGRAD: &'static str = $winograd;
            const DIRECT: &'static str = $direct;
            const STEPS: Option<StepCosts> = $steps;

            fn winograd_input(
                self,
                conv: &Winograd<Self>,
                input: &[u8],
                words: &Shared<'_, i16>,
                band: &Band,
                patch: &mut [u8],
            ) {
                #[target_feature(enable = $features)]
                fn compiled(
                    level: $level,
                    conv: &Winograd<$level>,
                    input: &[u8],
                    words: &Shared<'_, i16>,
                    band: &Band,
                    patch: &mut [u8],
                ) {
                    winograd::input_tiles(level, conv, input, words, band, patch);
                }
                // SAFETY: the token proves that the CPU has the features.
                unsafe { compiled(self, conv, input, words, band, patch) }
            }

            fn winograd_output(
                self,
                conv: &Winograd<Self>,
                words: &[i16],
                panel: usize,
                band: &Band,
                products: &mut [i32],
                out: &SharedOut<'_>,
            ) {
                #[target_feature(enable = $features)]
                fn compiled(
                    level: $level,
                    conv: &Winograd<$level>,
                    words: &[i16],
                    panel: usize,
                    band: &Band,
                    products: &mut [i32],
                    out: &SharedOut<'_>,
                ) {
                    winograd::output_tiles(level, conv, words, panel, band, products, out);
                }
                // SAFETY: the token.
                unsafe { compiled(self, conv, words, panel, band, products, out) }
            }

            fn direct_rows(
                self,
                conv: &Direct<Self>,
                input: &[u8],
                rows: Range<usize>,
                scratch: &mut [u8],
                out: OutQ8<'_>,
            ) {
                #[target_feature(enable = $features)]
                fn compiled(
                    level: $level,
                    conv: &Direct<$level>,
                    input: &[u8],
                    rows: Range<usize>,
                    scratch: &mut [u8],
                    out: OutQ8<'_>,
                ) {
                    direct::rows(level, conv, input, rows, scratch, out);
                }
                // SAFETY: the token.
                unsafe { compiled(self, conv, input, rows, scratch, out) }
            }
        }
    };
}

/// Measured with `conv_q8_bench`: what vector operations and their ports make one expect.
const SSE41_STEPS: StepCosts = StepCosts {
    chained: [2.0, 1.7, 1.55],
    spilled: 2.4,
    words: 2.5,
    gemm: [3.7, 2.1, 1.8, 1.65],
    result: 1.3,
};

const AVX_STEPS: StepCosts = StepCosts {
    chained: [1.75, 1.5, 1.4],
    spilled: 2.5,
    words: 2.2,
    gemm: [3.1, 1.75, 1.45, 1.4],
    result: 0.35,
};

compiled!(
    Sse41,
    "sse4.1,ssse3",
    "winograd_qu8_qc8w_4x8__sse41",
    "conv_qu8_qc8w_6x8c8__sse41",
    Some(SSE41_STEPS)
);
compiled!(
    Avx2,
    "avx2,fma",
    "winograd_qu8_qc8w_4x16__avx2",
    "conv_qu8_qc8w_4x16c4__avx2",
    Some(AVX_STEPS)
);
compiled!(
    AvxVnni,
    "avxvnni,avx2,fma",
    "winograd_qu8_qc8w_4x16__avxvnni",
    "conv_qu8_qc8w_6x16c4__avxvnni",
    None
);
compiled!(
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    "winograd_qu8_qc8w_4x32__avx512",
    "conv_qu8_qc8w_12x32c4__avx512",
    Some(AVX_STEPS)
);
compiled!(
    Avx512Vnni,
    "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    "winograd_qu8_qc8w_4x32__avx512vnni",
    "conv_qu8_qc8w_12x32c4__avx512vnni",
    None
);

/// The ways of a level for `problem`.
pub(crate) fn ways<S: Compiled>(problem: &ConvProblem) -> Vec<ConvWay> {
    let Some(direct) = direct::way::<S>(problem) else { return Vec::new() };
    let mut ways = vec![direct];
    if let Some(plan) = Plan::new::<S>(problem) {
        ways.push(ConvWay {
            name: S::WINOGRAD,
            cost: plan.cost(S::HAS_DOT)
                * S::STEPS.map_or(1.0, |costs| costs.gemm(127) / costs.gemm(problem.max_abs)),
            weight_bytes: plan.weight_bytes(),
            scratch_bytes: plan.scratch_bytes(),
        });
    }
    ways
}

/// Packs a convolution for the way called `name`.
pub(crate) fn prepare<S: Compiled>(
    level: S,
    name: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, i8, i32>,
    zero_point: u8,
) -> PreparedQ8 {
    if name == S::WINOGRAD {
        let plan = Plan::new::<S>(problem)?;
        return Some(Box::new(Winograd::pack(level, plan, weights, zero_point)?));
    }
    if name == S::DIRECT {
        return Some(Box::new(Direct::pack(level, problem, weights, zero_point)?));
    }
    None
}
