//! In which order ONNX keeps the elements that a graph keeps in NHWC order.

use embdl_core::tensor::Shape;

/// Axes of `[n, c, h, w]` in the order `[n, h, w, c]`.
pub(crate) const NCHW_TO_NHWC: [usize; 4] = [0, 2, 3, 1];
/// Axes of `[n, h, w, c]` in the order `[n, c, h, w]`.
pub(crate) const NHWC_TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// Order of a value in ONNX, seen from the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Rank 4: `[n, c, h, w]` in ONNX, `[n, h, w, c]` in the graph.
    Nchw,
    /// Rank 4: the same in both; what a Transpose gives in files that come from TensorFlow.
    Nhwc,
    /// Any other rank: the same dimensions, the elements of a sample block by block.
    Blocks(Blocks),
}

/// Elements of a sample, block by block: ONNX has each block as `[c, hw]`, the graph as `[hw, c]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks(Vec<Block>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    channels: usize,
    pixels: usize,
}

impl Order {
    /// The dimensions that ONNX gives a value of graph shape `shape`.
    pub(crate) fn onnx_dims(&self, shape: Shape) -> Vec<usize> {
        let dims: Vec<usize> = shape.iter().collect();
        match self {
            Self::Nchw => NHWC_TO_NCHW.iter().map(|&axis| dims[axis]).collect(),
            Self::Nhwc | Self::Blocks(_) => dims,
        }
    }

    /// The axis of the graph's value that is ONNX's `axis`.
    pub(crate) const fn graph_axis(&self, axis: usize) -> usize {
        match self {
            Self::Nchw => NHWC_TO_NCHW[axis],
            Self::Nhwc | Self::Blocks(_) => axis,
        }
    }

    /// The elements of a sample of graph shape `shape`, in a row.
    pub(crate) fn flatten(&self, shape: Shape) -> Blocks {
        match self {
            Self::Nchw => Blocks::map(shape.dim(3), shape.dim(1) * shape.dim(2)),
            Self::Nhwc => Blocks::plain(shape.iter().skip(1).product()),
            Self::Blocks(blocks) => blocks.clone(),
        }
    }
}

impl Blocks {
    /// `len` elements in the same order in both.
    pub(crate) fn plain(len: usize) -> Self {
        Self(vec![Block { channels: len, pixels: 1 }])
    }

    /// A spatial map of `channels` channels.
    pub(crate) fn map(channels: usize, pixels: usize) -> Self {
        let mut own = Self::default();
        own.push(Block { channels, pixels });
        own
    }

    /// The elements of `parts`, one after the other.
    pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut own = Self::default();
        parts.into_iter().flat_map(|part| &part.0).for_each(|&block| own.push(block));
        own
    }

    /// Whether ONNX and the graph have the same order.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.iter().all(|block| block.pixels == 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|block| block.channels * block.pixels).sum()
    }

    /// For each element of the graph's order, its place in ONNX's.
    pub(crate) fn onnx_places(&self) -> Vec<usize> {
        let mut places = Vec::with_capacity(self.len());
        for &Block { channels, pixels } in &self.0 {
            let start = places.len();
            for pixel in 0..pixels {
                places.extend((0..channels).map(|channel| start + channel * pixels + pixel));
            }
        }
        places
    }

    fn push(&mut self, mut block: Block) {
        if block.channels == 1 {
            block = Block { channels: block.pixels, pixels: 1 };
        }
        match self.0.last_mut() {
            Some(last) if last.pixels == 1 && block.pixels == 1 => last.channels += block.channels,
            _ => self.0.push(block),
        }
    }
}

/// `[o, i, h, w]` to `[o, h, w, i]`.
pub(crate) fn oihw_to_ohwi(values: &[f32], inner: usize, pixels: usize) -> Vec<f32> {
    transpose_each(values, inner, pixels)
}

/// `[o, h, w, i]` to `[o, i, h, w]`.
pub(crate) fn ohwi_to_oihw(values: &[f32], inner: usize, pixels: usize) -> Vec<f32> {
    transpose_each(values, pixels, inner)
}

/// Transposes a matrix of `rows` rows.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    transpose_each(values, rows, columns)
}

/// Transposes each matrix of `rows` times `columns` in `values`.
fn transpose_each(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            out.extend((0..rows).map(|row| matrix[row * columns + column]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_become_hwc() {
        // Two channels of three pixels: ONNX a0 a1 a2 b0 b1 b2, the graph a0 b0 a1 b1 a2 b2.
        assert_eq!(Blocks::map(2, 3).onnx_places(), [0, 3, 1, 4, 2, 5]);
        let joined = Blocks::join([&Blocks::plain(2), &Blocks::map(2, 2), &Blocks::plain(1)]);
        assert_eq!(joined.onnx_places(), [0, 1, 2, 4, 3, 5, 6]);
    }

    #[test]
    fn one_channel_or_one_pixel_is_plain() {
        assert_eq!(Blocks::map(1, 6), Blocks::plain(6));
        assert_eq!(Blocks::map(6, 1), Blocks::plain(6));
        assert_eq!(Blocks::join([&Blocks::map(1, 4), &Blocks::plain(2)]), Blocks::plain(6));
        assert!(!Blocks::map(2, 3).is_plain());
    }

    #[test]
    fn weights_there_and_back() {
        let oihw: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let ohwi = oihw_to_ohwi(&oihw, 3, 4);
        assert_eq!(&ohwi[..4], [0.0, 4.0, 8.0, 1.0]);
        assert_eq!(ohwi_to_oihw(&ohwi, 3, 4), oihw);
    }
}
