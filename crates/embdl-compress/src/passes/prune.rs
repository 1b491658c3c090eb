//! Magnitude pruning.

use embdl_graph::{Graph, Param};
use serde::{Deserialize, Serialize};

use crate::error::CompressError;
use crate::glob;
use crate::pass::{Pass, PassReport, report};

/// Which weights stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sparsity {
    /// The share of weights that each layer keeps, by pattern of the layer's name; the first match counts.
    PerLayer(Vec<(String, f64)>),
    /// The share of all weights that the network keeps; layers share it by LAMP scores, so that no layer starves.
    /// Source: Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning".
    Lamp(f64),
    /// Weights below `q` standard deviations of their layer go. Source: Han et al. 2015, "Learning both Weights and
    /// Connections", §3.
    Deviations(f64),
}

/// Holds the smallest weights at zero. Weights that are masked already stay masked unless `regrow` is set.
#[derive(Clone, Debug, PartialEq)]
pub struct PruneMagnitude {
    /// Which weights stay.
    pub sparsity: Sparsity,
    /// Whether masked weights compete again with their latent values.
    pub regrow: bool,
    /// Rows (output channels) and columns (consecutive elements of a row) of blocks that stay or go as one, by their mean
    /// magnitude; none for weights one by one. Kernels skip whole blocks faster than single weights.
    ///
    /// Source: Narang, Undersander and Diamos 2017, "Block-Sparse Recurrent Neural Networks", §3 (there by the maximum).
    pub blocks: Option<[usize; 2]>,
}

impl PruneMagnitude {
    /// Weights of `sparsity`, masked weights staying masked.
    #[must_use]
    pub const fn new(sparsity: Sparsity) -> Self {
        Self { sparsity, regrow: false, blocks: None }
    }

    /// The same by blocks of so many output channels and consecutive elements of a row.
    #[must_use]
    pub fn by_blocks(self, blocks: Option<[usize; 2]>) -> Self {
        Self { blocks, ..self }
    }

    /// Changes masks without a report: what gradual pruning calls every few steps.
    ///
    /// # Errors
    /// If a share is outside of 0 to 1, a pattern matches no layer, or blocks have no extent.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), CompressError> {
        if let Some([rows, columns]) = self.blocks
            && (rows == 0 || columns == 0)
        {
            let range = "1 and above";
            return Err(CompressError::Setting { setting: "blocks", value: 0.0, range });
        }
        let layers: Vec<(String, usize)> = graph
            .layers()
            .filter_map(|(node, _)| Some((node.name.clone(), node.weight?)))
            .collect();
        let keep = self.kept_counts(graph, &layers)?;
        for ((_, id), keep) in layers.iter().zip(keep) {
            let param = &mut graph.params[*id];
            let magnitudes = self.magnitudes(param);
            param.mask = Some(match self.blocks {
                Some(size) => Blocks::of(param, size).largest(&magnitudes, keep),
                None => largest(&magnitudes, keep),
            });
        }
        Ok(())
    }

    /// Magnitudes that compete; zero for masked weights that must stay so.
    fn magnitudes(&self, param: &Param) -> Vec<f32> {
        let mut magnitudes: Vec<f32> = param.values().iter().map(|w| w.abs()).collect();
        if let (Some(mask), false) = (&param.mask, self.regrow) {
            magnitudes.iter_mut().zip(mask).filter(|(_, keep)| !**keep).for_each(|(w, _)| *w = 0.0);
        }
        if let Some(size) = self.blocks {
            Blocks::of(param, size).level(&mut magnitudes);
        }
        magnitudes
    }

    fn kept_counts(
        &self,
        graph: &Graph,
        layers: &[(String, usize)],
    ) -> Result<Vec<usize>, CompressError> {
        let share = |setting, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(value)
            } else {
                Err(CompressError::Setting { setting, value, range: "0 to 1" })
            }
        };
        match &self.sparsity {
            Sparsity::PerLayer(patterns) => {
                let all =
                    || layers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                for (pattern, density) in patterns {
                    share("density", *density)?;
                    if !layers.iter().any(|(name, _)| glob::matches(pattern, name)) {
                        return Err(CompressError::NoSuchLayer {
                            pattern: pattern.clone(),
                            layers: all(),
                        });
                    }
                }
                let density_of = |name: &str| {
                    patterns
                        .iter()
                        .find(|(pattern, _)| glob::matches(pattern, name))
                        .map_or(1.0, |(_, share)| *share)
                };
                Ok(layers
                    .iter()
                    .map(|(name, id)| count(density_of(name), graph.params[*id].len()))
                    .collect())
            }
            Sparsity::Lamp(density) => {
                let density = share("density", *density)?;
                let magnitudes: Vec<Vec<f32>> =
                    layers.iter().map(|(_, id)| self.magnitudes(&graph.params[*id])).collect();
                Ok(lamp_counts(magnitudes, density))
            }
            Sparsity::Deviations(q) => {
                if !(q.is_finite() && *q >= 0.0) {
                    return Err(CompressError::Setting {
                        setting: "q",
                        value: *q,
                        range: "0 and above",
                    });
                }
                Ok(layers
                    .iter()
                    .map(|(_, id)| above_deviations(&self.magnitudes(&graph.params[*id]), *q))
                    .collect())
            }
        }
    }
}

impl Pass for PruneMagnitude {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        report(self.name(), graph, |graph| self.apply(graph))
    }
}

/// The share of weights kept after `progress` (0 to 1) of a gradual schedule from 1 to `last`.
///
/// Source: Zhu and Gupta 2017, "To prune, or not to prune", equation 1.
#[must_use]
pub fn cubic_density(last: f64, progress: f64) -> f64 {
    let rest = 1.0 - progress.clamp(0.0, 1.0);
    last + (1.0 - last) * rest.powi(3)
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a length")]
#[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
#[expect(clippy::cast_precision_loss, reason = "a length")]
fn count(share: f64, len: usize) -> usize {
    ((share * len as f64).round() as usize).clamp(usize::from(len > 0), len)
}

/// `true` for the `keep` largest; of equals the first stay, so that results do not depend on the sort.
fn largest(magnitudes: &[f32], keep: usize) -> Vec<bool> {
    let mut order: Vec<u32> =
        (0..u32::try_from(magnitudes.len()).expect("fewer than 2^32 weights")).collect();
    let descending = |a: &u32, b: &u32| {
        magnitudes[*b as usize].total_cmp(&magnitudes[*a as usize]).then(a.cmp(b))
    };
    let mut mask = vec![false; magnitudes.len()];
    if keep > 0 && keep < order.len() {
        order.select_nth_unstable_by(keep - 1, descending);
    }
    for &at in &order[..keep.min(order.len())] {
        mask[at as usize] = magnitudes[at as usize] > 0.0;
    }
    mask
}

/// The blocks of a layer's weights, as a matrix with a row for each output channel.
struct Blocks {
    /// Elements of a row.
    k: usize,
    size: [usize; 2],
    /// Blocks beside each other.
    across: usize,
}

impl Blocks {
    fn of(param: &Param, size: [usize; 2]) -> Self {
        let k = (param.len() / param.shape.dim(0)).max(1);
        Self { k, size, across: k.div_ceil(size[1]) }
    }

    /// The block of a weight.
    const fn index(&self, at: usize) -> usize {
        at / self.k / self.size[0] * self.across + at % self.k / self.size[1]
    }

    fn count(&self, weights: usize) -> usize {
        (weights / self.k).div_ceil(self.size[0]) * self.across
    }

    /// Gives each weight the mean magnitude of its block.
    fn level(&self, magnitudes: &mut [f32]) {
        let mut sums = vec![(0.0_f64, 0_u32); self.count(magnitudes.len())];
        for (at, w) in magnitudes.iter().enumerate() {
            let (sum, count) = &mut sums[self.index(at)];
            *sum += f64::from(*w);
            *count += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "means of floats")]
        for (at, w) in magnitudes.iter_mut().enumerate() {
            let (sum, count) = sums[self.index(at)];
            *w = (sum / f64::from(count)) as f32;
        }
    }

    /// `true` for the weights of the largest blocks, as many as hold `keep` weights; magnitudes are level.
    fn largest(&self, magnitudes: &[f32], keep: usize) -> Vec<bool> {
        let mut blocks = vec![(0.0_f32, 0_usize); self.count(magnitudes.len())];
        for (at, &w) in magnitudes.iter().enumerate() {
            let (magnitude, count) = &mut blocks[self.index(at)];
            *magnitude = w;
            *count += 1;
        }
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by(|&a, &b| blocks[b].0.total_cmp(&blocks[a].0).then(a.cmp(&b)));
        let mut stays = vec![false; blocks.len()];
        let mut kept = 0;
        for block in order {
            if kept >= keep || blocks[block].0 <= 0.0 {
                break;
            }
            stays[block] = true;
            kept += blocks[block].1;
        }
        (0..magnitudes.len()).map(|at| stays[self.index(at)]).collect()
    }
}

/// How many weights of each layer are among the best of the network by LAMP: `w² / sum of u² over u >= w`.
fn lamp_counts(layers: Vec<Vec<f32>>, density: f64) -> Vec<usize> {
    let total: usize = layers.iter().map(Vec::len).sum();
    let mut scores: Vec<(f64, usize)> = Vec::with_capacity(total);
    for (layer, mut magnitudes) in layers.into_iter().enumerate() {
        magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        for w in magnitudes {
            let square = f64::from(w) * f64::from(w);
            sum += square;
            scores.push((if sum > 0.0 { square / sum } else { 0.0 }, layer));
        }
    }
    let keep = count(density, total);
    let mut counts = vec![0; scores.iter().map(|&(_, layer)| layer + 1).max().unwrap_or(0)];
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scores.iter().take(keep).for_each(|&(_, layer)| counts[layer] += 1);
    counts
}

fn above_deviations(magnitudes: &[f32], q: f64) -> usize {
    let kept: Vec<f64> = magnitudes.iter().filter(|&&w| w > 0.0).map(|&w| f64::from(w)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a length")]
    let deviation = (kept.iter().map(|w| w * w).sum::<f64>() / kept.len().max(1) as f64).sqrt();
    kept.iter().filter(|&&w| w >= q * deviation).count().max(1)
}

#[cfg(test)]
mod tests {
    use embdl_graph::zoo;

    use super::*;

    fn densities(sparsity: Sparsity) -> Vec<f64> {
        let mut graph = zoo::lenet300(3);
        PruneMagnitude::new(sparsity).run(&mut graph).unwrap();
        graph.layers().map(|(_, param)| param.density()).collect()
    }

    #[test]
    fn per_layer_shares_are_kept() {
        let shares = vec![("fc1".into(), 0.08), ("fc2".into(), 0.09), ("fc3".into(), 0.26)];
        let got = densities(Sparsity::PerLayer(shares.clone()));
        for (got, (_, share)) in got.iter().zip(shares) {
            assert!((got - share).abs() < 1e-3, "{got} {share}");
        }
    }

    #[test]
    fn lamp_meets_the_total_and_spares_the_last_layer() {
        let got = densities(Sparsity::Lamp(0.05));
        let kept = got[0].mul_add(235_200.0, got[1].mul_add(30_000.0, got[2] * 1000.0));
        assert!((kept - 0.05 * 266_200.0).abs() < 2.0, "{kept}");
        assert!(got[2] > got[1] && got[1] > got[0], "{got:?}");
    }

    #[test]
    fn the_largest_stay_and_ties_are_broken_by_place() {
        assert_eq!(largest(&[1.0, 3.0, 1.0, 2.0], 3), [true, true, false, true]);
        assert_eq!(largest(&[1.0, 1.0, 0.0], 3), [true, true, false], "zeros are never kept");
        assert_eq!(largest(&[1.0], 0), [false]);
    }

    #[test]
    fn blocks_stay_or_go_as_one() {
        let sparsity = Sparsity::PerLayer(vec![("fc1".into(), 0.1), ("fc3".into(), 0.5)]);
        let mut graph = zoo::lenet300(3);
        PruneMagnitude::new(sparsity).by_blocks(Some([4, 8])).run(&mut graph).unwrap();
        let layers: Vec<&Param> = graph.layers().map(|(_, param)| param).collect();
        for (param, share) in [(layers[0], 0.1), (layers[2], 0.5)] {
            assert!((param.density() - share).abs() < 0.03, "{} of {share}", param.density());
            let k = param.len() / param.shape.dim(0);
            let mask = param.mask.as_ref().unwrap();
            for (at, keep) in mask.iter().enumerate() {
                let (row, column) = (at / k / 4 * 4, at % k / 8 * 8);
                assert_eq!(*keep, mask[row * k + column], "weight {at}");
            }
        }
        let again = graph.clone();
        let sparsity = Sparsity::Lamp(1.0);
        PruneMagnitude::new(sparsity).by_blocks(Some([4, 8])).run(&mut graph).unwrap();
        assert_eq!(graph.params, again.params, "what is masked stays so");
    }

    #[test]
    fn means_of_blocks_count_and_not_single_weights() {
        // Rows of 4, blocks of 1 x 2: means 5, 3, 4, 4.
        let blocks = Blocks { k: 4, size: [1, 2], across: 2 };
        let mut magnitudes = [10.0, 0.0, 3.0, 3.0, 8.0, 0.0, 4.0, 4.0];
        blocks.level(&mut magnitudes);
        assert_eq!(magnitudes, [5.0, 5.0, 3.0, 3.0, 4.0, 4.0, 4.0, 4.0]);
        let mask = blocks.largest(&magnitudes, 3);
        assert_eq!(mask, [true, true, false, false, true, true, false, false]);
    }

    #[test]
    fn schedule_is_cubic() {
        assert!((cubic_density(0.1, 0.0) - 1.0).abs() < 1e-12);
        assert!((cubic_density(0.1, 1.0) - 0.1).abs() < 1e-12);
        assert!((cubic_density(0.1, 0.5) - 0.2125).abs() < 1e-12);
    }

    #[test]
    fn wrong_settings_are_errors() {
        let mut graph = zoo::lenet300(3);
        let before = graph.clone();
        for sparsity in [
            Sparsity::Lamp(1.5),
            Sparsity::PerLayer(vec![("nope".into(), 0.1)]),
            Sparsity::Deviations(-1.0),
        ] {
            assert!(PruneMagnitude::new(sparsity).run(&mut graph).is_err());
            assert_eq!(graph, before);
        }
        let blocks = PruneMagnitude::new(Sparsity::Lamp(0.5)).by_blocks(Some([0, 4]));
        assert!(blocks.run(&mut graph).is_err());
    }
}
