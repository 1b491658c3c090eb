//! Where activations live: lifetimes, aliases, work in place, and offsets in one arena.
//!
//! Values that a node hands through unchanged (flatten, reshape) share a buffer, and so do input and result of nodes
//! that can work in place where nothing reads the input afterwards. Convolutions whose result only a concatenation of
//! channels reads write it straight there. The remaining buffers get offsets greedily, each in
//! the smallest gap between the buffers that live at the same time. Source: Pisarchyk and Lee 2020, "Efficient Memory
//! Management for Deep Neural Net Inference", §5 (greedy by size).

mod offsets;
mod sharing;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::model::Model;
use crate::tensor::{DType, ValueType};
use offsets::lower_bound;
pub use offsets::{Buffer, place};
use sharing::Sharing;

/// Every buffer starts at a multiple of this many bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// Where a value lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the caller's input of this index.
    Input(usize),
    /// In these bytes of the arena. A value that is written into a concatenation starts there and has its rows
    /// [`Plan::row_bytes`] apart; the range ends with the concatenation.
    Arena(Range<usize>),
}

/// Where all values of a model live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Place of each value. Values that nothing writes have none.
    pub places: Vec<Option<Place>>,
    /// For each node the input that it writes its result over, if any.
    pub in_place: Vec<Option<usize>>,
    /// Bytes from one row of channels to the next for values whose node writes them straight into a concatenation, `None`
    /// for all others. Only the concatenation reads such a value, and has nothing to do for it.
    pub row_bytes: Vec<Option<usize>>,
    /// Size of the arena.
    pub arena_bytes: usize,
    /// What no arena can be smaller than: the largest sum of buffers that live at the same time.
    pub lower_bound_bytes: usize,
}

impl Plan {
    /// Plans `model`, whose values have `types` (batch included); `None` if the sizes cannot be counted.
    ///
    /// # Panics
    /// If the model is not valid, or there is not one type a value.
    #[must_use]
    pub fn new(model: &Model<'_>, types: &[ValueType]) -> Option<Self> {
        Self::with_granule(model, types, 1)
    }

    /// The same for a device that writes `granule` bytes at a time: a convolution only writes straight into a concatenation
    /// where its part of a row, and the row, are whole granules.
    ///
    /// # Panics
    /// As [`Plan::new`].
    #[must_use]
    pub fn with_granule(model: &Model<'_>, types: &[ValueType], granule: usize) -> Option<Self> {
        assert!(types.len() == model.values.len(), "{} types of values", types.len());
        let lens: Vec<usize> = types.iter().map(len_bytes).collect::<Option<_>>()?;
        let sharing = Sharing::new(model, types, &lens);
        let apart = Self::of(model, &lens, sharing.clone())?;
        let joined = Self::of(model, &lens, sharing.joined(model, types, granule))?;
        // A concatenation that lives from its first part on may be in the way of others.
        Some(if joined.arena_bytes <= apart.arena_bytes { joined } else { apart })
    }

    fn of(model: &Model<'_>, lens: &[usize], sharing: Sharing) -> Option<Self> {
        let buffers = sharing.buffers(model, lens)?;
        let (offsets, arena_bytes) = place(&buffers)?;
        let mut offset_of = vec![None; lens.len()];
        for (buffer, &offset) in buffers.iter().zip(&offsets) {
            offset_of[buffer.group] = Some(offset);
        }
        let place_of = |value: usize| {
            if let Some(part) = sharing.part_of[value] {
                let start = offset_of[part.whole]?;
                return Some(Place::Arena(start + part.at..start + lens[part.whole]));
            }
            let group = sharing.root(value);
            if let Some(input) = sharing.input_of[group] {
                return Some(Place::Input(input));
            }
            offset_of[group].map(|offset| Place::Arena(offset..offset + lens[value]))
        };
        Some(Self {
            places: (0..lens.len()).map(place_of).collect(),
            row_bytes: sharing.part_of.iter().map(|part| part.map(|part| part.row_bytes)).collect(),
            arena_bytes,
            lower_bound_bytes: lower_bound(&buffers, model.nodes.len())?,
            in_place: sharing.in_place,
        })
    }
}

fn len_bytes(kind: &ValueType) -> Option<usize> {
    kind.shape.checked_len()?.checked_mul(DType::size_bytes(kind.dtype))
}
