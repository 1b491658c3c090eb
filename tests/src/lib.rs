//! The conformance suite: problems with inputs, expected results and tolerances that every runtime solves alike.
//! Never a place for expectations that were taken from the code under test.
//!
//! Kernels are compared with plain loops over unpacked data, models with a plain double-precision interpreter. Integer
//! results must be equal; float results may differ by the tolerance that each problem states.
#![forbid(unsafe_code)]

pub mod kernels;
pub mod models;
pub mod net;
pub mod oracle;
pub mod report;
pub mod subject;

/// One of several choices, by the seed of a case.
fn pick<T: Clone>(choices: &[T], seed: u64) -> T {
    let at = usize::try_from(seed).expect("seeds are small") % choices.len();
    choices[at].clone()
}

/// Makes a test of each family of the suite for one runtime, at every instruction set level of this machine.
///
/// ```ignore
/// embdl_tests::conformance! {
///     runtime: rt_arm::runtime,       // fn() -> Result<CpuRuntime, RuntimeError>
///     kernels: rt_arm::kernels,       // fn(Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError>
///     required_on: "aarch64",         // there, "not detected" fails instead of skipping
///     unsupported: [("lrn", "why")],  // must be refused as unsupported, not computed wrongly
/// }
/// ```
///
/// A runtime without kernels of its own to look at, such as a GPU, gives `device:` instead of both: a function to
/// any `Runtime`. It is required on "ci" where the suite brings a driver itself.
#[macro_export]
macro_rules! conformance {
    (
        runtime: $runtime:expr,
        kernels: $kernels:expr,
        required_on: $required_on:expr,
        unsupported: [$(($problem:expr, $reason:expr)),* $(,)?] $(,)?
    ) => {
        fn subject() -> $crate::subject::Subject {
            $crate::subject::Subject {
                runtime: || {
                    let runtime: ::embdl_core::exec::CpuRuntime = ($runtime)()?;
                    Ok(::std::boxed::Box::new(runtime))
                },
                kernels: ::core::option::Option::Some($kernels),
                required_on: $required_on,
                unsupported: &[$(($problem, $reason)),*],
            }
        }

        $crate::conformance!(@kernels
            convolution_f32 convolution_f32_threads convolution_q8 convolution_q8_range convolution_q8_sparse convolution_q8_threads
            gemm_f32 gemm_q8 sparse_f32 sparse_q8 ell_q8 blocks_f32 blocks_q8 codebook_q8
            depthwise_f32 depthwise_q8 max_pool_f32 max_pool_u8
            arithmetic_f32 arithmetic_u8 unary_f32 average_pool_f32 average_pool_u8 softmax_f32 conversions
        );
        $crate::conformance!(@all_models);
    };
    (
        device: $runtime:expr,
        required_on: $required_on:expr,
        unsupported: [$(($problem:expr, $reason:expr)),* $(,)?] $(,)?
    ) => {
        fn subject() -> $crate::subject::Subject {
            $crate::subject::Subject {
                runtime: || Ok(::std::boxed::Box::new(($runtime)()?)),
                kernels: ::core::option::Option::None,
                required_on: $required_on,
                unsupported: &[$(($problem, $reason)),*],
            }
        }

        $crate::conformance!(@all_models);
    };
    (@all_models) => {
        $crate::conformance!(@models
            convolutions dense_layers pools element_wise layouts normalizations boundaries functions products moved
            networks batches
        );

        #[test]
        fn unsupported_problems_exist() {
            subject().check_unsupported();
        }
    };
    (@kernels $($family:ident)*) => {$(
        #[test]
        fn $family() {
            subject().check_kernels($crate::kernels::$family);
        }
    )*};
    (@models $($family:ident)*) => {$(
        #[test]
        fn $family() {
            subject().check_models(&$crate::models::$family());
        }
    )*};
}
