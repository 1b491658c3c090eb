//! The numeric kernels of training, on slices: forward and gradient of every operator, free of models and of autodiff.
//!
//! Layouts are those of the graph: activations NHWC, convolution weights `[co, kh, kw, ci / groups]`, dense weights
//! `[out, in]`. Work is cut into parts that do not depend on the number of threads, and partial sums are added in a
//! fixed order, so results are the same bit for bit on any number of cores.

pub(crate) mod batch_norm;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod fake_quant;
pub(crate) mod functions;
pub(crate) mod gemm;
pub(crate) mod layout;
pub(crate) mod loss;
pub(crate) mod norm;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod products;
pub(crate) mod resize;

/// Elements of one part of an element-wise pass: small enough for the first-level cache, large enough to schedule.
pub(crate) const PART: usize = 8192;

/// Defines a function whose body is compiled for the vector extensions of the CPU that runs it.
macro_rules! vectorized {
    ($(#[$attribute:meta])* fn $name:ident<'a>($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        pub(crate) fn $name<'a>($($arg: $ty),*) {
            struct Call<'a> { $($arg: $ty,)* marker: core::marker::PhantomData<&'a ()> }
            impl<'a> pulp::WithSimd for Call<'a> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) {
                    let Self { $($arg,)* marker: _ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call { $($arg,)* marker: core::marker::PhantomData });
        }
    };
}
pub(crate) use vectorized;
