//! How the symbols of a tensor become bytes, and back.

/// Why an encoded tensor does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// A stream ends before all symbols are read.
    #[error("a stream of {bytes} bytes ends before its {symbols} symbols")]
    Truncated {
        /// Bytes of the stream.
        bytes: usize,
        /// Symbols it should hold.
        symbols: usize,
    },
}
