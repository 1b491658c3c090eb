//! A model as the file holds it: typed values, nodes, and tensors that are still encoded.

use alloc::string::String;
use alloc::vec::Vec;

use crate::metadata::Metadata;
use crate::op::Op;
use crate::tensor::{Shape, ValueType};

/// Index into [`Model::values`].
pub type ValueId = usize;
/// Index into [`Model::tensors`].
pub type TensorId = usize;

/// A network: nodes in an order in which they can run, over values; weights stay encoded in the file's bytes.
///
/// A model that the format reader returned is valid: indices are in range, every value is written once before it
/// is read, shapes and element types obey the operators, and sizes are within the limits it was read with.
#[derive(Clone, Debug, PartialEq)]
pub struct Model<'a> {
    /// The network's name; may be empty.
    pub name: String,
    /// Activations; shapes are for a batch of one.
    pub values: Vec<Value>,
    /// Operators in execution order.
    pub nodes: Vec<Node>,
    /// Weights and biases.
    pub tensors: Vec<EncodedTensor<'a>>,
    /// Values the caller provides.
    pub inputs: Vec<ValueId>,
    /// Values the caller receives.
    pub outputs: Vec<ValueId>,
    /// Preprocessing and labels.
    pub metadata: Metadata,
}

/// An activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name; may be empty in a stripped file.
    pub name: String,
    /// Shape, element type, quantization.
    pub kind: ValueType,
}

/// One operator applied to values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name; may be empty in a stripped file.
    pub name: String,
    /// Operator and attributes.
    pub op: Op,
    /// Values read.
    pub inputs: Vec<ValueId>,
    /// Value written.
    pub output: ValueId,
    /// Weight tensor of convolutions and dense layers.
    pub weight: Option<TensorId>,
    /// Bias tensor, `[co]`: f32 with float inputs, i32 at `scale_x * scale_w` with quantized ones.
    pub bias: Option<TensorId>,
}

/// A weight or bias in its encoded form. Zero-copy: `streams` are slices of the file.
///
/// The element at flat position `i` is `values[symbol i]`; positions that a sparse layout skips are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedTensor<'a> {
    /// Logical shape.
    pub shape: Shape,
    /// What an integer of the tensor stands for; `Scales::None` for floats and for biases.
    pub scales: Scales,
    /// What a symbol means.
    pub values: Values,
    /// Which positions have symbols.
    pub layout: Layout,
    /// How symbols are written.
    pub symbols: Stream<'a>,
    /// How gaps are written; present exactly where the layout is sparse.
    pub gaps: Option<Stream<'a>>,
}

/// Real value of one integer step of a weight.
#[derive(Clone, Debug, PartialEq)]
pub enum Scales {
    /// Not an integer weight.
    None,
    /// One for the tensor.
    PerTensor(f32),
    /// One for each index of the first dimension.
    PerChannel(Vec<f32>),
}

/// What a symbol stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// The symbol is the bit pattern of an f32; never entropy coded.
    F32,
    /// The symbol is a two's complement integer of `bits` bits: 2 to 8 for weights, up to 32 for biases.
    Int {
        /// Width in bits, 1 to 32.
        bits: u8,
    },
    /// The symbol is an index into up to 256 floats.
    CodebookF32(Vec<f32>),
    /// The symbol is an index into up to 256 integers.
    CodebookI8(Vec<i8>),
}

/// Which positions of a tensor have symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All of them, in row-major order.
    Dense,
    /// Those that gaps lead to. A gap `g < 2^gap_bits - 1` skips `g` zeros and is followed by a symbol; the largest
    /// gap skips `2^gap_bits - 1` zeros and has no symbol. Source: Han et al. 2015, §2 (whose filler is a zero symbol).
    Sparse {
        /// Width of a gap, 1 to 12.
        gap_bits: u8,
        /// Number of gaps, fillers included.
        gap_count: u32,
        /// Number of symbols.
        symbol_count: u32,
    },
}

/// A sequence of symbols in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// How symbols become bits.
    pub coder: Coder,
    /// The bits, with the coder's tables in front.
    pub bytes: &'a [u8],
}

/// How symbols become bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    /// Fixed width, least significant bit first.
    Raw {
        /// Bits a symbol, 0 to 32; 0 where the alphabet has one symbol.
        bits: u8,
    },
    /// Canonical Huffman code.
    Huffman,
}
