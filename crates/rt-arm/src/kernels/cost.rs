//! What dense layers are expected to cost in each form of their weights: instructions and bytes.
//!
//! Instructions of dense weights, and of sparse rows and slices of one row, are counted on emulated CPUs, with LeNet-300-100 and
//! layers of AlexNet's sizes (`examples/count.rs`); those of codebooks and of rows by fours follow from the loops. What memory
//! costs is assumed: a byte from beyond the second-level cache takes as long as 0.4 instructions. Kernels compute or wait for
//! memory, whichever takes longer. `embdl tune` measures instead.

use embdl_core::kernels::{BlocksF32, BlocksQ8, EllQ8, RowsForm, RowsProblem};

use super::{blocks, ell};
use crate::detect::Level;

/// Instructions of a level's kernels for one row of activations.
#[derive(Clone, Copy, Debug)]
struct RowCosts {
    /// A dense weight: of one row, and of one in a tile.
    dense: [f32; 2],
    /// An entry of sparse rows: of one row, and of one where four share columns and values; and a row.
    sparse: [f32; 3],
    /// A step of slices, and a slice.
    slices: [f32; 2],
    /// A block: of one row, and of one in a tile; and four channels of them.
    blocks: [f32; 3],
    /// A 4-bit index.
    index: f32,
}

const F32: RowCosts = RowCosts {
    dense: [0.36, 0.28],
    sparse: [6.7, 3.5, 60.0],
    slices: [0.0; 2],
    blocks: [6.0, 2.5, 25.0],
    index: 0.0,
};

const NEON: RowCosts = RowCosts {
    dense: [0.22, 0.21],
    sparse: [5.5, 2.8, 90.0],
    slices: [32.0, 90.0],
    blocks: [9.0, 4.05, 86.0],
    index: 0.36,
};

const DOTPROD: RowCosts = RowCosts {
    dense: [0.1, 0.07],
    slices: [24.0, 70.0],
    blocks: [7.0, 3.3, 40.0],
    index: 0.24,
    ..NEON
};

const I8MM: RowCosts = RowCosts { dense: [0.1, 0.04], ..DOTPROD };

/// Bytes of weights that a second-level cache keeps from run to run.
const CACHE: f32 = 1024.0 * 1024.0;
/// Instructions that take as long as a byte that it does not keep.
const BYTE: f32 = 0.4;

/// Instructions that take as long as a form on a level.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates"
)]
pub(super) fn rows(level: Level, problem: &RowsProblem, form: RowsForm) -> Option<f32> {
    let costs = match level {
        _ if !problem.quantized => F32,
        Level::Neon(_) => NEON,
        Level::Dotprod(_) => DOTPROD,
        Level::I8mm(_) => I8MM,
    };
    let (weights, m) = (problem.weights(), problem.m as f32);
    let (rows, entries) = (problem.n as f32, weights * problem.density);
    let of_many = usize::from(problem.m >= 4);
    let (computing, bytes) = match form {
        RowsForm::Panels => {
            let bytes = if problem.quantized { 1.0 } else { 4.0 };
            (costs.dense[of_many] * weights, bytes * weights)
        }
        RowsForm::Sparse => {
            let [_, _, row] = costs.sparse;
            (costs.sparse[of_many] * entries + row * rows, 3.0 * entries)
        }
        RowsForm::Ell if problem.quantized => {
            let tile = ell::TILE;
            let bytes = EllQ8::expected_bytes(problem.n, problem.k, entries as usize, tile) as f32;
            let steps = bytes / (tile.step_bytes() + 2) as f32;
            let [step, slice] = costs.slices;
            (step * steps + slice * rows / tile.rows as f32, bytes)
        }
        RowsForm::Blocks => {
            let tile = match level {
                _ if !problem.quantized => blocks::TILE_F32,
                Level::Neon(_) => blocks::TILE_NEON,
                Level::Dotprod(_) | Level::I8mm(_) => blocks::TILE_DOTPROD,
            };
            let (n, k, share) = (problem.n, problem.k, problem.blocks);
            let bytes = if problem.quantized {
                BlocksQ8::expected_bytes(n, k, share, tile)
            } else {
                BlocksF32::expected_bytes(n, k, share, tile)
            };
            let all = n.div_ceil(tile.nr) * k.div_ceil(tile.kr);
            let [_, _, quad] = costs.blocks;
            (costs.blocks[of_many] * share * all as f32 + quad * rows / 4.0, bytes as f32)
        }
        RowsForm::Codebook if problem.quantized => (costs.index * weights, weights / 2.0),
        RowsForm::Ell | RowsForm::Codebook => return None,
    };
    let waiting = if bytes > CACHE { BYTE * bytes } else { 0.0 };
    Some((m * computing).max(waiting))
}
