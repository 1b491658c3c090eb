//! Arithmetic on constants: the integers that say which shape a value gets, and transposed weights.

use std::rc::Rc;

use tract_onnx::pb::NodeProto;

use super::importer::{Binding, Importer};
use super::inputs::input;
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout;
use crate::tensor::{Floats, Ints};

impl<'a> Importer<'a> {
    pub(super) fn shape(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["start", "end"])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.source(node, 0)?;
        let mut dims = source.order.onnx_dims(self.graph.values[source.value].shape);
        dims[0] = self.batch;
        let dims: Vec<i64> = dims.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect();
        let start = place(attributes.int("start")?.unwrap_or(0), dims.len());
        let end = place(attributes.int("end")?.unwrap_or(i64::MAX), dims.len());
        self.bind_ints(node, Ints::vector(dims.get(start..end).unwrap_or_default().to_vec()))
    }

    pub(super) fn gather(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis"])?;
        Self::inputs(node, 2..=2, "2")?;
        let axis = attributes.int("axis")?.unwrap_or(0);
        let [data, indices] = [self.ints(node, 0)?, self.ints(node, 1)?];
        if data.dims.len() != 1 || axis_of(axis, 1) != Some(0) {
            return Err(invalid("axis", axis, "only elements of a vector are gathered"));
        }
        let pick = |&index: &i64| axis_of(index, data.values.len()).map(|at| data.values[at]);
        let values = indices.values.iter().map(pick).collect::<Option<Vec<i64>>>();
        let values = values.ok_or_else(|| NodeError::Dims {
            value: node.input[1].clone(),
            dims: data.dims.clone(),
            reason: "an index is beyond the end",
        })?;
        self.bind_ints(node, Ints { dims: indices.dims, values })
    }

    pub(super) fn slice(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["starts", "ends", "axes"])?;
        let count = Self::inputs(node, 1..=5, "1 to 5")?;
        let data = self.ints(node, 0)?;
        let bound = |name: &'static str, index: usize| -> Result<Option<i64>, NodeError> {
            let values = match attributes.ints(name)? {
                Some(values) => values.to_vec(),
                None if index < count && Self::has_input(node, index) => {
                    self.ints(node, index)?.values
                }
                None => return Ok(None),
            };
            match values.as_slice() {
                &[value] => Ok(Some(value)),
                _ => Err(invalid(name, values, "only vectors are sliced")),
            }
        };
        let missing = |name| NodeError::NoAttribute { name };
        let start = bound("starts", 1)?.ok_or_else(|| missing("starts"))?;
        let end = bound("ends", 2)?.ok_or_else(|| missing("ends"))?;
        let axis = bound("axes", 3)?.unwrap_or(0);
        let step = bound("steps", 4)?.unwrap_or(1);
        if data.dims.len() != 1 || axis_of(axis, 1) != Some(0) || step != 1 {
            return Err(invalid("axes, steps", [axis, step], "only a run of a vector is sliced"));
        }
        let [start, end] = [start, end].map(|bound| place(bound, data.values.len()));
        let values = data.values.get(start..end).unwrap_or_default().to_vec();
        self.bind_ints(node, Ints::vector(values))
    }

    pub(super) fn concat_ints(
        &mut self,
        node: &'a NodeProto,
        count: usize,
        axis: i64,
    ) -> Result<(), NodeError> {
        let mut values = Vec::new();
        for index in 0..count {
            let part = self.ints(node, index)?;
            if part.dims.len() != 1 || axis_of(axis, 1) != Some(0) {
                return Err(invalid("axis", axis, "of constants, only vectors are joined"));
            }
            values.extend(part.values);
            if values.len() > 1 << 16 {
                break;
            }
        }
        self.bind_ints(node, Ints::vector(values))
    }

    pub(super) fn transpose_constant(
        &mut self,
        node: &'a NodeProto,
        perm: Option<&[i64]>,
    ) -> Result<(), NodeError> {
        let (_, floats) = self.floats(node, 0)?;
        match (floats.dims.as_slice(), perm) {
            (&[rows, columns], None | Some([1, 0])) => {
                let values = layout::transpose(&floats.values, rows, columns);
                let dims = vec![columns, rows];
                self.bind(node, Binding::Floats(Rc::new(Floats { dims, values })))
            }
            _ => {
                let (value, reason) = (input(node, 0)?.into(), "only matrices are transposed");
                Err(NodeError::Dims { value, dims: floats.dims, reason })
            }
        }
    }
}

/// Where ONNX's `bound` of a slice lies in a vector of `len` elements.
fn place(bound: i64, len: usize) -> usize {
    let from_end = if bound < 0 { i64::try_from(len).unwrap_or(i64::MAX) } else { 0 };
    usize::try_from(bound.saturating_add(from_end)).unwrap_or(0).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_clamped() {
        assert_eq!([place(-1, 4), place(-9, 4), place(i64::MAX, 4), place(2, 4)], [3, 0, 4, 2]);
        assert_eq!(place(i64::MIN, 4), 0);
    }
}
