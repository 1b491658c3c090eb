//! Vectors of floats behind a trait, for what the runtimes share: each brings its own vectors.
#![expect(unsafe_code, reason = "loads and stores of vectors")]

/// Vectors of `LANES` floats. A value of the type proves that the CPU has them; every method is to be inlined into a
/// function that has the instructions enabled.
pub trait Lanes: Copy {
    /// Floats of a vector.
    const LANES: usize;
    /// A vector.
    type F32: Copy;

    /// The float in all lanes.
    fn splat(self, x: f32) -> Self::F32;
    /// A vector from memory.
    ///
    /// # Safety
    /// `LANES` floats must be readable at `at`.
    unsafe fn load(self, at: *const f32) -> Self::F32;
    /// Writes a vector.
    ///
    /// # Safety
    /// `LANES` floats must be writable at `at`.
    unsafe fn store(self, at: *mut f32, x: Self::F32);
    /// Sum.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Difference.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Product.
    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        self.mul_add(a, b, self.splat(0.0))
    }
    /// `a * b + sum`, fused where the CPU can.
    fn mul_add(self, a: Self::F32, b: Self::F32, sum: Self::F32) -> Self::F32;
    /// `x` within bounds; NaN stays NaN.
    fn clamp(self, x: Self::F32, low: Self::F32, high: Self::F32) -> Self::F32;
}

/// One float at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scalar;

impl Lanes for Scalar {
    const LANES: usize = 1;
    type F32 = f32;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> f32 {
        // SAFETY: by the contract.
        unsafe { *at }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, x: f32) {
        // SAFETY: by the contract.
        unsafe { *at = x }
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }

    #[inline(always)]
    fn clamp(self, x: f32, low: f32, high: f32) -> f32 {
        super::clamp(x, (low, high))
    }
}
