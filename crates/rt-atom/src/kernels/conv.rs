//! Winograd's transforms, which the runtimes share, on the vectors of a level; and convolutions by Fourier transforms.

use embdl_core::kernels::conv::transform::{self, InputTiles, OutputTiles};
use embdl_core::kernels::lanes::Lanes;
use embdl_core::kernels::parallel::Shared;

use crate::simd::Simd;

pub(crate) mod fft;

/// `B^T d B` of a tile of 6x6 inputs.
#[inline(always)]
pub(crate) fn input_6<S: Simd>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    transform::input_6(Vectors(simd), job, out);
}

/// `B^T d B` of a tile of 8x8 inputs.
#[inline(always)]
pub(crate) fn input_8<S: Simd>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    transform::input_8(Vectors(simd), job, out);
}

/// `A^T M A` of a tile of F(4x4, 3x3).
#[inline(always)]
pub(crate) fn output_4x3<S: Simd>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_4x3(Vectors(simd), job, out);
}

/// `A^T M A` of a tile of F(6x6, 3x3).
#[inline(always)]
pub(crate) fn output_6x3<S: Simd>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_6x3(Vectors(simd), job, out);
}

/// `A^T M A` of a tile of F(4x4, 5x5).
#[inline(always)]
pub(crate) fn output_4x5<S: Simd>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_4x5(Vectors(simd), job, out);
}

/// The spectrum of a tile of `N` rows and columns.
#[inline(always)]
pub(crate) fn forward<S: Simd, const N: usize>(
    simd: S,
    job: &fft::Forward<'_>,
    v: &Shared<'_, f32>,
    rows: &mut [f32],
) {
    fft::forward::<_, N>(Vectors(simd), job, v, rows);
}

/// The results of a tile of `N` rows and columns.
#[inline(always)]
pub(crate) fn inverse<S: Simd, const N: usize>(
    simd: S,
    job: &fft::Inverse<'_>,
    out: &Shared<'_, f32>,
    rows: &mut [f32],
) {
    fft::inverse::<_, N>(Vectors(simd), job, out, rows);
}

/// The vectors of a level.
#[derive(Clone, Copy, Debug)]
struct Vectors<S>(S);

impl<S: Simd> Lanes for Vectors<S> {
    const LANES: usize = S::LANES;
    type F32 = S::F32;

    #[inline(always)]
    fn splat(self, x: f32) -> S::F32 {
        self.0.splat(x)
    }

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> S::F32 {
        // SAFETY: by the contract.
        unsafe { self.0.load(at) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, x: S::F32) {
        // SAFETY: by the contract.
        unsafe { self.0.store(at, x) }
    }

    #[inline(always)]
    fn add(self, a: S::F32, b: S::F32) -> S::F32 {
        self.0.add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: S::F32, b: S::F32) -> S::F32 {
        self.0.sub(a, b)
    }

    #[inline(always)]
    fn mul(self, a: S::F32, b: S::F32) -> S::F32 {
        self.0.mul(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: S::F32, b: S::F32, sum: S::F32) -> S::F32 {
        self.0.mul_add(a, b, sum)
    }

    #[inline(always)]
    fn clamp(self, x: S::F32, low: S::F32, high: S::F32) -> S::F32 {
        // What is bounded stands second, because minps and maxps return that one where there is a NaN.
        self.0.min(high, self.0.max(low, x))
    }
}
