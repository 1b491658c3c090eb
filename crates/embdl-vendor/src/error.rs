//! Why there is no file.

use embdl_graph::GraphError;

/// Why a network is not written, or a vendor's program made nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VendorError {
    /// A node computes what the file cannot say.
    #[error("node {node:?} ({op}) cannot be written: {reason}")]
    Node {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// A weight is beyond what 16-bit floats hold.
    #[error("a weight of node {node:?} is {value:e}, beyond ±65504")]
    WeightRange {
        /// Node.
        node: String,
        /// The weight.
        value: f32,
    },
    /// The graph breaks a rule of graphs.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No program of this name was found.
    #[error("{program} is not installed: looked on PATH and in {searched}")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// Where else was looked.
        searched: String,
    },
    /// It could not be started, or its files could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It ran for too long and was ended.
    #[error("{program} did not end within {seconds} seconds")]
    TimedOut {
        /// Its name.
        program: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// It says that it failed.
    #[error("{program} ended with {status}: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// What it wrote is not what was asked for.
    #[error("{program} wrote no graph of version {expected}: {found}")]
    NotAGraph {
        /// Its name.
        program: &'static str,
        /// The version that was asked for.
        expected: &'static str,
        /// What is there instead.
        found: String,
    },
}
