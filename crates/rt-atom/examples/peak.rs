//! What one core can do at each level: multiply-accumulates out of registers, of floats and of bytes, and bytes read from
//! the second cache and from memory. One line of JSON a level: the roof that layers are measured against.
//!
//! `cargo run --release -p rt-atom --example peak [-- LEVEL]`. The best of many short repetitions counts, because
//! everything else that runs on the machine only adds time.

#[cfg(target_arch = "x86_64")]
#[path = "peak/levels.rs"]
mod levels;

fn main() {
    #[cfg(target_arch = "x86_64")]
    levels::run(std::env::args().nth(1).as_deref());
}
