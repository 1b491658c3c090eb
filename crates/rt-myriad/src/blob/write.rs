//! Writes a blob.

use super::desc::{Desc, Location, TensorRef};
use super::read::{BORDER, BlobError, ELF_LEN, HEADERS_LEN};
use super::stage::{Params, Slide, Stage};
use super::{ALIGNMENT, Blob, Io, MAGIC, MAX_GRAPH_BYTES, VERSION};
use crate::half;

/// Names are padded to a multiple of this.
const NAME_ALIGNMENT: usize = 16;
const ELF_START: [u8; 4] = *b"\x7felf";
/// Eight times the ELF-like header, which the vendor's writer says it has.
const STATED_ELF_LEN: u16 = 416;

/// The bytes of a blob.
///
/// # Errors
/// If they are more than a graph file may have.
pub fn write(blob: &Blob<'_>) -> Result<Vec<u8>, BlobError> {
    let mut out = vec![0; HEADERS_LEN];
    pad(&mut out);
    let inputs_at = out.len();
    push_infos(&mut out, &blob.inputs);
    let outputs_at = out.len();
    push_infos(&mut out, &blob.outputs);
    let stages_at = out.len();
    for stage in &blob.stages {
        push_stage(&mut out, blob, stage);
    }
    pad(&mut out);
    let constants_at = out.len();
    let found = constants_at + blob.constants.len().next_multiple_of(ALIGNMENT);
    if found > MAX_GRAPH_BYTES {
        let what = "the graph file";
        return Err(BlobError::TooLarge { what, found, allowed: MAX_GRAPH_BYTES });
    }
    out.reserve_exact(found - out.len());
    out.extend_from_slice(&blob.constants);
    pad(&mut out);

    out[..4].copy_from_slice(&ELF_START);
    // Type 1, machine 2, version 2, and the length of the header.
    for (at, value) in [(16, 1), (18, 2), (20, 2), (40, STATED_ELF_LEN)] {
        out[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    let has_dma = blob.stages.iter().any(|stage| stage.kind.is_dma());
    let has_shave = blob.stages.iter().any(|stage| !stage.kind.is_dma());
    let fields = [
        MAGIC,
        word(out.len()),
        VERSION[0],
        VERSION[1],
        word(blob.inputs.len()),
        word(blob.outputs.len()),
        word(blob.stages.len()),
        blob.inputs_bytes,
        blob.outputs_bytes,
        blob.batch,
        blob.bss_bytes,
        blob.cmx_slices,
        blob.shaves,
        // This chip has no engine for whole layers.
        0,
        u32::from(has_shave),
        u32::from(has_dma),
        word(inputs_at),
        word(outputs_at),
        word(stages_at),
        word(constants_at),
    ];
    for (slot, field) in out[ELF_LEN..].chunks_exact_mut(4).zip(fields) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    Ok(out)
}

/// Counts and offsets of a file that is checked to be below 2^32.
fn word(value: usize) -> u32 {
    u32::try_from(value).expect("files of graphs are far below 4 GiB")
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

fn push(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn push_infos(out: &mut Vec<u8>, infos: &[Io]) {
    for (index, info) in infos.iter().enumerate() {
        push(out, word(index));
        push(out, info.offset);
        let name_len = info.name.len().next_multiple_of(NAME_ALIGNMENT);
        push(out, word(name_len));
        let end = out.len() + name_len;
        out.extend(info.name.as_bytes());
        out.resize(end, 0);
        push_desc(out, &info.desc);
    }
    pad(out);
}

fn push_desc(out: &mut Vec<u8>, desc: &Desc) {
    push(out, desc.element.code());
    push(out, desc.order.0);
    push(out, word(desc.dims.len()));
    desc.dims.iter().chain(&desc.strides).for_each(|&value| push(out, value));
}

fn push_stage(out: &mut Vec<u8>, blob: &Blob<'_>, stage: &Stage) {
    let start = out.len();
    push(out, 0);
    push(out, stage.kind.0.cast_unsigned());
    push(out, stage.shaves);
    let params_at = out.len();
    push(out, 0);
    push_params(out, &stage.params);
    let params_len = word(out.len() - params_at);
    out[params_at..params_at + 4].copy_from_slice(&params_len.to_le_bytes());
    for tensor in &stage.buffers {
        push_tensor(out, blob, tensor);
    }
    push(out, stage.kind.0.cast_unsigned());
    push(out, BORDER);
    let len = word(out.len() - start);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

fn push_params(out: &mut Vec<u8>, params: &Params) {
    let slide = |out: &mut Vec<u8>, slide: &Slide| {
        for value in slide.kernel.iter().chain(&slide.stride).chain(&slide.pad) {
            push(out, *value);
        }
    };
    let mut floats = |values: &[f32]| {
        values.iter().for_each(|value| push(out, value.to_bits()));
    };
    match params {
        Params::None => {}
        Params::Conv(window, dilation) => {
            slide(out, window);
            dilation.iter().for_each(|&value| push(out, value));
        }
        Params::Pool(window, exclude_pads) => {
            slide(out, window);
            push(out, u32::from(*exclude_pads));
        }
        Params::Relu { has_bias, slope } => {
            push(out, u32::from(*has_bias));
            push(out, slope.to_bits());
        }
        Params::Elu { alpha } => floats(&[*alpha]),
        Params::Clamp { min, max } => floats(&[*min, *max]),
        Params::Power { bias, scale, power } => floats(&[*bias, *scale, *power]),
        Params::Softmax { axis } => push(out, axis.cast_unsigned()),
        Params::Lrn { size, k, alpha, beta } => {
            push(out, *size);
            for value in [*k, *alpha, *beta, 0.0] {
                out.extend(half::from_f32(value).to_le_bytes());
            }
        }
        Params::Eltwise(eltwise) => {
            floats(&eltwise.factors);
            push(out, eltwise.post.cast_unsigned());
            for value in [eltwise.slope, eltwise.bounds[0], eltwise.bounds[1]] {
                push(out, value.to_bits());
            }
        }
        Params::Permute(order) => order.iter().for_each(|at| push(out, at.cast_unsigned())),
        Params::Convert { scale, bias, flags } => {
            floats(&[*scale, *bias]);
            flags.iter().for_each(|&flag| push(out, flag));
        }
        Params::Other(bytes) => out.extend(bytes),
    }
}

fn push_tensor(out: &mut Vec<u8>, blob: &Blob<'_>, tensor: &TensorRef) {
    push_desc(out, &tensor.desc);
    let whole = |list: &[Io], index: u32| {
        let io = usize::try_from(index).ok().and_then(|index| list.get(index));
        io.and_then(|io| io.desc.extent_bytes()).map_or(0, word)
    };
    let (code, io) = match tensor.location {
        Location::None => (0, None),
        Location::Input(index) => (1, Some((index, whole(&blob.inputs, index)))),
        Location::Output(index) => (2, Some((index, whole(&blob.outputs, index)))),
        Location::Constants => (3, None),
        Location::Bss => (4, None),
        Location::Cmx => (5, None),
    };
    push(out, code);
    if let Some((index, bytes)) = io {
        push(out, index);
        push(out, bytes);
    }
    push(out, tensor.offset);
}
