//! Fully connected layers.
//!
//! The batch is the narrow side, so it is what gets packed: weights are read in place, once per pass.

use embdl_core::op::Activation;
use rayon::prelude::*;

use super::gemm::{Assign, Lhs, Rhs, multiply};

/// Rows of the weight that one task takes.
const ROWS: usize = 48;

/// Sizes of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Samples.
    pub(crate) batch: usize,
    /// Inputs.
    pub(crate) inputs: usize,
    /// Outputs.
    pub(crate) outputs: usize,
}

impl Sizes {
    /// `activation(x · wᵀ + b)`.
    pub(crate) fn forward(
        self,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Vec<f32> {
        let Self { batch, inputs, outputs } = self;
        let packed = Rhs::columns_of(inputs, batch, x, inputs);
        let steps: Vec<usize> = (0..inputs).collect();
        let mut transposed = vec![0.0; outputs * batch];
        transposed.par_chunks_mut(ROWS * batch).zip(w.par_chunks(ROWS * inputs)).for_each(
            |(out, w)| {
                let rows: Vec<usize> = (0..w.len() / inputs).map(|i| i * inputs).collect();
                let lhs = Lhs { values: w, rows: &rows, steps: &steps };
                multiply(lhs, &packed, &mut Assign { out, stride: batch });
            },
        );
        let mut y = vec![0.0; batch * outputs];
        for (n, y) in y.chunks_exact_mut(outputs).enumerate() {
            for (o, y) in y.iter_mut().enumerate() {
                let sum = transposed[o * batch + n] + bias.map_or(0.0, |bias| bias[o]);
                *y = activation.apply(sum);
            }
        }
        y
    }

    /// Gradient of the input: `dy · w`.
    pub(crate) fn input_gradient(self, dy: &[f32], w: &[f32]) -> Vec<f32> {
        let Self { batch, inputs, outputs } = self;
        let packed = Rhs::columns_of(outputs, batch, dy, outputs);
        let steps: Vec<usize> = (0..outputs).map(|o| o * inputs).collect();
        let mut transposed = vec![0.0; inputs * batch];
        transposed.par_chunks_mut(ROWS * batch).enumerate().for_each(|(part, out)| {
            let first = part * ROWS;
            let rows: Vec<usize> = (first..first + out.len() / batch).collect();
            let lhs = Lhs { values: w, rows: &rows, steps: &steps };
            multiply(lhs, &packed, &mut Assign { out, stride: batch });
        });
        let mut dx = vec![0.0; batch * inputs];
        dx.par_chunks_exact_mut(inputs).enumerate().for_each(|(n, dx)| {
            for (dx, column) in dx.iter_mut().zip(transposed.chunks_exact(batch)) {
                *dx = column[n];
            }
        });
        dx
    }

    /// Gradient of the weight: `dyᵀ · x`.
    pub(crate) fn weight_gradient(self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let Self { batch, inputs, outputs } = self;
        let packed = Rhs::rows_of(batch, inputs, x, inputs);
        let steps: Vec<usize> = (0..batch).map(|n| n * outputs).collect();
        let mut dw = vec![0.0; outputs * inputs];
        dw.par_chunks_mut(ROWS * inputs).enumerate().for_each(|(part, out)| {
            let first = part * ROWS;
            let rows: Vec<usize> = (first..first + out.len() / inputs).collect();
            let lhs = Lhs { values: dy, rows: &rows, steps: &steps };
            multiply(lhs, &packed, &mut Assign { out, stride: inputs });
        });
        dw
    }
}
