//! Constants of a file: floats, the integers that shapes are made of, and the levels of quantized weights.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use crate::error::TensorError;

/// A constant with its dimensions; no dimensions are a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// Elements of a constant. Narrow floats are widened, and doubles rounded, to f32.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
}

/// Floats with their dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Floats {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Integers with their dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ints {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<i64>,
}

impl Constant {
    pub(crate) const fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, data: Data::Floats(values) }
    }

    pub(crate) const fn ints(dims: Vec<usize>, values: Vec<i64>) -> Self {
        Self { dims, data: Data::Ints(values) }
    }

    pub(crate) fn vector(values: Vec<i64>) -> Self {
        Self::ints(vec![values.len()], values)
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(values) => values.len(),
            Data::Ints(values) => values.len(),
            Data::Bools(values) => values.len(),
        }
    }

    /// Reads a tensor of any element type that has a meaning here.
    pub(crate) fn read(proto: &TensorProto) -> Result<Self, TensorError> {
        let (dims, len) = stored(proto)?;
        let kind = proto.data_type();
        if let Some(width) = float_bytes(kind) {
            let values = floats_of(proto, len, width)?;
            return Ok(Self::floats(dims, values));
        }
        let values = ints_of(proto, len)?;
        Ok(match kind {
            DataType::Bool => {
                Self { dims, data: Data::Bools(values.iter().map(|&value| value != 0).collect()) }
            }
            _ => Self::ints(dims, values),
        })
    }
}

/// Dimensions and number of elements of a tensor, without its values.
pub(crate) fn dims(proto: &TensorProto) -> Result<(Vec<usize>, usize), TensorError> {
    let bad = || TensorError::Dims { dims: proto.dims.clone() };
    let dims: Vec<usize> = proto
        .dims
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    let len = dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim)).ok_or_else(bad)?;
    Ok((dims, len))
}

/// Bytes that an element of this type takes where it is stored raw; `None` for types that are not read.
pub(crate) const fn element_bytes(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

/// Elements that the file holds for a tensor, whatever its dimensions say.
pub(crate) fn held(proto: &TensorProto) -> usize {
    let width = element_bytes(proto.data_type()).unwrap_or(1);
    let lists = [
        proto.float_data.len(),
        proto.int32_data.len(),
        proto.int64_data.len(),
        proto.double_data.len(),
        proto.uint64_data.len(),
    ];
    proto.raw_data.len() / width + lists.iter().sum::<usize>()
}

/// Name of an ONNX element type.
pub(crate) fn element_name(code: i32) -> String {
    DataType::try_from(code)
        .map_or_else(|_| format!("number {code}"), |known| known.as_str_name().to_owned())
}

/// Dimensions and length of a tensor that is stored whole in this file.
fn stored(proto: &TensorProto) -> Result<(Vec<usize>, usize), TensorError> {
    if is_external(proto) {
        return Err(TensorError::External { location: external(proto, "location") });
    }
    if proto.segment.is_some() {
        return Err(TensorError::Segment);
    }
    dims(proto)
}

/// Whether the values are in another file.
pub(crate) fn is_external(proto: &TensorProto) -> bool {
    proto.data_location() == DataLocation::External || !proto.external_data.is_empty()
}

/// An entry of what the file says about values elsewhere; empty where there is none.
pub(crate) fn external(proto: &TensorProto, key: &str) -> String {
    let entry = proto.external_data.iter().find(|entry| entry.key == key);
    entry.map(|entry| entry.value.clone()).unwrap_or_default()
}

const fn float_bytes(kind: DataType) -> Option<usize> {
    match kind {
        DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16 => {
            element_bytes(kind)
        }
        _ => None,
    }
}

fn floats_of(proto: &TensorProto, len: usize, width: usize) -> Result<Vec<f32>, TensorError> {
    let kind = proto.data_type();
    if proto.raw_data.is_empty() {
        // Halves are stored in the lower bits of integers.
        let half = |bits: &i32| u16::try_from(*bits & 0xffff).unwrap_or_default();
        let values: Vec<f32> = match kind {
            DataType::Float => proto.float_data.clone(),
            DataType::Double => proto.double_data.iter().map(|&value| narrow(value)).collect(),
            DataType::Float16 => proto.int32_data.iter().map(|bits| f16(half(bits))).collect(),
            _ => proto.int32_data.iter().map(|bits| bf16(half(bits))).collect(),
        };
        check_len(proto, len, values.len(), values.len() == len)?;
        return Ok(values);
    }
    check_raw(proto, len, width)?;
    Ok(match kind {
        DataType::Float => raw(proto, f32::from_le_bytes),
        DataType::Double => raw(proto, |bytes| narrow(f64::from_le_bytes(bytes))),
        DataType::Float16 => raw(proto, |bytes| f16(u16::from_le_bytes(bytes))),
        _ => raw(proto, |bytes| bf16(u16::from_le_bytes(bytes))),
    })
}

fn ints_of(proto: &TensorProto, len: usize) -> Result<Vec<i64>, TensorError> {
    let kind = proto.data_type();
    let Some(width) = element_bytes(kind) else {
        let found = element_name(proto.data_type);
        return Err(TensorError::ElementType { found, expected: "floats and integers" });
    };
    // Above 2^63 an unsigned number has no place here; it is no shape and no level either.
    let wide = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    if proto.raw_data.is_empty() {
        let values: Vec<i64> = match kind {
            DataType::Int64 => proto.int64_data.clone(),
            DataType::Uint32 | DataType::Uint64 => {
                proto.uint64_data.iter().map(|&value| wide(value)).collect()
            }
            _ => proto.int32_data.iter().map(|&value| i64::from(value)).collect(),
        };
        check_len(proto, len, values.len(), values.len() == len)?;
        return Ok(values);
    }
    check_raw(proto, len, width)?;
    Ok(match kind {
        DataType::Int8 => raw(proto, |bytes| i64::from(i8::from_le_bytes(bytes))),
        DataType::Bool | DataType::Uint8 => raw(proto, |[byte]: [u8; 1]| i64::from(byte)),
        DataType::Int16 => raw(proto, |bytes| i64::from(i16::from_le_bytes(bytes))),
        DataType::Uint16 => raw(proto, |bytes| i64::from(u16::from_le_bytes(bytes))),
        DataType::Int32 => raw(proto, |bytes| i64::from(i32::from_le_bytes(bytes))),
        DataType::Uint32 => raw(proto, |bytes| i64::from(u32::from_le_bytes(bytes))),
        DataType::Uint64 => raw(proto, |bytes| wide(u64::from_le_bytes(bytes))),
        _ => raw(proto, i64::from_le_bytes),
    })
}

fn raw<const N: usize, T>(proto: &TensorProto, value: impl Fn([u8; N]) -> T) -> Vec<T> {
    proto.raw_data.as_chunks::<N>().0.iter().map(|&word| value(word)).collect()
}

fn check_raw(proto: &TensorProto, len: usize, width: usize) -> Result<(), TensorError> {
    let found = proto.raw_data.len() / width;
    let fits = found == len && proto.raw_data.len().is_multiple_of(width);
    check_len(proto, len, found, fits)
}

fn check_len(
    proto: &TensorProto,
    expected: usize,
    found: usize,
    fits: bool,
) -> Result<(), TensorError> {
    if fits {
        Ok(())
    } else {
        Err(TensorError::Length { dims: proto.dims.clone(), expected, found })
    }
}

/// The nearest f32.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is meant")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// The value of an IEEE 754 binary16.
fn f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // Subnormals are multiples of 2^-24.
        0 => {
            let magnitude = f32::from(bits & 0x3ff) / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The value of a bfloat16, the upper half of an f32.
const fn bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(dims: &[i64], data_type: DataType) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: data_type as i32, ..TensorProto::default() }
    }

    #[test]
    fn both_ways_of_storing_values_are_read() {
        let mut tensor = proto(&[2], DataType::Float);
        let expected = Constant::floats(vec![2], vec![1.5, -2.0]);
        tensor.float_data = vec![1.5, -2.0];
        assert_eq!(Constant::read(&tensor).unwrap(), expected);
        tensor.float_data.clear();
        tensor.raw_data = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(Constant::read(&tensor).unwrap(), expected);
        tensor.data_type = DataType::Double as i32;
        tensor.raw_data = [1.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(Constant::read(&tensor).unwrap(), expected);

        let mut tensor = proto(&[1, 2], DataType::Int32);
        tensor.raw_data = [7_i32, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(Constant::read(&tensor).unwrap(), Constant::ints(vec![1, 2], vec![7, -1]));
        let mut tensor = proto(&[3], DataType::Int8);
        tensor.raw_data = vec![1, 0x80, 0xff];
        assert_eq!(Constant::read(&tensor).unwrap(), Constant::vector(vec![1, -128, -1]));
        let mut tensor = proto(&[], DataType::Bool);
        tensor.int32_data = vec![1];
        assert_eq!(Constant::read(&tensor).unwrap().data, Data::Bools(vec![true]));
        tensor.data_type = DataType::String as i32;
        assert!(matches!(Constant::read(&tensor), Err(TensorError::ElementType { .. })));
    }

    #[test]
    fn narrow_floats_are_widened() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(f16(bits), value);
        }
        assert!(f16(0x7e00).is_nan() && f16(0x8000).is_sign_negative());
        assert_eq!(bf16(0x3fc0), 1.5);
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let mut tensor = proto(&[i64::MAX, 3], DataType::Float);
        assert!(matches!(Constant::read(&tensor), Err(TensorError::Dims { .. })));
        tensor.dims = vec![-1];
        assert!(matches!(Constant::read(&tensor), Err(TensorError::Dims { .. })));
        tensor.dims = vec![1 << 40];
        assert!(matches!(Constant::read(&tensor), Err(TensorError::Length { found: 0, .. })));
        tensor.dims = vec![1];
        tensor.raw_data = vec![0; 5];
        assert!(matches!(
            Constant::read(&tensor),
            Err(TensorError::Length { expected: 1, found: 1, .. })
        ));
    }
}
