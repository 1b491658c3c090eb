//! The order of an epoch, and batches as the network takes them.

use crate::Dataset;
use crate::random::{Draws, Purpose};

/// A permutation of `0..len`, the same for the same (`seed`, `epoch`); cut it into batches with `chunks`.
///
/// ```
/// let order = embdl_data::batch::epoch_order(10, 42, 0);
/// let sizes: Vec<usize> = order.chunks(4).map(<[usize]>::len).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// assert_ne!(order, embdl_data::batch::epoch_order(10, 42, 1));
/// ```
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Draws::new(Purpose::Order, seed, epoch, 0).shuffle(&mut order);
    order
}

impl Dataset {
    /// Writes the normalized images of `indices`, N·H·W·C.
    ///
    /// # Panics
    /// If there is no such image, or `out` is not `indices.len() · image_len()` long.
    pub fn fill_batch(&self, indices: &[usize], out: &mut [f32]) {
        let image_len = self.image_len();
        check_len(indices.len(), image_len, out.len());
        let table = self.normalization().table();
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(image_len)) {
            normalize(&table, self.image(index), out);
        }
    }

    /// Writes the raw images of `indices`, N·H·W·C: the input of an integer network.
    ///
    /// # Panics
    /// If there is no such image, or `out` is not `indices.len() · image_len()` long.
    pub fn fill_batch_bytes(&self, indices: &[usize], out: &mut [u8]) {
        let image_len = self.image_len();
        check_len(indices.len(), image_len, out.len());
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(image_len)) {
            out.copy_from_slice(self.image(index));
        }
    }

    /// The labels of `indices`.
    ///
    /// # Panics
    /// While iterating, if there is no such image.
    pub fn batch_labels(&self, indices: &[usize]) -> impl ExactSizeIterator<Item = u8> {
        indices.iter().map(|&index| self.label(index))
    }
}

/// One table look-up a pixel, exactly equal to the subtraction and product it stands for.
pub(crate) fn normalize(table: &[f32; 256], bytes: &[u8], out: &mut [f32]) {
    for (out, &byte) in out.iter_mut().zip(bytes) {
        *out = table[usize::from(byte)];
    }
}

pub(crate) fn check_len(images: usize, image_len: usize, out_len: usize) {
    assert_eq!(out_len, images * image_len, "buffer for {images} images of {image_len} elements");
}
