//! A file layer by layer: what `embdl inspect` and the report show.

use embdl_core::format::{self, FormatError, Limits};
use embdl_core::model::{Coder, EncodedTensor, Layout, Scales, Values};

use crate::record::LayerRecord;

/// The layers with weights of an `.embdl` file.
///
/// # Errors
/// If it is not one.
pub fn of_file(bytes: &[u8]) -> Result<Vec<LayerRecord>, FormatError> {
    let model = format::read(bytes, &Limits::default())?;
    let layout = format::layout(bytes, &Limits::default())?;
    let mut records = Vec::new();
    for (at, node) in model.nodes.iter().enumerate() {
        let Some(id) = node.weight.filter(|_| node.op.is_layer()) else { continue };
        let weight = &model.tensors[id];
        let weights = weight.shape.len() as u64;
        let bias = node.bias.map_or((0, 0), |bias| {
            (layout.tensors[bias].total_bytes() as u64, model.tensors[bias].shape.len() as u64)
        });
        let file_bytes = layout.tensors[id].total_bytes() as u64 + bias.0;
        // A weight that does not decode has no non-zero count; loading it will say why.
        let values = weight.dequantize().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "byte counts")]
        let bits_per_weight = layout.tensors[id].total_bytes() as f64 * 8.0 / weights.max(1) as f64;
        records.push(LayerRecord {
            layer: if node.name.is_empty() {
                format!("{}{at}", node.op.name())
            } else {
                node.name.clone()
            },
            shape: weight.shape.to_string(),
            encoding: encoding(weight),
            weights,
            nonzero: values.iter().filter(|&&w| w != 0.0).count() as u64,
            fp32_bytes: (weights + bias.1) * 4,
            file_bytes,
            bits_per_weight,
        });
    }
    Ok(records)
}

/// How a tensor is encoded, in words: "sparse, 6-bit gaps (Huffman), 16 i8 centroids (Huffman)".
#[must_use]
pub fn encoding(tensor: &EncodedTensor<'_>) -> String {
    let coded = |coder: Coder| if coder == Coder::Huffman { " (Huffman)" } else { "" };
    let layout = match (tensor.layout, tensor.gaps) {
        (Layout::Sparse { gap_bits, .. }, Some(gaps)) => {
            format!("sparse, {gap_bits}-bit gaps{}, ", coded(gaps.coder))
        }
        _ => "dense, ".to_owned(),
    };
    let values = match &tensor.values {
        Values::F32 => "f32".to_owned(),
        Values::Int { bits } => format!("{bits}-bit integers"),
        Values::CodebookF32(book) => format!("{} f32 centroids", book.len()),
        Values::CodebookI8(book) => format!("{} i8 centroids", book.len()),
    };
    let scales =
        if matches!(tensor.scales, Scales::PerChannel(_)) { ", scale per channel" } else { "" };
    format!("{layout}{values}{}{scales}", coded(tensor.symbols.coder))
}
