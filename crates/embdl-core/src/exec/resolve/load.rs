//! What loading does with every node, whatever computes it.

use super::Resolver;
use crate::runtime::{LoadOptions, NodeProfile};

impl Resolver<'_, '_> {
    /// Gives back the bytes of the node's tensors, which are packed, or on a device, now.
    pub fn release(&self, options: &LoadOptions) {
        let Some(release) = &options.release else { return };
        for id in [self.node.weight, self.node.bias].into_iter().flatten() {
            let tensor = &self.model.tensors[id];
            release.release(tensor.symbols.bytes);
            if let Some(gaps) = &tensor.gaps {
                release.release(gaps.bytes);
            }
        }
    }

    /// Bytes of the node's inputs and its result.
    #[must_use]
    pub fn activation_bytes(&self) -> usize {
        let values = self.node.inputs.iter().chain([&self.node.output]);
        values.map(|&value| self.types[value].len_bytes()).sum()
    }

    /// Multiply-accumulates of the node, as if dense.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.node.op.macs(self.to().shape, self.weight().map(|weight| weight.shape))
    }

    /// The profile of a node that has not run on a device yet, by the kernel it begins with, and bytes of constants that its kernels
    /// read; without a kernel its result is its input.
    #[must_use]
    pub fn unmeasured(&self, kernel: Option<&'static str>, constant_bytes: usize) -> NodeProfile {
        let bytes = kernel.map_or(0, |_| self.activation_bytes() + constant_bytes);
        NodeProfile {
            name: self.node.name.clone(),
            op: self.node.op.name(),
            kernel: kernel.unwrap_or("alias"),
            nanoseconds: 0,
            macs: self.macs(),
            bytes: bytes as u64,
        }
    }
}
