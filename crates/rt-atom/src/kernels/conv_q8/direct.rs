//! Convolutions as matrix products whose rows lie in the input: no matrix of windows is written.
//!
//! ```text
//! for each band of result rows
//!     copy its input rows, pads included, one group of channels     bytes, or words where products are of words
//!     for each panel of output channels, for each MR pixels
//!         tile = bias
//!         for each segment of the window: tile += rows at the pixels + segment * weights of the segment
//! ```
//!
//! A segment is what lies together in a window: a row of taps with all channels, or one tap where taps lie apart. It is
//! filled up to whole steps of four with weights of zero, so what a row reads beyond its segment does not matter. Where a
//! window never touches a pad and rows need not be widened, the input is read as it is.
//!
//! Windows of few channels, such as those of first layers, have lines so short that filling them up would cost more than
//! writing a matrix of windows: their lines are brought together, a band at a time.
//!
//! Levels without an exact dot product multiply bytes and add their products in 16 bits (`spill.rs`). Where too many of the
//! weights are large for that, they are multiplied as words (`pmaddwd`), which are widened once a band and not once a tile.

use core::ops::Range;

use embdl_core::kernels::parallel::for_each_piece;
use embdl_core::kernels::{ConvProblem, ConvQ8, ConvWay, ConvWeights, OutQ8, Parallel};

use super::Compiled;
use super::spill::{Spill, Steps};
use crate::kernels::gemm::{OCTS, PAIRS, Products, QUADS};
use crate::simd::words::{byte_position, word_position};

mod band;
mod shape;
mod tile;

use band::{copy, join_lines};
use shape::{ALIGNMENT, Shape};
use tile::{Bytes, Pairs, panels};

/// A convolution packed for products without a matrix.
#[derive(Debug)]
pub(crate) struct Direct<S> {
    level: S,
    shape: Shape,
    weights: Weights,
    /// Biases less the zero point's share, a panel's lanes for each panel.
    bias: Vec<i32>,
    zero_point: u8,
}

/// Weights, `[panel][segment]`, each in steps of four elements.
#[derive(Debug)]
enum Weights {
    /// In bytes, with the way to sum their products and what does not fit it.
    Bytes(Vec<i8>, Products, Spill),
    Words(Vec<i16>),
}

/// Whether GEMM has its rows as they are, so that it does the same without starts of rows.
fn is_gemm<S: Compiled>(problem: &ConvProblem) -> bool {
    S::HAS_DOT && problem.is_pointwise() && problem.groups == 1
}

/// The way, where it is one.
pub(super) fn way<S: Compiled>(problem: &ConvProblem) -> Option<ConvWay> {
    // Which of them it will be is known when the weights are.
    let (bytes, words) = (Shape::new::<S>(problem, false), Shape::new::<S>(problem, true));
    let is_fitting = |shape: &Shape| {
        // Starts are stored in 32 bits.
        let rows = shape.input_rows(problem.geometry.output[0].max(1));
        u32::try_from(rows * shape.width * shape.channels).is_ok()
    };
    if !is_fitting(&bytes) || !is_fitting(&words) || bytes.k() == 0 || is_gemm::<S>(problem) {
        return None;
    }
    let panels = bytes.panels_of_group() * problem.groups;
    let weights = panels * bytes.nr * bytes.k();
    let (weights, scratch) = match Products::for_weights(problem.max_abs) {
        _ if S::HAS_DOT => (weights, bytes.worker_bytes(1)),
        Products::Octs => (weights, bytes.worker_bytes(1)),
        // More is not spilled, or sums of fewer products would cost less.
        Products::Quads | Products::Pairs => (weights + weights / 4, bytes.worker_bytes(1)),
        Products::Widened => (2 * weights, words.worker_bytes(2).max(bytes.worker_bytes(1))),
    };
    let starts = panels * S::BYTE_PARTS + 1;
    Some(ConvWay {
        name: S::DIRECT,
        cost: cost::<S>(problem, &bytes),
        weight_bytes: weights + 4 * (panels * bytes.nr + starts),
        scratch_bytes: problem.threads * (scratch + ALIGNMENT),
    })
}

/// Time in products of GEMM. With a dot product it is never more than GEMM's, which writes the matrix.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn cost<S: Compiled>(problem: &ConvProblem, shape: &Shape) -> f32 {
    if let Some(costs) = S::STEPS {
        return costs.direct(problem, shape.k());
    }
    let [oh, ow] = problem.geometry.output;
    let products = (oh * ow * problem.n) as f32 * shape.k() as f32;
    let is_filled_up = products > 1.5 * problem.macs();
    if is_filled_up { products } else { products.min(0.97 * problem.gemm_cost()) }
}

impl<S: Compiled> Direct<S> {
    /// Packs weights; `None` where GEMM does the same.
    pub(super) fn pack(
        level: S,
        problem: &ConvProblem,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> Option<Self> {
        if is_gemm::<S>(problem) {
            return None;
        }
        let shape = Shape::new::<S>(problem, false);
        let (k, nr) = (shape.k(), shape.nr);
        let panels = shape.panels_of_group() * problem.groups;
        let bias = biases(&shape, weights, zero_point);
        let mut bytes = vec![0_i8; panels * k * nr];
        shape.for_each_weight(weights.weights, |panel, p, lane, w| {
            bytes[panel * k * nr + byte_position::<S>(k, p, lane)] = w;
        });
        let Some(costs) = S::STEPS else {
            let weights = Weights::Bytes(bytes, Products::Pairs, Spill::default());
            return Some(Self { level, shape, weights, bias, zero_point });
        };
        let steps = Steps {
            channels: nr / S::BYTE_PARTS,
            kr: S::KR_BYTES,
            of_segment: shape.segment[1] / S::KR_BYTES,
            segments: shape.segments.len(),
        };
        if let Some(products) = steps.choose(&bytes, &costs) {
            let spill = steps.spill(&mut bytes, products, &shape.segments);
            let weights = Weights::Bytes(bytes, products, spill);
            return Some(Self { level, shape, weights, bias, zero_point });
        }
        if Products::for_weights(problem.max_abs) != Products::Widened {
            // Weights are larger than was said, and the scratch is not meant for words.
            return None;
        }
        let shape = Shape::new::<S>(problem, true);
        let k = shape.k();
        let mut words = vec![0_i16; panels * k * nr];
        shape.for_each_weight(weights.weights, |panel, p, lane, w| {
            words[panel * k * nr + word_position::<S>(k, p, lane)] = i16::from(w);
        });
        Some(Self { level, shape, weights: Weights::Words(words), bias, zero_point })
    }

    /// Bytes of an element of a band.
    const fn size(&self) -> usize {
        match self.weights {
            Weights::Bytes(..) => 1,
            Weights::Words(_) => 2,
        }
    }
}

/// Biases less the zero point's share, padded to whole panels.
fn biases(shape: &Shape, weights: ConvWeights<'_, i8, i32>, zero_point: u8) -> Vec<i32> {
    let mut biases = vec![0; shape.panels_of_group() * shape.problem.groups * shape.nr];
    for (j, filter) in weights.weights.chunks_exact(shape.problem.k().max(1)).enumerate() {
        let sum = filter.iter().fold(0_i32, |sum, &w| sum.wrapping_add(i32::from(w)));
        let own = weights.bias.get(j).copied().unwrap_or(0);
        let (panel, lane) = shape.place(j);
        let share = i32::from(zero_point).wrapping_mul(sum);
        biases[panel * shape.nr + lane] = own.wrapping_sub(share);
    }
    biases
}

impl<S: Compiled> ConvQ8 for Direct<S> {
    fn weight_bytes(&self) -> usize {
        4 * self.bias.len()
            + match &self.weights {
                Weights::Bytes(weights, _, spill) => weights.len() + spill.size_bytes(),
                Weights::Words(weights) => 2 * weights.len(),
            }
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let ConvProblem { geometry, out_stride, .. } = self.shape.problem;
        assert!(input.len() == geometry.input_len(), "{} inputs", input.len());
        let rows = self.shape.rows(self.size());
        let [oh, ow] = geometry.output;
        let piece = rows * ow * out_stride;
        let each = |index: usize, out: OutQ8<'_>, scratch: &mut [u8]| {
            let first = index * rows;
            self.level.direct_rows(self, input, first..oh.min(first + rows), scratch, out);
        };
        match out {
            OutQ8::U8(requant, out) => {
                for_each_piece(parallel, out, piece, scratch, |index, out, scratch| {
                    each(index, OutQ8::U8(requant, out), scratch);
                });
            }
            OutQ8::I32(out) => {
                for_each_piece(parallel, out, piece, scratch, |index, out, scratch| {
                    each(index, OutQ8::I32(out), scratch);
                });
            }
        }
    }
}

/// The result's rows `rows`, which `out` starts with.
#[inline(always)]
pub(super) fn rows<S: Compiled>(
    simd: S,
    conv: &Direct<S>,
    input: &[u8],
    rows: Range<usize>,
    scratch: &mut [u8],
    mut out: OutQ8<'_>,
) {
    let shape = &conv.shape;
    let geometry = &shape.problem.geometry;
    let start = scratch.as_ptr().align_offset(ALIGNMENT);
    let band_bytes = conv.size() * shape.band_len(shape.rows(conv.size()));
    let (band, rest) = scratch[start..].split_at_mut(band_bytes.next_multiple_of(ALIGNMENT));
    let matrix_bytes = conv.size() * shape.matrix_len(shape.rows(conv.size()));
    let (matrix, starts) = rest.split_at_mut(matrix_bytes.next_multiple_of(ALIGNMENT));
    // SAFETY: any bytes are integers.
    let starts = unsafe { starts.align_to_mut::<u32>().1 };
    let pixels = rows.len() * geometry.output[1];
    let starts = &mut starts[..pixels];
    let line = shape.width * shape.channels * geometry.stride[0];
    for (row, starts) in starts.chunks_exact_mut(geometry.output[1]).enumerate() {
        for (column, start) in starts.iter_mut().enumerate() {
            let at = if shape.lines.is_some() {
                (row * geometry.output[1] + column) * shape.segment[1]
            } else {
                row * line + column * geometry.stride[1] * shape.channels
            };
            *start = u32::try_from(at).expect("ways end where starts do not fit");
        }
    }
    for group in 0..shape.problem.groups {
        let band_of = (group, rows.clone());
        match &conv.weights {
            Weights::Bytes(weights, products, spill) => {
                let lhs = if shape.is_copied {
                    copy(conv, input, band_of, band);
                    join_lines(shape, rows.len(), band, matrix)
                } else {
                    &input[rows.start * line..]
                };
                macro_rules! products {
                    ($products:ident) => {{
                        let factors = Bytes::<$products> { lhs, weights, spill };
                        panels(simd, conv, group, starts, &factors, &mut out);
                    }};
                }
                match products {
                    Products::Octs if !S::HAS_DOT => products!(OCTS),
                    Products::Quads if !S::HAS_DOT => products!(QUADS),
                    _ => products!(PAIRS),
                }
            }
            Weights::Words(weights) => {
                // SAFETY: any bytes are words.
                let [band, matrix] = [&mut *band, &mut *matrix]
                    .map(|bytes| unsafe { bytes.align_to_mut::<i16>().1 });
                copy(conv, input, band_of, band);
                let lhs = join_lines(shape, rows.len(), band, matrix);
                panels(simd, conv, group, starts, &Pairs { lhs, weights }, &mut out);
            }
        }
    }
}
