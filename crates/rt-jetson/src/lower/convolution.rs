//! Convolutions: which way each is computed; depthwise ones.

use embdl_core::kernels::WindowGeometry;
use embdl_core::op::{Activation, Conv2d};
use embdl_core::runtime::RuntimeError;

use super::product::Product;
use super::stage::Finish;
use super::windows::window;
use super::{Lowering, width};
use crate::draft::{Draft, Parts, count};
use crate::kernels::{DEPTHWISE_F32, DEPTHWISE_Q8};
use crate::params::{DepthwiseF32, DepthwiseQ8};

impl<'l> Lowering<'_, 'l> {
    pub(super) fn convolution(&self, conv: &Conv2d) -> Result<Vec<Draft<'l>>, RuntimeError> {
        if self.is_depthwise(conv) {
            return Ok(vec![self.depthwise(conv)?]);
        }
        let (geometry, groups) = (self.geometry(conv), conv.groups as usize);
        let to = self.to().shape;
        let rows = to.len() / to.dim(3);
        let (n, out_stride) = (to.dim(3) / groups, self.out_stride());
        let product = Product { geometry, groups, rows, n, out_stride };
        if let Some(winograd) = self.winograd(&product) {
            return self.winograd_drafts(&product, winograd, conv.activation);
        }
        self.product(product, conv.activation)
    }

    /// A dense layer as the product of all samples.
    pub(super) fn dense_product(
        &self,
        activation: Activation,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let (from, to) = (self.from().shape, self.to().shape);
        let (rows, n) = (to.dim(0), to.dim(1));
        let geometry = pixel(rows, from.dim(1));
        self.product(Product { geometry, groups: 1, rows, n, out_stride: n }, activation)
    }

    fn depthwise(&self, conv: &Conv2d) -> Result<Draft<'l>, RuntimeError> {
        let weight = self.needed_weight()?;
        let geometry = self.geometry(conv);
        let c = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let [input, out] = self.ends()?;
        let count_of = count(self.to().shape.len())?;
        let mut parts = Parts::default();
        if let Some((quant, stage)) = self.integer_stage(weight, c, conv.activation)? {
            let finish = Finish::new(&stage);
            let weights = parts.take(taps * c);
            let bias = parts.take(if self.node.bias.is_some() { c * 4 } else { 0 });
            let multipliers = parts.take(finish.multiplier_bytes(c));
            let (lowering, kind) = (*self, finish.stage);
            let ends = [weights.clone(), bias.clone(), multipliers.clone()];
            let constants = self.places.constants(
                &parts,
                Box::new(move |bytes| {
                    let [weights, bias, multipliers] = ends.clone();
                    let slots = &mut bytes[weights];
                    lowering.each_integer(taps, |channel, tap, value| {
                        slots[tap * c + channel] = value.cast_unsigned();
                    })?;
                    let slots: &mut [i32] = bytemuck::cast_slice_mut(&mut bytes[bias]);
                    for (slot, bias) in slots.iter_mut().zip(lowering.bias_i32()?) {
                        *slot = bias;
                    }
                    finish.fill(bytemuck::cast_slice_mut(&mut bytes[multipliers]));
                    Ok(())
                }),
            );
            let params = DepthwiseQ8 {
                input,
                weights: constants.at(&weights),
                bias: constants.at(&bias),
                multipliers: constants.at(&multipliers),
                out,
                window: window(&geometry)?,
                count: count_of,
                width: width(&[c], &[input, out], 4),
                zero_point: quant.zero_point.into(),
                stage: kind,
                unused: 0,
            };
            let name = "depthwise_qu8_qc8w_1x4__sm62";
            return Draft::new(name, DEPTHWISE_Q8, &params, Some(constants));
        }
        let weights = parts.take(taps * c * 4);
        let bias = parts.take(if self.node.bias.is_some() { c * 4 } else { 0 });
        let (lowering, ends) = (*self, [weights.clone(), bias.clone()]);
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let [weights, bias] = ends.clone();
                let slots: &mut [f32] = bytemuck::cast_slice_mut(&mut bytes[weights]);
                lowering.each_float(taps, |channel, tap, value| {
                    slots[tap * c + channel] = value;
                })?;
                lowering.fill_bias_f32(bytemuck::cast_slice_mut(&mut bytes[bias]))
            }),
        );
        let (low, high) = conv.activation.bounds();
        let params = DepthwiseF32 {
            input,
            weights: constants.at(&weights),
            bias: constants.at(&bias),
            out,
            window: window(&geometry)?,
            count: count_of,
            width: width(&[c], &[input, out], 16),
            low,
            high,
            unused: 0,
        };
        Draft::new("depthwise_f32_f32_1x4__sm62", DEPTHWISE_F32, &params, Some(constants))
    }
}

/// A window of one pixel over so many rows of `channels`.
pub(super) const fn pixel(rows: usize, channels: usize) -> WindowGeometry {
    WindowGeometry {
        input: [rows, 1, channels],
        output: [rows, 1],
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pad_before: [0, 0],
        pad_after: [0, 0],
    }
}
