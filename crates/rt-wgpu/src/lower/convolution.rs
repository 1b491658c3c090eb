//! Convolutions, and dense layers of several samples, as products of matrices; depthwise convolutions.

use core::ops::Range;

use embdl_core::exec::for_each_row;
use embdl_core::kernels::WindowGeometry;
use embdl_core::op::{Activation, Conv2d};
use embdl_core::runtime::RuntimeError;

use super::Lowering;
use super::half_bits::{fits, half};
use super::stage::{Finish, folded_bias, outside_word};
use crate::draft::{Constants, Draft};
use crate::kernels::{CONV_F16, CONV_F32, CONV_Q8, DEPTHWISE_F32, DEPTHWISE_Q8, Params};

/// Output positions, and channels, of a workgroup.
const TILE: usize = 32;
/// Elements that exist unpacked at a time.
const BLOCK: usize = 8192;

/// Names of the products of matrices.
const GEMM_F32: &str = "gemm_f32_f32_32x32c16__wgsl";
const GEMM_F16: &str = "gemm_f32_f16_32x32c16__wgsl";
const GEMM_Q8: &str = "gemm_qu8_qc8w_32x32c64__wgsl";

/// A product of matrices whose left side is gathered through a window.
#[derive(Clone, Copy)]
struct Product {
    geometry: WindowGeometry,
    groups: usize,
    /// Output positions of all samples.
    rows: usize,
    /// Output channels of a group.
    n: usize,
    /// Elements from one output position to the next.
    out_stride: usize,
}

impl Product {
    /// Taps of the window.
    const fn taps(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    /// Input channels of a group.
    const fn depth(&self) -> usize {
        self.geometry.input[2] / self.groups
    }

    /// Places, then what both kernels begin with.
    fn params(&self, [input, out]: [usize; 2], k: usize, n: usize) -> Params {
        let geometry = &self.geometry;
        let [ih, iw, ci] = geometry.input;
        let [oh, ow] = geometry.output;
        Params::new()
            .counts([input, out, self.out_stride, self.rows])
            .counts([oh, ow, ih, iw])
            .counts([ci, self.depth(), geometry.kernel[1], k])
            .counts(geometry.stride)
            .counts(geometry.dilation)
            .counts(geometry.pad_before)
            .counts([n, n.div_ceil(TILE)])
    }

    fn workgroups(&self, n: usize) -> usize {
        self.rows.div_ceil(TILE) * n.div_ceil(TILE)
    }
}

impl<'l> Lowering<'_, 'l> {
    pub(super) fn convolution(&self, conv: &Conv2d) -> Result<Vec<Draft<'l>>, RuntimeError> {
        if self.is_depthwise(conv) {
            return Ok(vec![self.depthwise(conv)?]);
        }
        let (geometry, groups) = (self.geometry(conv), conv.groups as usize);
        let to = self.to().shape;
        let rows = to.len() / to.dim(3);
        let (n, out_stride) = (to.dim(3) / groups, self.out_stride());
        self.product(Product { geometry, groups, rows, n, out_stride }, conv.activation)
    }

    /// A dense layer as the product of all samples.
    pub(super) fn dense_product(
        &self,
        activation: Activation,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let (from, to) = (self.from().shape, self.to().shape);
        let geometry = WindowGeometry {
            input: [1, 1, from.dim(1)],
            output: [1, 1],
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 0],
        };
        let (rows, n) = (to.dim(0), to.dim(1));
        self.product(Product { geometry, groups: 1, rows, n, out_stride: n }, activation)
    }

    fn product(
        &self,
        product: Product,
        activation: Activation,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let weight = self.needed_weight()?;
        match self.integer_stage(weight, weight.shape.dim(0), activation)? {
            Some((quant, stage)) => {
                self.product_q8(product, quant.zero_point, &Finish::new(&stage))
            }
            None => self.product_f32(product, activation.bounds()),
        }
    }

    fn product_f32(
        &self,
        product: Product,
        bounds: (f32, f32),
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let k = product.taps() * product.depth();
        let [input, out] = self.ends()?;
        let is_half = self.half_weights;
        // In rows of words for each channel: two weights a word, or one, and biases.
        let rows = if is_half { k.div_ceil(2) + 1 } else { k + 1 };
        let (name, shader) = if is_half { (GEMM_F16, CONV_F16) } else { (GEMM_F32, CONV_F32) };
        let mut drafts = Vec::new();
        for part in self.parts(product, rows)? {
            let n = part.len() / product.groups;
            let padded = n.next_multiple_of(4);
            let group = if is_half { (k + 2) * padded / 2 } else { (k + 1) * padded };
            let lowering = *self;
            let places = [input, out + part.start];
            drafts.push(Draft {
                name,
                shader,
                params: product.params(places, k, n).floats([bounds.0, bounds.1]),
                constants: Constants::Later {
                    words: product.groups * group,
                    fill: Box::new(move |words| {
                        if is_half {
                            lowering.fill_f16(n, k, &part, words)
                        } else {
                            lowering.fill_f32(n, k, &part, words)
                        }
                    }),
                },
                workgroups: product.workgroups(n),
                layers: product.groups,
            });
        }
        Ok(drafts)
    }

    fn product_q8(
        &self,
        product: Product,
        zero_point: u8,
        finish: &Finish,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let k = product.taps() * product.depth().div_ceil(4);
        let [input, out] = self.ends()?;
        let is_shared = finish.is_levels()
            && !(product.n.is_multiple_of(4) && product.out_stride.is_multiple_of(4));
        let mut drafts = Vec::new();
        for part in self.parts(product, k + 2)? {
            let n = part.len() / product.groups;
            let start = if finish.is_levels() { part.start / 4 } else { part.start };
            let (lowering, finish) = (*self, finish.clone());
            let depth = product.depth();
            drafts.push(Draft {
                name: GEMM_Q8,
                shader: CONV_Q8.sharing(is_shared),
                params: product
                    .params([input, out + start], k, n)
                    .counts([outside_word(zero_point), finish.stage])
                    .counts([finish.shift, finish.levels]),
                constants: Constants::Later {
                    words: product.groups * (k + 2) * n.next_multiple_of(4),
                    fill: Box::new(move |words| {
                        let folding = (zero_point, &finish);
                        lowering.fill_q8([n, k, depth], &part, folding, words)
                    }),
                },
                workgroups: product.workgroups(n),
                layers: product.groups,
            });
        }
        Ok(drafts)
    }

    /// The output channels of the parts that a product has to be cut into, whose weights, `rows` for each channel, fit a buffer.
    fn parts(&self, product: Product, rows: usize) -> Result<Vec<Range<usize>>, RuntimeError> {
        let allowed = self.buffer_bytes;
        let words = |n: usize| {
            let padded = n.next_multiple_of(4).checked_mul(product.groups)?;
            rows.checked_mul(padded)?.checked_mul(4)
        };
        let all = product.n * product.groups;
        let needed = words(product.n).unwrap_or(usize::MAX);
        let fits = needed <= allowed;
        let width = if fits { all } else { allowed / 4 / rows / TILE * TILE };
        if !fits && (product.groups > 1 || width == 0) {
            return Err(RuntimeError::TooLarge { needed, allowed });
        }
        Ok((0..all).step_by(width).map(|first| first..all.min(first + width)).collect())
    }

    /// `[k][n]` weights of each group and its biases, `n` filled up to whole vectors.
    fn fill_f32(
        &self,
        n: usize,
        k: usize,
        part: &Range<usize>,
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let padded = n.next_multiple_of(4);
        let place = |channel: usize, row: usize| {
            let channel = channel - part.start;
            (channel / n * (k + 1) + row) * padded + channel % n
        };
        let weight = self.needed_weight()?;
        let blocks = weight.dequantize_blocks(BLOCK, |at, values| {
            for_each_row(at, values, k, |channel, first, values| {
                if part.contains(&channel) {
                    for (row, value) in (first..).zip(values) {
                        words[place(channel, row)] = value.to_bits();
                    }
                }
            });
        });
        blocks.map_err(|source| self.undecodable(source))?;
        for (channel, bias) in self.bias_f32()?.into_iter().enumerate() {
            if part.contains(&channel) {
                words[place(channel, k)] = bias.to_bits();
            }
        }
        Ok(())
    }

    /// The same with two weights a word, biases as floats behind them.
    fn fill_f16(
        &self,
        n: usize,
        k: usize,
        part: &Range<usize>,
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let padded = n.next_multiple_of(4);
        let mut all_fit = true;
        let group_of = |channel: usize| (channel - part.start) / n * (k + 2) * padded;
        let weight = self.needed_weight()?;
        let blocks = weight.dequantize_blocks(BLOCK, |at, values| {
            for_each_row(at, values, k, |channel, first, values| {
                if part.contains(&channel) {
                    for (row, &value) in (first..).zip(values) {
                        let at = group_of(channel) + row * padded + (channel - part.start) % n;
                        words[at / 2] |= half(value, at);
                        all_fit &= fits(value);
                    }
                }
            });
        });
        blocks.map_err(|source| self.undecodable(source))?;
        self.need_halves(all_fit)?;
        for (channel, bias) in self.bias_f32()?.into_iter().enumerate() {
            if part.contains(&channel) {
                let biases = (group_of(channel) + k * padded) / 2;
                words[biases + (channel - part.start) % n] = bias.to_bits();
            }
        }
        Ok(())
    }

    /// `[k][n]` words of four weights of each group, its biases and its multipliers; a tap has `depth` weights.
    fn fill_q8(
        &self,
        [n, k, depth]: [usize; 3],
        part: &Range<usize>,
        (zero_point, finish): (u8, &Finish),
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let padded = n.next_multiple_of(4);
        let place = |channel: usize, row: usize| {
            let channel = channel - part.start;
            (channel / n * (k + 2) + row) * padded + channel % n
        };
        let weight = self.needed_weight()?;
        let mut sums = vec![0_i32; part.len()];
        let per_channel = weight.shape.len() / weight.shape.dim(0);
        let blocks = weight.decode_i8_blocks(BLOCK, |at, values| {
            for_each_row(at, values, per_channel, |channel, first, values| {
                if part.contains(&channel) {
                    for (at, &value) in (first..).zip(values) {
                        let (tap, c) = (at / depth, at % depth);
                        let row = tap * depth.div_ceil(4) + c / 4;
                        words[place(channel, row)] |= byte(value) << (c % 4 * 8);
                        sums[channel - part.start] += i32::from(value);
                    }
                }
            });
        });
        blocks.map_err(|source| self.undecodable(source))?;
        let bias = self.bias_i32()?;
        for (channel, sum) in part.clone().zip(sums) {
            let bias = bias.get(channel).copied().unwrap_or(0);
            words[place(channel, k)] = folded_bias(bias, zero_point, sum).cast_unsigned();
            words[place(channel, k + 1)] = finish.multiplier(channel);
        }
        Ok(())
    }

    fn depthwise(&self, conv: &Conv2d) -> Result<Draft<'l>, RuntimeError> {
        let weight = self.needed_weight()?;
        let geometry = self.geometry(conv);
        let count = self.to().shape.len();
        let c = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let [ih, iw, _] = geometry.input;
        let [oh, ow] = geometry.output;
        let [input, out] = self.ends()?;
        let params = Params::new()
            .counts([input, out, count, c, oh, ow, ih, iw])
            .counts(geometry.kernel)
            .counts(geometry.stride)
            .counts(geometry.dilation)
            .counts(geometry.pad_before);
        let lowering = *self;
        if let Some((quant, stage)) = self.integer_stage(weight, c, conv.activation)? {
            let (finish, zero_point) = (Finish::new(&stage), usize::from(quant.zero_point));
            let params =
                params.counts([zero_point, finish.stage]).counts([finish.shift, finish.levels]);
            let words = taps * c.div_ceil(4) + 2 * c;
            let fill = Box::new(move |words: &mut [u32]| {
                lowering.fill_depthwise_q8([taps, c], &finish, words)
            });
            let constants = Constants::Later { words, fill };
            let name = "depthwise_qu8_qc8w_1x4__wgsl";
            return Ok(Draft::linear(name, DEPTHWISE_Q8, count.div_ceil(4), params, constants));
        }
        let (low, high) = conv.activation.bounds();
        let fill = Box::new(move |words: &mut [u32]| lowering.fill_depthwise_f32([taps, c], words));
        let constants = Constants::Later { words: (taps + 1) * c, fill };
        let params = params.floats([low, high]);
        Ok(Draft::linear("depthwise_f32_f32_1x1__wgsl", DEPTHWISE_F32, count, params, constants))
    }

    /// `[taps][c]` weights, then biases.
    fn fill_depthwise_f32(
        &self,
        [taps, c]: [usize; 2],
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let blocks = self.needed_weight()?.dequantize_blocks(BLOCK, |at, values| {
            for (at, value) in (at..).zip(values) {
                words[at % taps * c + at / taps] = value.to_bits();
            }
        });
        blocks.map_err(|source| self.undecodable(source))?;
        for (word, bias) in words[taps * c..].iter_mut().zip(self.bias_f32()?) {
            *word = bias.to_bits();
        }
        Ok(())
    }

    /// `[taps][c / 4]` words of four weights, then biases, then multipliers.
    fn fill_depthwise_q8(
        &self,
        [taps, c]: [usize; 2],
        finish: &Finish,
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let blocks = self.needed_weight()?.decode_i8_blocks(BLOCK, |at, values| {
            for (at, &value) in (at..).zip(values) {
                let (channel, tap) = (at / taps, at % taps);
                words[tap * c.div_ceil(4) + channel / 4] |= byte(value) << (channel % 4 * 8);
            }
        });
        blocks.map_err(|source| self.undecodable(source))?;
        let (biases, multipliers) = words[taps * c.div_ceil(4)..].split_at_mut(c);
        for (word, bias) in biases.iter_mut().zip(self.bias_i32()?) {
            *word = bias.cast_unsigned();
        }
        for (channel, word) in multipliers.iter_mut().enumerate() {
            *word = finish.multiplier(channel);
        }
        Ok(())
    }
}

/// A signed byte as the lowest one of a word.
pub(super) fn byte(value: i8) -> u32 {
    u32::from(value.cast_unsigned())
}
