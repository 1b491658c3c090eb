//! ONNX files to graphs and back. Never approximates: what it cannot express is an error.
//!
//! ONNX keeps activations in NCHW and convolution weights in OIHW; a [`Graph`](embdl_graph::Graph) has NHWC and OHWI.
//! This crate is the only place where the one becomes the other. What is read and written is in `docs/src/operators.md`.
//!
//! ```
//! let graph = embdl_graph::zoo::lenet5(1);
//! let bytes = embdl_onnx::export(&graph)?;
//! let again = embdl_onnx::import(&bytes, &embdl_onnx::ImportOptions::default())?;
//! assert_eq!(graph, again);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod attributes;
mod error;
mod export;
mod import;
mod layout;
mod metadata;
mod registry;
mod tensor;
mod wire;

pub use error::{ExportError, ImportError, NodeError, TensorError};
pub use export::{ExportOptions, export, export_with};
pub use import::{
    ImportOptions, Imported, Layout, import, import_file, import_file_with_layouts,
    import_with_layouts,
};
pub use registry::{Operator, operator_table, operators};

/// Oldest and newest operator set of the ONNX domain that is read; newer ones may mean something else.
pub const OPSETS: core::ops::RangeInclusive<i64> = 7..=28;
