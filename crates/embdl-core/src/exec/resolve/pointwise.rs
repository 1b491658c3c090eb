//! Operators that work element by element or only move elements.

use alloc::boxed::Box;

use super::super::check::invalid;
use super::{ConcatPart, Resolver, Weightless};
use crate::kernels::product::Rows;
use crate::op::{Activation, Concat, Transpose, Unary};
use crate::quant::{AddRequant, MulRequant, PReluRequant, Quant, rescale_table, unary_table};
use crate::runtime::RuntimeError;
use crate::tensor::{DType, ValueType};

impl Resolver<'_, '_> {
    pub(super) fn activation(&self, activation: Activation) -> Result<Weightless, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        let same = from.dtype == to.dtype && from.quant == to.quant;
        match (from.dtype, activation) {
            (_, Activation::None) if same => Ok(Weightless::Alias),
            (DType::F32, _) if same => Ok(Weightless::ClampF32(activation.bounds())),
            (DType::I32, Activation::Relu) if same => Ok(Weightless::ReluI32),
            (DType::U8, _) if to.dtype == DType::U8 => {
                match (self.table(from, to, activation)?, to.quant) {
                    (None, Some(quant)) => Ok(Weightless::ClampU8(levels(quant, activation))),
                    (Some(table), _) => Ok(Weightless::MapU8(table)),
                    (None, None) => Err(invalid(&self.node.name, "its result has no scale")),
                }
            }
            _ => Err(self.unsupported("it does not compute on these element types")),
        }
    }

    pub(super) fn add(&self, activation: Activation) -> Result<Weightless, RuntimeError> {
        let [lhs, rhs] = [self.from(), self.types[self.node.inputs[1]]];
        let to = self.to();
        match [lhs.dtype, rhs.dtype, to.dtype] {
            [DType::F32, DType::F32, DType::F32] => Ok(Weightless::AddF32(activation.bounds())),
            [DType::U8, DType::U8, DType::U8] => {
                let (Some(lhs), Some(rhs), Some(to)) = (lhs.quant, rhs.quant, to.quant) else {
                    return Err(invalid(&self.node.name, "a quantized value has no scale"));
                };
                let requant = AddRequant::new(lhs, rhs, to, levels(to, activation))
                    .ok_or_else(|| self.unsupported("a ratio of its scales is out of range"))?;
                Ok(Weightless::AddU8(requant))
            }
            _ => Err(self.unsupported("it adds f32 to f32, and u8 to u8")),
        }
    }

    pub(super) fn concat(&self, concat: Concat) -> Result<Weightless, RuntimeError> {
        let to = self.to();
        let part = |&input: &usize| {
            let from = self.types[input];
            let elements: usize = from.shape.iter().skip(concat.axis as usize).product();
            if from.dtype != to.dtype || (to.dtype == DType::I32 && from.quant != to.quant) {
                return Err(self.unsupported("its inputs are not of the result's element type"));
            }
            let table = match to.dtype {
                DType::U8 => self.table(from, to, Activation::None)?,
                _ => None,
            };
            let is_there = self.plan.row_bytes[input].is_some();
            Ok(ConcatPart { row: elements * to.dtype.size_bytes(), table, is_there })
        };
        Ok(Weightless::Concat(self.node.inputs.iter().map(part).collect::<Result<_, _>>()?))
    }

    /// The table from the levels of one value to those of another; `None` where they are the same levels.
    pub(super) fn table(
        &self,
        from: ValueType,
        to: ValueType,
        activation: Activation,
    ) -> Result<Option<Box<[u8; 256]>>, RuntimeError> {
        if from.quant == to.quant {
            return Ok(None);
        }
        let (Some(from), Some(to)) = (from.quant, to.quant) else {
            return Err(invalid(&self.node.name, "a quantized value has no scale"));
        };
        let table = rescale_table(from, to, levels(to, activation))
            .ok_or_else(|| self.unsupported("the ratio of its scales is out of range"))?;
        Ok(Some(Box::new(table)))
    }

    pub(super) fn unary(&self, unary: Unary) -> Result<Weightless, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        match (from.dtype, from.quant, to.dtype, to.quant) {
            (DType::F32, _, DType::F32, _) => Ok(Weightless::UnaryF32(unary)),
            (DType::U8, Some(from), DType::U8, Some(to)) => {
                Ok(Weightless::MapU8(Box::new(unary_table(unary, from, to))))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    pub(super) fn mul(&self) -> Result<Weightless, RuntimeError> {
        let [lhs, rhs] = [self.from(), self.types[self.node.inputs[1]]];
        let to = self.to();
        let batch = lhs.shape.dim(0);
        let rows = Rows { sample: lhs.shape.len() / batch, row: rhs.shape.len() / batch };
        match [lhs.dtype, rhs.dtype, to.dtype] {
            [DType::F32, DType::F32, DType::F32] => Ok(Weightless::MulF32(rows)),
            [DType::U8, DType::U8, DType::U8] => {
                let (Some(lhs), Some(rhs), Some(to)) = (lhs.quant, rhs.quant, to.quant) else {
                    return Err(invalid(&self.node.name, "a quantized value has no scale"));
                };
                let requant = MulRequant::new(lhs, rhs, to)
                    .ok_or_else(|| self.unsupported("the ratio of its scales is out of range"))?;
                Ok(Weightless::MulU8(rows, requant))
            }
            _ => Err(self.unsupported("it multiplies f32 by f32, and u8 by u8")),
        }
    }

    pub(super) fn prelu(&self) -> Result<Weightless, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        let slopes =
            self.needed_weight()?.dequantize().map_err(|source| self.undecodable(source))?;
        match (from.dtype, from.quant, to.dtype, to.quant) {
            (DType::F32, _, DType::F32, _) => Ok(Weightless::PReluF32(slopes)),
            (DType::U8, Some(from), DType::U8, Some(to)) => {
                let requant = PReluRequant::new(&slopes, from, to).ok_or_else(|| {
                    self.unsupported("a slope or the ratio of its scales is out of range")
                })?;
                Ok(Weightless::PReluU8(requant))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    pub(super) fn transpose(&self, transpose: Transpose) -> Result<Weightless, RuntimeError> {
        self.need_same_elements()?;
        let shape = self.from().shape;
        let mut dims = [1; 4];
        for (slot, dim) in dims.iter_mut().zip(shape.iter()) {
            *slot = dim;
        }
        Ok(Weightless::Transpose(
            dims,
            transpose.order.map(usize::from),
            self.from().dtype.size_bytes(),
        ))
    }

    pub(super) fn need_floats(&self) -> Result<(), RuntimeError> {
        if [self.from().dtype, self.to().dtype] == [DType::F32; 2] {
            Ok(())
        } else {
            Err(self.unsupported("it computes on f32 only"))
        }
    }

    /// For operators that only move or average elements.
    pub(super) fn need_same_elements(&self) -> Result<(), RuntimeError> {
        let (from, to) = (self.from(), self.to());
        if from.dtype == to.dtype && from.quant == to.quant {
            Ok(())
        } else {
            Err(self.unsupported("it does not change element type or levels"))
        }
    }
}

/// The levels of `quant` that `activation` leaves.
pub(super) fn levels(quant: Quant, activation: Activation) -> (u8, u8) {
    let (low, high) = activation.bounds();
    quant.clamp_levels(low, high)
}
