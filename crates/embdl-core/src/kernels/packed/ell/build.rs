//! From entries, one after the other, to slices.

use alloc::vec;
use alloc::vec::Vec;

use super::{EllQ8, EllTile, Line, Place};
use crate::kernels::Tile;
use crate::kernels::packed::{fold_zero_point, pad_bias, row_sum};

/// Makes slices of entries that come one after the other; no more than the rows of a slice exist in another form.
#[derive(Clone, Debug)]
pub struct EllBuilder {
    rows: EllQ8,
    zero_point: u8,
    max_bytes: usize,
    /// Bytes of the steps so far.
    held: usize,
    /// Lines of a new piece of slots.
    piece_lines: usize,
    /// Steps of the slice that is being filled.
    steps: Vec<Line>,
    /// Entries of its rows, behind each row [`END`].
    columns: Vec<u32>,
    values: Vec<i8>,
    /// Where each row of the slice starts in them.
    row_starts: Vec<usize>,
    /// Positions of the row that entries are added to.
    row: core::ops::Range<usize>,
    next: usize,
}

/// Stands behind a row, so that four of its entries can be looked at wherever it ends: columns beyond all windows.
const END: [u32; EllTile::SLOTS] = [u32::MAX; EllTile::SLOTS];

impl EllBuilder {
    /// `n` rows of `k` columns of about so many entries, for activations with `zero_point`; `bias` has `n` elements, or none
    /// for zeros. More than `max_bytes` are not held.
    ///
    /// # Panics
    /// If there are more than 2^16 columns, 2^32 positions, or another number of biases, or the tile is not one.
    #[must_use]
    pub fn new(
        [n, k, entries]: [usize; 3],
        bias: &[i32],
        zero_point: u8,
        tile: EllTile,
        max_bytes: usize,
    ) -> Self {
        assert!(k <= 1 << 16, "{k} columns cannot be named by 16 bits");
        assert!(u32::try_from(n * k).is_ok(), "{n} rows of {k} cannot be counted by 32 bits");
        assert!(tile.rows > 0 && matches!(tile.window, 1..=256), "{tile:?} has no step");
        let bytes = EllQ8::expected_bytes(n, k, entries, tile).min(max_bytes);
        let lines = bytes / 64 + bytes / 64 / 32;
        // A quarter more than a slice has on average.
        let [slice_lines, slice_entries] = [lines, entries + EllTile::SLOTS * n]
            .map(|all| all.min(max_bytes) / n.div_ceil(tile.rows).max(1) * 5 / 4);
        let rows = EllQ8 {
            n,
            k,
            tile,
            places: Vec::with_capacity(n.div_ceil(tile.rows)),
            offsets: Vec::with_capacity(lines * 64 / tile.step_bytes()),
            slots: vec![Vec::with_capacity(lines)],
            bias: pad_bias(bias, n, Tile { nr: tile.rows, kr: 1 }),
            row_sums: vec![0; n.next_multiple_of(tile.rows)],
            max_abs: 0,
        };
        Self {
            rows,
            zero_point,
            max_bytes,
            held: 0,
            piece_lines: lines / 16,
            steps: Vec::with_capacity(slice_lines),
            columns: Vec::with_capacity(slice_entries),
            values: Vec::with_capacity(slice_entries),
            row_starts: vec![0],
            row: 0..k,
            next: 0,
        }
    }

    /// Adds an entry at a flat row-major position.
    ///
    /// # Panics
    /// If it is not beyond the last one, or not below `n * k`.
    #[inline]
    pub fn push(&mut self, position: usize, value: i8) {
        let free = self.next..self.rows.n * self.rows.k;
        assert!(free.contains(&position), "position {position} after {}", self.next);
        self.next = position + 1;
        while position >= self.row.end {
            self.end_row();
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 columns")]
        self.columns.push((position - self.row.start) as u32);
        self.values.push(value);
        self.rows.max_abs = self.rows.max_abs.max(value.unsigned_abs());
    }

    /// The rows, if they fit.
    #[must_use]
    pub fn finish(mut self) -> Option<EllQ8> {
        let all = self.rows.n * self.rows.k;
        while self.row.start < all {
            self.end_row();
        }
        // A slice that is not full, and those of rows without columns, which no position ends.
        while self.rows.places.len() < self.rows.n.div_ceil(self.rows.tile.rows) {
            self.end_slice();
        }
        let fits = self.held.max(self.rows.size_bytes()) <= self.max_bytes;
        fits.then_some(self.rows)
    }

    fn end_row(&mut self) {
        let k = self.rows.k;
        self.row = self.row.end..self.row.end + k;
        let start = self.row_starts[self.row_starts.len() - 1];
        let j = self.rows.places.len() * self.rows.tile.rows + self.row_starts.len() - 1;
        let bias = &mut self.rows.bias[j];
        let sum = row_sum(self.values[start..].iter().copied());
        *bias = fold_zero_point(*bias, self.zero_point, sum);
        self.rows.row_sums[j] = sum;
        self.columns.extend(END);
        self.values.extend([0; EllTile::SLOTS]);
        self.row_starts.push(self.columns.len());
        if self.row_starts.len() > self.rows.tile.rows {
            self.end_slice();
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "fewer steps than entries, which 32 bits count"
    )]
    fn end_slice(&mut self) {
        let first_step = self.rows.offsets.len();
        self.fill_steps();
        let slots = &mut self.rows.slots;
        let last = &slots[slots.len() - 1];
        if last.capacity() - last.len() < self.steps.len() {
            slots.push(Vec::with_capacity(self.piece_lines.max(self.steps.len())));
        }
        let piece = slots.len() - 1;
        let line = slots[piece].len();
        slots[piece].extend_from_slice(&self.steps);
        self.rows.places.push(Place {
            first_step: first_step as u32,
            steps: (self.rows.offsets.len() - first_step) as u32,
            piece: piece as u32,
            line: line as u32,
        });
        self.steps.clear();
        self.columns.clear();
        self.values.clear();
        self.row_starts.truncate(1);
    }

    /// Steps until no row of the slice has an entry left.
    fn fill_steps(&mut self) {
        let EllTile { rows, window, in_pairs } = self.rows.tile;
        let slots = EllTile::SLOTS * rows;
        let last_offset = self.rows.k.saturating_sub(window);
        let mut at = self.row_starts.clone();
        let left = at.pop().expect("at least one row starts");
        let mut left = left - EllTile::SLOTS * at.len();
        let mut steps = 0;
        #[expect(clippy::cast_possible_truncation, reason = "at most 256")]
        let width = window as u32;
        let large = self.values.iter().any(|value| value.unsigned_abs() > 64);
        let in_pairs = in_pairs && large;
        // What is too much is not kept; `finish` says so.
        while left > 0 && self.held <= self.max_bytes {
            let heads = at.iter().map(|&at| self.columns[at]);
            let first = heads.min().expect("a slice has rows") as usize;
            #[expect(clippy::cast_possible_truncation, reason = "below the number of columns")]
            let offset = first.min(last_offset) as u16;
            self.rows.offsets.push(offset);
            let begin = steps * 2 * slots;
            steps += 1;
            self.held += 2 * slots;
            self.steps.resize((steps * 2 * slots).div_ceil(64), Line([0; 64]));
            let step = &mut bytemuck::must_cast_slice_mut::<Line, u8>(&mut self.steps)[begin..];
            let (columns, values) = step[..2 * slots].split_at_mut(slots);
            let to = columns.as_chunks_mut().0.iter_mut().zip(values.as_chunks_mut().0);
            for (at, (columns, values)) in at.iter_mut().zip(to) {
                let next = self.columns[*at..].first_chunk().expect("END is behind a row");
                let with = self.values[*at..].first_chunk().expect("as many as columns");
                let mut count = quad(next, with, [u32::from(offset), width], columns, values);
                if in_pairs {
                    count = in_pairs_of(count, columns, values);
                }
                *at += count;
                left -= count;
            }
        }
    }
}

type Quad = [u8; EllTile::SLOTS];

/// Writes as many of a row's next entries as are within the window from `offset` on, zeros behind them; gives how many.
#[inline]
fn quad(
    next: &[u32; EllTile::SLOTS],
    with: &[i8; EllTile::SLOTS],
    [offset, window]: [u32; 2],
    columns: &mut Quad,
    values: &mut Quad,
) -> usize {
    let within = next.map(|column| column.wrapping_sub(offset));
    let count: u32 = within.iter().map(|&column| u32::from(column < window)).sum();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "masks of at most 32 bits; windows of at most 256"
    )]
    let (mask, within) = (((1_u64 << (8 * count)) - 1) as u32, within.map(|column| column as u8));
    *columns = (u32::from_le_bytes(within) & mask).to_le_bytes();
    *values = (u32::from_le_bytes(with.map(i8::cast_unsigned)) & mask).to_le_bytes();
    count as usize
}

/// Arranges as many of the first `count` entries as two pairs can hold; gives how many, and drops the others.
#[inline]
fn in_pairs_of(count: usize, columns: &mut Quad, values: &mut Quad) -> usize {
    // The ways to pair four. With fewer, a slot stays empty.
    const ORDERS: [[usize; 4]; 3] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2]];
    for taken in (1..=count).rev() {
        for order in ORDERS {
            let of = |quad: Quad| order.map(|slot| if slot < taken { quad[slot] } else { 0 });
            let arranged = of(*values);
            if fits_in_pairs(arranged) {
                (*columns, *values) = (of(*columns), arranged);
                return taken;
            }
        }
    }
    // One value alone always fits, so there was none.
    0
}

/// Whether the products of neighbours with any two u8 fit in 16 bits: 255 * 128 = 32,640.
fn fits_in_pairs([a, b, c, d]: Quad) -> bool {
    let fits = |x: u8, y: u8| {
        let (x, y) = (i32::from(x.cast_signed()), i32::from(y.cast_signed()));
        x.max(0) + y.max(0) <= 128 && x.min(0) + y.min(0) >= -128
    };
    fits(a, b) && fits(c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: EllTile = EllTile { rows: 2, window: 4, in_pairs: true };

    fn built(n: usize, k: usize, entries: &[(usize, i8)]) -> EllQ8 {
        let mut builder = EllBuilder::new([n, k, entries.len()], &[], 1, TILE, usize::MAX);
        entries.iter().for_each(|&(position, value)| builder.push(position, value));
        builder.finish().expect("without a limit")
    }

    #[test]
    fn windows_start_at_the_first_entry_left() {
        // Row 0 has columns 2, 7; row 1 has 3, 4, 5, 6, 7; row 2, alone in its slice, has 8, beyond the last whole window.
        let entries = [(2, 9), (7, 8), (12, 1), (13, 2), (14, 3), (15, 4), (16, 5), (26, 6)];
        let rows = built(3, 9, &entries);
        assert_eq!(rows.bias(), [-17, -15, -6, 0]);
        assert_eq!((rows.row_sums(), rows.max_abs()), (&[17, 15, 6, 0][..], 9));
        let first = rows.slice(0);
        // From 2: row 1's third entry is the last within 2..6. From 5, the last whole window: what is left.
        assert_eq!(first.offsets, [2, 5]);
        let steps: [&[u8]; 2] = [
            &[0, 0, 0, 0, 1, 2, 3, 0, 9, 0, 0, 0, 1, 2, 3, 0],
            &[2, 0, 0, 0, 1, 2, 0, 0, 8, 0, 0, 0, 4, 5, 0, 0],
        ];
        assert_eq!(first.slots, steps.concat());
        assert_eq!(rows.slice(1).offsets, [5]);
        assert_eq!(rows.slices(), 2);
    }

    #[test]
    fn neighbours_never_exceed_16_bits() {
        // 100 goes with -100; a third of the same sign waits for the next step.
        let rows = built(1, 4, &[(0, 100), (1, 100), (2, -100), (3, 127)]);
        let slots = rows.slice(0).slots;
        let values: Vec<i8> = slots.iter().map(|byte| byte.cast_signed()).collect();
        assert_eq!(rows.slice(0).offsets, [0, 0]);
        assert_eq!(values[8..12], [100, -100, 100, 0]);
        assert_eq!(values[24..28], [127, 0, 0, 0]);
        assert_eq!(slots[..4], [0, 2, 1, 0]);
    }

    #[test]
    fn rows_without_entries_have_no_steps() {
        let rows = built(5, 3, &[(6, -128)]);
        assert_eq!([0, 1, 2].map(|slice| rows.slice(slice).offsets.len()), [0, 1, 0]);
        assert_eq!(built(0, 3, &[]).slices(), 0);
        assert_eq!(built(3, 0, &[]).slices(), 2);
    }

    #[test]
    fn rows_that_need_more_bytes_than_allowed_are_refused() {
        let mut builder = EllBuilder::new([64, 64, 64], &[], 0, TILE, 900);
        (0..64).for_each(|row| builder.push(row * 65, 1));
        assert!(builder.finish().is_none(), "960 bytes and more fit into 900");
    }
}
