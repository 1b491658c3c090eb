//! Arithmetic on constants.

use super::{Folder, broadcast, broadcast_strides, offset};
use crate::attributes::invalid;
use crate::error::NodeError;
use crate::import::pool::axis_of;
use crate::tensor::{Constant, Data};

pub(crate) fn range(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    // How sums are rounded does not matter to integers.
    folder.attributes(&["stash_type"])?;
    let one = |index: usize| match folder.ints(index) {
        Ok(&[value]) => Ok(value),
        _ => Err(invalid("input", index, "one integer")),
    };
    let [start, limit, delta] = [one(0)?, one(1)?, one(2)?];
    if delta == 0 {
        return Err(invalid("delta", delta, "not zero"));
    }
    let span = i128::from(limit) - i128::from(start);
    let count = (span + i128::from(delta) - i128::from(delta.signum())) / i128::from(delta);
    let count = usize::try_from(count.max(0)).map_err(|_| NodeError::Amplified)?;
    folder.spend(&[count])?;
    let value = |at: usize| {
        start.saturating_add(delta.saturating_mul(i64::try_from(at).unwrap_or(i64::MAX)))
    };
    Ok(Constant::vector((0..count).map(value).collect()))
}

/// Element-wise operators of two constants; Sum, Min and Max of any number.
pub(crate) fn binary(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let found = folder.inputs.len();
    let is_any = matches!(folder.node.op_type.as_str(), "Sum" | "Min" | "Max");
    if found == 1 && is_any {
        folder.attributes(&[])?;
        return Ok(folder.input(0)?.clone());
    }
    if found < 2 || (found > 2 && !is_any) {
        return Err(NodeError::Count { what: "inputs", found, expected: "2" });
    }
    let mut result = pair(folder)?;
    while folder.inputs.len() > 2 {
        folder.inputs.remove(0);
        folder.inputs[0] = Some(result);
        result = pair(folder)?;
    }
    Ok(result)
}

/// Inputs 0 and 1, element by element.
fn pair(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let op = folder.node.op_type.clone();
    // `fmod` of Mod asks for the sign of C's remainder.
    let truncated = match op.as_str() {
        "Mod" => folder.attributes(&["fmod"])?.flag("fmod", false)?,
        _ => {
            folder.attributes(&[])?;
            false
        }
    };
    let [lhs, mut rhs] = [folder.input(0)?.clone(), folder.input(1)?.clone()];
    if op == "Pow" {
        rhs = like(rhs, &lhs);
    }
    let dims = broadcast(&lhs.dims, &rhs.dims);
    let dims = dims.ok_or_else(|| folder.misfit(1, "it does not broadcast to the first input"))?;
    let len = folder.spend(&dims)?;
    let places = [&lhs, &rhs].map(|side| broadcast_strides(&side.dims, &dims));
    let pairs = (0..len).map(|at| places.each_ref().map(|own| offset(at, &dims, own)));
    let fail = || invalid("input", &op, "it is not computed on constants of these types");
    let data = match (&lhs.data, &rhs.data) {
        (Data::Ints(a), Data::Ints(b)) => {
            let mut ints = Vec::new();
            let mut bools = Vec::new();
            for [i, j] in pairs {
                let (a, b) = (a[i], b[j]);
                match compare(&op, a, b) {
                    Some(holds) => bools.push(holds),
                    None => ints.push(int_binary(&op, a, b, truncated).ok_or_else(fail)?),
                }
            }
            if bools.is_empty() { Data::Ints(ints) } else { Data::Bools(bools) }
        }
        (Data::Floats(a), Data::Floats(b)) => {
            let mut floats = Vec::new();
            let mut bools = Vec::new();
            for [i, j] in pairs {
                let (a, b) = (a[i], b[j]);
                match compare(&op, a, b) {
                    Some(holds) => bools.push(holds),
                    None if op == "Mod" && truncated => floats.push(a % b),
                    None => floats.push(float_binary(&op, a, b).ok_or_else(fail)?),
                }
            }
            if bools.is_empty() { Data::Floats(floats) } else { Data::Bools(bools) }
        }
        (Data::Bools(a), Data::Bools(b)) => Data::Bools(
            pairs
                .map(|[i, j]| match op.as_str() {
                    "And" => Ok(a[i] && b[j]),
                    "Or" => Ok(a[i] || b[j]),
                    "Equal" => Ok(a[i] == b[j]),
                    _ => Err(fail()),
                })
                .collect::<Result<_, _>>()?,
        ),
        _ => return Err(fail()),
    };
    Ok(Constant { dims, data })
}

/// The exponent in the type of the base, where it has a value there.
fn like(exponent: Constant, base: &Constant) -> Constant {
    let Constant { dims, data } = exponent;
    #[expect(clippy::cast_precision_loss, reason = "exponents are small")]
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers only")]
    let data = match (data, &base.data) {
        (Data::Ints(values), Data::Floats(_)) => {
            Data::Floats(values.iter().map(|&value| value as f32).collect())
        }
        (Data::Floats(values), Data::Ints(_))
            if values.iter().all(|value| value.fract() == 0.0) =>
        {
            Data::Ints(values.iter().map(|&value| value as i64).collect())
        }
        (data, _) => data,
    };
    Constant { dims, data }
}

/// Whether the comparison holds; `None` for operators that do not compare numbers.
fn compare<T: PartialOrd>(op: &str, a: T, b: T) -> Option<bool> {
    match op {
        "Equal" => Some(a == b),
        "Less" => Some(a < b),
        "LessOrEqual" => Some(a <= b),
        "Greater" => Some(a > b),
        "GreaterOrEqual" => Some(a >= b),
        _ => None,
    }
}

fn int_binary(op: &str, a: i64, b: i64, truncated: bool) -> Option<i64> {
    match op {
        "Add" | "Sum" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        // Integers divide towards zero.
        "Div" => a.checked_div(b),
        "Mod" if truncated => a.checked_rem(b),
        // The sign of the divisor.
        "Mod" => {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        _ => None,
    }
}

fn float_binary(op: &str, a: f32, b: f32) -> Option<f32> {
    Some(match op {
        "Add" | "Sum" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" => a.powf(b),
        "Min" => a.min(b),
        "Max" => a.max(b),
        _ => return None,
    })
}

/// Element-wise operators of one constant.
pub(crate) fn unary(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    folder.attributes(&[])?;
    let op = folder.node.op_type.clone();
    let Constant { dims, data } = folder.input(0)?.clone();
    let fail = || invalid("input", &op, "it is not computed on constants of this type");
    let data = match data {
        Data::Floats(values) => {
            let apply: fn(f32) -> f32 = match op.as_str() {
                "Neg" => |x| -x,
                "Abs" => f32::abs,
                "Sqrt" => f32::sqrt,
                "Floor" => f32::floor,
                "Ceil" => f32::ceil,
                "Round" => f32::round_ties_even,
                "Exp" => f32::exp,
                "Log" => f32::ln,
                "Reciprocal" => f32::recip,
                _ => return Err(fail()),
            };
            Data::Floats(values.into_iter().map(apply).collect())
        }
        Data::Ints(values) => {
            let apply: fn(i64) -> Option<i64> = match op.as_str() {
                "Neg" => i64::checked_neg,
                "Abs" => i64::checked_abs,
                "Floor" | "Ceil" | "Round" => Some,
                _ => return Err(fail()),
            };
            let values: Option<Vec<i64>> = values.into_iter().map(apply).collect();
            Data::Ints(values.ok_or_else(fail)?)
        }
        Data::Bools(values) if op == "Not" => {
            Data::Bools(values.into_iter().map(|value| !value).collect())
        }
        Data::Bools(_) => return Err(fail()),
    };
    Ok(Constant { dims, data })
}

/// One of two constants, element by element.
pub(crate) fn choose(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    folder.attributes(&[])?;
    let [condition, yes, no] =
        [folder.input(0)?.clone(), folder.input(1)?.clone(), folder.input(2)?.clone()];
    let fail = || NodeError::Dims {
        value: folder.node.input[0].clone(),
        dims: condition.dims.clone(),
        reason: "the inputs do not broadcast to each other, or have other element types",
    };
    let dims = broadcast(&condition.dims, &yes.dims);
    let dims = dims.and_then(|dims| broadcast(&dims, &no.dims)).ok_or_else(fail)?;
    let places = [&condition, &yes, &no].map(|side| broadcast_strides(&side.dims, &dims));
    let Data::Bools(flags) = &condition.data else { return Err(fail()) };
    let error = fail();
    let len = folder.spend(&dims)?;
    let places = (0..len).map(|at| places.each_ref().map(|own| offset(at, &dims, own)));
    macro_rules! pick {
        ($a:expr, $b:expr) => {
            places.map(|[flag, i, j]| if flags[flag] { $a[i] } else { $b[j] }).collect()
        };
    }
    let data = match (&yes.data, &no.data) {
        (Data::Floats(a), Data::Floats(b)) => Data::Floats(pick!(a, b)),
        (Data::Ints(a), Data::Ints(b)) => Data::Ints(pick!(a, b)),
        (Data::Bools(a), Data::Bools(b)) => Data::Bools(pick!(a, b)),
        _ => return Err(error),
    };
    Ok(Constant { dims, data })
}

/// Product, sum, smallest or largest along some dimensions.
pub(crate) fn reduce(folder: &mut Folder<'_>) -> Result<Constant, NodeError> {
    let attributes = folder.attributes(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let keep = attributes.flag("keepdims", true)?;
    let nothing = attributes.flag("noop_with_empty_axes", false)?;
    let from = folder.input(0)?.dims.clone();
    let given = folder.ints_or(attributes.ints("axes")?, 1)?.unwrap_or_default();
    let axes: Option<Vec<usize>> = match given.as_slice() {
        [] if nothing => return Ok(folder.input(0)?.clone()),
        [] => Some((0..from.len()).collect()),
        some => some.iter().map(|&axis| axis_of(axis, from.len())).collect(),
    };
    let axes = axes.ok_or_else(|| invalid("axes", &given, "dimensions of the input"))?;
    let is_kept = |axis: usize| !axes.contains(&axis);
    let wide: Vec<usize> =
        (0..from.len()).map(|axis| if is_kept(axis) { from[axis] } else { 1 }).collect();
    let dims = (0..from.len()).filter(|&axis| keep || is_kept(axis)).map(|axis| wide[axis]);
    let dims: Vec<usize> = dims.collect();
    let len = folder.spend(&wide)?;
    let op = folder.node.op_type.clone();
    let places = broadcast_strides(&wide, &from);
    let fail = || folder.misfit(0, "it has no elements, or the result does not fit");
    let pair = match op.as_str() {
        "ReduceProd" => "Mul",
        "ReduceSum" => "Add",
        "ReduceMax" => "Max",
        _ => "Min",
    };
    let data = match &folder.input(0)?.data {
        Data::Ints(values) => {
            let mut out: Vec<Option<i64>> = vec![None; len];
            for (at, &value) in values.iter().enumerate() {
                let slot = &mut out[offset(at, &from, &places)];
                *slot = Some(match *slot {
                    None => value,
                    Some(sum) => int_binary(pair, sum, value, false).ok_or_else(fail)?,
                });
            }
            Data::Ints(out.into_iter().collect::<Option<_>>().ok_or_else(fail)?)
        }
        Data::Floats(values) => {
            let mut out: Vec<Option<f32>> = vec![None; len];
            for (at, &value) in values.iter().enumerate() {
                let slot = &mut out[offset(at, &from, &places)];
                let sum = slot.map_or(Some(value), |sum| float_binary(pair, sum, value));
                *slot = Some(sum.ok_or_else(fail)?);
            }
            Data::Floats(out.into_iter().collect::<Option<_>>().ok_or_else(fail)?)
        }
        Data::Bools(_) => return Err(fail()),
    };
    Ok(Constant { dims, data })
}
