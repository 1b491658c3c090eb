//! Pooling, resizing, padding.

use super::{Padding, Resolver, Weightless};
use crate::kernels::WindowGeometry;
use crate::kernels::pool::AverageRequant;
use crate::kernels::resize::ResizePlan;
use crate::op::{Activation, Pad, Pool, PoolKind, Resize, ResizeMode};
use crate::runtime::RuntimeError;
use crate::tensor::DType;

impl Resolver<'_, '_> {
    pub(super) fn pool(
        &self,
        pool: &Pool,
        geometry: WindowGeometry,
    ) -> Result<Weightless, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        match (pool.kind, from.dtype, to.dtype) {
            (PoolKind::Average { include_pads }, _, _) => self.average_pool(geometry, include_pads),
            (PoolKind::Max, DType::F32, DType::F32) => Ok(Weightless::MaxPoolF32(geometry)),
            (PoolKind::Max, DType::U8, DType::U8) => {
                Ok(Weightless::MaxPoolU8(geometry, self.table(from, to, Activation::None)?))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    pub(super) fn average_pool(
        &self,
        geometry: WindowGeometry,
        include_pads: bool,
    ) -> Result<Weightless, RuntimeError> {
        match (self.from().dtype, self.from().quant, self.to().dtype, self.to().quant) {
            (DType::F32, _, DType::F32, _) => {
                Ok(Weightless::AveragePoolF32(geometry, include_pads))
            }
            (DType::U8, Some(from), DType::U8, Some(to)) => {
                let average = AverageRequant::new(&geometry, include_pads, from, to)
                    .ok_or_else(|| self.unsupported("the ratio of its scales is out of range"))?;
                Ok(Weightless::AveragePoolU8(geometry, average))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    /// The window of global pooling.
    pub(super) fn whole_sample(&self) -> WindowGeometry {
        let shape = self.from().shape;
        WindowGeometry {
            input: [shape.dim(1), shape.dim(2), shape.dim(3)],
            output: [1, 1],
            kernel: [shape.dim(1), shape.dim(2)],
            stride: [1, 1],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 0],
        }
    }

    pub(super) fn resize(&self, resize: &Resize) -> Result<Weightless, RuntimeError> {
        self.need_same_elements()?;
        let plan = ResizePlan::new(resize, self.from().shape);
        match (resize.mode, self.from().dtype) {
            (ResizeMode::Linear, DType::I32 | DType::I8) => {
                Err(self.unsupported("it interpolates f32 and u8 only"))
            }
            _ => Ok(Weightless::Resize(plan, self.from().dtype)),
        }
    }

    pub(super) fn pad(&self, pad: Pad) -> Result<Weightless, RuntimeError> {
        self.need_same_elements()?;
        let from = self.from();
        // Zero is all bytes zero for floats and accumulators.
        let border = match (from.dtype, from.quant) {
            (DType::U8, Some(quant)) => quant.zero_point,
            _ => 0,
        };
        let pixel = from.shape.dim(3) * from.dtype.size_bytes();
        Ok(Weightless::Pad(Padding {
            input: [from.shape.dim(1), from.shape.dim(2) * pixel],
            border: [pad.top, pad.left * pixel, pad.bottom, pad.right * pixel],
            level: border,
        }))
    }
}
