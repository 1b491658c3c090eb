//! Leaves out what nothing refers to any more.

use crate::graph::Graph;

impl Graph {
    /// Removes values and parameters that no node and no edge of the graph refers to, and numbers the others anew in
    /// their old order.
    pub fn drop_unused(&mut self) {
        let mut used = vec![false; self.values.len()];
        let read = self.nodes.iter().flat_map(|node| node.inputs.iter().chain([&node.output]));
        read.chain(&self.inputs).chain(&self.outputs).for_each(|&id| used[id] = true);
        let values = renumber(&mut self.values, &used);

        let mut used = vec![false; self.params.len()];
        for node in &self.nodes {
            let stats = node.stats.iter().flat_map(|(mean, variance)| [mean, variance]);
            node.weight.iter().chain(&node.bias).chain(stats).for_each(|&id| used[id] = true);
        }
        let params = renumber(&mut self.params, &used);

        for node in &mut self.nodes {
            node.inputs.iter_mut().chain([&mut node.output]).for_each(|id| *id = values[*id]);
            node.weight.iter_mut().chain(&mut node.bias).for_each(|id| *id = params[*id]);
            node.stats = node.stats.map(|(mean, variance)| (params[mean], params[variance]));
        }
        self.inputs.iter_mut().chain(&mut self.outputs).for_each(|id| *id = values[*id]);
    }
}

/// Keeps the items that are used. Gives the new number of each that is kept.
fn renumber<T>(items: &mut Vec<T>, used: &[bool]) -> Vec<usize> {
    let mut flags = used.iter();
    items.retain(|_| *flags.next().expect("one flag an item"));
    used.iter()
        .scan(0, |next, &used| {
            let number = *next;
            *next += usize::from(used);
            Some(number)
        })
        .collect()
}
