//! Pooling, local response normalization, softmax.

use embdl_core::kernels::WindowGeometry;
use embdl_core::kernels::pool::AverageRequant;
use embdl_core::op::Lrn as LrnOp;
use embdl_core::runtime::RuntimeError;

use super::stage::levels;
use super::{Lowering, width};
use crate::draft::{Draft, Parts, count};
use crate::kernels::{LRN, POOL_F32, POOL_Q8, SOFTMAX};
use crate::params::{
    LEVELS, Lrn, POOL_MAX, POOL_MAX_BY_TABLE, POOL_MEAN, POOL_MEAN_OF_LEVELS, POOL_MEAN_WITH_PADS,
    PoolF32, PoolQ8, Softmax, Stage, Window,
};

impl<'l> Lowering<'_, 'l> {
    pub(super) fn max_pool_f32(
        &self,
        geometry: &WindowGeometry,
    ) -> Result<Draft<'l>, RuntimeError> {
        self.pool_f32("maxpool_f32_f32_1x1__sm62", geometry, POOL_MAX)
    }

    pub(super) fn average_pool_f32(
        &self,
        geometry: &WindowGeometry,
        include_pads: bool,
    ) -> Result<Draft<'l>, RuntimeError> {
        let function = if include_pads { POOL_MEAN_WITH_PADS } else { POOL_MEAN };
        self.pool_f32("avgpool_f32_f32_1x1__sm62", geometry, function)
    }

    pub(super) fn max_pool_q8(
        &self,
        geometry: &WindowGeometry,
        table: Option<Box<[u8; 256]>>,
    ) -> Result<Draft<'l>, RuntimeError> {
        let mut params = self.pool_q8(geometry)?;
        params.stage = Stage { kind: LEVELS, shift: 1, max: 255, ..Stage::default() };
        let constants = table.map(|table| {
            let (constants, address) = self.numbers(table.to_vec());
            (params.table, params.function) = (address, POOL_MAX_BY_TABLE);
            constants
        });
        Draft::new("maxpool_qu8_qu8_1x4__sm62", POOL_Q8, &params, constants)
    }

    pub(super) fn average_pool_q8(
        &self,
        geometry: &WindowGeometry,
        average: &AverageRequant,
    ) -> Result<Draft<'l>, RuntimeError> {
        let [height, columns] = geometry.output;
        let mut parts = Parts::default();
        let part = parts.take(height * columns * 8);
        let mut params = self.pool_q8(geometry)?;
        let (geometry, average) = (*geometry, average.clone());
        // The same for all positions, but for the shift.
        params.stage = levels(average.of_position(&geometry, [0, 0]));
        params.zero_point = average.zero_point().into();
        params.function = POOL_MEAN_OF_LEVELS;
        let fill = move |bytes: &mut [u8]| {
            let words: &mut [u32] = bytemuck::cast_slice_mut(bytes);
            let (pairs, _) = words.as_chunks_mut::<2>();
            for (at, pair) in pairs.iter_mut().take(height * columns).enumerate() {
                let requant = average.of_position(&geometry, [at / columns, at % columns]);
                *pair = [requant.multipliers[0].cast_unsigned(), requant.shift];
            }
            Ok(())
        };
        let constants = self.places.constants(&parts, Box::new(fill));
        params.requants = constants.at(&part);
        Draft::new("avgpool_qu8_qu8_1x4__sm62", POOL_Q8, &params, Some(constants))
    }

    pub(super) fn lrn(&self, lrn: &LrnOp, channels: usize) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        #[expect(clippy::cast_precision_loss, reason = "the size is at most 65,536")]
        let factor = lrn.alpha / lrn.size as f32;
        let params = Lrn {
            input,
            out,
            count: count(self.to().shape.len())?,
            c: count(channels)?,
            before: (lrn.size - 1) / 2,
            after: lrn.size / 2,
            factor,
            bias: lrn.bias,
            exponent: lrn.beta,
            unused: 0,
        };
        Draft::new("lrn_f32_f32_1x1__sm62", LRN, &params, None)
    }

    pub(super) fn softmax(&self, features: usize) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let rows = count(self.to().shape.len() / features)?;
        let params = Softmax { input, out, rows, features: count(features)? };
        Draft::new("softmax_f32_f32_1x256__sm62", SOFTMAX, &params, None)
    }

    fn pool_f32(
        &self,
        name: &'static str,
        geometry: &WindowGeometry,
        function: u32,
    ) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let params = PoolF32 {
            input,
            out,
            window: window(geometry)?,
            count: count(self.to().shape.len())?,
            width: width(&[geometry.input[2]], &[input, out], 16),
            function,
        };
        Draft::new(name, POOL_F32, &params, None)
    }

    /// What all pooling of levels begins with: that of the maximum.
    fn pool_q8(&self, geometry: &WindowGeometry) -> Result<PoolQ8, RuntimeError> {
        let [input, out] = self.ends()?;
        Ok(PoolQ8 {
            input,
            out,
            window: window(geometry)?,
            count: count(self.to().shape.len())?,
            width: width(&[geometry.input[2]], &[input, out], 4),
            function: POOL_MAX,
            ..PoolQ8::default()
        })
    }
}

/// A window as kernels take it.
///
/// # Errors
/// If it is too large for them.
pub(super) fn window(geometry: &WindowGeometry) -> Result<Window, RuntimeError> {
    let [oh, ow] = geometry.output;
    let [ih, iw, ci] = geometry.input;
    Ok(Window {
        oh: count(oh)?,
        ow: count(ow)?,
        ih: count(ih)?,
        iw: count(iw)?,
        ci: count(ci)?,
        kh: count(geometry.kernel[0])?,
        kw: count(geometry.kernel[1])?,
        stride_y: count(geometry.stride[0])?,
        stride_x: count(geometry.stride[1])?,
        dilation_y: count(geometry.dilation[0])?,
        dilation_x: count(geometry.dilation[1])?,
        pad_y: count(geometry.pad_before[0])?,
        pad_x: count(geometry.pad_before[1])?,
        pad_bottom: count(geometry.pad_after[0])?,
        pad_right: count(geometry.pad_after[1])?,
    })
}
