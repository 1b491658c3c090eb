//! Networks as files for vendors' compilers: OpenVINO IR and Caffe. Never approximates: what a file cannot express is an error.
//!
//! | subject | module |
//! |---|---|
//! | a graph as layers of channels before rows and columns | `lower` |
//! | OpenVINO IR version 10: an XML file and one of weights | [`ir`] |
//! | Caffe: `prototxt` and `caffemodel` | [`caffe`] |
//! | the vendors' programs, where they are installed | [`tools`] |
#![forbid(unsafe_code)]

pub mod caffe;
mod error;
pub mod ir;
mod lower;
pub mod tools;

pub use error::VendorError;
