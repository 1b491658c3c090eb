//! Why weights do not come from a file into a graph.

use core::fmt;

use embdl_graph::GraphError;

/// Why weights do not come from a file into a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than any network that this project runs.
    #[error("{found} bytes; up to {allowed} are read")]
    FileTooLarge {
        /// Bytes of the file.
        found: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The file is no checkpoint of PyTorch, or one that holds more than tensors can be read from.
    #[error("not a PyTorch checkpoint that can be read: {0}")]
    PyTorch(#[from] pytorch_reader::PytorchError),
    /// The file is no safetensors file.
    #[error("not a safetensors file: {0}")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// The file's tensors are not those of the network.
    #[error(
        "the file does not fit the network{}{}{}",
        List("not in the file", .missing),
        List("not in the network", .unexpected),
        List("of another shape", .mismatched)
    )]
    Mismatch {
        /// Tensors of the network that the file lacks.
        missing: Vec<String>,
        /// Tensors of the file that the network lacks.
        unexpected: Vec<String>,
        /// Tensors whose shapes differ.
        mismatched: Vec<ShapeMismatch>,
    },
    /// The elements are not floats.
    #[error("tensor {tensor:?} has elements of type {found}, not floats of 16, 32 or 64 bits")]
    ElementType {
        /// Tensor, by its name in the file.
        tensor: String,
        /// Type of its elements.
        found: String,
    },
    /// An element is infinite, not a number, or beyond the range of f32.
    #[error("tensor {tensor:?}: element {index} is {value}")]
    NotFinite {
        /// Tensor, by its name in the file.
        tensor: String,
        /// Its position in the file, row-major.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The tensor has fewer or more bytes than its shape needs.
    #[error("tensor {tensor:?} has {found} bytes, its shape needs {needed}")]
    Length {
        /// Tensor, by its name in the file.
        tensor: String,
        /// Bytes that it has.
        found: usize,
        /// Bytes that its shape needs.
        needed: usize,
    },
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A tensor whose shape is not the one that the network needs, both in PyTorch's order of dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Tensor, by its name in the file.
    pub tensor: String,
    /// Shape in the file.
    pub found: Vec<usize>,
    /// Shape that the network needs.
    pub needed: Vec<usize>,
}

impl fmt::Display for ShapeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} instead of {:?}", self.tensor, self.found, self.needed)
    }
}

/// "; 3 tensors not in the file: a, b, c", or nothing where there are none.
struct List<'a, T>(&'static str, &'a [T]);

/// Names that a message lists; the error's fields hold all.
const LISTED: usize = 8;

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, items) = self;
        if items.is_empty() {
            return Ok(());
        }
        let plural = if items.len() == 1 { "" } else { "s" };
        write!(f, "; {} tensor{plural} {what}: ", items.len())?;
        for (at, item) in items.iter().take(LISTED).enumerate() {
            write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
        }
        if items.len() > LISTED { write!(f, " and {} more", items.len() - LISTED) } else { Ok(()) }
    }
}
