//! The `.embdl` file: one reader that trusts nothing, one writer that writes nothing the reader refuses.
//!
//! The byte layout is in `docs/src/format.md`. There is exactly one file for a model and its encoded tensors: reading
//! a file and writing what was read gives the same bytes. Every byte of a file is accounted for by [`layout`].

mod check;
mod cursor;
mod error;
mod header;
mod layout;
mod limits;
mod metadata;
mod opcode;
mod opcode_two;
mod read;
mod tensor;
mod write;

pub use check::MAX_INTEGER_TAPS;
pub use error::FormatError;
pub use header::{HEADER_LEN, MAGIC, VERSION};
pub use layout::{FileLayout, TensorLayout, layout};
pub use limits::{Limit, Limits};
pub use read::{read, verify};
pub(crate) use tensor::descriptor_len;
pub use write::{WriteOptions, write, write_with};
