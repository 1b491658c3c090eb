//! Graphs as text, one line a node: for people and for snapshot tests.

use core::fmt;

use embdl_core::op::{Op, Unary};

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
            write_attributes(f, &node.op)?;
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

/// Attributes that neither the name of the operator nor the shapes tell.
fn write_attributes(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    match op {
        Op::Unary(Unary::HardSigmoid { alpha, beta }) => write!(f, ", alpha {alpha} beta {beta}"),
        Op::Unary(Unary::LeakyRelu { alpha } | Unary::Elu { alpha }) => {
            write!(f, ", alpha {alpha}")
        }
        Op::Unary(Unary::Clip { min, max }) => write!(f, ", {min} to {max}"),
        Op::Resize(resize) => write!(f, ", {:?} {:?}", resize.mode, resize.coordinates),
        Op::Transpose(transpose) => write!(f, ", order {:?}", transpose.order),
        Op::Pad(pad) => {
            write!(
                f,
                ", top {} left {} bottom {} right {}",
                pad.top, pad.left, pad.bottom, pad.right
            )
        }
        _ => Ok(()),
    }
}
