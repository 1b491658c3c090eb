//! Tiles of results: panels of weights times the pixels of a band.

use embdl_core::kernels::OutQ8;

use super::Direct;
use super::shape::Shape;
use crate::kernels::conv_q8::spill::Spill;
use crate::kernels::output::{Block, Stage, store};
use crate::simd::Simd;
use crate::simd::words::Words;

/// What is multiplied.
pub(super) trait Factors<S: Simd> {
    /// Rows of a tile.
    const ROWS: usize;
    /// Whether half a panel is done in half the time.
    const HALVES: bool;
    /// Elements of rows.
    fn len(&self) -> usize;
    /// Adds to `sums` the products of `M` rows, which start at `starts`, with the weights of
    /// a panel.
    ///
    /// # Safety
    /// Each row must have all elements of all segments, and there must be weights for all of a panel.
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        panel: usize,
        shape: &Shape,
    );
}

/// Where rows start.
///
/// # Safety
/// The starts must lie in `lhs`.
#[inline(always)]
unsafe fn rows_at<T, const M: usize>(lhs: &[T], starts: &[u32; M]) -> [*const T; M] {
    // SAFETY: by the contract.
    starts.map(|start| unsafe { lhs.as_ptr().add(start as usize) })
}

/// Rows and weights in bytes.
pub(super) struct Bytes<'a, const PRODUCTS: u8> {
    pub(super) lhs: &'a [u8],
    pub(super) weights: &'a [i8],
    pub(super) spill: &'a Spill,
}

impl<S: Words, const PRODUCTS: u8> Factors<S> for Bytes<'_, PRODUCTS> {
    const ROWS: usize = S::MR_BYTES;
    const HALVES: bool = true;

    #[inline(always)]
    fn len(&self) -> usize {
        self.lhs.len()
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        panel: usize,
        shape: &Shape,
    ) {
        // SAFETY: by the contract.
        let rows = unsafe { rows_at(self.lhs, starts) };
        // SAFETY: by the contract.
        unsafe {
            let weights = self.weights.as_ptr().add(panel * shape.k() * shape.nr).cast();
            let (segments, k) = (&shape.segments, shape.segment[1]);
            simd.multiply_chains::<M, NV, PRODUCTS>(sums, rows, segments, k, weights);
        }
        for part in 0..S::BYTE_PARTS.min(NV) {
            let step_bytes = S::KR_BYTES * shape.nr / S::BYTE_PARTS;
            let (levels, weights) = self.spill.part(S::BYTE_PARTS * panel + part, step_bytes);
            if !levels.is_empty() {
                // SAFETY: by the contract; what was spilled belongs to the segments, and each step has its weights.
                unsafe {
                    simd.multiply_spilled(sums, rows, part, levels, weights.as_ptr().cast());
                }
            }
        }
    }
}

/// Rows and weights in words.
pub(super) struct Pairs<'a> {
    pub(super) lhs: &'a [i16],
    pub(super) weights: &'a [i16],
}

impl<S: Words> Factors<S> for Pairs<'_> {
    const ROWS: usize = S::MR_WORDS;
    const HALVES: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.lhs.len()
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        panel: usize,
        shape: &Shape,
    ) {
        let weight = panel * shape.k() * shape.nr;
        let mut both = [[simd.splat_i32(0); 2]; M];
        for (both, sums) in both.iter_mut().zip(&*sums) {
            both[..NV].copy_from_slice(sums);
        }
        // SAFETY: by the contract.
        unsafe {
            let rows = rows_at(self.lhs, starts);
            let weights = self.weights.as_ptr().add(weight);
            simd.multiply_words(&mut both, rows, &shape.segments, shape.segment[1], weights);
        }
        for (both, sums) in both.iter().zip(sums) {
            sums.copy_from_slice(&both[..NV]);
        }
    }
}

/// Every panel of a group, for pixels whose windows begin at `starts`.
#[inline(always)]
pub(super) fn panels<S: Words, F: Factors<S>>(
    simd: S,
    conv: &Direct<S>,
    group: usize,
    starts: &[u32],
    factors: &F,
    out: &mut OutQ8<'_>,
) {
    let shape = &conv.shape;
    let width = shape.problem.n / shape.problem.groups;
    let reach = shape.segments.last().map_or(0, |last| last + shape.segment[1]);
    let Some(last) = starts.last() else { return };
    assert!(*last as usize + reach <= factors.len(), "rows end before their windows");
    for index in 0..shape.panels_of_group() {
        let channel = group * width + index * shape.nr;
        let panel = Panel {
            conv,
            starts,
            factors,
            index: group * shape.panels_of_group() + index,
            channel,
            count: shape.nr.min(width - index * shape.nr),
            stage: Stage::prepare(simd, out, channel),
        };
        let mut first = 0;
        while first < starts.len() {
            macro_rules! tile {
                ($m:literal) => {{
                    if F::HALVES && panel.count <= S::LANES {
                        tile::<S, F, $m, 1>(simd, &panel, first, out);
                    } else {
                        tile::<S, F, $m, 2>(simd, &panel, first, out);
                    }
                    $m
                }};
            }
            first += match starts.len() - first {
                12.. if F::ROWS >= 12 => tile!(12),
                8.. if F::ROWS >= 8 => tile!(8),
                6.. if F::ROWS == 6 => tile!(6),
                4.. => tile!(4),
                2.. => tile!(2),
                _ => tile!(1),
            };
        }
    }
}

/// A panel of channels, and the pixels it meets.
struct Panel<'a, S: Simd, F> {
    conv: &'a Direct<S>,
    /// Where the windows of the pixels begin.
    starts: &'a [u32],
    factors: &'a F,
    /// Number of the panel.
    index: usize,
    /// Its first channel.
    channel: usize,
    /// Channels that are there.
    count: usize,
    stage: Option<Stage<S>>,
}

/// `M` pixels from `first` on, times `NV` vectors of channels.
#[inline(always)]
fn tile<S: Words, F: Factors<S>, const M: usize, const NV: usize>(
    simd: S,
    panel: &Panel<'_, S, F>,
    first: usize,
    out: &mut OutQ8<'_>,
) {
    let Panel { conv, starts, factors, .. } = panel;
    let shape = &conv.shape;
    let starts: &[u32; M] = starts[first..].first_chunk().expect("a tile of pixels");
    let bias = &conv.bias[panel.index * shape.nr..][..shape.nr];
    let mut sums = [[simd.splat_i32(0); NV]; M];
    for v in 0..NV {
        // SAFETY: a panel has two vectors of biases.
        let bias = unsafe { simd.load_bytes(bias.as_ptr().add(v * S::LANES).cast()) };
        for sums in &mut sums {
            sums[v] = bias;
        }
    }
    // SAFETY: starts and segments ascend, and `panels` asserted that the last has its elements; there are weights for every
    // panel.
    unsafe { factors.multiply::<M, NV>(simd, &mut sums, starts, panel.index, shape) };
    let stride = shape.problem.out_stride;
    let Panel { channel, count, .. } = *panel;
    let block = Block { at: first * stride + channel, stride, channel, count };
    store(simd, panel.stage.as_ref(), out, block, &sums);
}
