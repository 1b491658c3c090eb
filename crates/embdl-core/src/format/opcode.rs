//! Operators and their attributes as bytes. Defaults cost nothing: a convolution without pads takes two bytes.

use alloc::vec::Vec;

use super::cursor::{Cursor, push_varint};
use super::error::FormatError;
use super::opcode_two;
use crate::op::{Activation, Concat, Conv2d, Dense, Lrn, Op, Pool, PoolKind, Reshape, Window};
use crate::tensor::{MAX_RANK, Shape};

/// First byte of a node: operator in bits 0 to 3, activation in bits 4 and 5.
const EXPLICIT_INPUT: u8 = 1 << 6;
const OUTPUT_QUANT: u8 = 1 << 7;

const CONV2D: u8 = 0;
const DENSE: u8 = 1;
const MAX_POOL: u8 = 2;
const AVERAGE_POOL: u8 = 3;
const GLOBAL_AVERAGE_POOL: u8 = 4;
const ACTIVATION: u8 = 5;
const ADD: u8 = 6;
const CONCAT: u8 = 7;
const LRN: u8 = 8;
const SOFTMAX: u8 = 9;
const FLATTEN: u8 = 10;
const RESHAPE: u8 = 11;
const QUANTIZE: u8 = 12;
const DEQUANTIZE: u8 = 13;
/// A second byte with the operator follows; since version 2.
const MORE: u8 = 14;

/// Second byte of layers with weights.
const BIAS: u8 = 1 << 0;
const EXPLICIT_TENSORS: u8 = 1 << 1;
/// Second byte of pools.
const CEIL: u8 = 1 << 0;
const INCLUDE_PADS: u8 = 1 << 1;
/// Second byte of everything with a window.
const STRIDE: u8 = 1 << 2;
const DILATION: u8 = 1 << 3;
const PADS: u8 = 1 << 4;
const GROUPS: u8 = 1 << 5;
const UNEVEN: u8 = 1 << 6;

/// A node without its operands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// The operator. A convolution's kernel is known only with its weight; until then it is 1x1.
    pub(super) op: Op,
    /// How many inputs follow as distances; `None` where the only input is the newest value.
    pub(super) inputs: Option<u32>,
    /// Whether scale and zero point of the result follow.
    pub(super) has_quant: bool,
    /// Whether there is a bias.
    pub(super) has_bias: bool,
    /// Whether tensors are given by index.
    pub(super) explicit_tensors: bool,
}

impl Head {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, FormatError> {
        let at = cursor.at();
        let first = cursor.byte()?;
        let (code, activation) = (first & 0xf, activation(first >> 4 & 3, at)?);
        let takes_activation = matches!(code, CONV2D | DENSE | ACTIVATION | ADD);
        if activation != Activation::None && !takes_activation {
            return Err(FormatError::NotCanonical { at, what: "an operator" });
        }
        let mut head = Self {
            op: Op::Softmax,
            inputs: (first & EXPLICIT_INPUT != 0).then_some(1),
            has_quant: first & OUTPUT_QUANT != 0,
            has_bias: false,
            explicit_tensors: false,
        };
        head.op = match code {
            CONV2D => {
                let at = cursor.at();
                let flags = cursor.byte()?;
                let window = read_window(cursor, flags, [1; 2], [1; 2], at)?;
                let groups = if flags & GROUPS == 0 { 1 } else { other_than(1, cursor)? };
                head.has_bias = flags & BIAS != 0;
                head.explicit_tensors = flags & EXPLICIT_TENSORS != 0;
                if flags >> 7 != 0 {
                    return Err(FormatError::NotCanonical { at, what: "flags" });
                }
                Op::Conv2d(Conv2d { window, groups, activation })
            }
            DENSE => {
                let at = cursor.at();
                let flags = cursor.byte()?;
                if flags & !(BIAS | EXPLICIT_TENSORS) != 0 {
                    return Err(FormatError::NotCanonical { at, what: "flags" });
                }
                head.has_bias = flags & BIAS != 0;
                head.explicit_tensors = flags & EXPLICIT_TENSORS != 0;
                Op::Dense(Dense { activation })
            }
            MAX_POOL | AVERAGE_POOL => Op::Pool(read_pool(cursor, code == MAX_POOL)?),
            GLOBAL_AVERAGE_POOL => Op::GlobalAveragePool,
            ACTIVATION => Op::Activation(activation),
            ADD | CONCAT => {
                if head.inputs.is_some() {
                    return Err(FormatError::NotCanonical { at, what: "an operator" });
                }
                if code == ADD {
                    head.inputs = Some(2);
                    Op::Add(activation)
                } else {
                    let axis = cursor.varint()?;
                    head.inputs = Some(cursor.varint()?);
                    Op::Concat(Concat { axis })
                }
            }
            LRN => {
                let size = cursor.varint()?;
                let mut real = || {
                    let value = cursor.f32()?;
                    let what = "an attribute of lrn";
                    if value.is_finite() {
                        Ok(value)
                    } else {
                        Err(FormatError::NotFinite { what, value })
                    }
                };
                Op::Lrn(Lrn { size, alpha: real()?, beta: real()?, bias: real()? })
            }
            SOFTMAX => Op::Softmax,
            FLATTEN => Op::Flatten,
            RESHAPE => {
                let at = cursor.at();
                let rank = cursor.byte()?;
                Op::Reshape(Reshape { shape: read_shape(cursor, rank, at)? })
            }
            QUANTIZE => Op::Quantize,
            DEQUANTIZE => Op::Dequantize,
            MORE => {
                let op = opcode_two::read(cursor)?;
                if op == Op::Mul {
                    if head.inputs.is_some() {
                        return Err(FormatError::NotCanonical { at, what: "an operator" });
                    }
                    head.inputs = Some(2);
                }
                if op == Op::PRelu {
                    let at = cursor.at();
                    let flags = cursor.byte()?;
                    if flags & !EXPLICIT_TENSORS != 0 {
                        return Err(FormatError::NotCanonical { at, what: "flags" });
                    }
                    head.explicit_tensors = flags & EXPLICIT_TENSORS != 0;
                }
                op
            }
            _ => return Err(FormatError::UnknownCode { what: "operator", code, at }),
        };
        Ok(head)
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let code = match &self.op {
            Op::Conv2d(_) => CONV2D,
            Op::Dense(_) => DENSE,
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => MAX_POOL,
            Op::Pool(_) => AVERAGE_POOL,
            Op::GlobalAveragePool => GLOBAL_AVERAGE_POOL,
            Op::Activation(_) => ACTIVATION,
            Op::Add(_) => ADD,
            Op::Concat(_) => CONCAT,
            Op::Lrn(_) => LRN,
            Op::BatchNorm(_) => unreachable!("the check of the node refuses it"),
            Op::Softmax => SOFTMAX,
            Op::Flatten => FLATTEN,
            Op::Reshape(_) => RESHAPE,
            Op::Quantize => QUANTIZE,
            Op::Dequantize => DEQUANTIZE,
            Op::Unary(_) | Op::Mul | Op::PRelu | Op::Resize(_) | Op::Transpose(_) | Op::Pad(_) => {
                MORE
            }
        };
        let activation = match self.op.activation() {
            Activation::None => 0,
            Activation::Relu => 1 << 4,
            Activation::Relu6 => 2 << 4,
        };
        let explicit =
            if self.inputs.is_some() && !lists_inputs(&self.op) { EXPLICIT_INPUT } else { 0 };
        let quant = if self.has_quant { OUTPUT_QUANT } else { 0 };
        out.push(code | activation | explicit | quant);
        let tensors = if self.has_bias { BIAS } else { 0 }
            | if self.explicit_tensors { EXPLICIT_TENSORS } else { 0 };
        match &self.op {
            Op::Conv2d(conv) => {
                let groups = if conv.groups == 1 { 0 } else { GROUPS };
                push_window(out, tensors | groups, &conv.window, [1; 2], None);
                if conv.groups != 1 {
                    push_varint(out, conv.groups);
                }
            }
            Op::Dense(_) => out.push(tensors),
            Op::Pool(pool) => {
                let mut flags = if pool.ceil { CEIL } else { 0 };
                if pool.kind == (PoolKind::Average { include_pads: true }) {
                    flags |= INCLUDE_PADS;
                }
                push_window(out, flags, &pool.window, pool.window.kernel, Some(pool.window.kernel));
            }
            Op::Concat(concat) => {
                push_varint(out, concat.axis);
                push_varint(out, self.inputs.unwrap_or(0));
            }
            Op::Lrn(lrn) => {
                push_varint(out, lrn.size);
                for real in [lrn.alpha, lrn.beta, lrn.bias] {
                    out.extend(real.to_le_bytes());
                }
            }
            Op::Reshape(reshape) => push_shape(out, 0, reshape.shape),
            Op::PRelu => {
                opcode_two::push(out, &self.op);
                out.push(tensors);
            }
            op => opcode_two::push(out, op),
        }
    }
}

/// Whether all inputs of the operator are written, not only one that is not the newest value.
pub(super) const fn lists_inputs(op: &Op) -> bool {
    matches!(op, Op::Add(_) | Op::Concat(_) | Op::Mul)
}

fn activation(code: u8, at: usize) -> Result<Activation, FormatError> {
    match code {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        2 => Ok(Activation::Relu6),
        _ => Err(FormatError::UnknownCode { what: "activation", code, at }),
    }
}

fn read_pool(cursor: &mut Cursor<'_>, is_max: bool) -> Result<Pool, FormatError> {
    let at = cursor.at();
    let flags = cursor.byte()?;
    if flags & (GROUPS | 1 << 7) != 0 || (is_max && flags & INCLUDE_PADS != 0) {
        return Err(FormatError::NotCanonical { at, what: "flags" });
    }
    let kernel = if flags & UNEVEN == 0 {
        [cursor.varint()?; 2]
    } else {
        [cursor.varint()?, cursor.varint()?]
    };
    let window = read_window(cursor, flags, kernel, kernel, at)?;
    let kind = if is_max {
        PoolKind::Max
    } else {
        PoolKind::Average { include_pads: flags & INCLUDE_PADS != 0 }
    };
    Ok(Pool { kind, window, ceil: flags & CEIL != 0 })
}

/// Reads what the flags announce. `UNEVEN` must be needed, and what is announced must not be the default.
fn read_window(
    cursor: &mut Cursor<'_>,
    flags: u8,
    kernel: [u32; 2],
    default_stride: [u32; 2],
    at: usize,
) -> Result<Window, FormatError> {
    let uneven = flags & UNEVEN != 0;
    let mut is_uneven = kernel[0] != kernel[1];
    let mut pair = |cursor: &mut Cursor<'_>, flag, default: [u32; 2]| {
        if flags & flag == 0 {
            return Ok(default);
        }
        let first = cursor.varint()?;
        let pair = [first, if uneven { cursor.varint()? } else { first }];
        is_uneven |= pair[0] != pair[1];
        if pair == default {
            return Err(FormatError::NotCanonical { at, what: "a window" });
        }
        Ok(pair)
    };
    let stride = pair(cursor, STRIDE, default_stride)?;
    let dilation = pair(cursor, DILATION, [1; 2])?;
    let mut pads = [0; 4];
    if flags & PADS != 0 {
        pads = [cursor.varint()?; 4];
        if uneven {
            for pad in &mut pads[1..] {
                *pad = cursor.varint()?;
            }
        }
        if pads == [0; 4] {
            return Err(FormatError::NotCanonical { at, what: "a window" });
        }
        is_uneven |= pads != [pads[0]; 4];
    }
    if uneven != is_uneven {
        return Err(FormatError::NotCanonical { at, what: "a window" });
    }
    Ok(Window { kernel, stride, dilation, pads })
}

/// `kernel` is given where it is written too.
fn push_window(
    out: &mut Vec<u8>,
    mut flags: u8,
    window: &Window,
    default_stride: [u32; 2],
    kernel: Option<[u32; 2]>,
) {
    let has_stride = window.stride != default_stride;
    let has_dilation = window.dilation != [1; 2];
    let has_pads = window.pads != [0; 4];
    let differ = |pair: [u32; 2]| pair[0] != pair[1];
    let uneven = kernel.is_some_and(differ)
        || (has_stride && differ(window.stride))
        || differ(window.dilation)
        || window.pads != [window.pads[0]; 4];
    for (present, flag) in
        [(has_stride, STRIDE), (has_dilation, DILATION), (has_pads, PADS), (uneven, UNEVEN)]
    {
        if present {
            flags |= flag;
        }
    }
    out.push(flags);
    let mut push = |fields: &[u32]| {
        for &field in &fields[..if uneven { fields.len() } else { 1 }] {
            push_varint(out, field);
        }
    };
    if let Some(kernel) = kernel {
        push(&kernel);
    }
    if has_stride {
        push(&window.stride);
    }
    if has_dilation {
        push(&window.dilation);
    }
    if has_pads {
        push(&window.pads);
    }
}

/// A varint that is not the default, which would not be written.
fn other_than(default: u32, cursor: &mut Cursor<'_>) -> Result<u32, FormatError> {
    let at = cursor.at();
    let value = cursor.varint()?;
    if value == default {
        return Err(FormatError::NotCanonical { at, what: "an attribute" });
    }
    Ok(value)
}

/// A shape for a batch of one, which is not written.
pub(super) fn read_shape(
    cursor: &mut Cursor<'_>,
    rank: u8,
    at: usize,
) -> Result<Shape, FormatError> {
    let rank = usize::from(rank);
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(FormatError::NotCanonical { at, what: "a rank" });
    }
    let mut dims = [1; MAX_RANK];
    for dim in &mut dims[1..rank] {
        *dim = cursor.varint()? as usize;
    }
    let shape = Shape::new(&dims[..rank]).expect("at most four dimensions of u32");
    if shape.is_empty() || shape.checked_len().is_none() {
        return Err(FormatError::BadShape { what: "a value", shape });
    }
    Ok(shape)
}

/// Writes `flags` with the rank, then all dimensions but the batch.
pub(super) fn push_shape(out: &mut Vec<u8>, flags: u8, shape: Shape) {
    #[expect(clippy::cast_possible_truncation, reason = "a rank is at most 4")]
    out.push(flags | shape.rank() as u8);
    for dim in shape.iter().skip(1) {
        push_varint(out, u32::try_from(dim).expect("dimensions are u32"));
    }
}
