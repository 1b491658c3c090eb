//! Reads a blob. Hostile bytes give an error, and never more memory than the file has bytes.

use std::borrow::Cow;

use super::desc::{Desc, ElementType, Location, Order, TensorRef};
use super::stage::{BUFFERS_LAST, Eltwise, Params, Slide, Stage, StageKind};
use super::{Blob, CMX_BYTES, Io, MAGIC, MAX_DDR_BYTES, MAX_GRAPH_BYTES, VERSION};
use crate::half;

/// Bytes of the ELF-like header.
pub(super) const ELF_LEN: usize = 52;
/// Bytes of both headers.
pub(super) const HEADERS_LEN: usize = ELF_LEN + 80;
/// Ends every stage.
pub(super) const BORDER: u32 = 0x7f83_ff19;
/// Longest name of an input or output.
const MAX_NAME_LEN: u32 = 1024;

/// Why bytes are no blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It is too short for its headers.
    #[error("{len} bytes are no compiled graph: its headers have {HEADERS_LEN}")]
    TooShort {
        /// Bytes that there are.
        len: usize,
    },
    /// Another kind of file.
    #[error("no compiled graph of this format: magic {found:#x} instead of {MAGIC:#x}")]
    Magic {
        /// The magic number that it has.
        found: u32,
    },
    /// Another version, for other firmware.
    #[error("a compiled graph of version {}.{}, this reads {}.{} (OpenVINO 2019 R2 to 2020.3)", .found[0], .found[1], VERSION[0], VERSION[1])]
    Version {
        /// The version that it has.
        found: [u32; 2],
    },
    /// Its length is not the one that it says.
    #[error("the file has {len} bytes and says {stated}: is it truncated?")]
    Length {
        /// Bytes that there are.
        len: usize,
        /// Bytes that the header says.
        stated: u32,
    },
    /// Larger than what the chip takes.
    #[error("{what}: {found} bytes, at most {allowed} are possible")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Bytes.
        found: usize,
        /// Bytes that are possible.
        allowed: usize,
    },
    /// A section is outside of the file, or ends early.
    #[error("{what} goes beyond the end of its section at byte {at}")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{what} at byte {at} is {found}: {reason}")]
    Field {
        /// What was read.
        what: &'static str,
        /// Where.
        at: usize,
        /// Its value.
        found: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A stage has more or less bytes than it says.
    #[error("stage {stage} ({kind}): {reason}")]
    Stage {
        /// Its number.
        stage: usize,
        /// What it computes.
        kind: StageKind,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tensor goes beyond the memory that it is in.
    #[error(
        "tensor {buffer} of stage {stage} ends at byte {end} of its memory, which has {available}"
    )]
    TensorOutside {
        /// Number of the stage.
        stage: usize,
        /// Number of the tensor in it.
        buffer: usize,
        /// Where it ends.
        end: usize,
        /// Bytes that there are.
        available: usize,
    },
}

/// Reads a blob of version 5.0. Afterwards every tensor is known to lie within its memory, and every memory within the
/// limits of the chip; whether a stage can be computed is up to who computes it.
///
/// # Errors
/// If it is none.
pub fn read(bytes: &[u8]) -> Result<Blob<'_>, BlobError> {
    let header = Header::read(bytes)?;
    let limit = |what, found: u32, allowed: usize| match found as usize {
        found if found > allowed => Err(BlobError::TooLarge { what, found, allowed }),
        _ => Ok(()),
    };
    limit("intermediate tensors", header.bss_bytes, MAX_DDR_BYTES)?;
    limit("inputs", header.inputs_bytes, MAX_DDR_BYTES)?;
    limit("outputs", header.outputs_bytes, MAX_DDR_BYTES)?;
    let [input_info, output_info, stages, constants] = header.sections;
    let end = bytes.len();
    let io = |from: usize, to: usize, count: u32, total: u32| {
        let mut cursor = Cursor::section(bytes, from, to)?;
        let mut list = Vec::new();
        for index in 0..count {
            list.push(read_io(&mut cursor, index, total)?);
        }
        Ok(list)
    };
    let inputs = io(input_info, output_info, header.counts[0], header.inputs_bytes)?;
    let outputs = io(output_info, stages, header.counts[1], header.outputs_bytes)?;
    let constants_bytes = bytes.get(constants..end).unwrap_or_default();
    let blob = Blob {
        inputs,
        outputs,
        inputs_bytes: header.inputs_bytes,
        outputs_bytes: header.outputs_bytes,
        batch: header.batch,
        bss_bytes: header.bss_bytes,
        cmx_slices: header.cmx_slices,
        shaves: header.shaves,
        stages: Vec::new(),
        constants: Cow::Borrowed(constants_bytes),
    };
    let mut cursor = Cursor::section(bytes, stages, constants)?;
    let mut list = Vec::new();
    for index in 0..header.counts[2] as usize {
        let stage = read_stage(&mut cursor, index)?;
        for (buffer, tensor) in stage.buffers.iter().enumerate() {
            check_place(&blob, tensor, index, buffer)?;
        }
        list.push(stage);
    }
    Ok(Blob { stages: list, ..blob })
}

/// The fields of both headers.
struct Header {
    counts: [u32; 3],
    inputs_bytes: u32,
    outputs_bytes: u32,
    batch: u32,
    bss_bytes: u32,
    cmx_slices: u32,
    shaves: u32,
    /// Where input info, output info, stages and constants start.
    sections: [usize; 4],
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() < HEADERS_LEN {
            return Err(BlobError::TooShort { len: bytes.len() });
        }
        if bytes.len() > MAX_GRAPH_BYTES {
            let (found, allowed) = (bytes.len(), MAX_GRAPH_BYTES);
            return Err(BlobError::TooLarge { what: "the graph file", found, allowed });
        }
        let mut cursor = Cursor::section(bytes, ELF_LEN, HEADERS_LEN)?;
        let mut word = || cursor.u32("the header");
        let found = word()?;
        if found != MAGIC {
            return Err(BlobError::Magic { found });
        }
        let stated = word()?;
        let version = [word()?, word()?];
        if version != VERSION {
            return Err(BlobError::Version { found: version });
        }
        if stated as usize != bytes.len() {
            return Err(BlobError::Length { len: bytes.len(), stated });
        }
        let counts = [word()?, word()?, word()?];
        let [inputs_bytes, outputs_bytes, batch, bss_bytes] = [word()?, word()?, word()?, word()?];
        let [cmx_slices, shaves] = [word()?, word()?];
        // Three flags: which engines the graph uses.
        for _ in 0..3 {
            word()?;
        }
        let sections = [word()?, word()?, word()?, word()?].map(|offset| offset as usize);
        let mut last = HEADERS_LEN;
        for (at, &section) in sections.iter().enumerate() {
            if section < last || section > bytes.len() {
                let what = ["input info", "output info", "the stages", "the constants"][at];
                return Err(BlobError::Truncated { what, at: section });
            }
            last = section;
        }
        Ok(Self {
            counts,
            inputs_bytes,
            outputs_bytes,
            batch,
            bss_bytes,
            cmx_slices,
            shaves,
            sections,
        })
    }
}

fn read_io(cursor: &mut Cursor<'_>, index: u32, total: u32) -> Result<Io, BlobError> {
    let what = "the info of an input or output";
    let at = cursor.at;
    let found = cursor.u32(what)?;
    if found != index {
        let reason = "these are not in their order";
        return Err(BlobError::Field { what, at, found, reason });
    }
    let offset = cursor.u32(what)?;
    let at = cursor.at;
    let name_len = cursor.u32(what)?;
    if name_len > MAX_NAME_LEN {
        let reason = "no name is that long";
        return Err(BlobError::Field { what, at, found: name_len, reason });
    }
    let name = cursor.take(name_len as usize, what)?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let name = String::from_utf8_lossy(&name[..end]).into_owned();
    let at = cursor.at;
    let desc = cursor.desc()?;
    let end = desc.extent_bytes().and_then(|extent| extent.checked_add(offset as usize));
    if end.is_none_or(|end| end > total as usize) {
        let reason = "it goes beyond the buffer of all";
        return Err(BlobError::Field { what, at, found: offset, reason });
    }
    Ok(Io { name, offset, desc })
}

fn read_stage(cursor: &mut Cursor<'_>, index: usize) -> Result<Stage, BlobError> {
    let what = "a stage";
    let start = cursor.at;
    let len = cursor.u32(what)? as usize;
    let kind = StageKind(cursor.u32(what)?.cast_signed());
    let wrong = |reason| BlobError::Stage { stage: index, kind, reason };
    let end = start.checked_add(len).filter(|&end| end <= cursor.end);
    let end = end.ok_or_else(|| wrong("it goes beyond its section"))?;
    if len < 6 * 4 {
        return Err(wrong("it is too short"));
    }
    let shaves = cursor.u32(what)?;
    let params_len = cursor.u32(what)? as usize;
    let params_start = cursor.at;
    let params_end = (params_start - 4).checked_add(params_len);
    let params_end = params_end.filter(|&at| at >= params_start && at <= end - 8);
    let params_end = params_end.ok_or_else(|| wrong("its parameters go beyond it"))?;
    let mut fields = Cursor { bytes: cursor.bytes, at: params_start, end: params_end };
    let params = read_params(&mut fields, kind)?;
    if fields.at != params_end {
        return Err(wrong("it has more parameters than its kind"));
    }
    let mut list = Cursor { bytes: cursor.bytes, at: params_end, end: end - 8 };
    let mut buffers = Vec::new();
    while list.at < list.end {
        if buffers.len() == BUFFERS_LAST {
            return Err(wrong("it has too many tensors"));
        }
        buffers.push(read_tensor(&mut list)?);
    }
    cursor.at = end - 8;
    if cursor.u32(what)?.cast_signed() != kind.0 || cursor.u32(what)? != BORDER {
        return Err(wrong("it does not end with its kind and the border"));
    }
    Ok(Stage { kind, shaves, params, buffers })
}

fn read_params(fields: &mut Cursor<'_>, kind: StageKind) -> Result<Params, BlobError> {
    let what = "the parameters of a stage";
    macro_rules! u32 {
        () => {
            fields.u32(what)?
        };
    }
    macro_rules! f32 {
        () => {
            f32::from_bits(fields.u32(what)?)
        };
    }
    let slide = |fields: &mut Cursor<'_>| -> Result<Slide, BlobError> {
        let mut pair = || Ok([fields.u32(what)?, fields.u32(what)?]);
        Ok(Slide { kernel: pair()?, stride: pair()?, pad: pair()? })
    };
    Ok(match kind {
        StageKind::CONV | StageKind::DEPTH_CONV | StageKind::IM2COL_CONVOLUTION => {
            Params::Conv(slide(fields)?, [u32!(), u32!()])
        }
        StageKind::MAX_POOL
        | StageKind::AVG_POOL
        | StageKind::GLOBAL_AVG_POOL
        | StageKind::GLOBAL_MAX_POOL => Params::Pool(slide(fields)?, u32!() != 0),
        StageKind::RELU
        | StageKind::LEAKY_RELU
        | StageKind::BIAS_RELU
        | StageKind::BIAS_LEAKY_RELU => Params::Relu { has_bias: u32!() != 0, slope: f32!() },
        StageKind::ELU => Params::Elu { alpha: f32!() },
        StageKind::CLAMP => Params::Clamp { min: f32!(), max: f32!() },
        StageKind::POWER => Params::Power { bias: f32!(), scale: f32!(), power: f32!() },
        StageKind::SOFTMAX => Params::Softmax { axis: u32!().cast_signed() },
        StageKind::LRN | StageKind::INNER_LRN => {
            let size = u32!();
            let mut halves = half::floats(fields.take(8, what)?);
            let mut half = || halves.next().unwrap_or_default();
            Params::Lrn { size, k: half(), alpha: half(), beta: half() }
        }
        StageKind::PERMUTE => {
            let mut order = [0; 8];
            for slot in &mut order {
                *slot = u32!().cast_signed();
            }
            Params::Permute(order)
        }
        StageKind::CONVERT => {
            Params::Convert { scale: f32!(), bias: f32!(), flags: [u32!(), u32!()] }
        }
        kind if kind.is_eltwise() => Params::Eltwise(Eltwise {
            factors: [f32!(), f32!()],
            post: u32!().cast_signed(),
            slope: f32!(),
            bounds: [f32!(), f32!()],
        }),
        _ if fields.at == fields.end => Params::None,
        _ => Params::Other(fields.take(fields.end - fields.at, what)?.to_vec()),
    })
}

fn read_tensor(cursor: &mut Cursor<'_>) -> Result<TensorRef, BlobError> {
    let what = "the place of a tensor";
    let desc = cursor.desc()?;
    let at = cursor.at;
    let found = cursor.u32(what)?;
    let location = match found {
        0 => Location::None,
        1 | 2 => {
            let index = cursor.u32(what)?;
            // How many bytes the whole has: the info of the input or output says the same.
            cursor.u32(what)?;
            if found == 1 { Location::Input(index) } else { Location::Output(index) }
        }
        3 => Location::Constants,
        4 => Location::Bss,
        5 => Location::Cmx,
        _ => {
            let reason = "there is no such memory";
            return Err(BlobError::Field { what, at, found, reason });
        }
    };
    Ok(TensorRef { desc, location, offset: cursor.u32(what)? })
}

fn check_place(
    blob: &Blob<'_>,
    tensor: &TensorRef,
    stage: usize,
    buffer: usize,
) -> Result<(), BlobError> {
    let of = |list: &[Io], index: u32, total: u32| {
        let io = usize::try_from(index).ok().and_then(|index| list.get(index));
        io.map_or(0, |io| (total as usize).saturating_sub(io.offset as usize))
    };
    let available = match tensor.location {
        Location::None => return Ok(()),
        Location::Input(index) => of(&blob.inputs, index, blob.inputs_bytes),
        Location::Output(index) => of(&blob.outputs, index, blob.outputs_bytes),
        Location::Constants => blob.constants.len(),
        Location::Bss => blob.bss_bytes as usize,
        Location::Cmx => CMX_BYTES,
    };
    let end =
        tensor.desc.extent_bytes().and_then(|extent| extent.checked_add(tensor.offset as usize));
    let end = end.unwrap_or(usize::MAX);
    if end > available {
        return Err(BlobError::TensorOutside { stage, buffer, end, available });
    }
    Ok(())
}

/// Where reading a section stands.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn section(bytes: &'a [u8], at: usize, end: usize) -> Result<Self, BlobError> {
        if at <= end && end <= bytes.len() {
            Ok(Self { bytes, at, end })
        } else {
            Err(BlobError::Truncated { what: "a section", at })
        }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], BlobError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.end);
        let end = end.ok_or(BlobError::Truncated { what, at: self.at })?;
        let field = &self.bytes[self.at..end];
        self.at = end;
        Ok(field)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, BlobError> {
        let field = self.take(4, what)?;
        Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    }

    fn desc(&mut self) -> Result<Desc, BlobError> {
        let what = "the description of a tensor";
        let at = self.at;
        let [element, order, rank] = [self.u32(what)?, self.u32(what)?, self.u32(what)?];
        let field = |found, reason| BlobError::Field { what, at, found, reason };
        let element =
            ElementType::of(element).ok_or_else(|| field(element, "no such element type"))?;
        let order = Order(order);
        let fits = order.rank().is_some_and(|of| of == rank as usize);
        if !fits || rank as usize > Desc::MAX_RANK {
            return Err(field(order.0, "its order does not have as many dimensions"));
        }
        let mut list = || (0..rank).map(|_| self.u32(what)).collect::<Result<Vec<u32>, _>>();
        let desc = Desc { element, order, dims: list()?, strides: list()? };
        if desc.is_empty() || desc.len().is_none_or(|len| len > MAX_DDR_BYTES) {
            return Err(field(rank, "it has no elements, or too many"));
        }
        // Elements that lie over each other would be more than their memory.
        let bytes = desc.len().and_then(|len| len.checked_mul(element.size_bytes() as usize));
        if bytes.is_none_or(|bytes| desc.extent_bytes().is_none_or(|extent| bytes > extent)) {
            return Err(field(rank, "its strides put elements over each other"));
        }
        Ok(desc)
    }
}
