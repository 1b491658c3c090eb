//! From a model to a session: checks, plans, counts memory, then turns each node into its work.

mod convolution;
mod dense;
mod layers;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use super::check::check;
use super::memory::Arena;
use super::resolve::{Resolver, Weightless};
use super::session::{CpuSession, Step, unmeasured};
use super::work::{Work, is_worth_sharing};
use crate::kernels::resize::ResizePlan;
use crate::kernels::{Kernels, Parallel};
use crate::model::Model;
use crate::op::Op;
use crate::plan::Plan;
use crate::runtime::{LoadOptions, Profile, RuntimeError, TensorSpec};

pub(super) fn load(
    model: &Model<'_>,
    options: &LoadOptions,
    kernels: Arc<dyn Kernels>,
    parallel: Arc<dyn Parallel>,
) -> Result<CpuSession, RuntimeError> {
    let too_large = |needed| RuntimeError::TooLarge { needed, allowed: options.max_memory_bytes };
    let types = check(model, options.batch)?;
    let plan = Plan::new(model, &types).ok_or_else(|| too_large(usize::MAX))?;
    let mut nodes: Vec<Lowering<'_, '_>> = model
        .nodes
        .iter()
        .map(|node| Lowering {
            resolver: Resolver { model, node, types: &types, plan: &plan },
            kernels: &*kernels,
            parallel: &*parallel,
            options,
            is_frugal: false,
        })
        .collect();
    let scratch_bytes =
        fit(&mut nodes, plan.arena_bytes, options.max_memory_bytes).map_err(too_large)?;

    let place = |value: usize, at: &str| {
        plan.places[value].clone().ok_or_else(|| RuntimeError::unwritten(at))
    };
    let mut steps = Vec::with_capacity(nodes.len());
    let mut profile = Profile { nodes: Vec::with_capacity(nodes.len()) };
    for (lowering, &in_place) in nodes.iter().zip(&plan.in_place) {
        let node = lowering.node;
        let work = lowering.work()?;
        lowering.release(options);
        let macs = lowering.macs();
        let bytes = lowering.bytes_moved(&work);
        let kernel = work.kernel_name(&*kernels);
        profile.nodes.push(unmeasured(node.name.clone(), node.op.name(), kernel, macs, bytes));
        let inputs = node.inputs.iter().map(|&input| place(input, &node.name));
        let output = place(node.output, &node.name)?;
        let (inputs, is_shared) =
            (inputs.collect::<Result<_, _>>()?, is_worth_sharing(macs.max(bytes)));
        steps.push(Step { work, inputs, output, in_place, is_shared });
    }
    let spec =
        |&value: &usize| TensorSpec { name: model.values[value].name.clone(), kind: types[value] };
    let output_places = model.outputs.iter().map(|&output| place(output, &model.name));
    let arena = |len| {
        let mut arena = Arena::new(len);
        kernels.advise(arena.bytes_mut());
        arena
    };
    Ok(CpuSession {
        arena: arena(plan.arena_bytes),
        scratch: arena(scratch_bytes),
        inputs: model.inputs.iter().map(spec).collect(),
        outputs: model.outputs.iter().map(spec).collect(),
        output_places: output_places.collect::<Result<_, _>>()?,
        clock: options.clock,
        profile: options.clock.map(|_| profile),
        arena_lower_bound_bytes: plan.lower_bound_bytes,
        weight_bytes: steps.iter().map(|step| step.work.weight_bytes()).sum(),
        steps,
        kernels,
        parallel,
    })
}

/// Bytes of scratch of a session that takes at most `allowed` bytes: ways of convolutions that need more memory than GEMM are
/// left one after the other, those that need most first, until it does.
///
/// # Errors
/// The bytes that it takes all the same; `usize::MAX` if they cannot be counted.
fn fit(nodes: &mut [Lowering<'_, '_>], arena_bytes: usize, allowed: usize) -> Result<usize, usize> {
    let needs = nodes.iter().map(Lowering::need).collect::<Option<Vec<Need>>>();
    let mut needs = needs.ok_or(usize::MAX)?;
    loop {
        let weights = needs.iter().try_fold(arena_bytes, |sum, n| sum.checked_add(n.weight_bytes));
        let scratch_bytes = needs.iter().map(|need| need.scratch_bytes).max().unwrap_or(0);
        let needed =
            weights.and_then(|bytes| bytes.checked_add(scratch_bytes)).ok_or(usize::MAX)?;
        if needed <= allowed {
            return Ok(scratch_bytes);
        }
        let mut largest: Option<(usize, usize, Need)> = None;
        for (index, (node, need)) in nodes.iter().zip(&needs).enumerate() {
            let least = Lowering { is_frugal: true, ..*node }.need().ok_or(usize::MAX)?;
            let saved = need.total().saturating_sub(least.total());
            if saved > largest.map_or(0, |(saved, ..)| saved) {
                largest = Some((saved, index, least));
            }
        }
        let Some((_, index, least)) = largest else { return Err(needed) };
        nodes[index].is_frugal = true;
        needs[index] = least;
    }
}

/// Memory that a node needs beside its values.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    weight_bytes: usize,
    scratch_bytes: usize,
}

impl Need {
    const fn total(&self) -> usize {
        self.weight_bytes.saturating_add(self.scratch_bytes)
    }
}

/// A node on its way to becoming work.
#[derive(Clone, Copy)]
struct Lowering<'m, 'l> {
    resolver: Resolver<'m, 'l>,
    kernels: &'l dyn Kernels,
    parallel: &'l dyn Parallel,
    options: &'l LoadOptions,
    /// Whether it has to do without ways that take more memory.
    is_frugal: bool,
}

impl<'m, 'l> Deref for Lowering<'m, 'l> {
    type Target = Resolver<'m, 'l>;

    fn deref(&self) -> &Self::Target {
        &self.resolver
    }
}

impl Lowering<'_, '_> {
    fn need(&self) -> Option<Need> {
        let mut need = match self.weight() {
            Some(weight) if self.node.op.is_layer() => self.layer_need(weight)?,
            Some(weight) => Need { weight_bytes: weight.shape.len() * 4, scratch_bytes: 0 },
            None => Need::default(),
        };
        if let Op::Resize(resize) = &self.node.op {
            need.weight_bytes = ResizePlan::size_bytes_of(resize);
        }
        Some(need)
    }

    /// Bytes of activations and weights that a run reads and writes.
    fn bytes_moved(&self, work: &Work) -> u64 {
        match work {
            Work::Weightless(Weightless::Alias) => return 0,
            Work::Weightless(Weightless::Concat(parts)) => {
                let copied = parts.iter().filter(|part| !part.is_there).map(|part| part.row);
                let row: usize = parts.iter().map(|part| part.row).sum();
                let to = self.to();
                let rows = to.len_bytes() / row;
                return 2 * (copied.sum::<usize>() * rows) as u64;
            }
            _ => {}
        }
        (self.activation_bytes() + work.weight_bytes()) as u64
    }

    fn work(&self) -> Result<Work, RuntimeError> {
        match &self.node.op {
            Op::Conv2d(conv) => self.convolution(conv),
            Op::Dense(_) => self.dense(),
            _ => Ok(Work::Weightless(self.weightless()?)),
        }
    }
}
