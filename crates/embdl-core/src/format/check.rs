//! What the operators do to element types and quantization. Shapes are [`Op::infer`]'s business.

use super::error::FormatError;
use crate::model::{EncodedTensor, Scales, Values};
use crate::op::{Activation, Op, OpError, PoolKind};
use crate::quant::Quant;
use crate::tensor::{DType, Shape, ValueType};

/// How many products an integer layer may sum: this many of u8 and i8 and a bias of
/// [`MAX_ABS_BIAS`](crate::encoding::MAX_ABS_BIAS) fit i32. VGG-16's largest layer sums 25,088.
pub const MAX_INTEGER_TAPS: usize = 32_768;

/// Range of requantization: a multiplier of 31 bits and a right shift of at least one.
const MAX_RATIO: f64 = (1_u64 << 29) as f64;

/// A node with all that its result depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    /// Index of the node, for errors.
    pub(super) node: usize,
    pub(super) op: &'a Op,
    pub(super) inputs: &'a [ValueType],
    pub(super) weight: Option<&'a EncodedTensor<'a>>,
    pub(super) bias: Option<&'a EncodedTensor<'a>>,
    /// Stated quantization of the result; `None` where it is derived.
    pub(super) quant: Option<Quant>,
}

impl Site<'_> {
    /// Shape, element type and quantization of the result.
    pub(super) fn result(&self) -> Result<ValueType, FormatError> {
        if matches!(self.op, Op::BatchNorm(_)) {
            return Err(self.types("it is for training; fold it into a layer first"));
        }
        let shape = self.shape()?;
        let first = self.inputs[0];
        if self.inputs.iter().any(|input| input.dtype != first.dtype) {
            return Err(self.types("its inputs have different element types"));
        }
        match first.dtype {
            DType::F32 => self.float_result(shape),
            DType::U8 => self.quantized_result(shape, first),
            // Accumulators only leave the model or become floats.
            DType::I32 if *self.op == Op::Dequantize => {
                self.no_quant()?;
                Ok(ValueType::f32(shape))
            }
            dtype => Err(self.element_type(dtype)),
        }
    }

    fn shape(&self) -> Result<Shape, FormatError> {
        let (node, mut shapes) = (self.node, [Shape::vector(1); 2]);
        let weight = self.weight.map(|tensor| tensor.shape);
        let result = if let Op::Concat(_) = self.op {
            let shapes: alloc::vec::Vec<Shape> =
                self.inputs.iter().map(|input| input.shape).collect();
            self.op.infer(&shapes, weight)
        } else {
            let count = self.inputs.len().min(shapes.len());
            for (shape, input) in shapes.iter_mut().zip(self.inputs) {
                *shape = input.shape;
            }
            self.op.infer(&shapes[..count], weight)
        };
        let shape = result.map_err(|source| FormatError::Op { node, source })?;
        if let Some(bias) = self.bias {
            let fits = weight
                .is_some_and(|weight| bias.shape.rank() == 1 && bias.shape.dim(0) == weight.dim(0));
            if !fits {
                return Err(self.types("its bias does not have one element for each channel"));
            }
        }
        Ok(shape)
    }

    fn float_result(&self, shape: Shape) -> Result<ValueType, FormatError> {
        match self.op {
            Op::Quantize => {
                return Ok(ValueType::u8(shape, self.given()?));
            }
            Op::Dequantize => return Err(self.element_type(DType::F32)),
            _ => self.no_quant()?,
        }
        if !self.weight.is_none_or(is_real) {
            return Err(self.types("its input is float, its weight is neither float nor scaled"));
        }
        if !self.bias.is_none_or(is_float) {
            return Err(self.types("its input is float, its bias is not"));
        }
        Ok(ValueType::f32(shape))
    }

    fn quantized_result(&self, shape: Shape, first: ValueType) -> Result<ValueType, FormatError> {
        let same = |quant: Option<Quant>| ValueType { shape, dtype: DType::U8, quant };
        match self.op {
            Op::Conv2d(_) | Op::Dense(_) => self.integer_layer(shape, first),
            Op::Add(_) => {
                let quant = self.given()?;
                self.check_inputs(quant)?;
                Ok(ValueType::u8(shape, quant))
            }
            Op::Concat(_) | Op::GlobalAveragePool => self.own_or_same(shape, first),
            Op::Pool(pool) if pool.kind != PoolKind::Max => self.own_or_same(shape, first),
            Op::Mul => {
                let quant = self.given()?;
                let mut ratio = 1.0 / f64::from(quant.scale);
                for input in self.inputs {
                    ratio *= f64::from(self.scale_of(input)?);
                }
                self.check_ratio(ratio)?;
                Ok(ValueType::u8(shape, quant))
            }
            Op::PRelu => {
                if !self.weight.is_some_and(is_real) {
                    return Err(self.types("its slopes are neither float nor scaled"));
                }
                let quant = self.given()?;
                self.check_inputs(quant)?;
                Ok(ValueType::u8(shape, quant))
            }
            Op::Unary(_) => Ok(ValueType::u8(shape, self.given()?)),
            Op::Pool(_)
            | Op::Activation(_)
            | Op::Flatten
            | Op::Reshape(_)
            | Op::Resize(_)
            | Op::Transpose(_)
            | Op::Pad(_) => {
                self.no_quant()?;
                Ok(same(first.quant))
            }
            Op::Dequantize => {
                self.no_quant()?;
                Ok(ValueType::f32(shape))
            }
            Op::Lrn(_) | Op::BatchNorm(_) | Op::Softmax | Op::Quantize => {
                Err(self.element_type(DType::U8))
            }
        }
    }

    /// Operators that may requantize, and keep the quantization of their first input where nothing is stated.
    fn own_or_same(&self, shape: Shape, first: ValueType) -> Result<ValueType, FormatError> {
        if self.quant.is_some() && self.quant == first.quant {
            return Err(self.types("its result states the quantization that it has anyway"));
        }
        let quant =
            self.quant.or(first.quant).ok_or_else(|| self.types("its input has no scale"))?;
        self.check_inputs(quant)?;
        Ok(ValueType::u8(shape, quant))
    }

    fn integer_layer(&self, shape: Shape, input: ValueType) -> Result<ValueType, FormatError> {
        let (Some(weight), Some(input)) = (self.weight, input.quant) else {
            return Err(self.types("it lacks a weight or its input a scale"));
        };
        if !is_narrow(weight) {
            return Err(self.types("its input is quantized, its weight is not of up to 8 bits"));
        }
        let is_plain = |bias: &EncodedTensor<'_>| {
            matches!(bias.values, Values::Int { .. }) && bias.scales == Scales::None
        };
        if !self.bias.is_none_or(is_plain) {
            return Err(self.types("its input is quantized, its bias is not plain integers"));
        }
        let taps = weight.shape.iter().skip(1).product();
        if taps > MAX_INTEGER_TAPS {
            let (node, allowed) = (self.node, MAX_INTEGER_TAPS);
            return Err(FormatError::TooManyTaps { node, taps, allowed });
        }
        let scales = match &weight.scales {
            Scales::None => return Err(self.types("its weight has no scale")),
            Scales::PerTensor(scale) => core::slice::from_ref(scale),
            Scales::PerChannel(scales) => scales,
        };
        if let Some(quant) = self.quant {
            for &scale in scales {
                self.check_ratio(
                    f64::from(input.scale) * f64::from(scale) / f64::from(quant.scale),
                )?;
            }
            return Ok(ValueType::u8(shape, quant));
        }
        let [scale] = scales else {
            return Err(self.types("its accumulators would have a scale for each channel"));
        };
        // Six is no level of accumulators; zero is.
        if self.op.activation() == Activation::Relu6 {
            return Err(self.types("its result are accumulators, which have no relu6"));
        }
        let scale = input.scale * scale;
        if !scale.is_finite() || scale <= 0.0 {
            return Err(FormatError::BadScale { what: "an accumulator", scale });
        }
        Ok(ValueType::i32(shape, scale))
    }

    fn check_inputs(&self, result: Quant) -> Result<(), FormatError> {
        for input in self.inputs {
            self.check_ratio(f64::from(self.scale_of(input)?) / f64::from(result.scale))?;
        }
        Ok(())
    }

    fn scale_of(&self, input: &ValueType) -> Result<f32, FormatError> {
        input.quant.map(|quant| quant.scale).ok_or_else(|| self.types("its input has no scale"))
    }

    /// Quantization that must be stated.
    fn given(&self) -> Result<Quant, FormatError> {
        self.quant.ok_or_else(|| self.types("its result has no scale"))
    }

    fn check_ratio(&self, ratio: f64) -> Result<(), FormatError> {
        if ratio > 0.0 && ratio <= MAX_RATIO {
            Ok(())
        } else {
            Err(FormatError::ScaleRatio { node: self.node, ratio })
        }
    }

    fn no_quant(&self) -> Result<(), FormatError> {
        if self.quant.is_some() {
            return Err(self.types("its result states a quantization that is derived"));
        }
        Ok(())
    }

    fn element_type(&self, dtype: DType) -> FormatError {
        let source = OpError::ElementType { op: self.op.name(), dtype };
        FormatError::Op { node: self.node, source }
    }

    const fn types(&self, problem: &'static str) -> FormatError {
        FormatError::Types { node: self.node, op: self.op.name(), problem }
    }
}

/// Whether the tensor has floats as they are.
fn is_float(tensor: &EncodedTensor<'_>) -> bool {
    matches!(tensor.values, Values::F32 | Values::CodebookF32(_)) && tensor.scales == Scales::None
}

/// Whether the tensor has real values: floats, or integers with scales, which are floats in fewer bits.
fn is_real(tensor: &EncodedTensor<'_>) -> bool {
    is_float(tensor) || (is_narrow(tensor) && tensor.scales != Scales::None)
}

/// Whether the tensor has integers of up to 8 bits.
const fn is_narrow(tensor: &EncodedTensor<'_>) -> bool {
    matches!(tensor.values, Values::Int { bits: 1..=8 } | Values::CodebookI8(_))
}
