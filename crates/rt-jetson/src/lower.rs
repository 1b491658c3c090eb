//! From nodes to launches.

mod convolution;
mod dense;
mod forms;
mod moving;
mod pointwise;
mod product;
mod stage;
mod windows;
mod winograd;

use core::ops::Deref;

use embdl_core::exec::{Resolver, Weightless};
use embdl_core::op::Op;
use embdl_core::plan::Place;
use embdl_core::runtime::{LoadOptions, RuntimeError};

use crate::cost::Speed;
use crate::draft::{Draft, Places};
use crate::params::Address;

/// Elements that exist unpacked at a time.
pub(crate) const BLOCK: usize = 8192;

/// How layers may be computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    /// By `dp4a`.
    pub(crate) dp4a: bool,
    /// Float layers in 16 bits.
    pub(crate) half_weights: bool,
    pub(crate) speed: Speed,
}

/// A node on its way to becoming launches.
#[derive(Clone, Copy)]
pub(crate) struct Lowering<'m, 'l> {
    pub(crate) resolver: Resolver<'m, 'l>,
    pub(crate) options: &'l LoadOptions,
    pub(crate) choices: &'l Choices,
    pub(crate) places: &'l Places,
}

impl<'m, 'l> Deref for Lowering<'m, 'l> {
    type Target = Resolver<'m, 'l>;

    fn deref(&self) -> &Self::Target {
        &self.resolver
    }
}

impl<'l> Lowering<'_, 'l> {
    /// The launches of the node, in order; none where its result is its input.
    ///
    /// # Errors
    /// If the node computes what no runtime can, or is larger than kernels count.
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
            Weightless::MaxPoolU8(geometry, table) => self.max_pool_q8(&geometry, table)?,
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
            work => self.pointwise(work)?,
        }])
    }

    /// Where a value begins.
    pub(crate) fn address_of(&self, value: usize) -> Result<Address, RuntimeError> {
        address_of(self.plan.places[value].as_ref(), self.places)
            .ok_or_else(|| RuntimeError::unwritten(&self.node.name))
    }

    /// Where the first input and the result begin.
    pub(crate) fn ends(&self) -> Result<[Address; 2], RuntimeError> {
        Ok([self.address_of(self.node.inputs[0])?, self.address_of(self.node.output)?])
    }
}

/// Where a value begins.
pub(crate) fn address_of(place: Option<&Place>, places: &Places) -> Option<Address> {
    match place? {
        Place::Input(index) => places.inputs.get(*index).copied(),
        Place::Arena(range) => Some(places.arena.wrapping_add(range.start as u64)),
    }
}

/// 4 if all of these are multiples of `bytes` or of 4 elements, as vector loads need, else 1.
pub(crate) fn width(counts: &[usize], addresses: &[Address], bytes: u64) -> u32 {
    let fits = counts.iter().all(|count| count.is_multiple_of(4))
        && addresses.iter().all(|address| address.is_multiple_of(bytes));
    if fits { 4 } else { 1 }
}
