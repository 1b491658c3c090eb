//! Graphs as text, one line a node: for people and for snapshot tests.

use core::fmt;

use crate::graph::Graph;
use crate::param::Form;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({} parameters, {} MACs)", self.name, self.param_count(), self.macs())?;
        for &input in &self.inputs {
            let value = &self.values[input];
            writeln!(f, "  input {} {}", value.name, value.shape)?;
        }
        for node in &self.nodes {
            let inputs: Vec<&str> =
                node.inputs.iter().map(|&id| self.values[id].name.as_str()).collect();
            let output = &self.values[node.output];
            write!(
                f,
                "  {} = {}({}) {}",
                output.name,
                node.op.name(),
                inputs.join(", "),
                output.shape
            )?;
            if node.op.activation() != embdl_core::op::Activation::None {
                write!(f, " then {:?}", node.op.activation())?;
            }
            if let Some(weight) = node.weight.map(|id| &self.params[id]) {
                write!(f, ", weight {}", weight.shape)?;
                match &weight.form {
                    Form::Free => {}
                    Form::Shared { centroids, .. } => write!(f, ", {} centroids", centroids.len())?,
                    Form::Integer { bits, .. } => write!(f, ", {bits} bits")?,
                }
                if weight.mask.is_some() {
                    write!(f, ", {:.1} % dense", weight.density() * 100.0)?;
                }
            }
            if let Some(quant) = output.quant {
                write!(f, ", u8 scale {:.6} zero {}", quant.scale, quant.zero_point)?;
            }
            writeln!(f)?;
        }
        let outputs: Vec<&str> =
            self.outputs.iter().map(|&id| self.values[id].name.as_str()).collect();
        writeln!(f, "  output {}", outputs.join(", "))
    }
}
