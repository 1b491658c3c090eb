//! Operators that came with version 2 of the format: a second byte says which, their attributes follow.

use alloc::vec::Vec;

use super::cursor::{Cursor, push_varint};
use super::error::FormatError;
use crate::op::{Coordinates, Op, Pad, Resize, ResizeMode, Transpose, Unary};

const SIGMOID: u8 = 0;
const HARD_SIGMOID: u8 = 1;
const HARD_SWISH: u8 = 2;
const SILU: u8 = 3;
const TANH: u8 = 4;
const LEAKY_RELU: u8 = 5;
const ELU: u8 = 6;
const CLIP: u8 = 7;
const MUL: u8 = 8;
const PRELU: u8 = 9;
const RESIZE: u8 = 10;
const TRANSPOSE: u8 = 11;
const PAD: u8 = 12;

/// Whether files with the operator are of version 2.
pub(super) const fn is_needed(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Mul | Op::PRelu | Op::Resize(_) | Op::Transpose(_) | Op::Pad(_))
}

/// Reads what follows the first byte of a node. Whether attributes make sense is [`Op::infer`]'s to say.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Op, FormatError> {
    let at = cursor.at();
    let code = cursor.byte()?;
    Ok(match code {
        SIGMOID => Op::Unary(Unary::Sigmoid),
        HARD_SIGMOID => Op::Unary(Unary::HardSigmoid { alpha: cursor.f32()?, beta: cursor.f32()? }),
        HARD_SWISH => Op::Unary(Unary::HardSwish),
        SILU => Op::Unary(Unary::Silu),
        TANH => Op::Unary(Unary::Tanh),
        LEAKY_RELU => Op::Unary(Unary::LeakyRelu { alpha: cursor.f32()? }),
        ELU => Op::Unary(Unary::Elu { alpha: cursor.f32()? }),
        CLIP => Op::Unary(Unary::Clip { min: cursor.f32()?, max: cursor.f32()? }),
        MUL => Op::Mul,
        PRELU => Op::PRelu,
        RESIZE => {
            let at = cursor.at();
            let kind = cursor.byte()?;
            let mode = if kind & 1 == 0 { ResizeMode::Nearest } else { ResizeMode::Linear };
            let coordinates = match kind >> 1 {
                0 => Coordinates::HalfPixel,
                1 => Coordinates::AlignCorners,
                2 => Coordinates::Asymmetric,
                code => return Err(FormatError::UnknownCode { what: "coordinates", code, at }),
            };
            let [height, width] = [extent(cursor)?, extent(cursor)?];
            Op::Resize(Resize { height, width, mode, coordinates })
        }
        TRANSPOSE => {
            let at = cursor.at();
            let order = cursor.byte()?;
            if order >> 6 != 0 {
                return Err(FormatError::NotCanonical { at, what: "an order of axes" });
            }
            Op::Transpose(Transpose { order: [0, order & 3, order >> 2 & 3, order >> 4 & 3] })
        }
        PAD => Op::Pad(Pad {
            top: extent(cursor)?,
            left: extent(cursor)?,
            bottom: extent(cursor)?,
            right: extent(cursor)?,
        }),
        code => return Err(FormatError::UnknownCode { what: "operator", code, at }),
    })
}

fn extent(cursor: &mut Cursor<'_>) -> Result<usize, FormatError> {
    Ok(cursor.varint()? as usize)
}

/// Writes the second byte and the attributes of an operator of version 2, and nothing for others.
pub(super) fn push(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Unary(unary) => push_unary(out, *unary),
        Op::Mul => out.push(MUL),
        Op::PRelu => out.push(PRELU),
        Op::Resize(resize) => {
            let mode = u8::from(resize.mode == ResizeMode::Linear);
            let coordinates = match resize.coordinates {
                Coordinates::HalfPixel => 0,
                Coordinates::AlignCorners => 1,
                Coordinates::Asymmetric => 2,
            };
            out.extend([RESIZE, mode | coordinates << 1]);
            push_extents(out, &[resize.height, resize.width]);
        }
        Op::Transpose(transpose) => {
            let [_, a, b, c] = transpose.order.map(|axis| axis & 3);
            out.extend([TRANSPOSE, a | b << 2 | c << 4]);
        }
        Op::Pad(pad) => {
            out.push(PAD);
            push_extents(out, &[pad.top, pad.left, pad.bottom, pad.right]);
        }
        _ => {}
    }
}

fn push_extents(out: &mut Vec<u8>, extents: &[usize]) {
    for &extent in extents {
        // Op::infer allows none beyond 2^16.
        push_varint(out, u32::try_from(extent).unwrap_or(u32::MAX));
    }
}

fn push_unary(out: &mut Vec<u8>, unary: Unary) {
    let mut reals = |code: u8, reals: &[f32]| {
        out.push(code);
        for real in reals {
            out.extend(real.to_le_bytes());
        }
    };
    match unary {
        Unary::Sigmoid => reals(SIGMOID, &[]),
        Unary::HardSigmoid { alpha, beta } => reals(HARD_SIGMOID, &[alpha, beta]),
        Unary::HardSwish => reals(HARD_SWISH, &[]),
        Unary::Silu => reals(SILU, &[]),
        Unary::Tanh => reals(TANH, &[]),
        Unary::LeakyRelu { alpha } => reals(LEAKY_RELU, &[alpha]),
        Unary::Elu { alpha } => reals(ELU, &[alpha]),
        Unary::Clip { min, max } => reals(CLIP, &[min, max]),
    }
}
