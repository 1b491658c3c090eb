//! Learned rounding: each weight goes up or down so that the layer's results, not the weight, err least.
//!
//! Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (AdaRound), with the
//! asymmetric reconstruction of §3.4: the quantized inputs are to give the float results. The error before the
//! activation is a quadratic form of the weights, `(w G w - 2 c w)` with `G` the second moments of the layer's inputs
//! and `c` those of inputs and wanted results, so that one step costs the same however many samples there are.

use core::fmt;

use embdl_core::op::Op;
use embdl_core::runtime::Runtime;
use embdl_graph::{Form, Graph};

use crate::error::CompressError;
use crate::pass::{Pass, PassReport, report};
use crate::patches::Patches;
use crate::product::Product;
use crate::samples::Samples;
use crate::walk::{Layer, walk};

/// Longest filter whose second moments are taken: 4096² floats are 64 MiB.
const LONGEST: usize = 4096;
/// Filters at least as long run their products on the runtime; for shorter ones a call costs more than it saves.
const SHORT: usize = 16;
/// Adam's step.
const RATE: f32 = 0.02;
/// Weight of the term that drives every weight to one of its two levels.
const DECIDE: f32 = 0.05;
/// Share of the steps before that term sets in.
const WARM_UP: f32 = 0.2;
/// Limits of the stretched sigmoid. Source: the paper, eq. 23.
const STRETCH: (f32, f32) = (-0.1, 1.1);

/// Chooses up or down for every weight of the integer layers, by gradient descent on each layer's error.
pub struct LearnRounding<'a> {
    /// Runs the network.
    pub runtime: &'a dyn Runtime,
    /// What errors are taken over.
    pub samples: &'a Samples,
    /// The network before quantization.
    pub reference: &'a Graph,
    /// Steps for each layer; 500 do.
    pub steps: usize,
}

impl fmt::Debug for LearnRounding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnRounding").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Pass for LearnRounding<'_> {
    fn name(&self) -> &'static str {
        "learn-rounding"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        report(self.name(), graph, |graph| {
            let mut changed = graph.clone();
            walk(self.runtime, self.reference, &mut changed, self.samples, |graph, layer| {
                self.layer(graph, layer)
            })?;
            *graph = changed;
            Ok(())
        })
    }
}

impl LearnRounding<'_> {
    fn layer(&self, graph: &mut Graph, layer: &Layer<'_>) -> Result<(), CompressError> {
        let node = &graph.nodes[layer.node];
        let id = node.weight.expect("layers have weights");
        let param = &graph.params[id];
        let Form::Integer { bits, scales } = &param.form else { return Ok(()) };
        let limit = f32::from((1_i16 << (bits - 1)) - 1);
        let groups = match &node.op {
            Op::Conv2d(conv) => conv.groups as usize,
            _ => 1,
        };
        let rows = param.shape.dim(0);
        let (depth, rows_a_group) = (param.len() / rows, rows / groups);
        if depth > LONGEST || param.mask.is_some() {
            return Ok(());
        }
        let bias = node.bias.map(|id| graph.params[id].effective());
        let input = graph.values[node.inputs[0]].shape;
        let patches = Patches::new(&node.op, input, graph.values[node.output].shape, depth);
        let scale_of = |row: usize| scales[if scales.len() == 1 { 0 } else { row }];
        let mut chosen = param.values().to_vec();
        for group in 0..groups {
            let first = group * rows_a_group;
            let own = first * depth..(first + rows_a_group) * depth;
            let (x, y) = patches.gather(layer, group, rows_a_group, rows, bias.as_deref());
            let moments = Moments::new(self.runtime, x, y, depth, rows_a_group)?;
            let scales: Vec<f32> = (first..first + rows_a_group).map(scale_of).collect();
            let problem = Problem { moments, depth, scales, limit };
            problem.solve(self.runtime, &mut chosen[own], self.steps)?;
        }
        graph.params[id].set_values(chosen);
        Ok(())
    }
}

/// Second moments, as means over positions.
struct Moments {
    /// Of inputs, `depth × depth`.
    inputs: Vec<f32>,
    /// Of wanted results with inputs, `rows × depth`.
    results: Vec<f32>,
}

impl Moments {
    /// From columns: `x` is `depth × positions`, `y` is `rows × positions`.
    fn new(
        runtime: &dyn Runtime,
        x: Vec<f32>,
        y: Vec<f32>,
        depth: usize,
        rows: usize,
    ) -> Result<Self, CompressError> {
        let positions = x.len() / depth;
        let (mut inputs, mut results) = (vec![0.0; depth * depth], vec![0.0; rows * depth]);
        if depth < SHORT {
            multiply(&x, &x, positions, &mut inputs);
            multiply(&y, &x, positions, &mut results);
        } else {
            Product::new(runtime, x.clone(), positions, depth)?.multiply(&x, &mut inputs)?;
            Product::new(runtime, x, positions, rows)?.multiply(&y, &mut results)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand positions")]
        let share = 1.0 / positions.max(1) as f32;
        inputs.iter_mut().chain(&mut results).for_each(|sum| *sum *= share);
        Ok(Self { inputs, results })
    }
}

/// `rows · matrixᵀ`, plainly.
fn multiply(rows: &[f32], matrix: &[f32], depth: usize, out: &mut [f32]) {
    let products = rows
        .chunks_exact(depth)
        .flat_map(|row| matrix.chunks_exact(depth).map(move |other| dot(row, other)));
    out.iter_mut().zip(products).for_each(|(out, product)| *out = product);
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        lanes.iter_mut().zip(x.iter().zip(y)).for_each(|(lane, (x, y))| *lane += x * y);
    }
    lanes.iter().sum::<f32>() + rest
}

/// Rounding of the filters that read the same inputs.
struct Problem {
    moments: Moments,
    depth: usize,
    /// One for each filter.
    scales: Vec<f32>,
    /// Largest level.
    limit: f32,
}

impl Problem {
    /// Replaces `weights` by levels times scale; each filter keeps the nearest levels if they err less.
    fn solve(
        &self,
        runtime: &dyn Runtime,
        weights: &mut [f32],
        steps: usize,
    ) -> Result<(), CompressError> {
        let rows = self.scales.len();
        let scale = |at: usize| self.scales[at / self.depth];
        let exact: Vec<f32> = weights
            .iter()
            .enumerate()
            .map(|(at, w)| (w / scale(at)).clamp(-self.limit, self.limit))
            .collect();
        let floor: Vec<f32> =
            exact.iter().map(|level| level.floor().min(self.limit - 1.0)).collect();
        let mut product = (self.depth >= SHORT)
            .then(|| Product::new(runtime, self.moments.inputs.clone(), self.depth, rows))
            .transpose()?;
        let mut slopes = vec![0.0; weights.len()];
        let mut slope_of = |levels: &[f32], slopes: &mut [f32]| -> Result<(), CompressError> {
            match &mut product {
                Some(product) => product.multiply(levels, slopes),
                None => {
                    multiply(levels, &self.moments.inputs, self.depth, slopes);
                    Ok(())
                }
            }
        };
        // A layer's error is measured in that of a weight that is off by one level, so that one rate serves all.
        let unit: f32 = (0..self.depth).map(|k| self.moments.inputs[k * (self.depth + 1)]).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 4096")]
        let unit = (unit / self.depth as f32).max(f32::MIN_POSITIVE);
        let mut descent = Descent::new(&exact, &floor);
        let mut levels = vec![0.0; weights.len()];
        for step in 0..steps {
            descent.write_soft(&floor, &mut levels);
            slope_of(&levels, &mut slopes)?;
            for (at, slope) in slopes.iter_mut().enumerate() {
                *slope = 2.0 * (*slope - self.moments.results[at] / scale(at)) / unit;
            }
            descent.step(&slopes, step, steps);
        }
        descent.write_hard(&floor, &mut levels);
        let nearest: Vec<f32> = exact.iter().map(|level| (level + 0.5).floor()).collect();
        slope_of(&levels, &mut slopes)?;
        let learned = self.errors(&levels, &slopes);
        slope_of(&nearest, &mut slopes)?;
        let plain = self.errors(&nearest, &slopes);
        for row in 0..rows {
            let own = row * self.depth..(row + 1) * self.depth;
            let best = if learned[row] < plain[row] { &levels } else { &nearest };
            for (w, level) in weights[own.clone()].iter_mut().zip(&best[own]) {
                *w = level * self.scales[row];
            }
        }
        Ok(())
    }

    /// `q G q - 2 c q / s` for each filter, up to a constant and the square of its scale.
    fn errors(&self, levels: &[f32], products: &[f32]) -> Vec<f64> {
        let rows = levels.chunks_exact(self.depth).zip(products.chunks_exact(self.depth));
        let wanted = self.moments.results.chunks_exact(self.depth).zip(&self.scales);
        rows.zip(wanted)
            .map(|((levels, products), (wanted, &scale))| {
                let terms = levels.iter().zip(products).zip(wanted);
                terms.map(|((&q, &gq), &c)| f64::from(q) * f64::from(gq - 2.0 * c / scale)).sum()
            })
            .collect()
    }
}

/// Adam over what decides each rounding.
struct Descent {
    decisions: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Descent {
    /// Starts where every weight is what it was.
    fn new(exact: &[f32], floor: &[f32]) -> Self {
        let decisions: Vec<f32> = exact
            .iter()
            .zip(floor)
            .map(|(exact, floor)| {
                let share = (exact - floor).clamp(0.0, 1.0);
                let inner = ((share - STRETCH.0) / (STRETCH.1 - STRETCH.0)).clamp(1e-3, 1.0 - 1e-3);
                (inner / (1.0 - inner)).ln()
            })
            .collect();
        let zeros = vec![0.0; decisions.len()];
        Self { first: zeros.clone(), second: zeros, decisions }
    }

    fn write_soft(&self, floor: &[f32], levels: &mut [f32]) {
        for ((level, floor), &decision) in levels.iter_mut().zip(floor).zip(&self.decisions) {
            *level = floor + up(decision).0;
        }
    }

    fn write_hard(&self, floor: &[f32], levels: &mut [f32]) {
        for ((level, floor), &decision) in levels.iter_mut().zip(floor).zip(&self.decisions) {
            *level = floor + if up(decision).0 >= 0.5 { 1.0 } else { 0.0 };
        }
    }

    /// One step of Adam (Kingma and Ba 2015) on the error's slopes and the term that decides.
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    fn step(&mut self, slopes: &[f32], step: usize, steps: usize) {
        let share = step as f32 / steps.max(1) as f32;
        let cooled = ((share - WARM_UP) / (1.0 - WARM_UP)).clamp(0.0, 1.0);
        // The exponent falls from 20 to 2: at first the term only reaches weights that have nearly decided.
        let power = 2.0 + 18.0 * (1.0 - cooled);
        let decide = if share < WARM_UP { 0.0 } else { DECIDE };
        let (bias1, bias2) = {
            let n = i32::try_from(step + 1).unwrap_or(i32::MAX);
            (1.0 - 0.9_f32.powi(n), 1.0 - 0.999_f32.powi(n))
        };
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((decision, slope), (first, second)) in
            self.decisions.iter_mut().zip(slopes).zip(moments)
        {
            let (share, rise) = up(*decision);
            let distance = 2.0 * share - 1.0;
            let term = if decide > 0.0 {
                -2.0 * decide * power * distance.abs().powf(power - 1.0) * distance.signum()
            } else {
                0.0
            };
            let gradient = (slope + term) * rise;
            *first = 0.9 * *first + 0.1 * gradient;
            *second = 0.999 * *second + 0.001 * gradient * gradient;
            *decision -= RATE * (*first / bias1) / ((*second / bias2).sqrt() + 1e-8);
        }
    }
}

/// The stretched sigmoid, cut to 0 to 1, and its slope.
fn up(decision: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + (-decision).exp());
    let width = STRETCH.1 - STRETCH.0;
    let share = sigmoid * width + STRETCH.0;
    if (0.0..=1.0).contains(&share) {
        (share, sigmoid * (1.0 - sigmoid) * width)
    } else {
        (share.clamp(0.0, 1.0), 0.0)
    }
}
