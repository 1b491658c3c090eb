//! From nodes to dispatches.

mod convolution;
mod dense;
mod half_bits;
mod moving;
mod pointwise;
mod stage;
mod windows;

use core::ops::Deref;

use embdl_core::exec::{Resolver, Weightless};
use embdl_core::op::Op;
use embdl_core::plan::Place;
use embdl_core::runtime::{LoadOptions, RuntimeError};

use crate::draft::Draft;

/// A node on its way to becoming dispatches.
#[derive(Clone, Copy)]
pub(crate) struct Lowering<'m, 'l> {
    pub(crate) resolver: Resolver<'m, 'l>,
    pub(crate) options: &'l LoadOptions,
    /// Where each of the caller's inputs lies in the arena, in bytes.
    pub(crate) inputs: &'l [usize],
    /// Bytes of a buffer that a kernel sees.
    pub(crate) buffer_bytes: usize,
    /// Whether weights of float layers take 16 bits.
    pub(crate) half_weights: bool,
}

impl<'m, 'l> Deref for Lowering<'m, 'l> {
    type Target = Resolver<'m, 'l>;

    fn deref(&self) -> &Self::Target {
        &self.resolver
    }
}

impl<'l> Lowering<'_, 'l> {
    /// The dispatches of the node, in order; none where its result is its input.
    ///
    /// # Errors
    /// If the node computes what no runtime can, or is larger than the device takes.
    pub(crate) fn drafts(&self) -> Result<Vec<Draft<'l>>, RuntimeError> {
        match &self.node.op {
            Op::Conv2d(conv) => self.convolution(conv),
            Op::Dense(_) => self.dense(),
            _ => self.weightless_drafts(),
        }
    }

    fn weightless_drafts(&self) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let work = self.weightless()?;
        Ok(vec![match work {
            Weightless::Alias => return Ok(Vec::new()),
            Weightless::Concat(parts) => return self.concatenation(&parts),
            Weightless::MaxPoolF32(geometry) => self.max_pool_f32(&geometry)?,
            Weightless::MaxPoolU8(geometry, table) => {
                self.max_pool_q8(&geometry, table.as_deref())?
            }
            Weightless::AveragePoolF32(geometry, include_pads) => {
                self.average_pool_f32(&geometry, include_pads)?
            }
            Weightless::AveragePoolU8(geometry, average) => {
                self.average_pool_q8(&geometry, &average)?
            }
            Weightless::Lrn(lrn, channels) => self.lrn(&lrn, channels)?,
            Weightless::Softmax(features) => self.softmax(features)?,
            Weightless::Resize(plan, dtype) => self.resized(&plan, dtype)?,
            Weightless::Pad(padding) => self.padded(&padding)?,
            Weightless::Transpose(dims, order, _) => self.transposed(dims, order)?,
            work => self.pointwise(&work)?,
        }])
    }

    /// Where a value begins, in words of the arena.
    pub(crate) fn word_of(&self, value: usize) -> Result<usize, RuntimeError> {
        let bytes = byte_of(&self.plan.places[value], self.inputs)
            .ok_or_else(|| RuntimeError::unwritten(&self.node.name))?;
        debug_assert!(bytes.is_multiple_of(4), "values begin at whole words");
        Ok(bytes / 4)
    }

    /// Where the first input and the result begin, in words of the arena.
    pub(crate) fn ends(&self) -> Result<[usize; 2], RuntimeError> {
        Ok([self.word_of(self.node.inputs[0])?, self.word_of(self.node.output)?])
    }
}

/// Where a value begins, in bytes of the arena that holds the caller's inputs too.
pub(crate) fn byte_of(place: &Option<Place>, inputs: &[usize]) -> Option<usize> {
    match place.as_ref()? {
        Place::Input(index) => inputs.get(*index).copied(),
        Place::Arena(range) => Some(range.start),
    }
}
