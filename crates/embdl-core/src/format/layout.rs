//! Where the bytes of a file go.

use alloc::vec::Vec;

use super::error::FormatError;
use super::header::HEADER_LEN;
use super::limits::Limits;
use super::read;

/// How many bytes of a file serve what. Together they are the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// Header with checksum.
    pub header_bytes: usize,
    /// Counts, inputs, operators with attributes, quantization of activations, outputs.
    pub graph_bytes: usize,
    /// Names; zero in a stripped file.
    pub name_bytes: usize,
    /// Preprocessing and labels; zero where there are none.
    pub metadata_bytes: usize,
    /// One entry for each of the model's tensors.
    pub tensors: Vec<TensorLayout>,
}

/// How many bytes of a file serve one tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorLayout {
    /// Dimensions, layout, widths, counts, lengths.
    pub descriptor_bytes: usize,
    /// Scales.
    pub scale_bytes: usize,
    /// Codebook with its size.
    pub codebook_bytes: usize,
    /// Gaps with their code.
    pub gap_bytes: usize,
    /// Symbols with their code.
    pub symbol_bytes: usize,
}

impl FileLayout {
    /// All bytes: the length of the file.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        let tensors = self.tensors.iter().map(TensorLayout::total_bytes).sum::<usize>();
        self.header_bytes + self.graph_bytes + self.name_bytes + self.metadata_bytes + tensors
    }

    /// Bytes that are neither names nor metadata, streams, codebooks or scales of tensors.
    #[must_use]
    pub fn overhead_bytes(&self) -> usize {
        let descriptors = self.tensors.iter().map(|tensor| tensor.descriptor_bytes).sum::<usize>();
        self.header_bytes + self.graph_bytes + descriptors
    }
}

impl TensorLayout {
    /// All bytes of the tensor.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        self.descriptor_bytes
            + self.scale_bytes
            + self.codebook_bytes
            + self.gap_bytes
            + self.symbol_bytes
    }
}

/// Accounts for every byte of a file.
///
/// # Errors
/// If the file cannot be read.
pub fn layout(bytes: &[u8], limits: &Limits) -> Result<FileLayout, FormatError> {
    let parsed = read::parse(bytes, limits)?;
    let tensors: usize = parsed.tensors.iter().map(TensorLayout::total_bytes).sum();
    Ok(FileLayout {
        header_bytes: HEADER_LEN,
        graph_bytes: bytes.len() - HEADER_LEN - parsed.name_bytes - parsed.metadata_bytes - tensors,
        name_bytes: parsed.name_bytes,
        metadata_bytes: parsed.metadata_bytes,
        tensors: parsed.tensors,
    })
}
