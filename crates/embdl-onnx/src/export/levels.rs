//! Integers of a quantized graph: QuantizeLinear and DequantizeLinear around values, int8 weights and int32 biases.

use embdl_core::quant::{Quant, quantize_symmetric};
use embdl_graph::{Node, ValueId};
use tract_onnx::pb::tensor_proto::DataType;

use super::writer::int_attribute;
use super::{Exporter, in_file_order};

/// Largest level of a bias, which leaves the accumulator room.
const BIAS_LIMIT: i32 = 1 << 30;

/// A layer that computes in integers.
pub(super) struct IntegerLayer {
    input: Quant,
    levels: Vec<i32>,
    scales: Vec<f32>,
}

impl Exporter<'_> {
    /// The name under which floats are written before they become levels; none where they stay floats.
    pub(super) fn float_name(&mut self, id: ValueId) -> Option<String> {
        let value = &self.graph.values[id];
        if !self.quantized || value.quant.is_none() {
            return None;
        }
        // Whoever reads the value reads what comes back from its levels, and so does the caller.
        let last = core::mem::take(&mut self.names[id]);
        self.names[id] = self.writer.name(&format!("{last}.float"), "value");
        Some(last)
    }

    /// Lets the names of a node's inputs be those of their levels, or again those of their floats.
    pub(super) fn swap_rounded(&mut self, node: &Node) {
        for (at, &id) in node.inputs.iter().enumerate() {
            if node.inputs[..at].contains(&id) {
                continue;
            }
            if let Some(rounded) = &mut self.rounded[id] {
                core::mem::swap(rounded, &mut self.names[id]);
            }
        }
    }

    /// Levels of value `id` and floats of them again, which get the name `last` or a fresh one. Where the value is not made
    /// of integers, only those who compute in integers read what is rounded.
    pub(super) fn levels(&mut self, id: ValueId, of_integers: bool, last: Option<String>) {
        let Some(quant) = self.graph.values[id].quant.filter(|_| self.quantized) else { return };
        let mut readers = self.graph.nodes.iter().filter(|node| node.inputs.contains(&id));
        if !of_integers && !readers.any(|node| self.graph.computes_in_integers(node)) {
            return;
        }
        let float = self.names[id].clone();
        let last = last.unwrap_or_else(|| self.writer.name(&format!("{float}.rounded"), "value"));
        let levels = self.writer.name(&format!("{last}.levels"), "value");
        let scale = self.writer.scalar(quant.scale);
        let zero = self.writer.constant(
            &format!("{last}.zero"),
            DataType::Uint8,
            &[],
            vec![quant.zero_point],
        );
        let inputs = |from: &str| vec![from.to_owned(), scale.clone(), zero.clone()];
        self.writer.node("", "QuantizeLinear", inputs(&float), &levels, vec![]);
        self.writer.node("", "DequantizeLinear", inputs(&levels), &last, vec![]);
        if of_integers {
            self.names[id] = last;
        } else {
            self.rounded[id] = Some(last);
        }
    }

    /// What a layer has if it computes in integers: levels as input and as weights.
    pub(super) fn integer_layer(&self, node: &Node) -> Option<IntegerLayer> {
        if !self.quantized || !self.graph.computes_in_integers(node) {
            return None;
        }
        let input = self.graph.values[node.inputs[0]].quant?;
        let weight = &self.graph.params[node.weight?];
        Some(IntegerLayer { input, levels: weight.levels()?, scales: weight.scales()? })
    }

    /// Names of the weight and the bias of an integer layer.
    pub(super) fn integer_params(&mut self, node: &Node, layer: &IntegerLayer) -> Vec<String> {
        let graph = self.graph;
        let mut names = Vec::new();
        if let Some(id) = node.weight {
            let param = &graph.params[id];
            let bytes: Vec<i8> = layer
                .levels
                .iter()
                .map(|&level| i8::try_from(level).expect("levels are -127 to 127"))
                .collect();
            let columns = self.columns(node);
            let (dims, bytes) = in_file_order(&bytes, param.shape, columns.as_ref());
            let raw = bytes.iter().flat_map(|level| level.to_le_bytes()).collect();
            let levels = self.writer.constant(&param.name, DataType::Int8, &dims, raw);
            let zeros = vec![0; layer.scales.len()];
            names.push(self.dequantized(&levels, &layer.scales, (DataType::Int8, zeros)));
        }
        if let Some(id) = node.bias {
            let param = &graph.params[id];
            let values = param.effective();
            let steps: Vec<f32> =
                layer.scales.iter().map(|scale| scale * layer.input.scale).collect();
            let step = |at: usize| steps[if steps.len() == 1 { 0 } else { at }];
            let raw = values.iter().enumerate().flat_map(|(at, &bias)| {
                quantize_symmetric(bias, step(at), BIAS_LIMIT).to_le_bytes()
            });
            let raw = raw.collect();
            let levels = self.writer.constant(&param.name, DataType::Int32, &[values.len()], raw);
            let zeros = vec![0; 4 * steps.len()];
            names.push(self.dequantized(&levels, &steps, (DataType::Int32, zeros)));
        }
        names
    }

    /// Name of the floats that constant `levels` stands for.
    fn dequantized(
        &mut self,
        levels: &str,
        scales: &[f32],
        (kind, zeros): (DataType, Vec<u8>),
    ) -> String {
        let dims: &[usize] = if scales.len() == 1 { &[] } else { &[scales.len()] };
        let raw = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let scale = self.writer.constant(&format!("{levels}.scale"), DataType::Float, dims, raw);
        let zero = self.writer.constant(&format!("{levels}.zero"), kind, dims, zeros);
        let name = self.writer.name(&format!("{levels}.float"), "value");
        let inputs = vec![levels.to_owned(), scale, zero];
        let attributes = vec![int_attribute("axis", 0)];
        self.writer.node("", "DequantizeLinear", inputs, &name, attributes);
        name
    }
}
