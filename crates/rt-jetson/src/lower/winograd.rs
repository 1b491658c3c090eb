//! 3x3 convolutions by Winograd's minimal filtering, where fewer products pay for more bytes and launches.
//!
//! Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.

use embdl_core::op::Activation;
use embdl_core::runtime::RuntimeError;
use embdl_core::tensor::DType;

use super::convolution::pixel;
use super::product::{Cut, Product, elements};
use super::windows::window;
use super::{Lowering, width};
use crate::cost::{Counts, Work};
use crate::counts::Counted;
use crate::draft::{Draft, Parts, count};
use crate::kernels::{
    CONV_F32_32X32, CONV_F32_64X64, WINOGRAD2_INPUT, WINOGRAD2_OUTPUT, WINOGRAD4_INPUT,
    WINOGRAD4_OUTPUT,
};
use crate::params::{GemmF32, WinogradInput, WinogradOutput};
use crate::winograd::{filter_of_2x2, filter_of_4x4};

/// Fewest channels on either side: below, transforms cost more than they save.
const LEAST_CHANNELS: usize = 16;

/// Results that a tile makes on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tile {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3), whose rounding errors are some ten times those of plain sums.
    Four,
}

impl Tile {
    const fn results(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Products of a tile for each pair of channels.
    const fn planes(self) -> usize {
        (self.results() + 2) * (self.results() + 2)
    }

    /// What either transform of so many tiles of `c` channels does, whose other side are `positions` pixels.
    const fn transform(self, tiles: usize, c: usize, positions: usize) -> Counts {
        let (planes, tiles, c) = (self.planes() as u64, tiles as u64, c as u64);
        // Additions of both transforms of a tile, counted as products.
        Counts { macs: tiles * c * planes * 4, bytes: 4 * c * (positions as u64 + planes * tiles) }
    }
}

impl<'l> Lowering<'_, 'l> {
    /// The tile, where the convolution is one that has them, and is expected to be faster so.
    pub(super) fn winograd(&self, product: &Product) -> Option<Tile> {
        let geometry = &product.geometry;
        let is_plain = geometry.kernel == [3, 3]
            && geometry.stride == [1, 1]
            && geometry.dilation == [1, 1]
            && product.groups == 1;
        let (ci, co) = (geometry.input[2], product.n);
        let is_float = self.from().dtype == DType::F32 && !self.choices.half_weights;
        if !(is_plain && is_float && ci >= LEAST_CHANNELS && co >= LEAST_CHANNELS) {
            return None;
        }
        let seconds = |tile: Option<Tile>| self.seconds(product, tile);
        let best = [None, Some(Tile::Two), Some(Tile::Four)]
            .into_iter()
            .map(|tile| (tile, seconds(tile)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other));
        best.and_then(|(tile, _)| tile)
    }

    /// What the convolution is expected to take by a tile, or without one.
    fn seconds(&self, product: &Product, tile: Option<Tile>) -> f64 {
        let speed = &self.choices.speed;
        let (ci, co) = (product.geometry.input[2], product.n);
        let blocks = |rows: usize, layers| rows.div_ceil(32) * co.div_ceil(32) * layers;
        let Some(tile) = tile else {
            let macs = product.rows.saturating_mul(9 * ci).saturating_mul(co);
            let bytes = 4 * (9 * ci * co + product.rows * (ci + co));
            return speed.seconds(&[work([macs, bytes], blocks(product.rows, 1))]);
        };
        let (planes, tiles) = (tile.planes(), self.tiles(product, tile));
        let transform = |c: usize| Work {
            counts: tile.transform(tiles, c, product.rows),
            lanes: 1,
            blocks: (tiles * c).div_ceil(256) as u64,
        };
        let macs = planes.saturating_mul(tiles).saturating_mul(ci * co);
        let bytes = 4 * planes * (ci * co + tiles * (ci + co));
        let between = work([macs, bytes], blocks(tiles, planes));
        speed.seconds(&[transform(ci), between, transform(co)])
    }

    /// Tiles of all samples.
    fn tiles(&self, product: &Product, tile: Tile) -> usize {
        let [oh, ow] = product.geometry.output;
        let samples = product.rows / (oh * ow).max(1);
        samples * oh.div_ceil(tile.results()) * ow.div_ceil(tile.results())
    }

    /// Input tiles, their products with transformed weights, and the result.
    pub(super) fn winograd_drafts(
        &self,
        product: &Product,
        tile: Tile,
        activation: Activation,
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let (planes, tiles) = (tile.planes(), self.tiles(product, tile));
        let (ci, co) = (product.geometry.input[2], product.n);
        let padded = co.next_multiple_of(4);
        let mut parts = Parts::default();
        let weights = parts.take(elements(&[planes, ci, padded])? * 4);
        let bias = parts.take(if self.node.bias.is_some() { co * 4 } else { 0 });
        let (lowering, ends) = (*self, [weights.clone(), bias.clone()]);
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let [weights, bias] = ends.clone();
                let floats = bytemuck::cast_slice_mut(&mut bytes[weights]);
                lowering.fill_winograd(tile, [ci, padded], floats)?;
                lowering.fill_bias_f32(bytemuck::cast_slice_mut(&mut bytes[bias]))
            }),
        );
        let input_bytes = elements(&[planes, tiles, ci])? * 4;
        let output_bytes = elements(&[planes, tiles, co])? * 4;
        let transformed = self.places.scratch(0, input_bytes);
        let products = self.places.scratch(input_bytes, output_bytes);
        let [input, out] = self.ends()?;
        let [oh, ow] = product.geometry.output;
        let [ih, iw, _] = product.geometry.input;
        let [pad_y, pad_x] = product.geometry.pad_before;
        let samples = count(product.rows / (oh * ow))?;
        let (tiles_y, tiles_x) =
            (count(oh.div_ceil(tile.results()))?, count(ow.div_ceil(tile.results()))?);
        let before = WinogradInput {
            input,
            out: transformed,
            samples,
            tiles_y,
            tiles_x,
            ih: count(ih)?,
            iw: count(iw)?,
            c: count(ci)?,
            pad_y: count(pad_y)?,
            pad_x: count(pad_x)?,
        };
        let between = GemmF32 {
            input: transformed,
            weights: constants.at(&weights),
            out: products,
            window: window(&pixel(tiles, ci))?,
            rows: count(tiles)?,
            n: count(co)?,
            n_padded: count(padded)?,
            k: count(ci)?,
            depth: count(ci)?,
            width: width(&[ci, tiles * ci], &[transformed], 16),
            input_group: count(tiles * ci)?,
            weight_group: count(ci * padded)?,
            out_group: count(tiles * co)?,
            groups: count(planes)?,
            slices: 1,
            slice: count(ci)?,
            out_stride: count(co)?,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            ..GemmF32::default()
        };
        let (low, high) = activation.bounds();
        let after = WinogradOutput {
            input: products,
            bias: constants.at(&bias),
            residual: 0,
            out,
            samples,
            tiles_y,
            tiles_x,
            oh: count(oh)?,
            ow: count(ow)?,
            c: count(co)?,
            out_stride: count(product.out_stride)?,
            residual_stride: 0,
            low,
            high,
        };
        let processors = self.choices.speed.processors;
        let cut = Cut::new([tiles, co, ci], planes, [64, 64], processors);
        let (name, gemm) = if cut.is_large {
            ("gemm_f32_f32_64x64c16__sm62", CONV_F32_64X64)
        } else {
            ("gemm_f32_f32_32x32c16__sm62", CONV_F32_32X32)
        };
        let (first, last) = match tile {
            Tile::Two => (WINOGRAD2_INPUT, WINOGRAD2_OUTPUT),
            Tile::Four => (WINOGRAD4_INPUT, WINOGRAD4_OUTPUT),
        };
        // The first one's name stands for all three in profiles.
        let whole = match tile {
            Tile::Two => "winograd_f32_f32_2x2__sm62",
            Tile::Four => "winograd_f32_f32_4x4__sm62",
        };
        let positions = product.rows / (oh * ow) * ih * iw;
        let counts = [
            tile.transform(tiles, ci, positions),
            cut.padded([tiles, co], between.counts()),
            tile.transform(tiles, co, product.rows),
        ];
        Ok(vec![
            Draft::counting(whole, first, &before, None, counts[0])?,
            Draft::counting(name, gemm, &between, Some(constants), counts[1])?,
            Draft::counting(whole, last, &after, None, counts[2])?,
        ])
    }

    /// `[planes][ci][padded]` transformed weights: `G g G^T` of each pair of channels, in doubles.
    fn fill_winograd(
        &self,
        tile: Tile,
        [ci, padded]: [usize; 2],
        floats: &mut [f32],
    ) -> Result<(), RuntimeError> {
        // Taps of a channel come together only when all of it has been read.
        let mut filters = vec![0.0_f32; 9 * ci];
        let mut put = |channel: usize, filters: &[f32]| {
            for c in 0..ci {
                let taps = core::array::from_fn(|tap| filters[tap * ci + c]);
                for (plane, value) in transformed(tile, &taps).into_iter().enumerate() {
                    floats[(plane * ci + c) * padded + channel] = value;
                }
            }
        };
        self.each_float(9 * ci, |channel, at, value| {
            filters[at] = value;
            if at + 1 == 9 * ci {
                put(channel, &filters);
            }
        })
    }
}

fn work([macs, bytes]: [usize; 2], blocks: usize) -> Work {
    let counts = Counts { macs: macs as u64, bytes: bytes as u64 };
    Work { counts, lanes: 1, blocks: blocks as u64 }
}

/// A filter in the order of planes, rows first.
fn transformed(tile: Tile, taps: &[f32; 9]) -> Vec<f32> {
    match tile {
        Tile::Two => filter_of_2x2(taps).to_vec(),
        Tile::Four => filter_of_4x4(taps).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_filter_is_where_all_lines_are_ones() {
        let taps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let two = transformed(Tile::Two, &taps);
        // The second line sums up a half of everything, on both axes.
        assert_eq!((two.len(), two[5]), (16, 45.0 / 4.0));
        assert_eq!([two[0], two[3], two[12], two[15]], [1.0, 3.0, 7.0, 9.0]);
        let four = transformed(Tile::Four, &taps);
        assert_eq!((four.len(), four[0], four[35]), (36, 1.0 / 16.0, 9.0));
        assert!((four[7] - 45.0 / 36.0).abs() < 1e-6);
    }
}
