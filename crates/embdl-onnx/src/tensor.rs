//! Constants of a file: small integers that shapes are made of, and floats.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use crate::error::TensorError;

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

impl Ints {
    pub(crate) fn vector(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], values }
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

/// Reads a float tensor.
pub(crate) fn floats(proto: &TensorProto) -> Result<Floats, TensorError> {
    let (dims, len) = stored(proto)?;
    if proto.data_type() != DataType::Float {
        return Err(element_type(proto, "FLOAT"));
    }
    let values = if proto.raw_data.is_empty() {
        check_len(proto, len, proto.float_data.len(), proto.float_data.len() == len)?;
        proto.float_data.clone()
    } else {
        from_raw(proto, len, f32::from_le_bytes)?
    };
    Ok(Floats { dims, values })
}

/// Reads an integer tensor.
pub(crate) fn ints(proto: &TensorProto) -> Result<Ints, TensorError> {
    let (dims, len) = stored(proto)?;
    let values = match (proto.data_type(), proto.raw_data.is_empty()) {
        (DataType::Int64, true) => {
            check_len(proto, len, proto.int64_data.len(), proto.int64_data.len() == len)?;
            proto.int64_data.clone()
        }
        (DataType::Int64, false) => from_raw(proto, len, i64::from_le_bytes)?,
        (DataType::Int32, true) => {
            check_len(proto, len, proto.int32_data.len(), proto.int32_data.len() == len)?;
            proto.int32_data.iter().map(|&value| i64::from(value)).collect()
        }
        (DataType::Int32, false) => {
            from_raw(proto, len, |bytes| i64::from(i32::from_le_bytes(bytes)))?
        }
        _ => return Err(element_type(proto, "INT64 or INT32")),
    };
    Ok(Ints { dims, values })
}

/// Name of an ONNX element type.
pub(crate) fn element_name(code: i32) -> String {
    DataType::try_from(code)
        .map_or_else(|_| format!("number {code}"), |known| known.as_str_name().to_owned())
}

/// Dimensions and length of a tensor that is stored whole in this file.
fn stored(proto: &TensorProto) -> Result<(Vec<usize>, usize), TensorError> {
    if proto.data_location() == DataLocation::External || !proto.external_data.is_empty() {
        let location = proto.external_data.iter().find(|entry| entry.key == "location");
        let location = location.map(|entry| entry.value.clone()).unwrap_or_default();
        return Err(TensorError::External { location });
    }
    if proto.segment.is_some() {
        return Err(TensorError::Segment);
    }
    dims(proto)
}

fn element_type(proto: &TensorProto, expected: &'static str) -> TensorError {
    TensorError::ElementType { found: element_name(proto.data_type), expected }
}

fn from_raw<const N: usize, T>(
    proto: &TensorProto,
    len: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, TensorError> {
    let (words, rest) = proto.raw_data.as_chunks::<N>();
    check_len(proto, len, words.len(), words.len() == len && rest.is_empty())?;
    Ok(words.iter().map(|&word| value(word)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(dims: &[i64], data_type: DataType) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: data_type as i32, ..TensorProto::default() }
    }

    #[test]
    fn both_ways_of_storing_values_are_read() {
        let mut tensor = proto(&[2], DataType::Float);
        tensor.float_data = vec![1.5, -2.0];
        assert_eq!(floats(&tensor).unwrap().values, [1.5, -2.0]);
        tensor.float_data.clear();
        tensor.raw_data = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(floats(&tensor).unwrap().values, [1.5, -2.0]);

        let mut tensor = proto(&[1, 2], DataType::Int32);
        tensor.raw_data = [7_i32, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(ints(&tensor).unwrap(), Ints { dims: vec![1, 2], values: vec![7, -1] });
        assert_eq!(floats(&tensor), Err(element_type(&tensor, "FLOAT")));
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let mut tensor = proto(&[i64::MAX, 3], DataType::Float);
        assert!(matches!(floats(&tensor), Err(TensorError::Dims { .. })));
        tensor.dims = vec![-1];
        assert!(matches!(floats(&tensor), Err(TensorError::Dims { .. })));
        tensor.dims = vec![1 << 40];
        assert!(matches!(floats(&tensor), Err(TensorError::Length { found: 0, .. })));
        tensor.dims = vec![1];
        tensor.raw_data = vec![0; 5];
        assert!(matches!(floats(&tensor), Err(TensorError::Length { expected: 1, found: 1, .. })));
    }
}
