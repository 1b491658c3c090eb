//! ONNX to graph: reading the file, its inputs and its outputs; the nodes are in the files beside this one.

mod affine;
mod arrange;
mod build;
mod elementwise;
mod external;
pub(crate) mod fold;
mod importer;
mod inputs;
mod layers;
mod levels;
mod names;
mod pad;
pub(crate) mod pool;
mod shapes;
mod slice;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use embdl_graph::Graph;
use prost::Message as _;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use crate::error::ImportError;
use crate::{OPSETS, metadata, wire};
use external::Folder;
pub(crate) use importer::Importer;

/// What an import may assume, and how much it may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Sizes of dimensions that the file leaves open, by their names there. The batch needs none: it is always 1.
    pub symbols: BTreeMap<String, usize>,
    /// All dimensions of inputs, the batch first, by the names of the inputs; they count instead of what the file says.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Largest file that is read, and most that is read of files beside it, in bytes. Weights take a small multiple of
    /// that in memory.
    pub max_bytes: u64,
    /// Largest number of nodes, names, attributes and so on, each of which takes up to 1.5 kB in memory; ResNet-152 has
    /// about 15,000.
    pub max_fields: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            symbols: BTreeMap::new(),
            shapes: BTreeMap::new(),
            max_bytes: 1 << 31,
            max_fields: 1 << 16,
        }
    }
}

/// In which order an input or output of the file stands in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// With the dimensions of the file.
    Same,
    /// `[n, c, h, w]` in the file, `[n, h, w, c]` in the graph.
    Nhwc,
}

/// A graph, and how its inputs and outputs stand to those of the file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The graph.
    pub graph: Graph,
    /// One for each input of the graph.
    pub inputs: Vec<Layout>,
    /// One for each output of the graph.
    pub outputs: Vec<Layout>,
}

/// Reads an ONNX model from memory.
///
/// The graph computes what the file says for a batch of one, with activations in NHWC order; its weights are free, save
/// those of quantized models. Batch normalization, biases that are added and ReLUs become part of the layer before
/// them, dropout and identities vanish. Values and parameters keep their names, nodes those that are unique.
/// Preprocessing and labels are read where [`export`](crate::export) wrote them.
///
/// # Errors
/// If the bytes are not an ONNX model, or it has something that a graph cannot express; the error names the node, the
/// operator and the attribute. Never panics, whatever the bytes.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    import_with_layouts(bytes, options).map(|imported| imported.graph)
}

/// [`import`], and how inputs and outputs stand to those of the file.
///
/// # Errors
/// Those of [`import`].
pub fn import_with_layouts(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    read(decode(bytes, options)?, bytes.len(), Folder::new(None, 0), options)
}

/// Reads an ONNX model from a file, and values that it has in other files of its folder.
///
/// # Errors
/// Those of [`import`], and [`ImportError::Read`].
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    import_file_with_layouts(path, options).map(|imported| imported.graph)
}

/// [`import_file`], and how inputs and outputs stand to those of the file.
///
/// # Errors
/// Those of [`import_file`].
pub fn import_file_with_layouts(
    path: &Path,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let load = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        let len = file.metadata().map_or(0, |metadata| metadata.len()).min(options.max_bytes);
        bytes.reserve_exact(usize::try_from(len).unwrap_or(0).saturating_add(1));
        file.take(options.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = load().map_err(|source| ImportError::Read { path: path.into(), source })?;
    let model = decode(&bytes, options)?;
    let len_bytes = bytes.len();
    // The model has a copy of everything; a large one should not be there twice.
    drop(bytes);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_path_buf();
    read(model, len_bytes, Folder::new(Some(folder), options.max_bytes), options)
}

fn decode(bytes: &[u8], options: &ImportOptions) -> Result<ModelProto, ImportError> {
    let len_bytes = bytes.len() as u64;
    if len_bytes > options.max_bytes {
        return Err(ImportError::TooLarge { len_bytes, limit_bytes: options.max_bytes });
    }
    wire::check(bytes, options.max_fields)?;
    ModelProto::decode(bytes).map_err(ImportError::Protobuf)
}

fn read(
    model: ModelProto,
    len_bytes: usize,
    folder: Folder,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let domains = model.opset_import.iter();
    let opset = domains.filter(|entry| is_onnx(&entry.domain)).map(|entry| entry.version).max();
    let metadata = metadata::read(&model.metadata_props)?;
    let mut graph = model.graph.ok_or(ImportError::NoGraph)?;
    let opset = opset
        .filter(|version| OPSETS.contains(version))
        .ok_or(ImportError::Opset { found: opset })?;
    let mut constants = core::mem::take(&mut graph.initializer);
    let sparse = core::mem::take(&mut graph.sparse_initializer);
    take_constants(&mut graph, &mut constants);
    let importer = Importer::new(&graph, opset, options, folder, len_bytes);
    let (mut graph, inputs, outputs) = importer.run(constants, sparse)?;
    graph.metadata = metadata;
    graph.validate()?;
    Ok(Imported { graph, inputs, outputs })
}

/// Moves the tensors of Constant nodes to the initializers, which they are by another name.
fn take_constants(graph: &mut GraphProto, constants: &mut Vec<TensorProto>) {
    graph.node.retain_mut(|node| {
        let is_tensor = node.op_type == "Constant"
            && is_onnx(&node.domain)
            && node.output.len() == 1
            && matches!(node.attribute.as_slice(), [only] if only.name == "value" && only.t.is_some());
        if !is_tensor {
            return true;
        }
        if let Some(tensor) = node.attribute[0].t.take() {
            constants.push(TensorProto { name: node.output[0].clone(), ..tensor });
        }
        false
    });
}

/// Whether `domain` is that of the operators of the ONNX standard.
fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
