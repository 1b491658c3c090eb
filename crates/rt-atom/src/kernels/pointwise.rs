//! The levels as implementations of `Pointwise`. Most references are loops that the compiler makes vectors of: here they are
//! compiled with the instructions of each level, so that results are theirs to the last bit. Sums and products of levels,
//! means, and tables have code of their own.

use embdl_core::kernels::pool::AverageRequant;
use embdl_core::kernels::product::{self, Rows};
use embdl_core::kernels::{Pointwise, PointwiseKind, WindowGeometry, elementwise, softmax};
use embdl_core::op::Unary;
use embdl_core::quant::{AddRequant, MulRequant, Quant};

use super::{LevelKernels, arithmetic, average, map};
use crate::detect::{Avx2, Avx512, Avx512Vnni, AvxVnni, Sse41};

/// Calls a macro with what it is given and the methods of `Pointwise` except its name and those of tables: kind, method, and
/// the kernel that is compiled, which gets the level's token.
macro_rules! with_methods {
    ($then:ident $($given:tt)+) => {
        $then! {
            $($given)+,
            ClampF32 clamp_f32(bounds: (f32, f32), data: &mut [f32])
                |_| elementwise::clamp_f32(bounds, data),
            ClampU8 clamp_u8(bounds: (u8, u8), data: &mut [u8])
                |_| elementwise::clamp_u8(bounds, data),
            UnaryF32 unary_f32(unary: Unary, data: &mut [f32])
                |_| elementwise::unary_f32(unary, data),
            AddF32 add_f32(data: &mut [f32], rhs: &[f32], bounds: (f32, f32))
                |_| elementwise::add_f32(data, rhs, bounds),
            AddU8 add_u8(data: &mut [u8], rhs: &[u8], requant: &AddRequant)
                |level| arithmetic::add_u8(level, data, rhs, requant),
            MulF32 mul_f32(rows: Rows, data: &mut [f32], rhs: &[f32])
                |_| product::mul_f32(rows, data, rhs),
            MulU8 mul_u8(rows: Rows, data: &mut [u8], rhs: &[u8], requant: &MulRequant)
                |level| arithmetic::mul_u8(level, rows, data, rhs, requant),
            AveragePoolF32 average_pool_f32(geometry: &WindowGeometry, include_pads: bool, input: &[f32], out: &mut [f32])
                |level| average::pool_f32(level, geometry, include_pads, input, out),
            AveragePoolU8 average_pool_u8(geometry: &WindowGeometry, requant: &AverageRequant, input: &[u8], out: &mut [u8])
                |level| average::pool_u8(level, geometry, requant, input, out),
            SoftmaxF32 softmax_f32(features: usize, input: &[f32], out: &mut [f32])
                |_| softmax::softmax_f32(features, input, out),
            Quantize quantize(quant: Quant, input: &[f32], out: &mut [u8])
                |_| elementwise::quantize(quant, input, out),
            DequantizeU8 dequantize_u8(quant: Quant, input: &[u8], out: &mut [f32])
                |_| elementwise::dequantize_u8(quant, input, out)
        }
    };
}

/// Compiles the kernels for a level: names of the functions, which profilers and profiles show, first that for tables, then in
/// the order of `with_methods`.
macro_rules! level {
    (
        $level:ident, features $features:literal, $map_name:ident by $map:path, $map_rows:path,
        $($name:ident)+,
        $($kind:ident $method:ident($($arg:ident: $type:ty),+) |$token:tt| $kernel:expr),+
    ) => {
        const _: () = {
            $(
                #[expect(non_snake_case, reason = "the grammar of kernel names")]
                #[target_feature(enable = $features)]
                fn $name($token: $level, $($arg: $type),+) {
                    $kernel;
                }
            )+

            #[expect(non_snake_case, reason = "the grammar of kernel names")]
            #[target_feature(enable = $features)]
            fn $map_name(level: $level, table: &[u8; 256], data: &mut [u8]) {
                $map(level, table, data);
            }

            #[target_feature(enable = $features)]
            fn map_rows(level: $level, table: &[u8; 256], input: &[u8], row_len: usize, out: &mut [u8], out_stride: usize) {
                $map_rows(level, table, input, row_len, out, out_stride);
            }

            impl Pointwise for LevelKernels<$level> {
                fn pointwise_name(&self, kind: PointwiseKind) -> &'static str {
                    match kind {
                        $(PointwiseKind::$kind => stringify!($name),)+
                        PointwiseKind::MapU8 => stringify!($map_name),
                    }
                }

                $(
                    fn $method(&self, $($arg: $type),+) {
                        // SAFETY: the token in `self` proves that the CPU has the features.
                        unsafe { $name(self.0, $($arg),+) }
                    }
                )+

                fn map_u8(&self, table: &[u8; 256], data: &mut [u8]) {
                    // SAFETY: the token.
                    unsafe { $map_name(self.0, table, data) }
                }

                fn map_rows_u8(&self, table: &[u8; 256], input: &[u8], row_len: usize, out: &mut [u8], out_stride: usize) {
                    // SAFETY: the token.
                    unsafe { map_rows(self.0, table, input, row_len, out, out_stride) }
                }
            }
        };
    };
}

with_methods! {
    level Sse41, features "sse4.1,ssse3", map_qu8_qu8_1x1__sse41 by map::one_by_one, map::rows_one_by_one,
    clamp_f32_f32_1x4__sse41 clamp_qu8_qu8_1x16__sse41 unary_f32_f32_1x4__sse41
    add_f32_f32_1x4__sse41 add_qu8_qu8_1x16__sse41 mul_f32_f32_1x4__sse41 mul_qu8_qu8_1x16__sse41
    avgpool_f32_f32_1x4__sse41 avgpool_qu8_qu8_1x16__sse41 softmax_f32_f32_1x4__sse41
    quantize_f32_qu8_1x16__sse41 dequantize_qu8_f32_1x4__sse41
}

with_methods! {
    level Avx2, features "avx2,fma", map_qu8_qu8_1x32__avx2 by map::map, map::map_rows,
    clamp_f32_f32_1x8__avx2 clamp_qu8_qu8_1x32__avx2 unary_f32_f32_1x8__avx2
    add_f32_f32_1x8__avx2 add_qu8_qu8_1x32__avx2 mul_f32_f32_1x8__avx2 mul_qu8_qu8_1x32__avx2
    avgpool_f32_f32_1x8__avx2 avgpool_qu8_qu8_1x32__avx2 softmax_f32_f32_1x8__avx2
    quantize_f32_qu8_1x32__avx2 dequantize_qu8_f32_1x8__avx2
}

with_methods! {
    level Avx512, features "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", map_qu8_qu8_1x64__avx512 by map::map, map::map_rows,
    clamp_f32_f32_1x16__avx512 clamp_qu8_qu8_1x64__avx512 unary_f32_f32_1x16__avx512
    add_f32_f32_1x16__avx512 add_qu8_qu8_1x64__avx512 mul_f32_f32_1x16__avx512 mul_qu8_qu8_1x64__avx512
    avgpool_f32_f32_1x16__avx512 avgpool_qu8_qu8_1x64__avx512 softmax_f32_f32_1x16__avx512
    quantize_f32_qu8_1x64__avx512 dequantize_qu8_f32_1x16__avx512
}

/// A level whose kernels are those of another one.
macro_rules! same {
    (
        $level:ident as $base:ident,
        $($kind:ident $method:ident($($arg:ident: $type:ty),+) |$token:tt| $kernel:expr),+
    ) => {
        impl LevelKernels<$level> {
            fn pointwise(self) -> LevelKernels<$base> {
                LevelKernels(self.0.into())
            }
        }

        impl Pointwise for LevelKernels<$level> {
            fn pointwise_name(&self, kind: PointwiseKind) -> &'static str {
                self.pointwise().pointwise_name(kind)
            }

            $(
                fn $method(&self, $($arg: $type),+) {
                    self.pointwise().$method($($arg),+);
                }
            )+

            fn map_u8(&self, table: &[u8; 256], data: &mut [u8]) {
                self.pointwise().map_u8(table, data);
            }

            fn map_rows_u8(&self, table: &[u8; 256], input: &[u8], row_len: usize, out: &mut [u8], out_stride: usize) {
                self.pointwise().map_rows_u8(table, input, row_len, out, out_stride);
            }
        }
    };
}

with_methods! { same AvxVnni as Avx2 }
with_methods! { same Avx512Vnni as Avx512 }
