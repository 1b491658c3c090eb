//! Builds graphs layer by layer, with seeded initial weights.

use embdl_core::metadata::Metadata;
use embdl_core::op::{Activation, BatchNorm, Conv2d, Dense, Op, Pool, PoolKind, Window};
use embdl_core::tensor::Shape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::graph::{Graph, Node, ParamId, Value, ValueId};
use crate::param::{Param, ParamRole};
use crate::validate::GraphError;

/// Appends nodes to a graph; shapes are inferred, weights start as He-uniform noise and biases as zeros.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
    /// Without it, weights are zero.
    rng: Option<ChaCha8Rng>,
}

impl GraphBuilder {
    /// An empty network whose initial weights follow from `seed`.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Self {
        Self { rng: Some(ChaCha8Rng::seed_from_u64(seed)), ..Self::zeroed(name) }
    }

    /// An empty network whose weights are all zero until something fills them.
    #[must_use]
    pub fn zeroed(name: &str) -> Self {
        let graph = Graph {
            name: name.into(),
            values: Vec::new(),
            nodes: Vec::new(),
            params: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            metadata: Metadata::default(),
        };
        Self { graph, rng: None }
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, shape: Shape) -> ValueId {
        let id = self.value(name, shape);
        self.graph.inputs.push(id);
        id
    }

    /// Adds any operator that has no weight.
    ///
    /// # Errors
    /// If the operator does not take these inputs.
    pub fn op(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        self.node(name, op, inputs, None, None)
    }

    /// Adds a convolution of `channels` filters, with a bias.
    ///
    /// # Errors
    /// If it does not fit the input.
    pub fn conv2d(
        &mut self,
        name: &str,
        input: ValueId,
        channels: usize,
        conv: Conv2d,
    ) -> Result<ValueId, GraphError> {
        let weight = self.filters(name, input, channels, conv);
        let bias = self.zeros(&format!("{name}.bias"), channels);
        self.node(name, Op::Conv2d(conv), &[input], Some(weight), Some(bias))
    }

    /// Adds a convolution of `channels` filters without a bias, batch normalization called `NAME.norm`, and the
    /// convolution's activation after it.
    ///
    /// # Errors
    /// If it does not fit the input.
    pub fn conv2d_norm(
        &mut self,
        name: &str,
        input: ValueId,
        channels: usize,
        conv: Conv2d,
    ) -> Result<ValueId, GraphError> {
        let plain = Conv2d { activation: Activation::None, ..conv };
        let weight = self.filters(name, input, channels, plain);
        let sums = self.node(name, Op::Conv2d(plain), &[input], Some(weight), None)?;
        let norm = self.batch_norm(&format!("{name}.norm"), sums, 1e-5)?;
        match conv.activation {
            Activation::None => Ok(norm),
            activation => self.op(
                &format!("{name}.{}", Op::Activation(activation).name()),
                Op::Activation(activation),
                &[norm],
            ),
        }
    }

    /// Adds batch normalization that is the identity up to `epsilon`: factors of 1, biases of 0, mean 0, variance 1.
    ///
    /// # Errors
    /// If the input has no channels.
    pub fn batch_norm(
        &mut self,
        name: &str,
        input: ValueId,
        epsilon: f32,
    ) -> Result<ValueId, GraphError> {
        let channels = self.graph.values[input].shape.iter().last().unwrap_or(0);
        let mut add = |what: &str, role, value| {
            let values = vec![value; channels];
            self.param(Param::new(format!("{name}.{what}"), role, Shape::vector(channels), values))
        };
        let weight = add("weight", ParamRole::Weight, 1.0);
        let bias = add("bias", ParamRole::Bias, 0.0);
        let stats =
            (add("mean", ParamRole::Statistic, 0.0), add("variance", ParamRole::Statistic, 1.0));
        let op = Op::BatchNorm(BatchNorm { epsilon });
        let output = self.node(name, op, &[input], Some(weight), Some(bias))?;
        if let Some(node) = self.graph.nodes.last_mut() {
            node.stats = Some(stats);
        }
        Ok(output)
    }

    /// Adds a fully connected layer of `features` outputs, with a bias.
    ///
    /// # Errors
    /// If it does not fit the input.
    pub fn dense(
        &mut self,
        name: &str,
        input: ValueId,
        features: usize,
        activation: Activation,
    ) -> Result<ValueId, GraphError> {
        let inputs = self.graph.values[input].shape.iter().nth(1).unwrap_or(0);
        let weight =
            self.he_uniform(&format!("{name}.weight"), Shape::matrix(features, inputs), inputs);
        let bias = self.zeros(&format!("{name}.bias"), features);
        self.node(name, Op::Dense(Dense { activation }), &[input], Some(weight), Some(bias))
    }

    /// Adds a slope below zero for each channel, 0.25 at first. Source: He et al. 2015, "Delving Deep into Rectifiers",
    /// §2.1.
    ///
    /// # Errors
    /// If the input has no elements.
    pub fn prelu(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        let channels = self.graph.values[input].shape.iter().last().unwrap_or(0);
        let slopes = Param::new(
            format!("{name}.slope"),
            ParamRole::Bias,
            Shape::vector(channels),
            vec![0.25; channels],
        );
        let slopes = self.param(slopes);
        self.node(name, Op::PRelu, &[input], Some(slopes), None)
    }

    /// Adds max pooling.
    ///
    /// # Errors
    /// If the window does not fit the input.
    pub fn max_pool(
        &mut self,
        name: &str,
        input: ValueId,
        window: Window,
    ) -> Result<ValueId, GraphError> {
        self.op(name, Op::Pool(Pool { kind: PoolKind::Max, window, ceil: false }), &[input])
    }

    /// Adds a node with parameters that exist already.
    ///
    /// # Errors
    /// If the operator does not take these inputs or parameters.
    pub fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[ValueId],
        weight: Option<ParamId>,
        bias: Option<ParamId>,
    ) -> Result<ValueId, GraphError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.graph.values[id].shape).collect();
        let shape = op
            .infer(&shapes, weight.map(|id| self.graph.params[id].shape))
            .map_err(|source| GraphError::Op { node: name.into(), source })?;
        let output = self.value(name, shape);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            output,
            weight,
            bias,
            stats: None,
        });
        Ok(output)
    }

    /// Adds a parameter.
    pub fn param(&mut self, param: Param) -> ParamId {
        self.graph.params.push(param);
        self.graph.params.len() - 1
    }

    /// Shape of a value that was added.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.values[value].shape
    }

    /// The finished graph with `outputs`.
    ///
    /// # Errors
    /// If it is not valid.
    pub fn finish(mut self, outputs: &[ValueId]) -> Result<Graph, GraphError> {
        self.graph.outputs = outputs.to_vec();
        self.graph.validate()?;
        Ok(self.graph)
    }

    fn value(&mut self, name: &str, shape: Shape) -> ValueId {
        self.graph.values.push(Value { name: name.into(), shape, quant: None });
        self.graph.values.len() - 1
    }

    /// The weight of a convolution, He-uniform.
    fn filters(&mut self, name: &str, input: ValueId, channels: usize, conv: Conv2d) -> ParamId {
        let ci = self.graph.values[input].shape.iter().nth(3).unwrap_or(0)
            / (conv.groups as usize).max(1);
        let [kh, kw] = conv.window.kernel.map(|taps| taps as usize);
        let shape = Shape::nhwc(channels, kh, kw, ci);
        self.he_uniform(&format!("{name}.weight"), shape, kh * kw * ci)
    }

    /// Uniform in `±sqrt(6 / fan_in)`. Source: He et al. 2015, "Delving Deep into Rectifiers", §2.2.
    fn he_uniform(&mut self, name: &str, shape: Shape, fan_in: usize) -> ParamId {
        #[expect(clippy::cast_precision_loss, reason = "a fan-in")]
        let bound = (6.0 / fan_in.max(1) as f32).sqrt();
        let values = match &mut self.rng {
            None => vec![0.0; shape.len()],
            Some(rng) => (0..shape.len()).map(|_| unit(rng).mul_add(2.0 * bound, -bound)).collect(),
        };
        self.param(Param::new(name, ParamRole::Weight, shape, values))
    }

    fn zeros(&mut self, name: &str, len: usize) -> ParamId {
        self.param(Param::new(name, ParamRole::Bias, Shape::vector(len), vec![0.0; len]))
    }
}

/// Uniform in `[0, 1)` with 24 random bits.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / 16_777_216.0
}
