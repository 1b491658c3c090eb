//! Runs a blob in emulated memories, stage by stage.

use super::kernels::{self, Pooling, Sliding};
use super::pointwise;
use super::tensor::{Map, constant, dims_of, gather, scatter};
use crate::blob::{
    Blob, CMX_BYTES, Desc, ElementType, Location, Params, Stage, StageKind, TensorRef, WeightLayout,
};
use crate::half;

/// How layers add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// In 32-bit floats, rounded once to 16 bits.
    #[default]
    Sums32,
    /// In eight 16-bit floats side by side, every addition rounded, folded in the end. The error is of the size that a device was
    /// seen to have; which lane takes which product is not known.
    Lanes16,
}

/// Why a stage does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage {stage} ({kind}) does not run: {reason}")]
pub struct ExecuteError {
    /// Its number.
    pub stage: usize,
    /// What it computes.
    pub kind: StageKind,
    /// Why not.
    pub reason: &'static str,
}

/// A blob with the memory that it runs in.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    blob: Blob<'a>,
    arithmetic: Arithmetic,
    bss: Vec<u8>,
    cmx: Vec<u8>,
}

impl<'a> Program<'a> {
    /// Checks that every stage can be run, and makes room.
    ///
    /// # Errors
    /// If one cannot.
    pub fn new(blob: Blob<'a>, arithmetic: Arithmetic) -> Result<Self, ExecuteError> {
        for (stage, of) in blob.stages.iter().enumerate() {
            check(of).map_err(|reason| ExecuteError { stage, kind: of.kind, reason })?;
        }
        let uses_cmx = blob.stages.iter().flat_map(|stage| &stage.buffers);
        let uses_cmx = uses_cmx.clone().any(|tensor| tensor.location == Location::Cmx);
        Ok(Self {
            bss: vec![0; blob.bss_bytes as usize],
            cmx: if uses_cmx { vec![0; CMX_BYTES] } else { Vec::new() },
            blob,
            arithmetic,
        })
    }

    /// The blob.
    #[must_use]
    pub const fn blob(&self) -> &Blob<'a> {
        &self.blob
    }

    /// Runs once: all inputs in one buffer, all outputs in another.
    ///
    /// # Errors
    /// If the buffers are not as long as the blob says.
    pub fn run(&mut self, input: &[u8]) -> Result<Vec<u8>, ExecuteError> {
        if input.len() != self.blob.inputs_bytes as usize {
            let reason = "the inputs have another length";
            return Err(ExecuteError { stage: 0, kind: StageKind::EMPTY, reason });
        }
        let mut output = vec![0; self.blob.outputs_bytes as usize];
        for index in 0..self.blob.stages.len() {
            let stage = self.blob.stages[index].clone();
            let result = {
                let memories = Memories { program: self, input, output: &output };
                compute(&stage, &memories, self.arithmetic)
            };
            let result = result.map_err(|reason| {
                let kind = stage.kind;
                ExecuteError { stage: index, kind, reason }
            })?;
            let Some(to) = result_of(&stage) else { continue };
            let base = self.base(to.location);
            let memory = match to.location {
                Location::Output(_) => &mut output[base..],
                Location::Bss => &mut self.bss[..],
                Location::Cmx => &mut self.cmx[..],
                _ => continue,
            };
            scatter(memory, to, &result);
        }
        Ok(output)
    }

    /// Where an input or output starts in the buffer of all.
    fn base(&self, location: Location) -> usize {
        match location {
            Location::Input(index) => self.blob.inputs[index as usize].offset as usize,
            Location::Output(index) => self.blob.outputs[index as usize].offset as usize,
            _ => 0,
        }
    }
}

struct Memories<'m, 'a> {
    program: &'m Program<'a>,
    input: &'m [u8],
    output: &'m [u8],
}

impl Memories<'_, '_> {
    fn memory(&self, tensor: &TensorRef) -> &[u8] {
        let base = self.program.base(tensor.location);
        match tensor.location {
            Location::Input(_) => &self.input[base..],
            Location::Output(_) => &self.output[base..],
            Location::Constants => &self.program.blob.constants,
            Location::Bss => &self.program.bss,
            Location::Cmx => &self.program.cmx,
            Location::None => &[],
        }
    }

    fn map(&self, tensor: &TensorRef) -> Map {
        gather(self.memory(tensor), tensor)
    }

    fn constant(&self, tensor: &TensorRef) -> &[u8] {
        constant(self.memory(tensor), tensor).unwrap_or_default()
    }

    fn vector(&self, tensor: &TensorRef) -> Vec<f32> {
        half::floats(self.constant(tensor)).collect()
    }
}

/// Which tensor a stage writes.
fn result_of(stage: &Stage) -> Option<&TensorRef> {
    if stage.kind == StageKind::NONE { None } else { stage.buffers.get(1) }
}

/// Tensors that a stage must have at least; `None` for a kind that the emulator does not run.
fn tensors_needed(kind: StageKind) -> Option<usize> {
    Some(match kind {
        StageKind::NONE => 0,
        StageKind::CONV
        | StageKind::IM2COL_CONVOLUTION
        | StageKind::DEPTH_CONV
        | StageKind::FC
        | StageKind::BIAS
        | StageKind::SCALE
        | StageKind::PRELU
        | StageKind::BIAS_RELU
        | StageKind::BIAS_LEAKY_RELU
        | StageKind::SUM
        | StageKind::PROD
        | StageKind::MAX
        | StageKind::MIN => 3,
        StageKind::MAX_POOL
        | StageKind::AVG_POOL
        | StageKind::GLOBAL_MAX_POOL
        | StageKind::GLOBAL_AVG_POOL
        | StageKind::SOFTMAX
        | StageKind::RELU
        | StageKind::LEAKY_RELU
        | StageKind::LRN
        | StageKind::COPY
        | StageKind::SIGMOID
        | StageKind::TANH
        | StageKind::ELU
        | StageKind::CLAMP
        | StageKind::POWER
        | StageKind::EXP
        | StageKind::LOG
        | StageKind::FLOOR
        | StageKind::PERMUTE => 2,
        _ => return None,
    })
}

/// Says what is wrong with a stage; afterwards it runs without a look at bounds.
fn check(stage: &Stage) -> Result<(), &'static str> {
    let needed = tensors_needed(stage.kind).ok_or("the emulator has no such kernel")?;
    if stage.kind == StageKind::NONE {
        return Ok(());
    }
    let [input, output] = match &stage.buffers[..] {
        [input, output, ..] if stage.buffers.len() >= needed => [input, output],
        _ => return Err("a tensor is missing"),
    };
    let is_readable = |tensor: &TensorRef| {
        tensor.desc.element == ElementType::F16 && tensor.location != Location::None
    };
    if !stage.buffers[..needed].iter().all(is_readable) {
        return Err("a tensor is not of 16-bit floats, or absent");
    }
    if matches!(output.location, Location::Input(_) | Location::Constants) {
        return Err("it writes to what is only read");
    }
    // Reads that see their own writes would depend on the order of the cores.
    if overlaps(output, input) && !is_in_place(stage.kind) {
        return Err("it writes over what it reads");
    }
    let [from, to] = [dims_of(&input.desc), dims_of(&output.desc)];
    if from[0] != 1 || to[0] != 1 {
        return Err("it has a batch");
    }
    match stage.kind {
        StageKind::CONV | StageKind::IM2COL_CONVOLUTION => {
            let Params::Conv(slide, _) = &stage.params else { return Err("no parameters") };
            check_slide(slide)?;
            let taps = taps(slide)?;
            check_weights(&stage.buffers[2], [taps, from[3], to[3]])
        }
        StageKind::DEPTH_CONV => {
            let Params::Conv(slide, _) = &stage.params else { return Err("no parameters") };
            check_slide(slide)?;
            if from[3] != to[3] {
                return Err("the emulator runs one filter a channel only");
            }
            check_weights(&stage.buffers[2], [taps(slide)?, 1, to[3]])
        }
        StageKind::FC => {
            let [n, h, w, c] = from;
            check_weights(&stage.buffers[2], [n * h * w, c, to[1] * to[2] * to[3]])
        }
        StageKind::MAX_POOL
        | StageKind::AVG_POOL
        | StageKind::GLOBAL_MAX_POOL
        | StageKind::GLOBAL_AVG_POOL => {
            let Params::Pool(slide, _) = &stage.params else { return Err("no parameters") };
            check_slide(slide)?;
            taps(slide)?;
            if from[3] == to[3] { Ok(()) } else { Err("channels differ") }
        }
        StageKind::PERMUTE => check_permute(stage, &input.desc, &output.desc),
        StageKind::SOFTMAX => match stage.params {
            Params::Softmax { axis } if input.desc.order.position(3) != axis.try_into().ok() => {
                Err("the emulator runs softmax over channels only")
            }
            _ if from != to => Err("result and input differ in shape"),
            _ => Ok(()),
        },
        _ if from != to => Err("result and input differ in shape"),
        kind if kind.is_eltwise() => {
            let second = &stage.buffers[2];
            if dims_of(&second.desc) != to {
                return Err("the emulator combines tensors of one shape only");
            }
            let Params::Eltwise(eltwise) = &stage.params else { return Err("no parameters") };
            pointwise::combine(kind, eltwise, 0.0, 0.0).map(|_| ()).ok_or("unknown operation")
        }
        kind if needed == 3 => {
            let vector = &stage.buffers[2];
            if vector.desc.len() != Some(to[3]) || !vector.desc.is_compact() {
                return Err("its vector has not one element a channel");
            }
            let known = pointwise::with_vector(kind, &stage.params, 0.0, 0.0);
            known.map(|_| ()).ok_or("no parameters")
        }
        StageKind::LRN => match stage.params {
            Params::Lrn { size, .. } if size % 2 == 1 && size < 65_536 => Ok(()),
            _ => Err("no parameters, or an even size"),
        },
        kind => {
            let known = pointwise::function(kind, &stage.params, 0.0);
            known.map(|_| ()).ok_or("no parameters")
        }
    }?;
    let scratch = stage.buffers.get(3).filter(|_| stage.kind == StageKind::IM2COL_CONVOLUTION);
    let overlapping = scratch.is_some_and(|scratch| overlaps(scratch, output));
    if overlapping { Err("its scratch is its result") } else { Ok(()) }
}

const fn is_in_place(kind: StageKind) -> bool {
    matches!(
        kind,
        StageKind::BIAS
            | StageKind::BIAS_RELU
            | StageKind::BIAS_LEAKY_RELU
            | StageKind::RELU
            | StageKind::LEAKY_RELU
            | StageKind::CLAMP
            | StageKind::SCALE
            | StageKind::SUM
            | StageKind::PROD
    )
}

fn overlaps(a: &TensorRef, b: &TensorRef) -> bool {
    if a.location != b.location || a.location == Location::None {
        return false;
    }
    let end =
        |of: &TensorRef| of.offset as usize + of.desc.extent_bytes().unwrap_or(usize::MAX / 2);
    (a.offset as usize) < end(b) && (b.offset as usize) < end(a)
}

/// Extents that a kernel can walk in a sensible time.
fn check_slide(slide: &crate::blob::Slide) -> Result<(), &'static str> {
    let is_sane = |&value: &u32| value <= 65_536;
    let all = slide.kernel.iter().chain(&slide.stride).chain(&slide.pad);
    if all.clone().all(is_sane) && !slide.kernel.contains(&0) && !slide.stride.contains(&0) {
        Ok(())
    } else {
        Err("its window is impossible")
    }
}

fn taps(slide: &crate::blob::Slide) -> Result<usize, &'static str> {
    let taps = slide.kernel[0] as usize * slide.kernel[1] as usize;
    if taps <= 65_535 { Ok(taps) } else { Err("its window is impossible") }
}

/// Weights are `[taps, input channels, output channels]`, in as many elements.
fn check_weights(weights: &TensorRef, dims: [usize; 3]) -> Result<(), &'static str> {
    let needed = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    if !weights.desc.is_compact() {
        return Err("its weights have gaps");
    }
    if needed.is_some() && weights.desc.len() == needed {
        Ok(())
    } else {
        Err("it has more or less weights than its window and channels take")
    }
}

fn check_permute(stage: &Stage, from: &Desc, to: &Desc) -> Result<(), &'static str> {
    let Params::Permute(order) = &stage.params else { return Err("no parameters") };
    let rank = from.dims.len();
    if to.dims.len() != rank || rank > 4 {
        return Err("result and input differ in rank");
    }
    let mut seen = [false; 8];
    for (position, &source) in order[..rank].iter().enumerate() {
        let source = usize::try_from(source).ok().filter(|&source| source < rank && !seen[source]);
        let source = source.ok_or("its order is no permutation")?;
        seen[source] = true;
        if from.dims[source] != to.dims[position] {
            return Err("its result has another shape");
        }
    }
    Ok(())
}

/// The result of a stage that was checked, in the order of [`scatter`].
fn compute(
    stage: &Stage,
    memories: &Memories<'_, '_>,
    arithmetic: Arithmetic,
) -> Result<Vec<f32>, &'static str> {
    let [from, to] = match &stage.buffers[..] {
        [from, to, ..] => [from, to],
        _ => return Ok(Vec::new()),
    };
    let dims = dims_of(&to.desc);
    let sliding = |slide, dilation| Sliding { slide, dilation };
    Ok(match (stage.kind, &stage.params) {
        (StageKind::CONV | StageKind::IM2COL_CONVOLUTION, Params::Conv(slide, dilation)) => {
            let input = memories.map(from);
            let sliding = sliding(*slide, *dilation);
            let of = [sliding.taps(), input.channels(), dims[3]];
            let layout = layout_of(stage.kind, from, slide.kernel, of);
            let weights = kernels::unpack(memories.constant(&stage.buffers[2]), layout, of);
            kernels::conv(&input, &sliding, &weights, dims, arithmetic)
        }
        (StageKind::DEPTH_CONV, Params::Conv(slide, dilation)) => {
            let weights = memories.vector(&stage.buffers[2]);
            let sliding = sliding(*slide, *dilation);
            kernels::depthwise(&memories.map(from), &sliding, &weights, dims, arithmetic)
        }
        (StageKind::FC, _) => {
            let weights = memories.constant(&stage.buffers[2]);
            let input = memories.map(from);
            kernels::dense(&input.data, weights, dims[1] * dims[2] * dims[3], arithmetic)
        }
        (kind, Params::Pool(slide, exclude_pads)) => {
            let is_max = [StageKind::MAX_POOL, StageKind::GLOBAL_MAX_POOL].contains(&kind);
            let pooling = if is_max {
                Pooling::Max
            } else {
                Pooling::Average { exclude_pads: *exclude_pads }
            };
            kernels::pool(&memories.map(from), &sliding(*slide, [1, 1]), pooling, dims)
        }
        (StageKind::SOFTMAX, _) => {
            let mut map = memories.map(from);
            pointwise::softmax(&mut map);
            map.data
        }
        (StageKind::LRN, Params::Lrn { size, k, alpha, beta }) => {
            pointwise::normalize(&memories.map(from), *size as usize, [*k, *alpha, *beta])
        }
        (StageKind::PERMUTE, Params::Permute(order)) => {
            memories.map(&permuted(from, &to.desc, order)).data
        }
        (kind, Params::Eltwise(eltwise)) => {
            let [x, y] = [from, &stage.buffers[2]].map(|tensor| memories.map(tensor).data);
            let pairs = x.iter().zip(&y);
            let each = pairs.map(|(&x, &y)| pointwise::combine(kind, eltwise, x, y));
            each.collect::<Option<_>>().ok_or("unknown operation")?
        }
        (kind, params) if tensors_needed(kind) == Some(3) => {
            let vector = memories.vector(&stage.buffers[2]);
            let data = memories.map(from).data;
            let pairs = data.iter().zip(vector.iter().cycle());
            let each = pairs.map(|(&x, &v)| pointwise::with_vector(kind, params, x, v));
            each.collect::<Option<_>>().ok_or("no parameters")?
        }
        (kind, params) => {
            let data = memories.map(from).data;
            let each = data.iter().map(|&x| pointwise::function(kind, params, x));
            each.collect::<Option<_>>().ok_or("no parameters")?
        }
    })
}

/// In which order a convolution's weights are: maps with innermost channels have the layouts of the vendor's kernels, others
/// one for all.
fn layout_of(
    kind: StageKind,
    from: &TensorRef,
    kernel: [u32; 2],
    [taps, ci, co]: [usize; 3],
) -> WeightLayout {
    if kind == StageKind::IM2COL_CONVOLUTION {
        return WeightLayout::Khwc;
    }
    if from.desc.order.position(3) != Some(0) {
        return if taps == 1 { WeightLayout::Kc } else { WeightLayout::Hwkc };
    }
    let [ci, co] = [ci, co].map(|channels| u32::try_from(channels).unwrap_or(u32::MAX));
    WeightLayout::of(kernel, ci, co).0
}

/// The input of a permutation, seen with the dimensions of its result.
fn permuted(from: &TensorRef, to: &Desc, order: &[i32; 8]) -> TensorRef {
    let sources = order[..to.dims.len()].iter().filter_map(|&at| usize::try_from(at).ok());
    let strides = sources.map(|source| from.desc.strides[source]).collect();
    let desc = Desc { strides, dims: to.dims.clone(), ..to.clone() };
    TensorRef { desc, ..from.clone() }
}
