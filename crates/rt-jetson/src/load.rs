//! From a model to a session: checks, plans, counts memory, then allocates it in one piece and fills it.

use std::sync::Arc;

use embdl_core::model::Model;
use embdl_core::runtime::{LoadOptions, MemoryUse, NodeProfile, Profile, RuntimeError, TensorSpec};

use crate::draft::{ALIGNMENT, Draft, Places};
use crate::driver::{DeviceMemory, Pinned, Stream};
use crate::gpu::Gpu;
use crate::layout::{Layout, at};
use crate::lower::{Choices, Lowering, address_of};
use crate::session::{Ends, JetsonSession, Port, Step};

pub(crate) fn load(
    gpu: &Arc<Gpu>,
    model: &Model<'_>,
    options: &LoadOptions,
    choices: &Choices,
) -> Result<JetsonSession, RuntimeError> {
    // A lost device is told here, before anything is done in vain.
    drop(gpu.device.enter()?);
    let is_integrated = gpu.device.facts.is_integrated;
    let layout = Layout::new(model, options, is_integrated)?;
    let Layout { arena_bytes, copied_bytes, pinned_bytes, .. } = layout;
    let counting = layout.nowhere();
    for resolver in layout.nodes(model) {
        Lowering { resolver, options, choices, places: &counting }.drafts()?;
    }
    let [weight_bytes, scratch_bytes] = counting.counted();
    let scratch_bytes = scratch_bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
    let memory = MemoryUse {
        weight_bytes,
        arena_bytes: arena_bytes.saturating_add(copied_bytes),
        arena_lower_bound_bytes: layout.plan.lower_bound_bytes + copied_bytes,
        scratch_bytes: scratch_bytes.saturating_add(pinned_bytes),
    };
    let needed =
        memory.weight_bytes.saturating_add(memory.arena_bytes).saturating_add(memory.scratch_bytes);
    let allowed = options.max_memory_bytes;
    if needed > allowed {
        return Err(RuntimeError::TooLarge { needed, allowed });
    }

    let stream = Stream::new(&gpu.device)?;
    let device_bytes = needed - pinned_bytes;
    let on_device = DeviceMemory::new(&gpu.device, device_bytes)?;
    let pinned = Pinned::new(&gpu.device, pinned_bytes)?;
    let arena = on_device.address;
    let copied = arena.wrapping_add(arena_bytes as u64);
    let constants = copied.wrapping_add(copied_bytes as u64);
    let scratch = constants.wrapping_add(weight_bytes as u64);
    let inputs_at = if is_integrated { pinned.address } else { copied };
    let places = Places::new(arena, at(inputs_at, &layout.inputs), [constants, scratch]);
    let mut steps = Vec::new();
    let mut profile = Profile { nodes: Vec::with_capacity(model.nodes.len()) };
    for (node, resolver) in layout.nodes(model).enumerate() {
        let lowering = Lowering { resolver, options, choices, places: &places };
        let drafts = lowering.drafts()?;
        profile.nodes.push(unmeasured(&lowering, &drafts));
        for draft in &drafts {
            upload(gpu, &stream, draft)?;
            steps.push(Step { node, launch: gpu.launch(draft)? });
        }
        lowering.release(options);
    }
    assert!(places.counted()[0] == weight_bytes, "lowering twice gave different constants");
    let results = model.outputs.iter().zip(&layout.outputs).map(|(&value, port)| {
        let from = address_of(layout.plan.places[value].as_ref(), &places)
            .ok_or_else(|| RuntimeError::unwritten(&model.name))?;
        Ok((from, Port { at: layout.input_bytes + port.at, len: port.len }))
    });
    let ends = Ends {
        copies: if is_integrated { Vec::new() } else { at(copied, &layout.inputs) },
        results: results.collect::<Result<_, RuntimeError>>()?,
        inputs: layout.inputs,
    };
    let types = &layout.types;
    let spec =
        |&value: &usize| TensorSpec { name: model.values[value].name.clone(), kind: types[value] };
    let profile = options.clock.map(|_| profile);
    let specs = [&model.inputs, &model.outputs].map(|values| values.iter().map(spec).collect());
    JetsonSession::new(
        Arc::clone(gpu),
        (stream, on_device, pinned),
        (steps, ends, specs),
        profile,
        memory,
    )
}

/// Writes the constants of a launch.
fn upload(gpu: &Gpu, stream: &Stream, draft: &Draft<'_>) -> Result<(), RuntimeError> {
    let Some(constants) = &draft.constants else { return Ok(()) };
    // Words, so that parts of any type begin where such a type may.
    let mut words = vec![0_u64; constants.len.div_ceil(8)];
    let bytes = &mut bytemuck::cast_slice_mut(&mut words)[..constants.len];
    (constants.fill)(bytes)?;
    if bytes.is_empty() {
        return Ok(());
    }
    gpu.device.enter()?.upload(stream, constants.address, bytes)
}

/// The profile of a node before it has run.
fn unmeasured(lowering: &Lowering<'_, '_>, drafts: &[Draft<'_>]) -> NodeProfile {
    let constants = drafts.iter().filter_map(|draft| draft.constants.as_ref());
    let bytes = constants.map(|constants| constants.len).sum();
    lowering.unmeasured(drafts.first().map(|draft| draft.name), bytes)
}
