//! Times the kernels on layer shapes: one line a shape and level, beside the scalar reference and an estimate of the peak.
//!
//! `cargo run --release -p rt-atom --example kernels_bench [-- FILTER]`. One thread; the best of several repetitions,
//! because everything else that runs on the machine only adds time. `-- forms`, or `-- forms:LEVEL`, compares
//! the forms that dense layers can take; `-- sparse`, or `-- sparse:LEVEL`, the ways of sparse convolutions;
//! `-- compressed` loads and runs compressed networks; `-- pointwise`, or `-- pointwise:FILTER`, prints nanoseconds an
//! element of kernels without weights.

#[cfg(target_arch = "x86_64")]
mod bench;
#[cfg(target_arch = "x86_64")]
mod compressed;
#[cfg(target_arch = "x86_64")]
mod convolutions;
#[cfg(target_arch = "x86_64")]
mod forms;
#[cfg(target_arch = "x86_64")]
mod networks;
#[cfg(target_arch = "x86_64")]
mod pointwise;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod sparse;
#[cfg(target_arch = "x86_64")]
mod windows;

fn main() {
    #[cfg(target_arch = "x86_64")]
    bench::run();
}
