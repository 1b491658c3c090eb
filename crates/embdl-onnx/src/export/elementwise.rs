//! Operators that ONNX writes in another way: functions of one element, slopes, resizing, pads, transposes.

use embdl_core::op::{Coordinates, Pad, Resize, ResizeMode, Transpose, Unary};
use embdl_graph::Node;

use super::Exporter;
use super::writer::{float_attribute, int_attribute, ints_attribute, string_attribute};
use crate::layout::{NCHW_TO_NHWC, NHWC_TO_NCHW};

impl Exporter<'_> {
    pub(super) fn unary(&mut self, node: &Node, unary: Unary) {
        let float = float_attribute;
        match unary {
            Unary::Sigmoid => self.simple(node, "Sigmoid", vec![]),
            Unary::HardSigmoid { alpha, beta } => {
                self.simple(node, "HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]);
            }
            Unary::HardSwish => self.simple(node, "HardSwish", vec![]),
            Unary::Tanh => self.simple(node, "Tanh", vec![]),
            Unary::LeakyRelu { alpha } => {
                self.simple(node, "LeakyRelu", vec![float("alpha", alpha)]);
            }
            Unary::Elu { alpha } => self.simple(node, "Elu", vec![float("alpha", alpha)]),
            Unary::Silu => {
                let [input, output] = self.ends(node);
                let gate = self.writer.name(&format!("{output}.gate"), "value");
                self.writer.node("", "Sigmoid", vec![input.clone()], &gate, vec![]);
                self.writer.node(&node.name, "Mul", vec![input, gate], &output, vec![]);
            }
            Unary::Clip { min, max } => {
                let [input, output] = self.ends(node);
                let mut inputs = vec![input];
                for bound in [min, max] {
                    let name = bound.is_finite().then(|| self.writer.scalar(bound));
                    inputs.push(name.unwrap_or_default());
                }
                while inputs.last().is_some_and(String::is_empty) {
                    inputs.pop();
                }
                self.writer.node(&node.name, "Clip", inputs, &output, vec![]);
            }
        }
    }

    pub(super) fn batch_norm(&mut self, node: &Node, epsilon: f32) {
        let [input, output] = self.ends(node);
        let graph = self.graph;
        let mut inputs = vec![input];
        let stats = node.stats.map(|(mean, variance)| [mean, variance]);
        for id in [node.weight, node.bias].into_iter().flatten().chain(stats.into_iter().flatten())
        {
            let param = &graph.params[id];
            let values = || (vec![param.len()], param.effective());
            inputs.push(self.writer.param(id, None, &param.name, values));
        }
        let attributes = vec![float_attribute("epsilon", epsilon)];
        self.writer.node(&node.name, "BatchNormalization", inputs, &output, attributes);
    }

    pub(super) fn prelu(&mut self, node: &Node) {
        let [input, output] = self.ends(node);
        let graph = self.graph;
        let mut inputs = vec![input];
        if let Some(id) = node.weight {
            let param = &graph.params[id];
            // Slopes are counted from the last dimension, where a map has its channels third.
            let is_map = graph.values[node.output].shape.rank() == 4;
            let dims = if is_map { vec![param.len(), 1, 1] } else { vec![param.len()] };
            inputs.push(self.writer.param(id, None, &param.name, || (dims, param.effective())));
        }
        self.writer.node(&node.name, "PRelu", inputs, &output, vec![]);
    }

    pub(super) fn resize(&mut self, node: &Node, resize: &Resize) {
        let [input, output] = self.ends(node);
        let shape = self.graph.values[node.inputs[0]].shape;
        let to = [shape.dim(3), resize.height, resize.width];
        // The batch is open, so that it has to be asked for.
        let mut name = |suffix: &str| self.writer.name(&format!("{output}.{suffix}"), "value");
        let [dims, batch, sizes] = [name("dims"), name("batch"), name("sizes")];
        let shape_of = vec![int_attribute("end", 1)];
        self.writer.node("", "Shape", vec![input.clone()], &batch, shape_of);
        let rest = self.writer.shape(&dims, &to);
        let axis = vec![int_attribute("axis", 0)];
        self.writer.node("", "Concat", vec![batch, rest], &sizes, axis);
        let (mode, rounding) = match (resize.mode, resize.coordinates) {
            (ResizeMode::Linear, _) => ("linear", None),
            (ResizeMode::Nearest, Coordinates::Asymmetric) => ("nearest", Some("floor")),
            (ResizeMode::Nearest, _) => ("nearest", Some("round_prefer_floor")),
        };
        let coordinates = match resize.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::AlignCorners => "align_corners",
            Coordinates::Asymmetric => "asymmetric",
        };
        let mut attributes = vec![
            string_attribute("mode", mode),
            string_attribute("coordinate_transformation_mode", coordinates),
        ];
        attributes.extend(rounding.map(|rounding| string_attribute("nearest_mode", rounding)));
        let inputs = vec![input, String::new(), String::new(), sizes];
        self.writer.node(&node.name, "Resize", inputs, &output, attributes);
    }

    pub(super) fn pad(&mut self, node: &Node, pad: &Pad) {
        let [input, output] = self.ends(node);
        let pads = [0, 0, pad.top, pad.left, 0, 0, pad.bottom, pad.right];
        let pads = self.writer.shape(&format!("{output}.pads"), &pads);
        self.writer.node(&node.name, "Pad", vec![input, pads], &output, vec![]);
    }

    pub(super) fn transpose(&mut self, node: &Node, transpose: &Transpose) {
        let rank = self.graph.values[node.output].shape.rank();
        let order: Vec<usize> =
            transpose.order[..rank].iter().map(|&axis| usize::from(axis)).collect();
        let perm: Vec<usize> = if rank == 4 {
            NHWC_TO_NCHW.iter().map(|&axis| NCHW_TO_NHWC[order[axis]]).collect()
        } else {
            order
        };
        let mut attribute = ints_attribute::<usize, 0>("perm", []);
        attribute.ints = perm.iter().map(|&axis| i64::try_from(axis).unwrap_or(0)).collect();
        self.simple(node, "Transpose", vec![attribute]);
    }

    /// Names of the input and the output of a node with one of each.
    fn ends(&self, node: &Node) -> [String; 2] {
        [self.names[node.inputs[0]].clone(), self.names[node.output].clone()]
    }
}
