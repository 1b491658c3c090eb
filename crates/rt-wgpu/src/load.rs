//! From a model to a session: checks, plans, counts memory, then allocates it and fills it.

use std::sync::Arc;

use embdl_core::exec::{Resolver, check};
use embdl_core::model::Model;
use embdl_core::plan::{ALIGNMENT, Plan};
use embdl_core::runtime::{LoadOptions, MemoryUse, NodeProfile, Profile, RuntimeError, TensorSpec};
use embdl_core::tensor::ValueType;
use wgpu::{Buffer, BufferBinding, BufferDescriptor, BufferSize, BufferUsages};

use crate::draft::{Constants, Draft};
use crate::gpu::{Gpu, PARAMS_BYTES};
use crate::lower::{Lowering, byte_of};
use crate::session::{Output, Step, WgpuSession};
use crate::timer::Timer;

/// Bytes behind the arena that kernels read and make nothing of.
const TAIL: usize = ALIGNMENT;
/// Bytes that kernels write at a time.
const GRANULE: usize = 4;

pub(crate) fn load(
    gpu: &Arc<Gpu>,
    model: &Model<'_>,
    options: &LoadOptions,
) -> Result<WgpuSession, RuntimeError> {
    gpu.check_alive()?;
    let allowed = options.max_memory_bytes;
    let uncountable = RuntimeError::TooLarge { needed: usize::MAX, allowed };
    let types = check(model, options.batch)?;
    let plan = Plan::with_granule(model, &types, GRANULE).ok_or_else(|| uncountable.clone())?;
    let (inputs, arena_bytes) = input_places(model, &types, plan.arena_bytes).ok_or(uncountable)?;
    let outputs = outputs(model, &types, &plan, &inputs)?;
    let readback_bytes = outputs.iter().map(|output| output.staging + output.len).max();
    let readback_bytes = readback_bytes.unwrap_or(0).next_multiple_of(ALIGNMENT);

    let buffer_bytes = gpu.limits.buffer_bytes;
    if arena_bytes.max(readback_bytes) > buffer_bytes {
        let needed = arena_bytes.max(readback_bytes);
        return Err(RuntimeError::TooLarge { needed, allowed: buffer_bytes });
    }
    // Before the nodes are looked at, whose tables may be as large as what they compute.
    if arena_bytes.saturating_add(readback_bytes) > allowed {
        let needed = arena_bytes.saturating_add(readback_bytes);
        return Err(RuntimeError::TooLarge { needed, allowed });
    }
    let lowerings = model.nodes.iter().map(|node| Lowering {
        resolver: Resolver { model, node, types: &types, plan: &plan },
        options,
        inputs: &inputs,
        buffer_bytes,
        half_weights: gpu.half_weights,
    });
    let nodes: Vec<(Lowering<'_, '_>, Vec<Draft<'_>>)> = lowerings
        .map(|lowering| Ok((lowering, lowering.drafts()?)))
        .collect::<Result<_, RuntimeError>>()?;
    let params_stride = PARAMS_BYTES.next_multiple_of(gpu.limits.alignment);
    let drafts = nodes.iter().flat_map(|(_, drafts)| drafts);
    let weight_bytes = drafts
        .map(|draft| draft.constants.words().saturating_mul(4).saturating_add(params_stride))
        .fold(0, usize::saturating_add);
    let memory = MemoryUse {
        weight_bytes,
        arena_bytes,
        arena_lower_bound_bytes: plan.lower_bound_bytes + (arena_bytes - plan.arena_bytes),
        scratch_bytes: readback_bytes,
    };
    let needed = weight_bytes.saturating_add(arena_bytes).saturating_add(readback_bytes);
    if needed > allowed {
        return Err(RuntimeError::TooLarge { needed, allowed });
    }

    let arena = gpu.guarded("allocating activations", || {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        buffer(gpu, "arena", arena_bytes, usage)
    })?;
    let readback = gpu.guarded("allocating results", || {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        buffer(gpu, "results", readback_bytes.max(ALIGNMENT), usage)
    })?;
    let params = params_buffer(gpu, &nodes, params_stride)?;
    let nothing = gpu.filled(&[0; 4], BufferUsages::STORAGE)?;
    let mut steps = Vec::new();
    let mut profile = Profile { nodes: Vec::with_capacity(nodes.len()) };
    for (node, (lowering, drafts)) in nodes.iter().enumerate() {
        profile.nodes.push(unmeasured(lowering, drafts));
        for draft in drafts {
            let constants = constants(gpu, draft)?;
            let constants = constants.as_ref().unwrap_or(&nothing);
            let params = BufferBinding {
                buffer: &params,
                offset: (steps.len() * params_stride) as u64,
                size: BufferSize::new(PARAMS_BYTES as u64),
            };
            let pipeline = gpu.pipeline(&draft.shader)?;
            let limit = gpu.limits.workgroups;
            let grid = draft.grid(limit).ok_or_else(|| RuntimeError::TooLarge {
                needed: draft.workgroups.div_ceil(limit).max(draft.layers),
                allowed: limit,
            })?;
            let bind_group =
                gpu.guarded("binding memory", || gpu.bind(&arena, constants, params))?;
            steps.push(Step { node, pipeline, bind_group, grid });
        }
        lowering.release(options);
    }
    let timer = match options.clock {
        Some(_) => Timer::new(gpu, &steps)?,
        None => None,
    };
    let spec =
        |&value: &usize| TensorSpec { name: model.values[value].name.clone(), kind: types[value] };
    Ok(WgpuSession {
        gpu: Arc::clone(gpu),
        arena,
        readback,
        steps,
        input_places: inputs.clone(),
        input_specs: model.inputs.iter().map(spec).collect(),
        output_specs: model.outputs.iter().map(spec).collect(),
        outputs,
        clock: options.clock,
        timer,
        profile: options.clock.map(|_| profile),
        memory,
    })
}

/// Where the caller's inputs lie behind the planned arena, and how many bytes there are in all.
fn input_places(
    model: &Model<'_>,
    types: &[ValueType],
    planned: usize,
) -> Option<(Vec<usize>, usize)> {
    let mut places = Vec::with_capacity(model.inputs.len());
    let mut end = planned.checked_next_multiple_of(ALIGNMENT)?;
    for &input in &model.inputs {
        places.push(end);
        end = end.checked_add(types[input].len_bytes().checked_next_multiple_of(ALIGNMENT)?)?;
    }
    Some((places, end.checked_add(TAIL)?))
}

fn outputs(
    model: &Model<'_>,
    types: &[ValueType],
    plan: &Plan,
    inputs: &[usize],
) -> Result<Vec<Output>, RuntimeError> {
    let mut staging = 0;
    let mut outputs = Vec::with_capacity(model.outputs.len());
    for &value in &model.outputs {
        let arena = byte_of(&plan.places[value], inputs)
            .ok_or_else(|| RuntimeError::unwritten(&model.name))?;
        // Values end within the last word of their buffer.
        let len = types[value].len_bytes().next_multiple_of(GRANULE);
        outputs.push(Output { arena, staging, len });
        staging += len.next_multiple_of(ALIGNMENT);
    }
    Ok(outputs)
}

fn buffer(gpu: &Gpu, label: &str, bytes: usize, usage: BufferUsages) -> Buffer {
    gpu.device.create_buffer(&BufferDescriptor {
        label: Some(label),
        size: bytes as u64,
        usage,
        mapped_at_creation: false,
    })
}

/// The parameters of all dispatches, `stride` bytes apart.
fn params_buffer(
    gpu: &Gpu,
    nodes: &[(Lowering<'_, '_>, Vec<Draft<'_>>)],
    stride: usize,
) -> Result<Buffer, RuntimeError> {
    let mut words = Vec::new();
    for draft in nodes.iter().flat_map(|(_, drafts)| drafts) {
        let params = draft.params.words()?;
        assert!(params.len() * 4 <= PARAMS_BYTES, "{} parameters", params.len());
        let end = words.len() + stride / 4;
        words.extend_from_slice(params);
        words.resize(end, 0);
    }
    words.resize(words.len().max(PARAMS_BYTES / 4), 0);
    gpu.filled(&words, BufferUsages::UNIFORM)
}

/// The constants of a dispatch on the device; `None` if it has none.
fn constants(gpu: &Gpu, draft: &Draft<'_>) -> Result<Option<Buffer>, RuntimeError> {
    let filled = |words: &[u32]| gpu.filled(words, BufferUsages::STORAGE).map(Some);
    match &draft.constants {
        Constants::None => Ok(None),
        Constants::Ready(words) => {
            let mut words = words.clone();
            words.resize(words.len().next_multiple_of(4).max(4), 0);
            filled(&words)
        }
        Constants::Later { words, fill } => {
            let mut data = vec![0; words.next_multiple_of(4)];
            fill(&mut data[..*words])?;
            filled(&data)
        }
    }
}

/// The profile of a node before it has run.
fn unmeasured(lowering: &Lowering<'_, '_>, drafts: &[Draft<'_>]) -> NodeProfile {
    let bytes = drafts.iter().map(|draft| draft.constants.words() * 4).sum();
    lowering.unmeasured(drafts.first().map(|draft| draft.name), bytes)
}
