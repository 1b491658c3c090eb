//! Products of matrices whose left side is gathered through a window: which tile, how many slices, and their weights.

use embdl_core::exec::for_each_row;
use embdl_core::kernels::WindowGeometry;
use embdl_core::op::Activation;
use embdl_core::runtime::RuntimeError;
use half::f16;

use super::stage::{Finish, folded_bias};
use super::windows::window;
use super::{BLOCK, Lowering, width};
use crate::cost::Counts;
use crate::counts::Counted;
use crate::draft::{Draft, Parts, count};
use crate::kernels::{
    CONV_F16_32X64, CONV_F16_64X128, CONV_F32_32X32, CONV_F32_64X64, CONV_Q8_32X32, CONV_Q8_64X64,
    CONV_Q8_DP4A_32X32, CONV_Q8_DP4A_64X64, Kernel, SUM_F32, SUM_Q8,
};
use crate::params::{Address, GemmF32, GemmQ8, SumF32, SumQ8};

/// Blocks that a multiprocessor should have at least, so that some compute while others wait for memory.
const BLOCKS_EACH: usize = 2;
/// Steps of k that a slice should have at least: fewer do not pay for adding up slices.
const LEAST_SLICE: usize = 128;
/// Slices are multiples of this.
const SLICE_STEP: usize = 16;
/// More slices than that cost more than they win.
const MOST_SLICES: usize = 16;

/// A product of matrices.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub(super) geometry: WindowGeometry,
    pub(super) groups: usize,
    /// Output positions of all samples.
    pub(super) rows: usize,
    /// Output channels of a group.
    pub(super) n: usize,
    /// Elements from one output position to the next.
    pub(super) out_stride: usize,
}

/// How a product is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Whether blocks make the larger tile.
    pub(super) is_large: bool,
    /// Positions and channels that a block makes.
    tile: [usize; 2],
    pub(super) slices: usize,
    /// Steps of k in each.
    pub(super) slice: usize,
}

impl Cut {
    /// For `layers` products of `[rows, n, k]`, by a tile or by one of half its sides, on so many multiprocessors.
    pub(super) fn new(
        [rows, n, k]: [usize; 3],
        layers: usize,
        [tile_rows, tile_n]: [usize; 2],
        processors: usize,
    ) -> Self {
        let wanted = processors.saturating_mul(BLOCKS_EACH);
        let blocks = |rows_of, n_of| rows.div_ceil(rows_of) * n.div_ceil(n_of) * layers;
        let is_large =
            blocks(tile_rows, tile_n) >= wanted && rows > tile_rows / 2 && n > tile_n / 2;
        let tile = if is_large { [tile_rows, tile_n] } else { [tile_rows / 2, tile_n / 2] };
        let whole = Self { is_large, tile, slices: 1, slice: k };
        let small = blocks(tile_rows / 2, tile_n / 2);
        if is_large || small >= wanted {
            return whole;
        }
        let slices = (wanted / small).min(k / LEAST_SLICE).min(MOST_SLICES);
        if slices < 2 {
            return whole;
        }
        let slice = k.div_ceil(slices).next_multiple_of(SLICE_STEP);
        Self { is_large, tile, slices: k.div_ceil(slice), slice }
    }

    /// What a product of so many positions and channels counts: blocks multiply whole tiles, whatever of them is needed.
    pub(super) fn padded(&self, [rows, n]: [usize; 2], counts: Counts) -> Counts {
        let whole = |extent: usize, tile: usize| extent.next_multiple_of(tile) as u64;
        let needed = (rows as u64).saturating_mul(n as u64).max(1);
        let made = whole(rows, self.tile[0]).saturating_mul(whole(n, self.tile[1]));
        Counts { macs: (counts.macs / needed).saturating_mul(made), ..counts }
    }
}

impl Product {
    const fn taps(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    /// Input channels of a group.
    const fn depth(&self) -> usize {
        self.geometry.input[2] / self.groups
    }

    const fn channels(&self) -> usize {
        self.n * self.groups
    }

    /// What decides whether four channels are read at once.
    const fn reads(&self) -> [usize; 2] {
        [self.depth(), self.geometry.input[2]]
    }
}

/// Where sums of slices go.
const F32_BYTES: usize = 4;

impl<'l> Lowering<'_, 'l> {
    pub(super) fn product(
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
        (low, high): (f32, f32),
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let is_half = self.choices.half_weights;
        let (n, groups, k) = (product.n, product.groups, product.taps() * product.depth());
        let padded = n.next_multiple_of(if is_half { 8 } else { 4 });
        let mut parts = Parts::default();
        let weights =
            parts.take(elements(&[k, padded, groups])? * if is_half { 2 } else { F32_BYTES });
        let has_bias = self.node.bias.is_some();
        let bias = parts.take(if has_bias { product.channels() * F32_BYTES } else { 0 });
        let (lowering, places) = (*self, (weights.clone(), bias.clone()));
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let (weights, bias) = (places.0.clone(), places.1.clone());
                if is_half {
                    let halves = bytemuck::cast_slice_mut(&mut bytes[weights]);
                    lowering.fill_f16([n, k, padded], halves)?;
                } else {
                    let floats = bytemuck::cast_slice_mut(&mut bytes[weights]);
                    lowering.fill_f32([n, k, padded], floats)?;
                }
                lowering.fill_bias_f32(bytemuck::cast_slice_mut(&mut bytes[bias]))
            }),
        );
        let tile = if is_half { [64, 128] } else { [64, 64] };
        let processors = self.choices.speed.processors;
        let cut = Cut::new([product.rows, n, k], groups, tile, processors);
        let [input, out] = self.ends()?;
        let bias = constants.at(&bias);
        let whole = GemmF32 {
            input,
            weights: constants.at(&weights),
            bias,
            out,
            window: window(&product.geometry)?,
            rows: count(product.rows)?,
            n: count(n)?,
            n_padded: count(padded)?,
            k: count(k)?,
            depth: count(product.depth())?,
            width: width(&product.reads(), &[input], 16),
            input_group: count(product.depth())?,
            weight_group: count(k * padded)?,
            out_group: count(n)?,
            groups: count(groups)?,
            slices: 1,
            slice: count(k)?,
            out_stride: count(product.out_stride)?,
            low,
            high,
            ..GemmF32::default()
        };
        let (name, kernel): (_, Kernel<GemmF32>) = match (is_half, cut.is_large) {
            (false, true) => ("gemm_f32_f32_64x64c16__sm62", CONV_F32_64X64),
            (false, false) => ("gemm_f32_f32_32x32c16__sm62", CONV_F32_32X32),
            (true, true) => ("gemm_f32_f16_64x128c16__sm62", CONV_F16_64X128),
            (true, false) => ("gemm_f32_f16_32x64c16__sm62", CONV_F16_32X64),
        };
        if cut.slices == 1 {
            let counts = cut.padded([product.rows, n], whole.counts());
            return Ok(vec![Draft::counting(name, kernel, &whole, Some(constants), counts)?]);
        }
        let (partial, slice) = self.slices(product, cut)?;
        let params = GemmF32 {
            bias: 0,
            out: partial,
            slices: count(cut.slices)?,
            slice: count(cut.slice)?,
            out_slice: slice,
            out_stride: count(product.channels())?,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            ..whole
        };
        let sum = SumF32 {
            partial,
            bias,
            residual: 0,
            out,
            rows: whole.rows,
            n: count(product.channels())?,
            slices: params.slices,
            slice,
            out_stride: whole.out_stride,
            residual_stride: 0,
            low,
            high,
        };
        let counts = cut.padded([product.rows, n], params.counts());
        Ok(vec![
            Draft::counting(name, kernel, &params, Some(constants), counts)?,
            Draft::new("sum", SUM_F32, &sum, None)?,
        ])
    }

    /// Scratch for the sums of slices, and elements from one slice to the next.
    fn slices(&self, product: Product, cut: Cut) -> Result<(Address, u32), RuntimeError> {
        let slice = elements(&[product.rows, product.channels()])?;
        let bytes = elements(&[slice, cut.slices])? * F32_BYTES;
        Ok((self.places.scratch(0, bytes), count(slice)?))
    }

    fn product_q8(
        &self,
        product: Product,
        zero_point: u8,
        finish: &Finish,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let is_dp4a = self.choices.dp4a;
        let (n, groups, depth) = (product.n, product.groups, product.depth());
        let k = product.taps() * if is_dp4a { depth.div_ceil(4) } else { depth };
        let padded = n.next_multiple_of(4);
        let mut parts = Parts::default();
        let group_bytes = elements(&[k, padded])? * if is_dp4a { 4 } else { 1 };
        let weights = parts.take(elements(&[group_bytes, groups])?);
        let bias = parts.take(product.channels() * 4);
        let multipliers = parts.take(finish.multiplier_bytes(product.channels()));
        let (lowering, ends) = (*self, [weights.clone(), bias.clone(), multipliers.clone()]);
        let folding = (zero_point, finish.clone());
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let [weights, bias, multipliers] = ends.clone();
                let sums =
                    lowering.fill_q8([n, depth, padded], group_bytes, &mut bytes[weights])?;
                let (zero_point, finish) = &folding;
                let bias = bytemuck::cast_slice_mut(&mut bytes[bias]);
                lowering.fill_folded_bias(&sums, *zero_point, bias)?;
                finish.fill(bytemuck::cast_slice_mut(&mut bytes[multipliers]));
                Ok(())
            }),
        );
        let processors = self.choices.speed.processors;
        let cut = Cut::new([product.rows, n, k], groups, [64, 64], processors);
        let [input, out] = self.ends()?;
        let (bias, multipliers) = (constants.at(&bias), constants.at(&multipliers));
        let whole = GemmQ8 {
            input,
            weights: constants.at(&weights),
            bias,
            multipliers,
            out,
            window: window(&product.geometry)?,
            rows: count(product.rows)?,
            n: count(n)?,
            n_padded: count(padded)?,
            k: count(k)?,
            depth: count(depth)?,
            width: width(&product.reads(), &[input], 4),
            input_group: count(depth)?,
            weight_group: count(group_bytes)?,
            out_group: count(n)?,
            groups: count(groups)?,
            slices: 1,
            slice: count(k)?,
            out_slice: 0,
            out_stride: count(product.out_stride)?,
            zero_point: zero_point.into(),
            stage: finish.stage,
            unused: 0,
        };
        let (name, kernel): (_, Kernel<GemmQ8>) = match (is_dp4a, cut.is_large) {
            (false, true) => ("gemm_qu8_qc8w_64x64c16__sm62", CONV_Q8_64X64),
            (false, false) => ("gemm_qu8_qc8w_32x32c16__sm62", CONV_Q8_32X32),
            (true, true) => ("gemm_qu8_qc8w_64x64c64__dp4a", CONV_Q8_DP4A_64X64),
            (true, false) => ("gemm_qu8_qc8w_32x32c64__dp4a", CONV_Q8_DP4A_32X32),
        };
        if cut.slices == 1 {
            let counts = cut.padded([product.rows, n], whole.counts());
            return Ok(vec![Draft::counting(name, kernel, &whole, Some(constants), counts)?]);
        }
        let (partial, slice) = self.slices(product, cut)?;
        let params = GemmQ8 {
            bias: 0,
            multipliers: 0,
            out: partial,
            slices: count(cut.slices)?,
            slice: count(cut.slice)?,
            out_slice: slice,
            out_stride: count(product.channels())?,
            ..whole
        };
        let sum = SumQ8 {
            partial,
            bias,
            multipliers,
            out,
            rows: whole.rows,
            n: count(product.channels())?,
            slices: params.slices,
            slice,
            out_stride: whole.out_stride,
            stage: finish.stage,
        };
        let counts = cut.padded([product.rows, n], params.counts());
        Ok(vec![
            Draft::counting(name, kernel, &params, Some(constants), counts)?,
            Draft::new("sum", SUM_Q8, &sum, None)?,
        ])
    }

    /// `[k][padded]` weights of each group of `n` channels.
    fn fill_f32(&self, [n, k, padded]: [usize; 3], floats: &mut [f32]) -> Result<(), RuntimeError> {
        self.each_float(k, |channel, row, value| {
            floats[(channel / n * k + row) * padded + channel % n] = value;
        })
    }

    /// The same in 16 bits.
    fn fill_f16(&self, [n, k, padded]: [usize; 3], halves: &mut [u16]) -> Result<(), RuntimeError> {
        let mut all_fit = true;
        self.each_float(k, |channel, row, value| {
            let half = f16::from_f32(value);
            all_fit &= half.is_finite();
            halves[(channel / n * k + row) * padded + channel % n] = half.to_bits();
        })?;
        self.need_halves(all_fit)
    }

    /// Calls `each(row, column, weight)` for a weight of rows of `k` floats.
    pub(super) fn each_float(
        &self,
        k: usize,
        mut each: impl FnMut(usize, usize, f32),
    ) -> Result<(), RuntimeError> {
        let blocks = self.needed_weight()?.dequantize_blocks(BLOCK, |at, values| {
            for_each_row(at, values, k, |row, first, values| {
                for (column, &value) in (first..).zip(values) {
                    each(row, column, value);
                }
            });
        });
        blocks.map_err(|source| self.undecodable(source))
    }

    /// Calls `each(row, column, weight)` for a weight of rows of `k` integers.
    pub(super) fn each_integer(
        &self,
        k: usize,
        mut each: impl FnMut(usize, usize, i8),
    ) -> Result<(), RuntimeError> {
        let blocks = self.needed_weight()?.decode_i8_blocks(BLOCK, |at, values| {
            for_each_row(at, values, k, |row, first, values| {
                for (column, &value) in (first..).zip(values) {
                    each(row, column, value);
                }
            });
        });
        blocks.map_err(|source| self.undecodable(source))
    }

    /// `[k][padded]` bytes, or words of four of them, of each group; the sum of each channel's weights.
    fn fill_q8(
        &self,
        [n, depth, padded]: [usize; 3],
        group_bytes: usize,
        bytes: &mut [u8],
    ) -> Result<Vec<i32>, RuntimeError> {
        let weight = self.needed_weight()?;
        let channels = weight.shape.dim(0);
        let mut sums = vec![0_i32; channels];
        let is_dp4a = self.choices.dp4a;
        self.each_integer(weight.shape.len() / channels, |channel, at, value| {
            let group = channel / n * group_bytes;
            let place = if is_dp4a {
                let row = at / depth * depth.div_ceil(4) + at % depth / 4;
                (row * padded + channel % n) * 4 + at % depth % 4
            } else {
                at * padded + channel % n
            };
            bytes[group + place] = value.cast_unsigned();
            sums[channel] += i32::from(value);
        })?;
        Ok(sums)
    }

    /// The bias of each channel; nothing where there is none.
    pub(super) fn fill_bias_f32(&self, slots: &mut [f32]) -> Result<(), RuntimeError> {
        for (slot, bias) in slots.iter_mut().zip(self.bias_f32()?) {
            *slot = bias;
        }
        Ok(())
    }

    /// The bias of each channel, without what the zero point makes of the sum of its weights.
    pub(super) fn fill_folded_bias(
        &self,
        sums: &[i32],
        zero_point: u8,
        slots: &mut [i32],
    ) -> Result<(), RuntimeError> {
        let bias = self.bias_i32()?;
        for (channel, (slot, &sum)) in slots.iter_mut().zip(sums).enumerate() {
            let bias = bias.get(channel).copied().unwrap_or(0);
            *slot = folded_bias(bias, zero_point, sum);
        }
        Ok(())
    }

    /// The error of a layer with a weight that 16 bits do not hold, if it has one.
    pub(super) fn need_halves(&self, all_fit: bool) -> Result<(), RuntimeError> {
        if all_fit {
            return Ok(());
        }
        Err(self.unsupported("a weight is beyond what 16 bits hold, which were asked for"))
    }
}

/// A product of extents that kernels can count.
///
/// # Errors
/// If it is too large for them.
pub(super) fn elements(extents: &[usize]) -> Result<usize, RuntimeError> {
    let product = extents.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
    let product = product.unwrap_or(usize::MAX);
    count(product).map(|_| product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_cut_until_every_multiprocessor_has_work() {
        let cut = |shape, processors| Cut::new(shape, 1, [64, 64], processors);
        let whole = |is_large, k| {
            let tile = if is_large { [64, 64] } else { [32, 32] };
            Cut { is_large, tile, slices: 1, slice: k }
        };
        assert_eq!(cut([3136, 64, 576], 2), whole(true, 576));
        // A large chip gets smaller tiles, then slices.
        assert_eq!(cut([3136, 64, 576], 80), whole(false, 576));
        assert_eq!(cut([196, 32, 1152], 2), whole(false, 1152));
        let sliced = cut([49, 128, 1152], 20);
        assert_eq!(sliced, Cut { is_large: false, tile: [32, 32], slices: 5, slice: 240 });
        assert!(sliced.slices * sliced.slice >= 1152);
        // Too few steps to be cut.
        assert_eq!(cut([1, 10, 64], 2), whole(false, 64));
    }

    #[test]
    fn blocks_multiply_whole_tiles() {
        let counts = Counts { macs: 49 * 10 * 100, bytes: 7 };
        let cut = Cut::new([49, 10, 100], 1, [64, 64], 2);
        assert_eq!(cut.padded([49, 10], counts), Counts { macs: 64 * 32 * 100, bytes: 7 });
    }

    #[test]
    fn extents_beyond_32_bits_are_errors() {
        assert_eq!(elements(&[1 << 15, 1 << 15]), Ok(1 << 30));
        assert!(elements(&[1 << 16, 1 << 15]).is_err());
        assert!(elements(&[usize::MAX, 2]).is_err());
    }
}
