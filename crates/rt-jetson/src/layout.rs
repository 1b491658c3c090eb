//! A model planned for a device, before anything of it is there: types, places of values, inputs and results.

use embdl_core::exec::{Resolver, check};
use embdl_core::model::Model;
use embdl_core::plan::{ALIGNMENT as PLANNED, Plan};
use embdl_core::runtime::{LoadOptions, RuntimeError};
use embdl_core::tensor::ValueType;

use crate::draft::{ALIGNMENT, MAX_COUNT, Places};
use crate::params::Address;
use crate::session::Port;

const _: () = assert!(ALIGNMENT.is_multiple_of(PLANNED), "the plan aligns more than the device");

/// What there is to know of a model before its nodes are looked at.
pub(crate) struct Layout {
    pub(crate) types: Vec<ValueType>,
    pub(crate) plan: Plan,
    /// Where inputs lie one behind the other, and results behind them.
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) input_bytes: usize,
    /// Bytes of memory that host and device share.
    pub(crate) pinned_bytes: usize,
    /// Bytes of a copy of the inputs, which a device with memory of its own has.
    pub(crate) copied_bytes: usize,
    pub(crate) arena_bytes: usize,
}

impl Layout {
    /// # Errors
    /// If the model does not make sense for so many samples, or is larger than kernels count or the options allow.
    pub(crate) fn new(
        model: &Model<'_>,
        options: &LoadOptions,
        is_integrated: bool,
    ) -> Result<Self, RuntimeError> {
        let allowed = options.max_memory_bytes;
        let too_large = |needed| RuntimeError::TooLarge { needed, allowed };
        let types = check(model, options.batch)?;
        for kind in &types {
            if kind.shape.len() > MAX_COUNT {
                return Err(RuntimeError::TooLarge {
                    needed: kind.shape.len(),
                    allowed: MAX_COUNT,
                });
            }
        }
        let plan = Plan::new(model, &types).ok_or_else(|| too_large(usize::MAX))?;
        let inputs = ports(&model.inputs, &types).ok_or_else(|| too_large(usize::MAX))?;
        let outputs = ports(&model.outputs, &types).ok_or_else(|| too_large(usize::MAX))?;
        let [input_bytes, output_bytes] = [end(&inputs), end(&outputs)];
        let pinned_bytes = input_bytes.saturating_add(output_bytes);
        let copied_bytes = if is_integrated { 0 } else { input_bytes };
        let arena_bytes =
            plan.arena_bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        // Before the nodes are looked at, whose tables may be as large as what they compute.
        let needed = arena_bytes.saturating_add(pinned_bytes).saturating_add(copied_bytes);
        if needed > allowed {
            return Err(too_large(needed));
        }
        Ok(Self {
            types,
            plan,
            inputs,
            outputs,
            input_bytes,
            pinned_bytes,
            copied_bytes,
            arena_bytes,
        })
    }

    /// The nodes, in the order in which they run.
    pub(crate) fn nodes<'s>(
        &'s self,
        model: &'s Model<'s>,
    ) -> impl Iterator<Item = Resolver<'s, 's>> {
        let (types, plan) = (&self.types, &self.plan);
        model.nodes.iter().map(move |node| Resolver { model, node, types, plan })
    }

    /// Places where nothing is, to count what nodes need.
    pub(crate) fn nowhere(&self) -> Places {
        // Anywhere will do; not at 0, which is no address.
        let anywhere = ALIGNMENT as Address;
        Places::new(anywhere, at(anywhere, &self.inputs), [anywhere; 2])
    }
}

/// The addresses of ports that begin at `base`.
pub(crate) fn at(base: Address, ports: &[Port]) -> Vec<Address> {
    ports.iter().map(|port| base.wrapping_add(port.at as u64)).collect()
}

/// Where values lie one behind the other; `None` if that cannot be counted.
fn ports(values: &[usize], types: &[ValueType]) -> Option<Vec<Port>> {
    let mut ports = Vec::with_capacity(values.len());
    let mut at = 0_usize;
    for &value in values {
        let len = types[value].len_bytes();
        ports.push(Port { at, len });
        at = at.checked_add(len.checked_next_multiple_of(ALIGNMENT)?)?;
    }
    Some(ports)
}

fn end(ports: &[Port]) -> usize {
    ports.last().map_or(0, |last| last.at + last.len.next_multiple_of(ALIGNMENT))
}
