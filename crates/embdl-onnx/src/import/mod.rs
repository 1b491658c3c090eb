//! ONNX to graph: reading the file, its inputs and its outputs; the nodes are in the files beside this one.

mod build;
mod constants;
mod elementwise;
mod importer;
mod inputs;
mod layers;
mod names;
mod pool;
mod shapes;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use embdl_graph::Graph;
use prost::Message as _;
use tract_onnx::pb::ModelProto;

use crate::error::ImportError;
use crate::{OPSETS, wire};
use importer::Importer;

/// What an import may assume, and how much it may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Sizes of dimensions that the file leaves open, by their names there. The batch needs none: it is always 1.
    pub symbols: BTreeMap<String, usize>,
    /// Largest file that is read, in bytes. Weights take a small multiple of that in memory.
    pub max_bytes: u64,
    /// Largest number of nodes, names, attributes and so on, each of which takes up to 1.5 kB in memory; ResNet-152 has
    /// about 15,000.
    pub max_fields: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { symbols: BTreeMap::new(), max_bytes: 1 << 31, max_fields: 1 << 16 }
    }
}

/// Reads an ONNX model from memory.
///
/// The graph computes what the file says for a batch of one, with activations in NHWC order; its weights are free.
/// Batch normalization, biases that are added and ReLUs become part of the layer before them, dropout and identities
/// vanish. Values and parameters keep their names, nodes those that are unique.
///
/// # Errors
/// If the bytes are not an ONNX model, or it has something that a graph cannot express; the error names the node, the
/// operator and the attribute. Never panics, whatever the bytes.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let len_bytes = bytes.len() as u64;
    if len_bytes > options.max_bytes {
        return Err(ImportError::TooLarge { len_bytes, limit_bytes: options.max_bytes });
    }
    wire::check(bytes, options.max_fields)?;
    let model = ModelProto::decode(bytes).map_err(ImportError::Protobuf)?;
    let graph = model.graph.as_ref().ok_or(ImportError::NoGraph)?;
    let domains = model.opset_import.iter();
    let opset = domains.filter(|entry| is_onnx(&entry.domain)).map(|entry| entry.version).max();
    let opset = opset
        .filter(|version| OPSETS.contains(version))
        .ok_or(ImportError::Opset { found: opset })?;
    Importer::new(graph, opset, options, bytes.len())?.run()
}

/// Reads an ONNX model from a file.
///
/// # Errors
/// Those of [`import`], and [`ImportError::Read`].
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(options.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| ImportError::Read { path: path.into(), source })?;
    import(&bytes, options)
}

/// Whether `domain` is that of the operators of the ONNX standard.
fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
