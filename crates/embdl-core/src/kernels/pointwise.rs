//! Kernels of operators without weights that are no products of matrices: element by element, means, tables.
//!
//! The references are loops without calls and branches, so that a runtime that compiles them with the instructions of a
//! level has vectors; what they compute is the same to the last bit on every CPU.

use super::product::Rows;
use super::{WindowGeometry, elementwise, pool, product, softmax};
use crate::kernels::pool::AverageRequant;
use crate::op::Unary;
use crate::quant::{AddRequant, MulRequant, Quant};

/// Kernels of a CPU beside those with weights. Each default is the scalar reference.
pub trait Pointwise {
    /// Name of the kernel that a job runs on, for profiles.
    fn pointwise_name(&self, kind: PointwiseKind) -> &'static str {
        kind.scalar_name()
    }

    /// Clamps floats where they stand.
    fn clamp_f32(&self, bounds: (f32, f32), data: &mut [f32]) {
        elementwise::clamp_f32(bounds, data);
    }

    /// Clamps levels where they stand.
    fn clamp_u8(&self, bounds: (u8, u8), data: &mut [u8]) {
        elementwise::clamp_u8(bounds, data);
    }

    /// Replaces levels where they stand.
    fn map_u8(&self, table: &[u8; 256], data: &mut [u8]) {
        elementwise::map_u8(table, data);
    }

    /// Copies rows of `row_len` levels into rows that are `out_stride` apart, and replaces them.
    fn map_rows_u8(
        &self,
        table: &[u8; 256],
        input: &[u8],
        row_len: usize,
        out: &mut [u8],
        out_stride: usize,
    ) {
        elementwise::map_rows_u8(table, input, row_len, out, out_stride);
    }

    /// Applies a function to floats where they stand.
    fn unary_f32(&self, unary: Unary, data: &mut [f32]) {
        elementwise::unary_f32(unary, data);
    }

    /// Adds `rhs` to `data`, then clamps.
    fn add_f32(&self, data: &mut [f32], rhs: &[f32], bounds: (f32, f32)) {
        elementwise::add_f32(data, rhs, bounds);
    }

    /// Replaces the left-hand levels `data` by the sum with the right-hand levels `rhs`.
    fn add_u8(&self, data: &mut [u8], rhs: &[u8], requant: &AddRequant) {
        elementwise::add_u8(data, rhs, requant);
    }

    /// Multiplies `data` by `rhs`.
    fn mul_f32(&self, rows: Rows, data: &mut [f32], rhs: &[f32]) {
        product::mul_f32(rows, data, rhs);
    }

    /// Replaces the levels `data` by the product with the levels `rhs`.
    fn mul_u8(&self, rows: Rows, data: &mut [u8], rhs: &[u8], requant: &MulRequant) {
        product::mul_u8(rows, data, rhs, requant);
    }

    /// Average pooling of one sample, float.
    fn average_pool_f32(
        &self,
        geometry: &WindowGeometry,
        include_pads: bool,
        input: &[f32],
        out: &mut [f32],
    ) {
        pool::average_pool_f32(geometry, include_pads, input, out);
    }

    /// Average pooling of one sample of levels.
    fn average_pool_u8(
        &self,
        geometry: &WindowGeometry,
        average: &AverageRequant,
        input: &[u8],
        out: &mut [u8],
    ) {
        pool::average_pool_u8(geometry, average, input, out);
    }

    /// Softmax of rows of `features` elements.
    fn softmax_f32(&self, features: usize, input: &[f32], out: &mut [f32]) {
        softmax::softmax_f32(features, input, out);
    }

    /// Nearest levels to floats.
    fn quantize(&self, quant: Quant, input: &[f32], out: &mut [u8]) {
        elementwise::quantize(quant, input, out);
    }

    /// What levels stand for.
    fn dequantize_u8(&self, quant: Quant, input: &[u8], out: &mut [f32]) {
        elementwise::dequantize_u8(quant, input, out);
    }
}

/// The families of [`Pointwise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointwiseKind {
    /// `clamp_f32`.
    ClampF32,
    /// `clamp_u8`.
    ClampU8,
    /// `map_u8`, `map_rows_u8`.
    MapU8,
    /// `unary_f32`.
    UnaryF32,
    /// `add_f32`.
    AddF32,
    /// `add_u8`.
    AddU8,
    /// `mul_f32`.
    MulF32,
    /// `mul_u8`.
    MulU8,
    /// `average_pool_f32`.
    AveragePoolF32,
    /// `average_pool_u8`.
    AveragePoolU8,
    /// `softmax_f32`.
    SoftmaxF32,
    /// `quantize`.
    Quantize,
    /// `dequantize_u8`.
    DequantizeU8,
}

impl PointwiseKind {
    /// Name of the reference's kernel.
    #[must_use]
    pub const fn scalar_name(self) -> &'static str {
        match self {
            Self::ClampF32 => "clamp_f32_f32_1x1__scalar",
            Self::ClampU8 => "clamp_qu8_qu8_1x1__scalar",
            Self::MapU8 => "map_qu8_qu8_1x1__scalar",
            Self::UnaryF32 => "unary_f32_f32_1x1__scalar",
            Self::AddF32 => "add_f32_f32_1x1__scalar",
            Self::AddU8 => "add_qu8_qu8_1x1__scalar",
            Self::MulF32 => "mul_f32_f32_1x1__scalar",
            Self::MulU8 => "mul_qu8_qu8_1x1__scalar",
            Self::AveragePoolF32 => "avgpool_f32_f32_1x1__scalar",
            Self::AveragePoolU8 => "avgpool_qu8_qu8_1x16__scalar",
            Self::SoftmaxF32 => "softmax_f32_f32_1x1__scalar",
            Self::Quantize => "quantize_f32_qu8_1x1__scalar",
            Self::DequantizeU8 => "dequantize_qu8_f32_1x1__scalar",
        }
    }
}
