//! Pooling, local response normalization, softmax.

use embdl_core::kernels::WindowGeometry;
use embdl_core::kernels::pool::AverageRequant;
use embdl_core::op::Lrn;
use embdl_core::quant::Requant;
use embdl_core::runtime::RuntimeError;

use super::Lowering;
use super::pointwise::table_words;
use crate::draft::{Constants, Draft};
use crate::kernels::{LRN, POOL_F32, POOL_Q8, Params, SOFTMAX, levels_word};

/// Functions of `pool_f32`.
const MAX: usize = 0;
const MEAN: usize = 1;
const MEAN_WITH_PADS: usize = 2;

/// Functions of `pool_q8` beside the maximum.
const MAX_BY_TABLE: usize = 1;
const MEAN_OF_LEVELS: usize = 2;

impl<'l> Lowering<'_, 'l> {
    pub(super) fn max_pool_f32(
        &self,
        geometry: &WindowGeometry,
    ) -> Result<Draft<'l>, RuntimeError> {
        self.pool_f32("maxpool_f32_f32_1x1__wgsl", geometry, MAX)
    }

    pub(super) fn average_pool_f32(
        &self,
        geometry: &WindowGeometry,
        include_pads: bool,
    ) -> Result<Draft<'l>, RuntimeError> {
        let function = if include_pads { MEAN_WITH_PADS } else { MEAN };
        self.pool_f32("avgpool_f32_f32_1x1__wgsl", geometry, function)
    }

    pub(super) fn max_pool_q8(
        &self,
        geometry: &WindowGeometry,
        table: Option<&[u8; 256]>,
    ) -> Result<Draft<'l>, RuntimeError> {
        let function = if table.is_some() { MAX_BY_TABLE } else { MAX };
        let params = self.window(geometry, function)?.integers([0]).floats([0.0]).counts([0]);
        let constants = table.map_or(Constants::None, |table| Constants::Ready(table_words(table)));
        Ok(self.pool_q8("maxpool_qu8_qu8_1x4__wgsl", params, constants))
    }

    pub(super) fn average_pool_q8(
        &self,
        geometry: &WindowGeometry,
        average: &AverageRequant,
    ) -> Result<Draft<'l>, RuntimeError> {
        let [height, width] = geometry.output;
        // The same for all positions.
        let Requant { zero_point, min, max, .. } = *average.of_position(geometry, [0, 0]);
        let params = self
            .window(geometry, MEAN_OF_LEVELS)?
            .integers([average.zero_point().into()])
            .floats([0.0])
            .counts([levels_word(zero_point, min, max)]);
        let (geometry, average) = (*geometry, average.clone());
        let fill = move |words: &mut [u32]| {
            let (pairs, _) = words.as_chunks_mut::<2>();
            for (at, pair) in pairs.iter_mut().enumerate() {
                let requant = average.of_position(&geometry, [at / width, at % width]);
                *pair = [requant.multipliers[0].cast_unsigned(), requant.shift];
            }
            Ok(())
        };
        let constants = Constants::Later { words: height * width * 2, fill: Box::new(fill) };
        Ok(self.pool_q8("avgpool_qu8_qu8_1x4__wgsl", params, constants))
    }

    pub(super) fn lrn(&self, lrn: &Lrn, channels: usize) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let count = self.to().shape.len();
        let size = lrn.size as usize;
        #[expect(clippy::cast_precision_loss, reason = "the size is at most 65,536")]
        let factor = lrn.alpha / lrn.size as f32;
        let params = Params::new()
            .counts([input, out, count, channels, (size - 1) / 2, size / 2])
            .floats([factor, lrn.bias, lrn.beta]);
        Ok(Draft::linear("lrn_f32_f32_1x1__wgsl", LRN, count, params, Constants::None))
    }

    pub(super) fn softmax(&self, features: usize) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let rows = self.to().shape.len() / features;
        let params = Params::new().counts([input, out, rows, features]).floats([f32::NEG_INFINITY]);
        let (name, constants) = ("softmax_f32_f32_1x64__wgsl", Constants::None);
        Ok(Draft { workgroups: rows, ..Draft::linear(name, SOFTMAX, rows, params, constants) })
    }

    fn pool_f32(
        &self,
        name: &'static str,
        geometry: &WindowGeometry,
        function: usize,
    ) -> Result<Draft<'l>, RuntimeError> {
        let params =
            self.window(geometry, function)?.integers([0]).floats([f32::NEG_INFINITY]).counts([0]);
        Ok(Draft::linear(name, POOL_F32, self.to().shape.len(), params, Constants::None))
    }

    fn pool_q8(&self, name: &'static str, params: Params, constants: Constants<'l>) -> Draft<'l> {
        let jobs = self.to().shape.len().div_ceil(4);
        Draft::linear(name, POOL_Q8, jobs, params, constants)
    }

    /// What both kernels begin with.
    fn window(&self, geometry: &WindowGeometry, function: usize) -> Result<Params, RuntimeError> {
        let [input, out] = self.ends()?;
        let [ih, iw, c] = geometry.input;
        let [oh, ow] = geometry.output;
        Ok(Params::new()
            .counts([input, out, self.to().shape.len(), c, oh, ow, ih, iw])
            .counts(geometry.kernel)
            .counts(geometry.stride)
            .counts(geometry.dilation)
            .counts(geometry.pad_before)
            .counts(geometry.pad_after)
            .counts([function]))
    }
}
