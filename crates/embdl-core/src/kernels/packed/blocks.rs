//! Block-sparse rows: panels of a few output channels that hold only those blocks of weights in which one is not zero.
//!
//! ```text
//! panel: tile.nr rows          block: tile.kr consecutive columns of each of them, which begin at an offset
//! values[row in panel][column in block]
//! ```
//!
//! All rows of a panel meet the same activations, so a kernel multiplies a block as it multiplies a step of dense weights,
//! and what sparsity costs is one offset a block. It pays where zeros stand together: pruning by blocks puts them so.
//!
//! Blocks begin at multiples of `kr`, but for the last one of a row that is no multiple of it: that one ends with the row, so
//! that whole blocks can be read. Its columns that belong to the block before are zero.
//!
//! Source: block compressed sparse rows, as in Narang, Undersander and Diamos 2017, "Block-Sparse Recurrent Neural Networks".

use alloc::vec;
use alloc::vec::Vec;

use bytemuck::Pod;

use super::{Line, Tile, fold_zero_point, pad_bias};

/// Block-sparse rows `[n, k]`; see the head of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRows<W, B> {
    n: usize,
    k: usize,
    tile: Tile,
    /// Where the blocks of each panel start, and where those of the last end.
    starts: Vec<u32>,
    /// First column of each block.
    offsets: Vec<u16>,
    /// `nr * kr` weights for each block.
    values: Vec<Line>,
    bias: Vec<B>,
    row_sums: Vec<B>,
    max_abs: u8,
    weight: core::marker::PhantomData<W>,
}

/// Block-sparse integer rows. Biases are `bias[j] - zero_point * sum of the row's values`.
pub type BlocksQ8 = BlockRows<i8, i32>;
/// Block-sparse float rows.
pub type BlocksF32 = BlockRows<f32, f32>;

/// The blocks of one panel.
#[derive(Clone, Copy, Debug)]
pub struct BlockPanel<'a, W> {
    /// First column of each block; a whole block fits behind it.
    pub offsets: &'a [u16],
    /// `nr * kr` weights for each block.
    pub values: &'a [W],
}

impl<W: Pod, B> BlockRows<W, B> {
    /// Rows.
    #[must_use]
    pub const fn n(&self) -> usize {
        self.n
    }

    /// Columns.
    #[must_use]
    pub const fn k(&self) -> usize {
        self.k
    }

    /// Rows and columns of a block.
    #[must_use]
    pub const fn tile(&self) -> Tile {
        self.tile
    }

    /// Bias, zero-padded to whole panels.
    #[must_use]
    pub fn bias(&self) -> &[B] {
        &self.bias
    }

    /// Sum of each row's values, zero-padded to whole panels: kernels that flip u8 to i8 add `128 *` this.
    #[must_use]
    pub fn row_sums(&self) -> &[B] {
        &self.row_sums
    }

    /// Largest absolute integer value: how many products fit into 16 bits depends on it.
    #[must_use]
    pub const fn max_abs(&self) -> u8 {
        self.max_abs
    }

    /// Panels.
    #[must_use]
    pub const fn panels(&self) -> usize {
        self.starts.len() - 1
    }

    /// A panel: rows `index * tile.nr ..`.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    #[inline]
    pub fn panel(&self, index: usize) -> BlockPanel<'_, W> {
        let blocks = self.starts[index] as usize..self.starts[index + 1] as usize;
        let size = self.tile.nr * self.tile.kr;
        let values: &[W] = bytemuck::cast_slice(&self.values);
        BlockPanel {
            values: &values[blocks.start * size..blocks.end * size],
            offsets: &self.offsets[blocks],
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.values.len() * 64
            + self.offsets.len() * 2
            + self.starts.len() * 4
            + (self.bias.len() + self.row_sums.len()) * 4
    }

    /// Bytes that rows take of whose blocks a share of `blocks` holds weights.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; casts saturate"
    )]
    pub fn expected_bytes(n: usize, k: usize, blocks: f32, tile: Tile) -> usize {
        let (panels, all) = (n.div_ceil(tile.nr), n.div_ceil(tile.nr) * k.div_ceil(tile.kr));
        let block = tile.nr * tile.kr * size_of::<W>() + 2;
        (all as f32 * blocks) as usize * block + panels * (4 + 8 * tile.nr) + 64
    }
}

/// Makes panels of entries that come one after the other; no more than the rows of a panel exist in another form.
#[derive(Clone, Debug)]
pub struct BlockBuilder<W, B> {
    rows: BlockRows<W, B>,
    max_bytes: usize,
    /// Row in the panel, column and value of the entries of the panel that is being filled.
    entries: Vec<(u32, u32, W)>,
    /// For each group of `kr` columns: which block of the panel it is, or [`NO_BLOCK`].
    blocks: Vec<u32>,
    /// Bytes of the last line that are not filled.
    free: usize,
    next: usize,
}

/// Stands for a group of columns that are zero in all rows of the panel.
const NO_BLOCK: u32 = u32::MAX;

impl<W: Pod + Default, B: Copy + Default> BlockBuilder<W, B> {
    /// `n` rows of `k` columns of whose blocks about a share of `blocks` holds weights; `bias` has `n` elements, or none for
    /// zeros. More than `max_bytes` are not held.
    ///
    /// # Panics
    /// If there are more than 2^16 columns, 2^32 positions, another number of biases, or a row has less columns than a block.
    #[must_use]
    pub fn new([n, k]: [usize; 2], blocks: f32, bias: &[B], tile: Tile, max_bytes: usize) -> Self {
        assert!(k <= 1 << 16, "{k} columns cannot be named by 16 bits");
        assert!(u32::try_from(n * k).is_ok(), "{n} rows of {k} cannot be counted by 32 bits");
        assert!(tile.nr > 0 && tile.kr > 0 && tile.kr <= k, "{tile:?} in rows of {k}");
        let bytes = BlockRows::<W, B>::expected_bytes(n, k, blocks, tile).min(max_bytes);
        let block = tile.nr * tile.kr * size_of::<W>();
        let mut starts = Vec::with_capacity(n.div_ceil(tile.nr) + 1);
        starts.push(0);
        let rows = BlockRows {
            n,
            k,
            tile,
            starts,
            offsets: Vec::with_capacity(bytes / block),
            values: Vec::with_capacity(bytes / 64),
            bias: pad_bias(bias, n, tile),
            row_sums: vec![B::default(); n.next_multiple_of(tile.nr)],
            max_abs: 0,
            weight: core::marker::PhantomData,
        };
        let blocks = vec![NO_BLOCK; k.div_ceil(tile.kr)];
        Self { rows, max_bytes, entries: Vec::new(), blocks, free: 0, next: 0 }
    }

    /// Adds an entry at a flat row-major position.
    ///
    /// # Panics
    /// If it is not beyond the last one, or not below `n * k`.
    #[inline]
    pub fn push(&mut self, position: usize, value: W) {
        let (n, k, Tile { nr, kr }) = (self.rows.n, self.rows.k, self.rows.tile);
        assert!((self.next..n * k).contains(&position), "position {position} after {}", self.next);
        self.next = position + 1;
        let (row, column) = (position / k, position % k);
        while row >= self.rows.starts.len() * nr {
            self.end_panel();
        }
        self.blocks[column / kr] = 0;
        #[expect(clippy::cast_possible_truncation, reason = "32 bits count all positions")]
        self.entries.push(((row % nr) as u32, column as u32, value));
    }

    /// The rows, if they fit.
    fn finish_panels(mut self) -> Option<BlockRows<W, B>> {
        while self.rows.starts.len() <= self.rows.n.div_ceil(self.rows.tile.nr) {
            self.end_panel();
        }
        (self.rows.size_bytes() <= self.max_bytes).then_some(self.rows)
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 bits name columns, 32 positions")]
    fn end_panel(&mut self) {
        let Tile { nr, kr } = self.rows.tile;
        let (k, size) = (self.rows.k, nr * kr);
        let first = self.rows.offsets.len();
        if self.rows.size_bytes() <= self.max_bytes {
            for (group, block) in self.blocks.iter_mut().enumerate() {
                if *block != NO_BLOCK {
                    *block = self.rows.offsets.len() as u32;
                    self.rows.offsets.push((group * kr).min(k - kr) as u16);
                }
            }
            let added = (self.rows.offsets.len() - first) * size * size_of::<W>();
            let lines = added.saturating_sub(self.free).div_ceil(64);
            self.free = self.free + lines * 64 - added;
            let lines = self.rows.values.len() + lines;
            self.rows.values.resize(lines, bytemuck::Zeroable::zeroed());
            let values: &mut [W] = bytemuck::cast_slice_mut(&mut self.rows.values);
            for &(row, column, value) in &self.entries {
                let block = self.blocks[column as usize / kr] as usize;
                let within = column as usize - usize::from(self.rows.offsets[block]);
                values[block * size + row as usize * kr + within] = value;
            }
        }
        self.blocks.fill(NO_BLOCK);
        self.entries.clear();
        self.rows.starts.push(self.rows.offsets.len() as u32);
    }
}

impl BlockBuilder<f32, f32> {
    /// The rows, if they fit.
    #[must_use]
    pub fn finish(self) -> Option<BlocksF32> {
        self.finish_panels()
    }
}

impl BlockBuilder<i8, i32> {
    /// The rows for activations with `zero_point`, if they fit.
    #[must_use]
    pub fn finish(self, zero_point: u8) -> Option<BlocksQ8> {
        let mut rows = self.finish_panels()?;
        let Tile { nr, kr } = rows.tile;
        for panel in 0..rows.panels() {
            let mut sums = vec![0_i32; nr];
            for block in rows.panel(panel).values.chunks_exact(nr * kr) {
                for (sum, row) in sums.iter_mut().zip(block.chunks_exact(kr)) {
                    *sum = row.iter().fold(*sum, |sum, &w| sum.wrapping_add(i32::from(w)));
                }
            }
            rows.row_sums[panel * nr..][..nr].copy_from_slice(&sums);
        }
        for (bias, &sum) in rows.bias.iter_mut().zip(&rows.row_sums) {
            *bias = fold_zero_point(*bias, zero_point, sum);
        }
        let values: &[i8] = bytemuck::cast_slice(&rows.values);
        rows.max_abs = values.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: Tile = Tile { nr: 2, kr: 2 };

    fn built(n: usize, k: usize, entries: &[(usize, i8)]) -> BlocksQ8 {
        let mut rows = BlockBuilder::new([n, k], 1.0, &[], TILE, usize::MAX);
        entries.iter().for_each(|&(at, value)| rows.push(at, value));
        rows.finish(10).expect("without a limit")
    }

    #[test]
    fn blocks_of_zeros_are_left_out_and_the_last_ends_with_the_row() {
        // [[0, 0, 1, 0, 2], [0, 0, 0, 3, 0], [0; 5]]
        let rows = built(3, 5, &[(2, 1), (4, 2), (8, 3)]);
        let panel = rows.panel(0);
        assert_eq!(panel.offsets, [2, 3], "columns 2 and 3, then 3 and 4");
        assert_eq!(panel.values, [1, 0, 0, 3, 0, 2, 0, 0]);
        assert!(rows.panel(1).offsets.is_empty());
        assert_eq!((rows.panels(), rows.max_abs()), (2, 3));
        assert_eq!(rows.row_sums(), [3, 3, 0, 0]);
        assert_eq!(rows.bias(), [-30, -30, 0, 0]);
    }

    #[test]
    fn panels_follow_each_other_within_lines() {
        let entries: Vec<(usize, i8)> = (0_i8..30 * 4).enumerate().collect();
        let rows = built(30, 4, &entries);
        for (panel, at) in (0_i8..30 * 4).step_by(8).enumerate() {
            let values = rows.panel(panel).values;
            assert_eq!(values, [0, 1, 4, 5, 2, 3, 6, 7].map(|offset| at + offset));
        }
    }

    #[test]
    fn rows_that_need_more_bytes_than_allowed_are_refused() {
        let mut rows = BlockBuilder::new([64, 64], 0.1, &[], TILE, 700);
        (0..64).for_each(|row| rows.push(row * 64 + row, 1_i8));
        assert!(rows.finish(0).is_none());
    }
}
