//! What a node adds to the graph: values, nodes, parameters, or another name for a value.

use embdl_core::op::{Activation, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{Form, Node, NodeId, Param, ParamId, ParamRole, Value, ValueId};
use tract_onnx::pb::NodeProto;

use std::rc::Rc;

use super::importer::{Binding, Importer, Pending, Source, name_of};
use crate::error::NodeError;
use crate::layout::Order;
use crate::tensor::Constant;

/// Operators that files for `[n, h, w, c]` have between the input and its transpose: scaling, normalization, pads.
const EITHER_ORDER: [&str; 8] = ["Add", "Cast", "Div", "Identity", "Mul", "Neg", "Pad", "Sub"];
/// Most of them in a row.
const PASSED: usize = 6;

impl<'a> Importer<'a> {
    /// Lets the node's output stand for `binding`.
    pub(super) fn bind(&mut self, node: &'a NodeProto, binding: Binding) -> Result<(), NodeError> {
        let name = node.output[0].as_str();
        match self.bindings.insert(name.into(), binding) {
            None => Ok(()),
            Some(_) => Err(NodeError::WrittenTwice { value: name.into() }),
        }
    }

    pub(super) fn bind_constant(
        &mut self,
        node: &'a NodeProto,
        constant: Constant,
    ) -> Result<(), NodeError> {
        self.bind(node, Binding::Constant(Rc::new(constant)))
    }

    /// Lets the node's output be `source` under another name and perhaps in another order.
    pub(super) fn alias(&mut self, node: &'a NodeProto, source: Source) -> Result<(), NodeError> {
        let read_once = source.read_once && self.read_once(&node.output[0]);
        self.bind(node, Binding::Value(Source { read_once, ..source }))
    }

    /// Adds a node without parameters to the graph.
    pub(super) fn emit(
        &mut self,
        node: &'a NodeProto,
        op: Op,
        inputs: &[ValueId],
        order: Order,
    ) -> Result<(), NodeError> {
        self.emit_layer(node, op, inputs, order, [None, None])
    }

    /// Adds a node to the graph, with weight and bias.
    pub(super) fn emit_layer(
        &mut self,
        node: &'a NodeProto,
        op: Op,
        inputs: &[ValueId],
        order: Order,
        [weight, bias]: [Option<ParamId>; 2],
    ) -> Result<(), NodeError> {
        let output = node.output[0].as_str();
        let name = self.node_names.unique(name_of(node));
        let value = self.append(name, output, op, inputs, [weight, bias])?;
        let read_once = self.read_once(output);
        self.bind(node, Binding::Value(Source { value, order, read_once, pending: Pending::NONE }))
    }

    /// Adds a node to the graph that writes a value which the file does not know.
    pub(super) fn emit_inner(
        &mut self,
        node: &NodeProto,
        suffix: &str,
        op: Op,
        input: ValueId,
    ) -> Result<ValueId, NodeError> {
        self.emit_inner_layer(node, suffix, op, input, [None, None])
    }

    /// [`emit_inner`](Self::emit_inner) with weight and bias.
    pub(super) fn emit_inner_layer(
        &mut self,
        node: &NodeProto,
        suffix: &str,
        op: Op,
        input: ValueId,
        params: [Option<ParamId>; 2],
    ) -> Result<ValueId, NodeError> {
        let name = self.node_names.unique(&format!("{}.{suffix}", name_of(node)));
        let output = self.names.unique(&format!("{}.{suffix}", node.output[0]));
        self.append(name, &output, op, &[input], params)
    }

    fn append(
        &mut self,
        name: String,
        output: &str,
        op: Op,
        inputs: &[ValueId],
        [weight, bias]: [Option<ParamId>; 2],
    ) -> Result<ValueId, NodeError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.graph.values[id].shape).collect();
        let shape = op.infer(&shapes, weight.map(|id| self.graph.params[id].shape))?;
        let output = self.value(output, shape);
        self.writers.insert(output, self.graph.nodes.len());
        for id in [weight, bias].into_iter().flatten() {
            self.param_uses[id] += 1;
        }
        let inputs = inputs.to_vec();
        self.graph.nodes.push(Node { name, op, inputs, output, weight, bias, stats: None });
        Ok(output)
    }

    /// Adds a parameter, or finds the same one where the file uses a constant twice.
    pub(super) fn param(
        &mut self,
        name: &str,
        role: ParamRole,
        shape: Shape,
        values: Vec<f32>,
    ) -> ParamId {
        if let Some(&id) = self.params.get(name) {
            let known = &self.graph.params[id];
            let is_same = (known.role, known.shape) == (role, shape) && known.form == Form::Free;
            if is_same && known.values() == values {
                return id;
            }
        }
        // Initializers are in `names` already; only a second parameter of the name needs another.
        let name = if self.params.contains_key(name) {
            self.names.unique(name)
        } else {
            self.names.insert(name);
            name.into()
        };
        let id = self.graph.params.len();
        self.params.insert(name.clone(), id);
        self.graph.params.push(Param::new(name, role, shape, values));
        self.param_uses.push(0);
        id
    }

    /// A name for a parameter that the file does not have.
    pub(super) fn fresh_name(&mut self, wish: &str) -> String {
        self.names.unique(wish)
    }

    /// Parameter `id` to be changed by the one node that asks: a copy, where others use it too.
    pub(super) fn own_param(&mut self, id: ParamId) -> Result<ParamId, NodeError> {
        if self.param_uses[id] == 1 {
            return Ok(id);
        }
        self.spend(self.graph.params[id].len())?;
        self.param_uses[id] -= 1;
        let mut param = self.graph.params[id].clone();
        param.name = self.names.unique(&param.name);
        self.graph.params.push(param);
        self.param_uses.push(1);
        Ok(self.graph.params.len() - 1)
    }

    /// Gives `layer` a bias, or another in place of its own.
    pub(super) fn set_bias(&mut self, layer: NodeId, bias: ParamId) {
        if self.graph.nodes[layer].bias.replace(bias).is_none() {
            self.param_uses[bias] += 1;
        }
    }

    /// The node that writes `source`, if nobody else reads it and it has no activation yet.
    pub(super) fn open_writer(&self, source: &Source) -> Option<NodeId> {
        let id = *self.writers.get(&source.value).filter(|_| source.read_once)?;
        let op = &self.graph.nodes[id].op;
        let is_open = source.pending == Pending::NONE
            && self.graph.values[source.value].quant.is_none()
            && op.activation() == Activation::None
            && !matches!(op, Op::Activation(_));
        is_open.then_some(id)
    }

    /// Lets the node's output be `value` in `order`.
    pub(super) fn bind_value(
        &mut self,
        node: &'a NodeProto,
        value: ValueId,
        order: Order,
    ) -> Result<(), NodeError> {
        let read_once = self.read_once(&node.output[0]);
        self.bind(node, Binding::Value(Source { value, order, read_once, pending: Pending::NONE }))
    }

    /// Leaves something of `node` to be done by its reader.
    pub(super) fn wait(&mut self, node: &'a NodeProto, pending: Pending) {
        if let Some(Binding::Value(source)) = self.bindings.get_mut(node.output[0].as_str()) {
            source.pending = pending;
        }
    }

    /// The layer that writes `source`, if nobody else reads it and it has no activation, and its channels. Weights that
    /// are levels stay as they are.
    pub(super) fn open_layer(&self, source: &Source) -> Option<(NodeId, usize)> {
        let layer = self.open_writer(source)?;
        let node = &self.graph.nodes[layer];
        let weight = &self.graph.params[node.weight.filter(|_| node.op.is_layer())?];
        (weight.form == Form::Free).then(|| (layer, weight.shape.dim(0)))
    }

    /// The sum of two values of one order.
    pub(super) fn emit_inner_sum(
        &mut self,
        node: &NodeProto,
        inputs: [ValueId; 2],
    ) -> Result<ValueId, NodeError> {
        let name = self.node_names.unique(&format!("{}.sum", name_of(node)));
        let output = self.names.unique(&format!("{}.sum", node.output[0]));
        self.append(name, &output, Op::Add(Activation::None), &inputs, [None, None])
    }

    /// Renames the value of a writer that took in `node`, and binds the node's output to it.
    pub(super) fn absorb(&mut self, node: &'a NodeProto, source: Source) -> Result<(), NodeError> {
        self.graph.values[source.value].name.clone_from(&node.output[0]);
        self.alias(node, source)
    }

    /// Whether every reader of `name` transposes it from `[n, h, w, c]` to `[n, c, h, w]`, at once or behind operators to
    /// which the order of dimensions is all the same.
    pub(super) fn becomes_nchw(&self, name: &str) -> bool {
        self.is_transposed(name, PASSED)
    }

    fn is_transposed(&self, name: &str, steps: usize) -> bool {
        let to_nchw = |node: &&NodeProto| match node.op_type.as_str() {
            "Transpose" => {
                let mut attributes = node.attribute.iter();
                attributes.any(|perm| perm.name == "perm" && perm.ints == [0, 3, 1, 2])
            }
            op if steps > 0 && EITHER_ORDER.contains(&op) => {
                node.output.first().is_some_and(|output| self.is_transposed(output, steps - 1))
            }
            _ => false,
        };
        self.readers.get(name).is_some_and(|readers| readers.iter().all(to_nchw))
    }

    pub(super) fn read_once(&self, name: &str) -> bool {
        let outputs = usize::from(self.outputs.contains(name));
        self.readers.get(name).map_or(0, Vec::len) + outputs == 1
    }

    pub(super) fn value(&mut self, name: &str, shape: Shape) -> ValueId {
        self.graph.values.push(Value { name: name.into(), shape, quant: None });
        self.graph.values.len() - 1
    }
}
