//! What dense layers are expected to cost in each form of their weights: instructions and bytes.
//!
//! Nanoseconds on the machine of docs/src/kernels.md, "Sparse or dense"; blocks were measured on an Intel Xeon, and scaled as
//! dense weights are between the two. Kernels compute or wait for memory, whichever takes
//! longer: the prefetcher runs ahead of all of them. Weights that stay in the second-level cache cost no waiting.

use embdl_core::kernels::{BlocksF32, BlocksQ8, EllQ8, EllTile, RowsForm, RowsProblem, Tile};

use super::gemm::Products;

/// Nanoseconds of a level's kernels for one row of activations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCosts {
    /// A dense weight, by [`Products`]: widened, pairs, quads.
    dense: [f32; 3],
    /// A dense float weight.
    dense_f32: f32,
    /// An entry of sparse rows, and a row.
    sparse: [f32; 2],
    /// The same for floats.
    sparse_f32: [f32; 2],
    /// A step of slices, by the columns of its window.
    step: [(usize, f32); 2],
    /// A slice.
    slice: f32,
    /// A block of integers, by [`Products`], and one of floats.
    block: [f32; 3],
    block_f32: f32,
    /// A 4-bit index, by [`Products`].
    index: [f32; 3],
    /// Share of the time of a single row where rows come by fours: dense weights, sparse rows, slices, blocks.
    batched: [f32; 4],
}

/// Bytes of weights that caches keep from run to run, and nanoseconds a byte where they do not: what is next keeps more.
const MEMORY: [(f32, f32); 2] = [(768.0 * 1024.0, 0.011), (18.0 * 1024.0 * 1024.0, 0.024)];

pub(crate) const SSE41: RowCosts = RowCosts {
    dense: [0.0365, 0.0166, 0.0155],
    dense_f32: 0.048,
    sparse: [0.28, 5.5],
    sparse_f32: [0.34, 1.0],
    step: [(16, 0.43), (32, 0.64)],
    slice: 4.0,
    block: [0.6, 0.32, 0.29],
    block_f32: 0.36,
    index: [0.053, 0.033, 0.031],
    batched: [0.9, 0.25, 0.6, 0.75],
};

pub(crate) const AVX2: RowCosts = RowCosts {
    dense: [0.0173, 0.0083, 0.0075],
    dense_f32: 0.035,
    sparse: [0.28, 4.5],
    step: [(16, 0.46), (32, 0.66)],
    slice: 5.0,
    block: [0.75, 0.39, 0.36],
    block_f32: 0.47,
    index: [0.029, 0.02, 0.018],
    ..SSE41
};

pub(crate) const AVXVNNI: RowCosts =
    RowCosts { dense: [0.0148; 3], block: [1.1; 3], index: [0.0149; 3], ..AVX2 };

pub(crate) const AVX512: RowCosts = RowCosts {
    dense: [0.0115, 0.0059, 0.0055],
    step: [(16, 0.62), (32, 0.8)],
    slice: 7.0,
    block: [0.88, 0.44, 0.41],
    block_f32: 0.98,
    index: [0.022, 0.0148, 0.0135],
    ..AVX2
};

pub(crate) const AVX512VNNI: RowCosts = RowCosts {
    dense: [0.005; 3],
    block: [0.64; 3],
    index: [0.01; 3],
    batched: [0.45, 0.2, 0.6, 0.75],
    ..AVX512
};

pub(crate) const AVX512VBMI: RowCosts = RowCosts { step: [(64, 0.8), (128, 1.0)], ..AVX512VNNI };

/// Time of a form on a level, in nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates"
)]
pub(crate) fn rows(
    costs: &RowCosts,
    problem: &RowsProblem,
    form: RowsForm,
    tile: EllTile,
    block_tile: Tile,
) -> Option<f32> {
    let (weights, m) = (problem.weights(), problem.m as f32);
    let (rows, entries) = (problem.n as f32, weights * problem.density);
    // Longer sums in 16 bits change little where a single row waits for its weights.
    let products = (Products::for_weights(problem.max_abs) as usize).min(Products::Quads as usize);
    let [dense, sparse, sliced, blocked] = if problem.m >= 4 { costs.batched } else { [1.0; 4] };
    let (computing, bytes) = match (form, problem.quantized) {
        (RowsForm::Panels, true) => (dense * costs.dense[products] * weights, weights),
        (RowsForm::Panels, false) => (dense * costs.dense_f32 * weights, 4.0 * weights),
        (RowsForm::Sparse, quantized) => {
            let [entry, row] = if quantized { costs.sparse } else { costs.sparse_f32 };
            (sparse * (entry * entries + row * rows), 3.0 * entries)
        }
        (RowsForm::Ell, true) => {
            let bytes = EllQ8::expected_bytes(problem.n, problem.k, entries as usize, tile) as f32;
            let steps = bytes / (tile.step_bytes() + 2) as f32;
            let (_, step) = costs.step.into_iter().find(|(window, _)| *window == tile.window)?;
            let slices = rows / tile.rows as f32;
            (sliced * (step * steps + costs.slice * slices), bytes)
        }
        (RowsForm::Blocks, quantized) => {
            let (n, k, blocks) = (problem.n, problem.k, problem.blocks);
            let bytes = match quantized {
                true => BlocksQ8::expected_bytes(n, k, blocks, block_tile),
                false => BlocksF32::expected_bytes(n, k, blocks, block_tile),
            };
            let all = n.div_ceil(block_tile.nr) * k.div_ceil(block_tile.kr);
            let block = if quantized { costs.block[products] } else { costs.block_f32 };
            let panels = rows / block_tile.nr as f32;
            // What begins and ends a panel is done once for all rows of a tile.
            let panels = if problem.m >= 4 { panels / 4.0 } else { panels };
            (blocked * block * blocks * all as f32 + costs.slice * panels, bytes as f32)
        }
        (RowsForm::Codebook, true) => (costs.index[products] * weights, weights / 2.0),
        (RowsForm::Ell | RowsForm::Codebook, false) => return None,
    };
    let far = MEMORY.iter().rev().find(|(kept, _)| bytes > *kept);
    let waiting = far.map_or(0.0, |(_, byte)| byte * bytes);
    Some((m * computing).max(waiting))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form that costs least.
    fn best(
        costs: &RowCosts,
        tile: EllTile,
        density: f32,
        max_abs: u8,
        [n, k]: [usize; 2],
    ) -> RowsForm {
        let problem = RowsProblem { m: 1, n, k, density, blocks: 1.0, quantized: true, max_abs };
        let block = Tile { nr: 4, kr: 4 };
        let forms = [RowsForm::Panels, RowsForm::Sparse, RowsForm::Ell, RowsForm::Codebook];
        let cost =
            |form| rows(costs, &problem, form, tile, block).expect("integers run in all forms");
        forms.into_iter().min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("there are forms")
    }

    #[test]
    fn slices_win_where_few_weights_are_there_and_nothing_sparse_where_all_are() {
        let sse = EllTile { rows: 4, window: 16, in_pairs: true };
        let vbmi = EllTile { rows: 16, window: 64, in_pairs: false };
        for (costs, tile) in [(SSE41, sse), (AVX512VBMI, vbmi)] {
            for size in [[100, 300], [300, 784], [1024, 1024], [4096, 9216]] {
                assert_eq!(best(&costs, tile, 0.15, 60, size), RowsForm::Ell, "{size:?}");
                let dense = best(&costs, tile, 1.0, 60, size);
                assert!(matches!(dense, RowsForm::Panels | RowsForm::Codebook), "{size:?}");
            }
        }
    }

    #[test]
    fn what_memory_keeps_waiting_runs_in_the_form_of_fewer_bytes() {
        let tile = EllTile { rows: 16, window: 64, in_pairs: false };
        assert_eq!(best(&AVX512VBMI, tile, 1.0, 127, [300, 784]), RowsForm::Panels);
        assert_eq!(best(&AVX512VBMI, tile, 1.0, 127, [4096, 9216]), RowsForm::Codebook);
    }
}
