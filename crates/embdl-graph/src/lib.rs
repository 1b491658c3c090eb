//! The host's intermediate representation of a network, with every shape known, and the zoo.
//! Never holds encoded weights; those exist only in a [`Model`](embdl_core::model::Model).
#![forbid(unsafe_code)]

mod builder;
mod dump;
mod fold;
mod graph;
mod param;
mod unused;
mod validate;
pub mod zoo;

pub use builder::GraphBuilder;
pub use fold::{fold_batch_norm, fuse_activations};
pub use graph::{Graph, Node, NodeId, ParamId, Value, ValueId};
pub use param::{Form, Param, ParamRole};
pub use validate::GraphError;
