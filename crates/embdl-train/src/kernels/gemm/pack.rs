//! The right side of a product, packed in panels of columns.

/// The right side, packed in panels.
#[derive(Debug, Default)]
pub(crate) struct Rhs {
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) data: Vec<f32>,
}

impl Rhs {
    /// Packs `depth` rows of `columns`; `fill(p, j, out)` writes row `p` from column `j`.
    pub(crate) fn pack(
        &mut self,
        depth: usize,
        columns: usize,
        mut fill: impl FnMut(usize, usize, &mut [f32]),
    ) {
        (self.depth, self.columns) = (depth, columns);
        self.data.clear();
        self.data.resize(depth * columns.div_ceil(8) * 8, 0.0);
        let (mut column, mut at) = (0, 0);
        for width in widths(columns) {
            let live = width.min(columns - column);
            for (p, out) in self.data[at..at + width * depth].chunks_exact_mut(width).enumerate() {
                fill(p, column, &mut out[..live]);
            }
            at += width * depth;
            column += width;
        }
    }

    /// A packed copy of a row-major matrix whose rows are `stride` apart.
    pub(crate) fn rows_of(depth: usize, columns: usize, values: &[f32], stride: usize) -> Self {
        let mut packed = Self::default();
        packed.pack(depth, columns, |p, j, out| {
            out.copy_from_slice(&values[p * stride + j..][..out.len()]);
        });
        packed
    }

    /// A packed copy of the transpose of a row-major matrix whose rows are `stride` apart.
    pub(crate) fn columns_of(depth: usize, columns: usize, values: &[f32], stride: usize) -> Self {
        let mut packed = Self::default();
        packed.pack(depth, columns, |p, j, out| {
            for (out, row) in out.iter_mut().zip(values[j * stride + p..].chunks(stride)) {
                *out = row[0];
            }
        });
        packed
    }
}

/// Widths of the panels that cover `columns`: 24, 16 or 8, as even as can be.
#[inline(always)]
pub(super) fn widths(columns: usize) -> impl Iterator<Item = usize> {
    let vectors = columns.div_ceil(8);
    let panels = vectors.div_ceil(3).max(1);
    let (each, more) = (vectors / panels, vectors % panels);
    (0..panels).map(move |panel| 8 * (each + usize::from(panel < more))).filter(|&width| width > 0)
}
