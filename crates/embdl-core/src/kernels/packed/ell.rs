//! Sparse rows in slices of ELLPACK: a vector of rows at once, each entry named by its place in a window of columns.
//!
//! ```text
//! slice: the entries of `tile.rows` rows          step: a window of `tile.window` columns from an offset on,
//!                                                       and for each row four of its entries within the window
//! ```
//!
//! A kernel loads the window of activations, picks the bytes that the entries name (`pshufb`, `vpermb`), and multiplies them
//! with the values four to a lane, as dense kernels do: a few instructions for `4 * rows` entries, where walking along a row
//! takes several for each one. Windows start where the first entry of the slice is that is not taken yet, so that empty
//! columns cost nothing; a row without four entries in the window is filled up with zeros.
//!
//! Source: Kreutzer et al. 2014, "A Unified Sparse Matrix Data Format for Efficient General Sparse Matrix-Vector
//! Multiplication on Modern Processors with Wide SIMD Units" (slices of ELLPACK); the windows are ours.

mod build;

use alloc::vec::Vec;

use super::Line;

pub use build::EllBuilder;

/// How entries stand in slices and steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EllTile {
    /// Rows of a slice.
    pub rows: usize,
    /// Columns that a step's entries can be in: at most 256.
    pub window: usize,
    /// Whether two neighbours must not exceed 16 bits together: `pmaddubsw` adds their products with any two u8.
    pub in_pairs: bool,
}

impl EllTile {
    /// Entries of a row in a step.
    pub const SLOTS: usize = 4;

    /// Bytes of a step: columns, then values.
    #[must_use]
    pub const fn step_bytes(self) -> usize {
        2 * Self::SLOTS * self.rows
    }

    /// The share of slots that `density` is expected to fill; the rest is padding.
    ///
    /// Measured on random rows with slices of 4 to 16 rows: within 15 % of it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub const fn fill(self, density: f32) -> f32 {
        let per_window = density * self.window as f32;
        per_window / (per_window + 2.0)
    }
}

/// Sparse integer rows `[n, k]` in slices; see the head of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct EllQ8 {
    n: usize,
    k: usize,
    tile: EllTile,
    places: Vec<Place>,
    /// First column of each step's window.
    offsets: Vec<u16>,
    /// Of each step, the columns less the offset, then the values: four for each row of the slice. In pieces, so that none
    /// moves when another is added: aligned memory cannot grow in place.
    slots: Vec<Vec<Line>>,
    bias: Vec<i32>,
    row_sums: Vec<i32>,
    max_abs: u8,
}

/// Where a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Its steps among the offsets.
    first_step: u32,
    steps: u32,
    /// Its piece of the slots, and the line there.
    piece: u32,
    line: u32,
}

/// The steps of one slice.
#[derive(Clone, Copy, Debug)]
pub struct EllSlice<'a> {
    /// First column of each step's window; a whole window fits behind it, if rows have one at all.
    pub offsets: &'a [u16],
    /// [`EllTile::step_bytes`] for each step. The first byte is aligned to a step, or to 64 bytes if that is less.
    pub slots: &'a [u8],
}

impl EllQ8 {
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

    /// Layout.
    #[must_use]
    pub const fn tile(&self) -> EllTile {
        self.tile
    }

    /// `bias[j] - zero_point * sum of the row's values`, zero-padded to whole slices.
    #[must_use]
    pub fn bias(&self) -> &[i32] {
        &self.bias
    }

    /// Sum of each row's values, zero-padded to whole slices: kernels that flip u8 to i8 add `128 *` this.
    #[must_use]
    pub fn row_sums(&self) -> &[i32] {
        &self.row_sums
    }

    /// Largest absolute value: how many products fit into 16 bits depends on it.
    #[must_use]
    pub const fn max_abs(&self) -> u8 {
        self.max_abs
    }

    /// Number of slices.
    #[must_use]
    pub const fn slices(&self) -> usize {
        self.places.len()
    }

    /// A slice: rows `index * tile.rows ..`.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn slice(&self, index: usize) -> EllSlice<'_> {
        let Place { first_step, steps, piece, line } = self.places[index];
        let piece = bytemuck::must_cast_slice::<Line, u8>(&self.slots[piece as usize]);
        let bytes = steps as usize * self.tile.step_bytes();
        EllSlice {
            offsets: &self.offsets[first_step as usize..][..steps as usize],
            slots: &piece[line as usize * 64..][..bytes],
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.slots.iter().map(|piece| piece.len() * 64).sum::<usize>()
            + self.offsets.len() * 2
            + self.places.len() * size_of::<Place>()
            + (self.bias.len() + self.row_sums.len()) * 4
    }

    /// Bytes that so many entries are expected to take.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; casts saturate"
    )]
    pub fn expected_bytes(n: usize, k: usize, entries: usize, tile: EllTile) -> usize {
        let fill = tile.fill(entries as f32 / (n * k).max(1) as f32);
        let slots = entries as f32 / fill.max(0.01);
        let steps = slots / (EllTile::SLOTS * tile.rows) as f32;
        let slices = n.div_ceil(tile.rows);
        // On average, half a line at the end of a slice is not used.
        let of_slices = slices * (size_of::<Place>() + 32 + 8 * tile.rows);
        (steps * (tile.step_bytes() + 2) as f32) as usize + of_slices
    }
}
