//! Why a compression step fails.

/// Why a pass or the encoder cannot do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// A setting is outside of its range.
    #[error("{setting} = {value} is outside of {range}")]
    Setting {
        /// Setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A pattern matches no layer.
    #[error("{pattern:?} matches no layer; there are {layers}")]
    NoSuchLayer {
        /// Pattern.
        pattern: String,
        /// Names of the layers.
        layers: String,
    },
    /// A layer has no weights left.
    #[error("all weights of {param:?} are zero")]
    NothingLeft {
        /// Parameter.
        param: String,
    },
    /// A value was never observed, so no range is known for it.
    #[error("no activations of {value:?} were observed; calibrate on at least one image")]
    NotCalibrated {
        /// Value.
        value: String,
    },
    /// A node cannot be put into integers.
    #[error("node {node:?} ({op}) cannot be lowered: {reason}")]
    Lower {
        /// Node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is in the way.
        reason: &'static str,
    },
    /// The file would be larger than what it compresses.
    #[error("the file would take {after} bytes, and it takes {before} now: {reason}")]
    Grew {
        /// Bytes before.
        before: u64,
        /// Bytes after.
        after: u64,
        /// What probably is the cause.
        reason: String,
    },
    /// A network with several inputs, or none, where samples have one.
    #[error("samples have one input, the network has {found}")]
    Inputs {
        /// Inputs of the network.
        found: usize,
    },
    /// Samples that are not those of the network.
    #[error("a sample has {expected} values, not {found}")]
    Samples {
        /// Values of a sample of the network.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The network does not run.
    #[error(transparent)]
    Runtime(#[from] embdl_core::runtime::RuntimeError),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] embdl_graph::GraphError),
    /// A tensor cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] embdl_core::encoding::EncodingError),
    /// The file cannot be written.
    #[error(transparent)]
    Format(#[from] embdl_core::format::FormatError),
}
