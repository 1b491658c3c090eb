//! GEMM: cuts a job into panels of output channels and blocks of rows; the tiles are in the modules below.
//!
//! ```text
//! for each panel of NR channels                  its weights stay in the first-level cache
//!     for each block of MR rows                  the rows come from the second-level cache
//!         tile[MR][NR] = bias; for p in 0..k: tile += lhs[rows, p] * panel[p]
//!         out[rows, panel] = output stage(tile)
//! ```

pub(super) use embdl_core::kernels::gemm::Runs;
use embdl_core::kernels::{GemmF32, GemmQ8, PackedF32, PackedQ8, Tile};

pub(crate) mod f32;
pub(crate) mod pairs;
pub(crate) mod q8;

/// Bytes of rows that one block holds: they stay in a second-level cache while panel after panel passes by.
const BLOCK_BYTES: usize = 128 * 1024;

/// One panel of float weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanelF32<'a> {
    /// Elements along k.
    runs: Runs,
    /// For each run its length rounded up to `kr`, times `nr`, weights.
    weights: &'a [f32],
    /// `nr` biases.
    bias: &'a [f32],
    /// Channels that are there, 1 to `nr`.
    count: usize,
    /// Bounds of the result.
    clamp: (f32, f32),
    /// Whether the job is one row in one run, which has a kernel of its own. It sums in another order than tiles, so it is
    /// not for the last row of several: where rows are cut must not show in the result.
    is_row: bool,
}

/// One panel of integer weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanelQ8<'a> {
    /// Elements along k.
    k: usize,
    /// `k` rounded up to `kr`, times `nr`, weights.
    weights: &'a [i8],
    /// `nr` biases.
    bias: &'a [i32],
    /// First channel.
    channel: usize,
    /// Channels that are there, 1 to `nr`.
    count: usize,
}

/// How products of u8 and i8 are summed without a loss, by the largest absolute weight.
///
/// `pmaddubsw` adds two products in a saturating i16: 2 * 255 * 64 = 32,640 fits. Half the weight lets two of its
/// results be added before they are widened, a quarter four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// Any weight: bytes are widened first, `pmaddwd`.
    Widened,
    /// At most 64: `pmaddubsw`, widened at once.
    Pairs,
    /// At most 32: two results of `pmaddubsw` in 16 bits.
    Quads,
    /// At most 16: four results of `pmaddubsw` in 16 bits.
    Octs,
}

/// [`Products::Widened`] as a generic argument.
pub(crate) const WIDENED: u8 = Products::Widened as u8;
/// [`Products::Pairs`] as a generic argument.
pub(crate) const PAIRS: u8 = Products::Pairs as u8;
/// [`Products::Quads`] as a generic argument.
pub(crate) const QUADS: u8 = Products::Quads as u8;
/// [`Products::Octs`] as a generic argument.
pub(crate) const OCTS: u8 = Products::Octs as u8;

impl Products {
    /// The cheapest way for weights of at most `max_abs`.
    pub(super) const fn for_weights(max_abs: u8) -> Self {
        match max_abs {
            0..=16 => Self::Octs,
            17..=32 => Self::Quads,
            33..=64 => Self::Pairs,
            _ => Self::Widened,
        }
    }
}

/// The panels of a float job, with the first channel of each; rows of the left-hand side are `runs`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
fn panels_f32<'a>(
    job: &GemmF32<'a>,
    runs: Runs,
    out_len: usize,
    tile: Tile,
) -> impl Iterator<Item = (usize, PanelF32<'a>)> {
    let PackedF32 { n, k, tile: packed, data, bias, .. } = job.weights;
    assert!(*packed == tile, "weights are packed for {packed:?}, not {tile:?}");
    let packed_k = runs.count * runs.len.next_multiple_of(tile.kr);
    assert!(k.next_multiple_of(tile.kr) == packed_k, "weights of {k} elements for {runs:?}");
    check(job.m, runs.span(), *n, (job.lhs.len(), job.lhs_stride), (out_len, job.out_stride));
    let (n, clamp, is_row) = (*n, job.clamp, job.m == 1 && runs.count == 1);
    let panel_len = packed_k * tile.nr;
    bias.chunks_exact(tile.nr).enumerate().map(move |(index, bias)| {
        let weights = &data[index * panel_len..][..panel_len];
        let channel = index * tile.nr;
        (channel, PanelF32 { runs, weights, bias, count: tile.nr.min(n - channel), clamp, is_row })
    })
}

/// The panels of an integer job.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
fn panels_q8<'a>(
    job: &GemmQ8<'a>,
    out_len: usize,
    tile: Tile,
) -> impl Iterator<Item = PanelQ8<'a>> {
    let PackedQ8 { n, k, tile: packed, data, bias, .. } = job.weights;
    assert!(*packed == tile, "weights are packed for {packed:?}, not {tile:?}");
    check(job.m, *k, *n, (job.lhs.len(), job.lhs_stride), (out_len, job.out_stride));
    let (n, k) = (*n, *k);
    let panel_len = k.next_multiple_of(tile.kr) * tile.nr;
    bias.chunks_exact(tile.nr).enumerate().map(move |(index, bias)| {
        let weights = &data[index * panel_len..][..panel_len];
        let channel = index * tile.nr;
        PanelQ8 { k, weights, bias, channel, count: tile.nr.min(n - channel) }
    })
}

/// Rows that a block has at least: the panels are read anew for each.
const MIN_ROWS: usize = 48;

/// Cuts `m` rows of `k` floats with `n` results each into blocks of whole tiles of `mr`: first row and number of rows of
/// each. Rows and results of a block stay in a second-level cache.
pub(super) fn row_blocks(
    m: usize,
    k: usize,
    n: usize,
    mr: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let rows = (BLOCK_BYTES / (4 * (k + n)).max(1)).max(MIN_ROWS) / mr * mr;
    (0..m).step_by(rows).map(move |first| (first, rows.min(m - first)))
}

/// Cuts `rows` into the fewest tiles of at most `mr` rows, as even as possible.
fn even_tiles(rows: usize, mr: usize) -> impl Iterator<Item = usize> {
    let tiles = rows.div_ceil(mr);
    (0..tiles).map(move |tile| (tile + 1) * rows / tiles - tile * rows / tiles)
}

/// Asserts that rows fit in `lhs` (length, stride) and `out` (length, stride).
fn check(m: usize, k: usize, n: usize, lhs: (usize, usize), out: (usize, usize)) {
    if m == 0 {
        return;
    }
    assert!(m == 1 || out.1 >= n, "rows of {n} results overlap at stride {}", out.1);
    assert!(lhs.0 >= (m - 1) * lhs.1 + k, "{} elements are not {m} rows of {k}", lhs.0);
    assert!(out.0 >= (m - 1) * out.1 + n, "{} results are not {m} rows of {n}", out.0);
}

/// The first `rest` (1 to 3) bytes at `at`, zeros above; reads four where the slice has them, because the weights they
/// meet are the zeros that pad a panel.
#[inline]
fn tail_bytes(lhs: &[u8], at: usize, rest: usize) -> i32 {
    if let Some(bytes) = lhs[at..].first_chunk::<4>() {
        return i32::from_le_bytes(*bytes);
    }
    let mut bytes = [0; 4];
    for (byte, &x) in bytes.iter_mut().zip(&lhs[at..at + rest]) {
        *byte = x;
    }
    i32::from_le_bytes(bytes)
}
