//! Operators on constants: what exporters write instead of the shape they mean. Those that move elements are here.

mod arithmetic;

pub(crate) use arithmetic::{binary, choose, range, reduce, unary};

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::importer::Importer;
use super::pool::axis_of;
use super::shapes::place;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::tensor::{Constant, Data};

/// An operator on constants.
pub(crate) type Fold = fn(&mut Folder<'_>) -> Result<Constant, NodeError>;

/// A node whose inputs are all constant.
pub(crate) struct Folder<'n> {
    node: &'n NodeProto,
    /// Missing inputs are none.
    inputs: Vec<Option<Constant>>,
    /// Elements that may still be made.
    budget: &'n mut usize,
}

impl<'a> Importer<'a> {
    /// Computes a node of constants.
    pub(super) fn fold(&mut self, node: &'a NodeProto, fold: Fold) -> Result<(), NodeError> {
        let mut inputs = Vec::new();
        for (index, name) in node.input.iter().enumerate() {
            let constant = if name.is_empty() { None } else { Some(self.constant(node, index)?) };
            if let Some(constant) = &constant {
                self.spend(constant.len())?;
            }
            inputs.push(constant.map(|constant| Constant::clone(&constant)));
        }
        let mut folder = Folder { node, inputs, budget: &mut self.budget };
        let result = fold(&mut folder)?;
        self.bind_constant(node, result)
    }
}

impl Folder<'_> {
    fn input(&self, index: usize) -> Result<&Constant, NodeError> {
        let found = self.node.input.len();
        self.inputs.get(index).and_then(Option::as_ref).ok_or(NodeError::Count {
            what: "inputs",
            found,
            expected: "more",
        })
    }

    fn ints(&self, index: usize) -> Result<&[i64], NodeError> {
        match &self.input(index)?.data {
            Data::Ints(values) => Ok(values),
            _ => Err(invalid("input", index, "integers are expected")),
        }
    }

    /// Integers that are an attribute in old files and an input in new ones.
    fn ints_or(
        &self,
        attribute: Option<&[i64]>,
        index: usize,
    ) -> Result<Option<Vec<i64>>, NodeError> {
        match (attribute, self.inputs.get(index)) {
            (Some(values), _) => Ok(Some(values.to_vec())),
            (None, Some(Some(_))) => Ok(Some(self.ints(index)?.to_vec())),
            _ => Ok(None),
        }
    }

    fn attributes(&self, known: &[&str]) -> Result<Attributes<'_>, NodeError> {
        Attributes::new(self.node, known)
    }

    fn misfit(&self, index: usize, reason: &'static str) -> NodeError {
        let dims = self.input(index).map(|constant| constant.dims.clone()).unwrap_or_default();
        let value = self.node.input.get(index).cloned().unwrap_or_default();
        NodeError::Dims { value, dims, reason }
    }

    /// Elements of a result of `dims`, counted before they are made.
    fn spend(&mut self, dims: &[usize]) -> Result<usize, NodeError> {
        let len = dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim));
        let len = len.ok_or(NodeError::Amplified)?;
        *self.budget = self.budget.checked_sub(len).ok_or(NodeError::Amplified)?;
        Ok(len)
    }

    /// A result of `dims` whose element `i` is element `at(i)` of input 0.
    fn picked(
        &mut self,
        dims: Vec<usize>,
        at: impl Fn(usize) -> usize,
    ) -> Result<Constant, NodeError> {
        let len = self.spend(&dims)?;
        let data = match &self.input(0)?.data {
            Data::Floats(values) => Data::Floats((0..len).map(|i| values[at(i)]).collect()),
            Data::Ints(values) => Data::Ints((0..len).map(|i| values[at(i)]).collect()),
            Data::Bools(values) => Data::Bools((0..len).map(|i| values[at(i)]).collect()),
        };
        Ok(Constant { dims, data })
    }

    /// The same elements under other dimensions.
    fn shaped(&mut self, dims: Vec<usize>) -> Result<Constant, NodeError> {
        self.picked(dims, |at| at)
    }
}

/// Row-major strides.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

/// Where element `at` of a tensor of `dims` lies among strides, each axis moved by its start.
fn offset(mut at: usize, dims: &[usize], strides: &[usize]) -> usize {
    let mut place = 0;
    for (&dim, &stride) in dims.iter().zip(strides).rev() {
        place += at % dim * stride;
        at /= dim;
    }
    place
}

fn positive(values: &[i64], name: &str) -> Result<Vec<usize>, NodeError> {
    let sizes = values.iter().map(|&value| usize::try_from(value).ok()).collect();
    let sizes: Option<Vec<usize>> = sizes;
    sizes.ok_or_else(|| invalid(name, values, "sizes are not negative"))
}

/// Dimensions to which both broadcast.
fn broadcast(lhs: &[usize], rhs: &[usize]) -> Option<Vec<usize>> {
    let rank = lhs.len().max(rhs.len());
    let dim = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis])
    };
    (0..rank)
        .map(|axis| match (dim(lhs, axis), dim(rhs, axis)) {
            (lhs, rhs) if lhs == rhs => Some(lhs),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// Strides of `dims` inside of the wider `to`; zero where it is repeated.
fn broadcast_strides(dims: &[usize], to: &[usize]) -> Vec<usize> {
    let own = strides(dims);
    let missing = to.len() - dims.len();
    (0..to.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(axis) if dims[axis] != 1 => own[axis],
            _ => 0,
        })
        .collect()
}

pub(crate) fn shape(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["start", "end"])?;
    let dims = &folder.input(0)?.dims;
    let start = place(attributes.int("start")?.unwrap_or(0), dims.len());
    let end = place(attributes.int("end")?.unwrap_or(i64::MAX), dims.len());
    let dims = dims.get(start..end).unwrap_or_default();
    Ok(Constant::vector(dims.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect()))
}

pub(crate) fn size(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let len = folder.input(0)?.len();
    Ok(Constant::ints(vec![], vec![i64::try_from(len).unwrap_or(i64::MAX)]))
}

pub(crate) fn cast(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["to", "saturate", "round_mode"])?;
    let to = attributes.int("to")?.ok_or(NodeError::NoAttribute { name: "to" })?;
    let kind = i32::try_from(to).ok().and_then(|code| DataType::try_from(code).ok());
    let Constant { dims, data } = folder.input(0)?.clone();
    #[expect(clippy::cast_precision_loss, reason = "a cast to float rounds")]
    #[expect(clippy::cast_possible_truncation, reason = "a cast to an integer cuts off")]
    let data = match (kind, data) {
        (Some(DataType::Float | DataType::Double), Data::Ints(values)) => {
            Data::Floats(values.iter().map(|&value| value as f32).collect())
        }
        (Some(DataType::Float | DataType::Double), Data::Bools(values)) => {
            Data::Floats(values.iter().map(|&value| f32::from(u8::from(value))).collect())
        }
        (Some(DataType::Float | DataType::Double), floats @ Data::Floats(_)) => floats,
        (Some(DataType::Int64 | DataType::Int32), Data::Floats(values)) => {
            Data::Ints(values.iter().map(|&value| value as i64).collect())
        }
        (Some(DataType::Int64 | DataType::Int32), Data::Bools(values)) => {
            Data::Ints(values.iter().map(|&value| i64::from(value)).collect())
        }
        (Some(DataType::Int64 | DataType::Int32), ints @ Data::Ints(_)) => ints,
        (Some(DataType::Bool), Data::Ints(values)) => {
            Data::Bools(values.iter().map(|&value| value != 0).collect())
        }
        (Some(DataType::Bool), Data::Floats(values)) => {
            Data::Bools(values.iter().map(|&value| value != 0.0).collect())
        }
        (Some(DataType::Bool), bools @ Data::Bools(_)) => bools,
        _ => {
            let named = crate::tensor::element_name(i32::try_from(to).unwrap_or(-1));
            let reason = "of constants, to floats, INT64, INT32 and BOOL";
            return Err(invalid("to", named, reason));
        }
    };
    if let (Some(DataType::Int32), Data::Ints(values)) = (kind, &data)
        && values.iter().any(|&value| i32::try_from(value).is_err())
    {
        return Err(invalid("to", "INT32", "a value does not fit"));
    }
    Ok(Constant { dims, data })
}

pub(crate) fn gather(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let axis = folder.attributes(&["axis"])?.int("axis")?.unwrap_or(0);
    let data = folder.input(0)?.dims.clone();
    let index_dims = folder.input(1)?.dims.clone();
    let own = axis_of(axis, data.len());
    let own = own.ok_or_else(|| invalid("axis", axis, "a dimension of the input"))?;
    let indices = folder.ints(1)?.iter().map(|&index| axis_of(index, data[own]));
    let indices: Option<Vec<usize>> = indices.collect();
    let indices = indices.ok_or_else(|| folder.misfit(1, "an index is beyond the end"))?;
    let inner: usize = data[own + 1..].iter().product();
    let dims = [&data[..own], &index_dims, &data[own + 1..]].concat();
    folder.picked(dims, |at| {
        let (outer, rest) = (at / (indices.len() * inner), at % (indices.len() * inner));
        (outer * data[own] + indices[rest / inner]) * inner + rest % inner
    })
}

pub(crate) fn slice(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["starts", "ends", "axes"])?;
    let data = folder.input(0)?.dims.clone();
    let missing = |name| NodeError::NoAttribute { name };
    let starts = folder.ints_or(attributes.ints("starts")?, 1)?.ok_or_else(|| missing("starts"))?;
    let ends = folder.ints_or(attributes.ints("ends")?, 2)?.ok_or_else(|| missing("ends"))?;
    let all = || (0..i64::try_from(starts.len()).unwrap_or(0)).collect();
    let axes: Vec<i64> = folder.ints_or(attributes.ints("axes")?, 3)?.unwrap_or_else(all);
    let steps = folder.ints_or(None, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(invalid("starts", starts, "as many as ends, axes and steps"));
    }
    let (mut dims, mut first, mut stride) =
        (data.clone(), vec![0; data.len()], vec![1_i64; data.len()]);
    for (((&axis, &start), &end), &step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
        let own = axis_of(axis, data.len());
        let own = own.ok_or_else(|| invalid("axes", axis, "a dimension of the input"))?;
        let len = i64::try_from(data[own]).unwrap_or(i64::MAX);
        let from_end = |bound: i64| if bound < 0 { bound.saturating_add(len) } else { bound };
        let (start, end) = (from_end(start), from_end(end));
        let count = match step {
            1.. => {
                let (start, end) = (start.clamp(0, len), end.clamp(0, len));
                first[own] = usize::try_from(start).unwrap_or(0);
                (end - start).max(0).saturating_add(step - 1) / step
            }
            i64::MIN..0 => {
                let (start, end) = (start.clamp(-1, len - 1), end.clamp(-1, len - 1));
                first[own] = usize::try_from(start).unwrap_or(0);
                (start - end).max(0).saturating_add(step.saturating_neg() - 1)
                    / step.saturating_neg()
            }
            0 => return Err(invalid("steps", steps, "not zero")),
        };
        dims[own] = usize::try_from(count).unwrap_or(0);
        stride[own] = step;
    }
    let own = strides(&data);
    folder.picked(dims.clone(), |mut at| {
        let mut place = 0;
        for axis in (0..dims.len()).rev() {
            let index = i64::try_from(at % dims[axis]).unwrap_or(0) * stride[axis];
            place += usize::try_from(i64::try_from(first[axis]).unwrap_or(0) + index).unwrap_or(0)
                * own[axis];
            at /= dims[axis];
        }
        place
    })
}

pub(crate) fn concat(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let axis = folder.attributes(&["axis"])?.int("axis")?;
    let axis = axis.ok_or(NodeError::NoAttribute { name: "axis" })?;
    let first = folder.input(0)?.dims.clone();
    let own = axis_of(axis, first.len());
    let own = own.ok_or_else(|| invalid("axis", axis, "a dimension of the input"))?;
    let mut dims = first.clone();
    dims[own] = 0;
    for index in 0..folder.inputs.len() {
        let part = &folder.input(index)?.dims;
        let fits = part.len() == first.len()
            && (0..part.len()).all(|at| at == own || part[at] == first[at]);
        if !fits {
            return Err(folder.misfit(index, "its dimensions differ from the first input's"));
        }
        dims[own] = dims[own].checked_add(part[own]).ok_or(NodeError::Amplified)?;
    }
    folder.spend(&dims)?;
    let outer: usize = dims[..own].iter().product();
    let row = |part: &Constant| part.len() / outer.max(1);
    let parts: Vec<&Constant> = folder.inputs.iter().flatten().collect();
    let fail = || invalid("inputs", parts.len(), "all of one element type");
    macro_rules! join {
        ($kind:path) => {{
            let mut out = Vec::new();
            for at in 0..outer {
                for part in &parts {
                    let $kind(values) = &part.data else { return Err(fail()) };
                    out.extend_from_slice(&values[at * row(part)..(at + 1) * row(part)]);
                }
            }
            $kind(out)
        }};
    }
    let data = match &parts[0].data {
        Data::Floats(_) => join!(Data::Floats),
        Data::Ints(_) => join!(Data::Ints),
        Data::Bools(_) => join!(Data::Bools),
    };
    Ok(Constant { dims, data })
}

pub(crate) fn reshape(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["allowzero"])?;
    let from = folder.input(0)?.dims.clone();
    let mut to = folder.ints(1)?.to_vec();
    if !attributes.flag("allowzero", false)? {
        for (at, dim) in to.iter_mut().enumerate().filter(|(_, dim)| **dim == 0) {
            *dim = from.get(at).map_or(0, |&dim| i64::try_from(dim).unwrap_or(i64::MAX));
        }
    }
    let len = folder.input(0)?.len();
    let known = to
        .iter()
        .filter(|&&dim| dim != -1)
        .try_fold(1_usize, |known, &dim| known.checked_mul(usize::try_from(dim).ok()?));
    let known = known.ok_or_else(|| invalid("shape", &to, "sizes are not negative"))?;
    for dim in to.iter_mut().filter(|dim| **dim == -1) {
        *dim = i64::try_from(len.checked_div(known).unwrap_or(0)).unwrap_or(i64::MAX);
    }
    let dims = positive(&to, "shape")?;
    if dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim)) != Some(len) {
        return Err(NodeError::Reshape { from: len, to });
    }
    folder.shaped(dims)
}

pub(crate) fn flatten(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let axis = folder.attributes(&["axis"])?.int("axis")?.unwrap_or(1);
    let from = folder.input(0)?.dims.clone();
    let at = if axis == i64::try_from(from.len()).unwrap_or(0) {
        from.len()
    } else {
        axis_of(axis, from.len()).ok_or_else(|| invalid("axis", axis, "a dimension"))?
    };
    folder.shaped(vec![from[..at].iter().product(), from[at..].iter().product()])
}

pub(crate) fn squeeze(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["axes"])?;
    let from = folder.input(0)?.dims.clone();
    let axes = folder.ints_or(attributes.ints("axes")?, 1)?;
    let dropped: Option<Vec<usize>> = match &axes {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, from.len())).collect(),
        None => Some((0..from.len()).filter(|&axis| from[axis] == 1).collect()),
    };
    let dropped = dropped
        .filter(|dropped| dropped.iter().all(|&axis| from[axis] == 1))
        .ok_or_else(|| invalid("axes", axes, "only dimensions of 1 are lost"))?;
    folder.shaped(
        (0..from.len()).filter(|axis| !dropped.contains(axis)).map(|axis| from[axis]).collect(),
    )
}

pub(crate) fn unsqueeze(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["axes"])?;
    let from = folder.input(0)?.dims.clone();
    let axes = folder.ints_or(attributes.ints("axes")?, 1)?;
    let axes = axes.ok_or(NodeError::NoAttribute { name: "axes" })?;
    let rank = from.len() + axes.len();
    let added: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
    let added = added.ok_or_else(|| invalid("axes", &axes, "each dimension once"))?;
    let mut rest = from.iter();
    let dims: Vec<usize> = (0..rank)
        .filter_map(|axis| if added.contains(&axis) { Some(&1) } else { rest.next() })
        .copied()
        .collect();
    if dims.len() != rank {
        return Err(invalid("axes", axes, "each dimension once"));
    }
    folder.shaped(dims)
}

pub(crate) fn transpose(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let given = folder.attributes(&["perm"])?.ints("perm")?.map(<[i64]>::to_vec);
    let from = folder.input(0)?.dims.clone();
    let perm = match &given {
        Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok()).collect(),
        None => Some((0..from.len()).rev().collect::<Vec<usize>>()),
    };
    let is_permutation = |perm: &Vec<usize>| {
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..from.len())
    };
    let perm = perm.filter(is_permutation);
    let perm = perm.ok_or_else(|| invalid("perm", given, "all dimensions once"))?;
    let dims: Vec<usize> = perm.iter().map(|&axis| from[axis]).collect();
    let own = strides(&from);
    let own: Vec<usize> = perm.iter().map(|&axis| own[axis]).collect();
    folder.picked(dims.clone(), |at| offset(at, &dims, &own))
}

pub(crate) fn expand(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    folder.attributes(&[])?;
    let to = positive(folder.ints(1)?, "shape")?;
    let from = folder.input(0)?.dims.clone();
    let dims = broadcast(&from, &to);
    let dims = dims.ok_or_else(|| folder.misfit(0, "it does not broadcast to the shape"))?;
    let own = broadcast_strides(&from, &dims);
    folder.picked(dims.clone(), |at| offset(at, &dims, &own))
}

pub(crate) fn constant_of_shape(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let value = folder.attributes(&["value"])?.tensor("value")?;
    let value = value
        .map(Constant::read)
        .transpose()
        .map_err(|source| NodeError::Tensor { value: "value".into(), source })?;
    let dims = positive(folder.ints(0)?, "shape")?;
    let len = folder.spend(&dims)?;
    let data = match value.map(|value| value.data) {
        None => Data::Floats(vec![0.0; len]),
        Some(Data::Floats(values)) if values.len() == 1 => Data::Floats(vec![values[0]; len]),
        Some(Data::Ints(values)) if values.len() == 1 => Data::Ints(vec![values[0]; len]),
        Some(Data::Bools(values)) if values.len() == 1 => Data::Bools(vec![values[0]; len]),
        Some(_) => return Err(invalid("value", "several", "one element")),
    };
    Ok(Constant { dims, data })
}

pub(crate) fn constant(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let known = ["value", "value_float", "value_floats", "value_int", "value_ints"];
    let attributes = folder.attributes(&known)?;
    if let Some(proto) = attributes.tensor("value")? {
        let fail = |source| NodeError::Tensor { value: "value".into(), source };
        let (dims, len) = crate::tensor::dims(proto).map_err(fail)?;
        let constant = Constant::read(proto).map_err(fail)?;
        debug_assert_eq!(constant.len(), len);
        folder.spend(&dims)?;
        return Ok(constant);
    }
    if let Some(value) = attributes.float("value_float")? {
        return Ok(Constant::floats(vec![], vec![value]));
    }
    if let Some(values) = attributes.floats("value_floats")? {
        return Ok(Constant::floats(vec![values.len()], values.to_vec()));
    }
    if let Some(value) = attributes.int("value_int")? {
        return Ok(Constant::ints(vec![], vec![value]));
    }
    if let Some(values) = attributes.ints("value_ints")? {
        return Ok(Constant::vector(values.to_vec()));
    }
    Err(NodeError::NoAttribute { name: "value" })
}
