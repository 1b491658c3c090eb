//! Nodes with their numbers worked out: geometries, tables, requantizations. All runtimes compute the same, because they
//! begin here.

mod layers;
mod load;
mod pointwise;
mod windows;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::check::invalid;
use crate::encoding::EncodingError;
use crate::kernels::WindowGeometry;
use crate::kernels::pool::AverageRequant;
use crate::kernels::product::Rows;
use crate::kernels::resize::ResizePlan;
use crate::model::{EncodedTensor, Model, Node};
use crate::op::{Activation, Lrn, Op, Unary};
use crate::plan::Plan;
use crate::quant::{AddRequant, MulRequant, PReluRequant, Quant};
use crate::runtime::RuntimeError;
use crate::tensor::{DType, ValueType};
pub use layers::Stage;

/// The computation of a node that has no matrix of weights.
#[derive(Debug)]
pub enum Weightless {
    /// The result is the input.
    Alias,
    /// Max pooling.
    MaxPoolF32(WindowGeometry),
    /// Max pooling of levels, then a table where the result has another scale.
    MaxPoolU8(WindowGeometry, Option<Box<[u8; 256]>>),
    /// Average pooling, with whether pads count.
    AveragePoolF32(WindowGeometry, bool),
    /// Average pooling of levels.
    AveragePoolU8(WindowGeometry, AverageRequant),
    /// Clamp of floats.
    ClampF32((f32, f32)),
    /// Clamp of levels.
    ClampU8((u8, u8)),
    /// Maximum of accumulators and zero.
    ReluI32,
    /// Other levels for levels.
    MapU8(Box<[u8; 256]>),
    /// Sum of floats.
    AddF32((f32, f32)),
    /// Sum of levels; multipliers belong to the first and the second input.
    AddU8(AddRequant),
    /// A function of floats.
    UnaryF32(Unary),
    /// Product of floats.
    MulF32(Rows),
    /// Product of levels.
    MulU8(Rows, MulRequant),
    /// Slopes below zero, one a channel.
    PReluF32(Vec<f32>),
    /// The same for levels.
    PReluU8(PReluRequant),
    /// Another height and width.
    Resize(ResizePlan, DType),
    /// Zeros around height and width.
    Pad(Padding),
    /// Another order of axes: extents of the input, its axis for each of the result, bytes of an element.
    Transpose([usize; 4], [usize; 4], usize),
    /// Concatenation of anything.
    Concat(Vec<ConcatPart>),
    /// Local response normalization.
    Lrn(Lrn, usize),
    /// Softmax over so many features.
    Softmax(usize),
    /// Floats to levels.
    Quantize(Quant),
    /// Levels to floats.
    DequantizeU8(Quant),
    /// Accumulators to floats.
    DequantizeI32(f32),
}

/// An input of a concatenation.
#[derive(Debug)]
pub struct ConcatPart {
    /// Bytes that it contributes to a row of the result.
    pub row: usize,
    /// What its levels go through.
    pub table: Option<Box<[u8; 256]>>,
    /// Whether its node wrote it into the result already.
    pub is_there: bool,
}

/// A border around each sample, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Padding {
    /// Rows of a sample, and bytes of a row.
    pub input: [usize; 2],
    /// Rows on top, bytes on the left, rows at the bottom, bytes on the right.
    pub border: [usize; 4],
    /// What each byte of the border is.
    pub level: u8,
}

/// A node of a model that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Resolver<'m, 'l> {
    /// The model.
    pub model: &'l Model<'m>,
    /// One of its nodes.
    pub node: &'l Node,
    /// Types of all values, with the batch.
    pub types: &'l [ValueType],
    /// Where the values live.
    pub plan: &'l Plan,
}

impl<'m> Resolver<'m, '_> {
    /// Type of the first input.
    #[must_use]
    pub fn from(&self) -> ValueType {
        self.types[self.node.inputs[0]]
    }

    /// Type of the result.
    #[must_use]
    pub fn to(&self) -> ValueType {
        self.types[self.node.output]
    }

    /// Whether the node computes on levels.
    #[must_use]
    pub fn quantized(&self) -> bool {
        self.from().dtype == DType::U8
    }

    /// The weight, if it has one.
    #[must_use]
    pub fn weight(&self) -> Option<&EncodedTensor<'m>> {
        self.node.weight.map(|id| &self.model.tensors[id])
    }

    /// Elements from one row of the result to the next: its channels, or those of the concatenation that it lies in.
    #[must_use]
    pub fn out_stride(&self) -> usize {
        let to = self.to();
        match self.plan.row_bytes[self.node.output] {
            Some(bytes) => bytes / to.dtype.size_bytes(),
            None => to.shape.dim(to.shape.rank() - 1),
        }
    }

    /// The computation of a node that is no layer.
    ///
    /// # Errors
    /// If the node's element types, levels or attributes are none that its operator computes with.
    pub fn weightless(&self) -> Result<Weightless, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        match &self.node.op {
            Op::Conv2d(_) | Op::Dense(_) => Err(self.unsupported("it is a layer")),
            Op::Pool(pool) => {
                let geometry = WindowGeometry::new(&pool.window, from.shape, to.shape);
                self.pool(pool, geometry)
            }
            Op::GlobalAveragePool => self.average_pool(self.whole_sample(), false),
            Op::Activation(activation) => self.activation(*activation),
            Op::Flatten | Op::Reshape(_) => self.activation(Activation::None),
            Op::Unary(unary) => self.unary(*unary),
            Op::PRelu => self.prelu(),
            Op::Add(activation) => self.add(*activation),
            Op::Mul => self.mul(),
            Op::Resize(resize) => self.resize(resize),
            Op::Pad(pad) => self.pad(*pad),
            Op::Transpose(transpose) => self.transpose(*transpose),
            Op::Concat(concat) => self.concat(*concat),
            Op::Lrn(lrn) => {
                self.need_floats()?;
                Ok(Weightless::Lrn(*lrn, from.shape.dim(3)))
            }
            Op::BatchNorm(_) => Err(self.unsupported("it is for training")),
            Op::Softmax => {
                self.need_floats()?;
                Ok(Weightless::Softmax(from.shape.dim(from.shape.rank() - 1)))
            }
            Op::Quantize => match (from.dtype, to.dtype, to.quant) {
                (DType::F32, DType::U8, Some(quant)) => Ok(Weightless::Quantize(quant)),
                _ => Err(self.unsupported("it turns f32 into u8 only")),
            },
            Op::Dequantize => match (from.dtype, from.quant, to.dtype) {
                (DType::U8, Some(quant), DType::F32) => Ok(Weightless::DequantizeU8(quant)),
                (DType::I32, Some(quant), DType::F32) => Ok(Weightless::DequantizeI32(quant.scale)),
                _ => Err(self.unsupported("it turns u8 or i32 into f32 only")),
            },
        }
    }

    /// The weight of a node that cannot do without.
    ///
    /// # Errors
    /// If it has none.
    pub fn needed_weight(&self) -> Result<&EncodedTensor<'m>, RuntimeError> {
        self.weight().ok_or_else(|| invalid(&self.node.name, "it has no weight"))
    }

    /// The error that the node computes what no runtime can.
    #[must_use]
    pub fn unsupported(&self, reason: &'static str) -> RuntimeError {
        let node: String = self.node.name.clone();
        RuntimeError::Unsupported { node, op: self.node.op.name(), reason }
    }

    /// The error that a tensor of the node does not decode.
    #[must_use]
    pub fn undecodable(&self, source: EncodingError) -> RuntimeError {
        RuntimeError::Weight { node: self.node.name.clone(), source }
    }
}
