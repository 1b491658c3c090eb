//! Weights from `.pth`, `.pt` and `.safetensors` files into the parameters of a graph, by name.
//! Never runs what a pickle asks for, and never leaves a tensor out, cuts or stretches one silently.
//!
//! ```no_run
//! use embdl_graph::zoo;
//!
//! let mut graph = zoo::zeroed("mobilenet-v2").expect("a network of the zoo");
//! embdl_weights::load(&mut graph, "mobilenet_v2-b0353104.pth".as_ref())?;
//! embdl_graph::fold_batch_norm(&mut graph)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod load;
mod names;
mod source;

pub use error::{ShapeMismatch, WeightsError};
pub use load::{Loaded, expected, load};
pub use names::{Names, names};
