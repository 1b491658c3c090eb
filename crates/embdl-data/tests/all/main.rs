//! Tests of embdl-data through its public interface, in one binary because linking is the slow part.

mod augment;
mod catalog;
mod cifar;
mod dataset;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "pictures")]
mod folder;
mod idx;
mod image;
mod synthetic;
