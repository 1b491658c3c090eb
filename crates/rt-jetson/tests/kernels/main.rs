//! Every CUDA kernel against the scalar reference, without a GPU: the PTX that is shipped in an interpreter, and its source as
//! C++ with threads as fibers, run forwards and backwards, once under the address sanitizer and once with nonsense in shared
//! memory. What only the interpreter could see is an error of the compiler; what only the fibers can see is a missing barrier.

mod case;
mod convolution;
mod host;
mod moving;
mod pointwise;
mod rows;
mod table;
mod windows;
mod winograd;

/// Sizes that are nothing, one, and around whole tiles of 16, 32 and 64.
const SIZES: [usize; 9] = [1, 3, 4, 15, 16, 33, 63, 64, 65];

/// Elements of a result, whose shape the panic message says.
#[track_caller]
fn assert_same<T: PartialEq + core::fmt::Debug>(what: &str, got: &[T], expected: &[T]) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    if let Some(at) = (0..got.len()).find(|&at| got[at] != expected[at]) {
        let wrong = (0..got.len()).filter(|&at| got[at] != expected[at]).count();
        let (got, expected) = (&got[at], &expected[at]);
        panic!("{what}: {wrong} differ, element {at} is {got:?}, not {expected:?}");
    }
}

/// The same for floats, each of which may differ by as much as `allowed` says.
#[track_caller]
fn assert_close(what: &str, got: &[f32], expected: &[f32], allowed: impl Fn(usize) -> f32) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let is_close = (got - expected).abs() <= allowed(at) || got == expected;
        let is_same_class = got.is_nan() && expected.is_nan();
        let allowed = allowed(at);
        assert!(
            is_close || is_same_class,
            "{what}: element {at} is {got:e}, not {expected:e} ± {allowed:e}"
        );
    }
}
