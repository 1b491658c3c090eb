//! Interprets the PTX of the CUDA runtime's kernels, for tests without a GPU. Never shipped, and never a measure of time.
//!
//! It knows the instructions that clang makes of our kernels, and refuses all others by name. Every address is checked against
//! the regions of [`Memory`] and against the alignment of the access, shuffles against threads that are missing, and barriers
//! against threads that never come. Threads run in lockstep where their paths are the same, so that a missing barrier does not
//! show here: the kernels also run as C++ for that.
//!
//! A program is untrusted: whatever it is, parsing and launching end with a result or an error, within [`Limits`].
//!
//! ```
//! use embdl_ptx::{Launch, Limits, Memory, Program};
//! let text = "
//!     .version 6.5
//!     .target sm_62
//!     .address_size 64
//!     .visible .entry double_it(.param .u64 at)
//!     {
//!         .reg .b32 %r<3>;
//!         .reg .b64 %rd<4>;
//!         ld.param.u64 %rd1, [at];
//!         mov.u32 %r1, %tid.x;
//!         mul.wide.u32 %rd2, %r1, 4;
//!         add.s64 %rd3, %rd1, %rd2;
//!         ld.global.u32 %r2, [%rd3];
//!         add.s32 %r2, %r2, %r2;
//!         st.global.u32 [%rd3], %r2;
//!         ret;
//!     }";
//! let program = Program::parse(text)?;
//! let mut bytes = [1, 0, 0, 0, 2, 0, 0, 0];
//! let mut memory = Memory::default();
//! memory.map(4096, &mut bytes)?;
//! let launch = Launch { grid: [1, 1, 1], block: [2, 1, 1], params: &4096_u64.to_le_bytes() };
//! program.entry("double_it").unwrap().launch(&launch, &mut memory, &Limits::default())?;
//! drop(memory);
//! assert_eq!(bytes, [2, 0, 0, 0, 4, 0, 0, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod execute;
mod instruction;
mod launch;
mod memory;
mod parse;
mod program;
mod scan;

pub use error::{Fault, LaunchError, ParseError, Problem};
pub use launch::{Launch, Limits, Stats};
pub use memory::{MapError, Memory};
pub use program::{Entry, Program};
