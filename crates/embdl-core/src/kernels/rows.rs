//! Dense layers whose weights the file holds sparse or with few values: the forms that they can run in, and what a runtime is
//! asked about them.

/// A dense layer, before its weights are decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowsProblem {
    /// Rows of activations.
    pub m: usize,
    /// Output channels.
    pub n: usize,
    /// Input features.
    pub k: usize,
    /// Share of weights that are not zero, as far as the file says.
    pub density: f32,
    /// Share of the blocks of [`super::Kernels::tile_blocks`] in which a weight is not zero, as far as a sample says.
    pub blocks: f32,
    /// Whether it computes in integers.
    pub quantized: bool,
    /// No integer weight is larger, as far as the file says.
    pub max_abs: u8,
}

impl RowsProblem {
    /// Weights, zeros included.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub const fn weights(&self) -> f32 {
        self.n as f32 * self.k as f32
    }
}

/// A form that the weights of a dense layer can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowsForm {
    /// Unpacked into panels for GEMM.
    Panels,
    /// Sparse rows: [`super::SparseF32`], [`super::SparseQ8`].
    Sparse,
    /// Sparse rows in slices: [`super::EllQ8`].
    Ell,
    /// Block-sparse rows: [`super::BlocksF32`], [`super::BlocksQ8`].
    Blocks,
    /// 4-bit indices: [`super::CodebookQ8`].
    Codebook,
}
