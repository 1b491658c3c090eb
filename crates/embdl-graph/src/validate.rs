//! What makes a graph valid.

use embdl_core::metadata::MetadataError;
use embdl_core::op::{Op, OpError};
use embdl_core::tensor::Shape;

use crate::graph::{Graph, Node};
use crate::param::{Form, Param, ParamRole};

/// Why a graph is not valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An operator does not fit its inputs or weight.
    #[error("node {node:?}: {source}")]
    Op {
        /// Node.
        node: String,
        /// What does not fit.
        #[source]
        source: OpError,
    },
    /// A node reads a value that no earlier node and no input provides.
    #[error("node {node:?} reads {value:?} before anything writes it")]
    NotWritten {
        /// Node.
        node: String,
        /// Value.
        value: String,
    },
    /// Two writers of one value.
    #[error("{value:?} is written twice, the second time by {node:?}")]
    WrittenTwice {
        /// Second writer.
        node: String,
        /// Value.
        value: String,
    },
    /// An index points nowhere.
    #[error("{owner:?} refers to {what} {index}, which does not exist")]
    BadIndex {
        /// Node or graph.
        owner: String,
        /// "value" or "parameter".
        what: &'static str,
        /// The index.
        index: usize,
    },
    /// A value's recorded shape is not what its operator gives.
    #[error("{value:?} has shape {found}, its operator gives {expected}")]
    Shape {
        /// Value.
        value: String,
        /// Recorded.
        found: Shape,
        /// Inferred.
        expected: Shape,
    },
    /// A parameter does not fit its own constraints, or its bias does not fit the layer.
    #[error("parameter {param:?}: {reason}")]
    Param {
        /// Parameter.
        param: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Preprocessing or labels do not fit.
    #[error("the metadata does not fit: {source}")]
    Metadata {
        /// What does not fit.
        #[from]
        source: MetadataError,
    },
    /// Batch normalization lacks what it computes with.
    #[error("batch normalization {node:?}: {reason}")]
    Norm {
        /// Node.
        node: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no input or no output.
    #[error("the graph has no {what}")]
    Missing {
        /// "input" or "output".
        what: &'static str,
    },
}

impl Graph {
    /// Checks all that [`Graph`] promises.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), GraphError> {
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(GraphError::Missing {
                what: if self.inputs.is_empty() { "input" } else { "output" },
            });
        }
        let value_of = |owner: &str, index: usize| {
            self.values.get(index).ok_or_else(|| GraphError::BadIndex {
                owner: owner.into(),
                what: "value",
                index,
            })
        };
        let mut written = vec![false; self.values.len()];
        for &input in &self.inputs {
            value_of(&self.name, input)?;
            written[input] = true;
        }
        self.params.iter().try_for_each(check_param)?;
        for node in &self.nodes {
            let mut shapes = Vec::with_capacity(node.inputs.len());
            for &input in &node.inputs {
                let value = value_of(&node.name, input)?;
                if !written[input] {
                    return Err(GraphError::NotWritten {
                        node: node.name.clone(),
                        value: value.name.clone(),
                    });
                }
                shapes.push(value.shape);
            }
            let param_of = |index: usize| {
                let bad =
                    || GraphError::BadIndex { owner: node.name.clone(), what: "parameter", index };
                self.params.get(index).ok_or_else(bad)
            };
            let weight = node.weight.map(param_of).transpose()?.map(|param| param.shape);
            let expected = node
                .op
                .infer(&shapes, weight)
                .map_err(|source| GraphError::Op { node: node.name.clone(), source })?;
            if let Some(bias) = node.bias.map(param_of).transpose()?
                && (!node.op.takes_bias()
                    || weight.is_none_or(|weight| bias.shape != Shape::vector(weight.dim(0))))
            {
                return Err(GraphError::Param {
                    param: bias.name.clone(),
                    reason: "a bias has one element for each output channel",
                });
            }
            check_stats(self, node)?;
            let output = value_of(&node.name, node.output)?;
            if written[node.output] {
                return Err(GraphError::WrittenTwice {
                    node: node.name.clone(),
                    value: output.name.clone(),
                });
            }
            if output.shape != expected {
                return Err(GraphError::Shape {
                    value: output.name.clone(),
                    found: output.shape,
                    expected,
                });
            }
            written[node.output] = true;
        }
        for &output in &self.outputs {
            let value = value_of(&self.name, output)?;
            if !written[output] {
                return Err(GraphError::NotWritten {
                    node: self.name.clone(),
                    value: value.name.clone(),
                });
            }
        }
        let [input, output] = [self.inputs[0], self.outputs[0]].map(|id| self.values[id].shape);
        Ok(self.metadata.check(input, output)?)
    }
}

/// Batch normalization has a bias and statistics of its channels; no other operator has statistics.
fn check_stats(graph: &Graph, node: &Node) -> Result<(), GraphError> {
    let Op::BatchNorm(norm) = &node.op else {
        let stray = node.stats.map(|(mean, _)| GraphError::Param {
            param: graph.params.get(mean).map_or_else(String::new, |param| param.name.clone()),
            reason: "only batch normalization has statistics",
        });
        return stray.map_or(Ok(()), Err);
    };
    let refuse = |reason| GraphError::Norm { node: node.name.clone(), reason };
    if !(norm.epsilon.is_finite() && norm.epsilon > 0.0) {
        return Err(refuse("its epsilon is not positive"));
    }
    let (Some(weight), Some(_), Some((mean, variance))) = (node.weight, node.bias, node.stats)
    else {
        return Err(refuse("it lacks its factor, its bias or its statistics"));
    };
    for id in [mean, variance] {
        let param = graph.params.get(id).ok_or_else(|| GraphError::BadIndex {
            owner: node.name.clone(),
            what: "parameter",
            index: id,
        })?;
        if param.shape != graph.params[weight].shape {
            return Err(refuse("a statistic does not have one element for each channel"));
        }
        if param.role != ParamRole::Statistic || param.form != Form::Free || param.mask.is_some() {
            return Err(refuse("a statistic is not held as one"));
        }
    }
    Ok(())
}

fn check_param(param: &Param) -> Result<(), GraphError> {
    let bad = |reason| Err(GraphError::Param { param: param.name.clone(), reason });
    if !param.latent.is_standard_layout()
        || !param.latent.shape().iter().copied().eq(param.shape.iter())
    {
        return bad("its values do not have its shape");
    }
    if param.mask.as_ref().is_some_and(|mask| mask.len() != param.len()) {
        return bad("its mask is not as long as the tensor");
    }
    match &param.form {
        Form::Free => Ok(()),
        Form::Shared { centroids, codes, step } => {
            if codes.len() != param.len()
                || codes.iter().any(|&code| usize::from(code) >= centroids.len())
            {
                return bad("its codes do not fit its centroids");
            }
            if step.is_some_and(|step| !(step.is_finite() && step > 0.0)) {
                return bad("its step is not positive");
            }
            Ok(())
        }
        Form::Integer { bits, scales } => {
            if !(2..=8).contains(bits) {
                return bad("integers have 2 to 8 bits");
            }
            if scales.len() != 1 && scales.len() != param.shape.dim(0) {
                return bad("it has neither one scale nor one for each output channel");
            }
            if scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
                return bad("a scale is not positive");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn zoo_graphs_are_valid_and_damage_is_named() {
        let graph = zoo::lenet5(1);
        assert_eq!(graph.validate(), Ok(()));

        let mut wrong = graph.clone();
        wrong.nodes.swap(0, 1);
        assert!(matches!(wrong.validate(), Err(GraphError::NotWritten { .. })));

        let mut wrong = graph.clone();
        wrong.values[1].shape = Shape::nhwc(1, 1, 1, 1);
        assert!(matches!(wrong.validate(), Err(GraphError::Shape { .. })));

        let mut wrong = graph.clone();
        wrong.nodes[0].inputs[0] = 999;
        assert!(matches!(wrong.validate(), Err(GraphError::BadIndex { index: 999, .. })));

        let mut wrong = graph;
        wrong.params[0].mask = Some(vec![true; 3]);
        assert!(matches!(wrong.validate(), Err(GraphError::Param { .. })));
    }
}
