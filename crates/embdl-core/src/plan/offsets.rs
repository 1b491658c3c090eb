//! Offsets of buffers in the arena, and how near they are to the best.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Number of buffers beyond which only the cheapest order of placement is tried.
const MANY_BUFFERS: usize = 2048;

/// A part of the arena that is in use from node `first` to node `last`.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Value that stands for all that share the buffer.
    pub group: usize,
    /// Bytes.
    pub len: usize,
    /// The node that writes it.
    pub first: usize,
    /// The last node that reads it.
    pub last: usize,
}

impl Buffer {
    const fn lives_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offset of each buffer and the size of the arena, by the better of two orders; `None` if the sizes cannot be counted.
#[must_use]
pub fn place(buffers: &[Buffer]) -> Option<(Vec<usize>, usize)> {
    let in_time: Vec<usize> = (0..buffers.len()).collect();
    let by_time = place_in_order(buffers, &in_time)?;
    if buffers.len() > MANY_BUFFERS {
        return Some(by_time);
    }
    let mut in_size = in_time;
    in_size.sort_by_key(|&at| Reverse(buffers[at].len));
    let by_size = place_in_order(buffers, &in_size)?;
    Some(if by_size.1 < by_time.1 { by_size } else { by_time })
}

fn place_in_order(buffers: &[Buffer], order: &[usize]) -> Option<(Vec<usize>, usize)> {
    let mut offsets: Vec<usize> = vec![0; buffers.len()];
    let mut total = 0;
    // Placed buffers, by ascending offset.
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    for &at in order {
        let buffer = &buffers[at];
        let mut best: Option<(usize, usize)> = None;
        let mut free_from = 0;
        for &other in placed.iter().filter(|&&other| buffers[other].lives_with(buffer)) {
            let room = offsets[other].saturating_sub(free_from);
            if room >= buffer.len && best.is_none_or(|(smallest, _)| room < smallest) {
                best = Some((room, free_from));
            }
            free_from = free_from.max(offsets[other] + buffers[other].len);
        }
        let offset = best.map_or(free_from, |(_, offset)| offset);
        offsets[at] = offset;
        total = total.max(offset.checked_add(buffer.len)?);
        let position = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(position, at);
    }
    Some((offsets, total))
}

/// The largest sum of buffers that are in use at the same time.
pub(super) fn lower_bound(buffers: &[Buffer], nodes: usize) -> Option<usize> {
    let mut changes = vec![(0_usize, 0_usize); nodes + 2];
    for buffer in buffers {
        changes[buffer.first].0 = changes[buffer.first].0.checked_add(buffer.len)?;
        changes[buffer.last + 1].1 += buffer.len;
    }
    let (mut live, mut largest) = (0_usize, 0);
    for (born, dead) in changes {
        live = (live - dead).checked_add(born)?;
        largest = largest.max(live);
    }
    Some(largest)
}
