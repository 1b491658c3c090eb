//! Shapes, element types, and borrowed tensors.

use core::fmt;

use crate::quant::Quant;

/// The largest number of dimensions a tensor may have: batch, height, width, channels.
pub const MAX_RANK: usize = 4;

/// Element type of a tensor in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// Unsigned 8-bit, asymmetric quantized activations.
    U8,
    /// Signed 8-bit, symmetric quantized weights.
    I8,
    /// Signed 32-bit: biases and accumulators (integer logits).
    I32,
}

impl DType {
    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::U8 | Self::I8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I32 => "i32",
        })
    }
}

/// Up to [`MAX_RANK`] dimensions. Activations are NHWC (or `[batch, features]`), convolution weights
/// `[co, kh, kw, ci / groups]`, dense weights `[out, in]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Shape {
    rank: u8,
    dims: [u32; MAX_RANK],
}

impl Shape {
    /// A shape from its dimensions, or `None` if there are more than [`MAX_RANK`] or one exceeds `u32`.
    #[must_use]
    pub fn new(dims: &[usize]) -> Option<Self> {
        if dims.len() > MAX_RANK {
            return None;
        }
        let mut own = [1; MAX_RANK];
        for (slot, &dim) in own.iter_mut().zip(dims) {
            *slot = u32::try_from(dim).ok()?;
        }
        Some(Self { rank: u8::try_from(dims.len()).ok()?, dims: own })
    }

    /// `[n, h, w, c]`.
    ///
    /// # Panics
    /// If a dimension exceeds `u32`.
    #[must_use]
    pub fn nhwc(n: usize, h: usize, w: usize, c: usize) -> Self {
        Self::new(&[n, h, w, c]).expect("four dimensions of at most u32")
    }

    /// `[rows, columns]`.
    ///
    /// # Panics
    /// If a dimension exceeds `u32`.
    #[must_use]
    pub fn matrix(rows: usize, columns: usize) -> Self {
        Self::new(&[rows, columns]).expect("two dimensions of at most u32")
    }

    /// `[len]`.
    ///
    /// # Panics
    /// If `len` exceeds `u32`.
    #[must_use]
    pub fn vector(len: usize) -> Self {
        Self::new(&[len]).expect("one dimension of at most u32")
    }

    /// Number of dimensions.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Dimension `axis`.
    ///
    /// # Panics
    /// If `axis` is not below the rank.
    #[must_use]
    pub fn dim(&self, axis: usize) -> usize {
        assert!(axis < self.rank(), "axis {axis} of a shape of rank {}", self.rank);
        self.dims[axis] as usize
    }

    /// All dimensions in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.dims[..self.rank()].iter().map(|&dim| dim as usize)
    }

    /// Number of elements, or `None` where it does not fit `usize`.
    #[must_use]
    pub fn checked_len(&self) -> Option<usize> {
        self.iter().try_fold(1_usize, usize::checked_mul)
    }

    /// Number of elements.
    ///
    /// # Panics
    /// If it does not fit `usize`; shapes of a parsed model and of a graph always fit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.checked_len().expect("element counts are checked where shapes enter")
    }

    /// Whether a dimension is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().any(|dim| dim == 0)
    }

    /// The same shape with another leading dimension.
    ///
    /// # Panics
    /// If the shape has no dimension, or `batch` exceeds `u32`.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        assert!(self.rank > 0, "a scalar has no batch");
        self.dims[0] = u32::try_from(batch).expect("batch of at most u32");
        self
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.iter().enumerate() {
            write!(f, "{}{dim}", if axis == 0 { "" } else { "x" })?;
        }
        f.write_str("]")
    }
}

/// What an activation is: its shape, its element type, and for quantized ones what a step means.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ValueType {
    /// Shape; the leading dimension is the batch.
    pub shape: Shape,
    /// Element type: F32, U8 or I32.
    pub dtype: DType,
    /// Scale and zero point of U8 and I32 values, `None` for F32.
    pub quant: Option<Quant>,
}

impl ValueType {
    /// A float value.
    #[must_use]
    pub const fn f32(shape: Shape) -> Self {
        Self { shape, dtype: DType::F32, quant: None }
    }

    /// A quantized activation.
    #[must_use]
    pub const fn u8(shape: Shape, quant: Quant) -> Self {
        Self { shape, dtype: DType::U8, quant: Some(quant) }
    }

    /// Integer accumulators that stand for `scale * value`.
    #[must_use]
    pub const fn i32(shape: Shape, scale: f32) -> Self {
        Self { shape, dtype: DType::I32, quant: Some(Quant { scale, zero_point: 0 }) }
    }

    /// Bytes of a value, element behind element.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.shape.len() * self.dtype.size_bytes()
    }
}

/// Elements of a tensor somebody else owns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TensorRef<'a> {
    /// Floats.
    F32(&'a [f32]),
    /// Quantized activations.
    U8(&'a [u8]),
    /// Accumulators.
    I32(&'a [i32]),
}

impl<'a> TensorRef<'a> {
    /// The elements' bytes, in this machine's order.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::F32(data) => bytemuck::must_cast_slice(data),
            Self::U8(data) => data,
            Self::I32(data) => bytemuck::must_cast_slice(data),
        }
    }

    /// Element type.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::U8(_) => DType::U8,
            Self::I32(_) => DType::I32,
        }
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I32(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Elements of a tensor to be written.
#[derive(Debug, PartialEq)]
pub enum TensorMut<'a> {
    /// Floats.
    F32(&'a mut [f32]),
    /// Quantized activations.
    U8(&'a mut [u8]),
    /// Accumulators.
    I32(&'a mut [i32]),
}

impl TensorMut<'_> {
    /// The elements' bytes, in this machine's order.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::F32(data) => bytemuck::must_cast_slice_mut(data),
            Self::U8(data) => data,
            Self::I32(data) => bytemuck::must_cast_slice_mut(data),
        }
    }

    /// Element type.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::U8(_) => DType::U8,
            Self::I32(_) => DType::I32,
        }
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I32(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
