//! Layers with weights: their geometry, bias and output stage.

use alloc::vec::Vec;
use core::ops::Range;

use super::super::check::invalid;
use super::Resolver;
use super::pointwise::levels;
use crate::kernels::WindowGeometry;
use crate::model::{EncodedTensor, Scales};
use crate::op::{Activation, Conv2d};
use crate::quant::{Quant, Requant};
use crate::runtime::RuntimeError;
use crate::tensor::DType;

/// Where accumulators go.
#[derive(Debug)]
pub enum Stage {
    /// Requantized to levels.
    Levels(Requant),
    /// Kept as they are, or clamped to zero from below.
    Accumulators {
        /// Whether negative ones become zero.
        relu: bool,
    },
}

impl Stage {
    /// The stage of some of the layer's channels.
    #[must_use]
    pub fn of_channels(&self, channels: Range<usize>) -> Self {
        match self {
            Self::Accumulators { relu } => Self::Accumulators { relu: *relu },
            Self::Levels(requant) => {
                let mut part = requant.clone();
                if part.multipliers.len() > 1 {
                    part.multipliers = part.multipliers[channels].to_vec();
                }
                Self::Levels(part)
            }
        }
    }

    /// Bytes of one result.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        match self {
            Self::Levels(_) => 1,
            Self::Accumulators { .. } => 4,
        }
    }
}

impl Resolver<'_, '_> {
    /// Whether the depthwise kernels take the node: one filter a channel.
    #[must_use]
    pub fn is_depthwise(&self, conv: &Conv2d) -> bool {
        let channels = self.from().shape.dim(3);
        conv.is_depthwise(channels) && self.to().shape.dim(3) == channels
    }

    /// Where the window of a convolution goes.
    #[must_use]
    pub fn geometry(&self, conv: &Conv2d) -> WindowGeometry {
        WindowGeometry::new(&conv.window, self.from().shape, self.to().shape)
    }

    /// Scale of the input and output stage of a layer that computes in integers; `None` for one in floats.
    ///
    /// # Errors
    /// If the element types, scales or activation are none that layers compute with.
    pub fn integer_stage(
        &self,
        weight: &EncodedTensor<'_>,
        n: usize,
        activation: Activation,
    ) -> Result<Option<(Quant, Stage)>, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        let (from_quant, to_quant) = match (from.dtype, from.quant, to.dtype, to.quant) {
            (DType::F32, _, DType::F32, _) => return Ok(None),
            (DType::U8, Some(from), DType::U8 | DType::I32, Some(to)) => (from, to),
            _ => return Err(self.unsupported("it turns f32 into f32, and u8 into u8 or i32")),
        };
        let scales = channel_scales(weight, n)
            .ok_or_else(|| invalid(&self.node.name, "its weight lacks scales"))?;
        if to.dtype == DType::I32 {
            if scales.windows(2).any(|pair| pair[0].to_bits() != pair[1].to_bits()) {
                return Err(self
                    .unsupported("accumulators of channels with different scales do not compare"));
            }
            let relu = match activation {
                Activation::None => false,
                Activation::Relu => true,
                Activation::Relu6 => {
                    return Err(self.unsupported("accumulators have no relu6"));
                }
            };
            return Ok(Some((from_quant, Stage::Accumulators { relu })));
        }
        let step = |scale: &f32| {
            f64::from(from_quant.scale) * f64::from(*scale) / f64::from(to_quant.scale)
        };
        let ratios: Vec<f64> = scales.iter().map(step).collect();
        let requant = Requant::new(&ratios, to_quant, levels(to_quant, activation))
            .ok_or_else(|| self.unsupported("a ratio of its scales is out of range"))?;
        Ok(Some((from_quant, Stage::Levels(requant))))
    }

    /// The bias of a layer in floats; empty where it has none.
    ///
    /// # Errors
    /// If it does not decode.
    pub fn bias_f32(&self) -> Result<Vec<f32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_f32().map_err(|source| self.undecodable(source))
    }

    /// The bias of a layer in accumulators; empty where it has none.
    ///
    /// # Errors
    /// If it does not decode.
    pub fn bias_i32(&self) -> Result<Vec<i32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_i32().map_err(|source| self.undecodable(source))
    }
}

/// Real value of one step of each output channel, or one for all; `None` if the weight has no scales, or not `n`.
fn channel_scales(weight: &EncodedTensor<'_>, n: usize) -> Option<Vec<f32>> {
    match &weight.scales {
        Scales::None => None,
        Scales::PerTensor(scale) => Some(alloc::vec![*scale]),
        Scales::PerChannel(scales) => (scales.len() == n).then(|| scales.clone()),
    }
}
