//! An encoded tensor that owns its bytes: what encoding gives.

use alloc::vec::Vec;

use crate::model::{Coder, EncodedTensor, Layout, Scales, Stream, Values};
use crate::tensor::Shape;

/// [`EncodedTensor`] with bytes of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedTensor {
    /// Logical shape.
    pub shape: Shape,
    /// What an integer of the tensor stands for.
    pub scales: Scales,
    /// What a symbol means.
    pub values: Values,
    /// Which positions have symbols.
    pub layout: Layout,
    /// How symbols are written.
    pub symbols: OwnedStream,
    /// How gaps are written; present exactly where the layout is sparse.
    pub gaps: Option<OwnedStream>,
}

/// [`Stream`] with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedStream {
    /// How symbols become bits.
    pub coder: Coder,
    /// The bits, with the coder's tables in front.
    pub bytes: Vec<u8>,
}

impl OwnedTensor {
    /// The same tensor, borrowed; codebook and scales are copied.
    #[must_use]
    pub fn view(&self) -> EncodedTensor<'_> {
        EncodedTensor {
            shape: self.shape,
            scales: self.scales.clone(),
            values: self.values.clone(),
            layout: self.layout,
            symbols: self.symbols.view(),
            gaps: self.gaps.as_ref().map(OwnedStream::view),
        }
    }
}

impl OwnedStream {
    /// The same stream, borrowed.
    #[must_use]
    pub fn view(&self) -> Stream<'_> {
        Stream { coder: self.coder, bytes: &self.bytes }
    }
}

impl From<&EncodedTensor<'_>> for OwnedTensor {
    fn from(tensor: &EncodedTensor<'_>) -> Self {
        Self {
            shape: tensor.shape,
            scales: tensor.scales.clone(),
            values: tensor.values.clone(),
            layout: tensor.layout,
            symbols: tensor.symbols.into(),
            gaps: tensor.gaps.map(OwnedStream::from),
        }
    }
}

impl From<Stream<'_>> for OwnedStream {
    fn from(stream: Stream<'_>) -> Self {
        Self { coder: stream.coder, bytes: stream.bytes.to_vec() }
    }
}
