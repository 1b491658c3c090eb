//! Why a run stops.

use std::path::PathBuf;

/// Why a pipeline or a retest cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The state of a step cannot be put into bytes.
    #[error("the state of step {step:?} cannot be written: {source}")]
    State {
        /// Step.
        step: String,
        /// Cause.
        #[source]
        source: postcard::Error,
    },
    /// The zoo has no such network.
    #[error("there is no network {name:?}; there are {known}")]
    UnknownNetwork {
        /// Asked for.
        name: String,
        /// Known ones.
        known: String,
    },
    /// A step left a graph that is not valid.
    #[error(transparent)]
    Graph(#[from] embdl_graph::GraphError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] embdl_train::TrainError),
    /// A pass or the encoder failed.
    #[error(transparent)]
    Compress(#[from] embdl_compress::CompressError),
    /// A file that was just written does not read back.
    #[error(transparent)]
    Format(#[from] embdl_core::format::FormatError),
    /// A runtime failed.
    #[error(transparent)]
    Runtime(#[from] embdl_core::runtime::RuntimeError),
    /// A retest or measurement of this process failed.
    #[error(transparent)]
    Bench(#[from] embdl_bench::BenchError),
    /// A retest outside of this process failed.
    #[error("the retest {label:?} failed: {reason}")]
    Retest {
        /// Label of the retest.
        label: String,
        /// What the program said.
        reason: String,
    },
    /// Data could not be loaded.
    #[error(transparent)]
    Data(#[from] embdl_data::catalog::CatalogError),
}
