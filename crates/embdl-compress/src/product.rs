//! Products of matrices on the runtime at hand: a dense layer is one.

use embdl_core::metadata::Metadata;
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::runtime::{LoadOptions, Runtime, Session};
use embdl_core::tensor::{Shape, TensorMut, TensorRef};
use embdl_graph::{Graph, Node, Param, ParamRole, Value};

use crate::error::CompressError;
use crate::execute::PLAIN;
use crate::lower::lower;

/// `rows · matrixᵀ` for a matrix that stays the same.
pub(crate) struct Product {
    session: Box<dyn Session>,
    depth: usize,
    width: usize,
    rows: usize,
}

impl Product {
    /// For `rows` rows of `depth` elements with a `matrix` of rows of as many.
    pub(crate) fn new(
        runtime: &dyn Runtime,
        matrix: Vec<f32>,
        depth: usize,
        rows: usize,
    ) -> Result<Self, CompressError> {
        let width = matrix.len() / depth;
        let value = |name: &str, len| Value {
            name: name.into(),
            shape: Shape::matrix(1, len),
            quant: None,
        };
        let graph = Graph {
            name: "product".into(),
            values: vec![value("rows", depth), value("products", width)],
            nodes: vec![Node {
                name: "product".into(),
                op: Op::Dense(Dense { activation: Activation::None }),
                inputs: vec![0],
                output: 1,
                weight: Some(0),
                bias: None,
                stats: None,
            }],
            params: vec![Param::new(
                "matrix",
                ParamRole::Weight,
                Shape::matrix(width, depth),
                matrix,
            )],
            inputs: vec![0],
            outputs: vec![1],
            metadata: Metadata::default(),
        };
        let lowered = lower(&graph, PLAIN)?;
        let options = LoadOptions { batch: rows, ..LoadOptions::default() };
        let session = runtime.load(&lowered.model(), &options)?;
        Ok(Self { session, depth, width, rows })
    }

    /// Writes the products of `rows` to `out`.
    pub(crate) fn multiply(&mut self, rows: &[f32], out: &mut [f32]) -> Result<(), CompressError> {
        debug_assert!(rows.len() == self.rows * self.depth && out.len() == self.rows * self.width);
        Ok(self.session.run(&[TensorRef::F32(rows)], &mut [TensorMut::F32(out)])?)
    }
}
