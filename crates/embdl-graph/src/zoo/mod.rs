//! Networks known by name, each built as its paper says.

mod alexnet;
mod lenet;
mod mobilenet;
mod name;
mod options;
mod squeezenet;
mod vgg;

pub use alexnet::{alexnet, alexnet_caffe};
pub use lenet::{lenet5, lenet300};
pub use mobilenet::{mobilenet_v1, mobilenet_v2};
pub use name::{NAMES, by_name, family, zeroed};
pub use options::{Images, Options, make_divisible};
pub use squeezenet::{squeezenet_1_0, squeezenet_1_1};
pub use vgg::{vgg16, vgg16_bn};

#[cfg(test)]
mod tests;
