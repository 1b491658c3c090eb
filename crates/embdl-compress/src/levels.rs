//! Which values keep their levels when only a part of a network computes in integers.

use embdl_graph::Graph;

use crate::observe::bare;

/// Takes the levels off every value that no layer in integers reads or writes, directly or through nodes that pass
/// integers on, so that values are converted only where float and integer layers meet.
pub(crate) fn drop_needless_levels(graph: &mut Graph) {
    loop {
        let mut wanted = vec![false; graph.values.len()];
        // Written in integers, layer or not, as long as an integer comes in.
        let mut made = vec![false; graph.values.len()];
        for node in &graph.nodes {
            let integer = graph.computes_in_integers(node)
                && (bare(&node.op).is_some() || node.inputs.iter().any(|&id| made[id]));
            made[node.output] = integer;
            wanted[node.output] |= integer;
        }
        // Read in integers by a layer, or by a node through which a layer reads.
        for node in graph.nodes.iter().rev() {
            if graph.computes_in_integers(node) && (bare(&node.op).is_some() || wanted[node.output])
            {
                node.inputs.iter().for_each(|&id| wanted[id] = true);
            }
        }
        let mut dropped = false;
        for (value, wanted) in graph.values.iter_mut().zip(wanted) {
            dropped |= !wanted && value.quant.take().is_some();
        }
        if !dropped {
            return;
        }
    }
}
