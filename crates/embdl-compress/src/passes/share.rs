//! Weight sharing: k-means over the weights that pruning left.

use embdl_graph::{Form, Graph, Param};

use crate::error::CompressError;
use crate::glob;
use crate::pass::{Pass, PassReport, report};

const MAX_ROUNDS: usize = 200;

/// Replaces the kept weights of each layer by the nearest of `2^bits` centroids, found by k-means from linear
/// initialization between the smallest and the largest weight. Source: Han et al. 2015, "Deep Compression", §3.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareWeights {
    /// Bits of an index (1 to 8) by pattern of the layer's name; the first match counts, layers without one are left.
    pub bits: Vec<(String, u8)>,
}

impl Pass for ShareWeights {
    fn name(&self) -> &'static str {
        "share"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        for (_, bits) in &self.bits {
            if !(1..=8).contains(bits) {
                return Err(CompressError::Setting {
                    setting: "bits",
                    value: f64::from(*bits),
                    range: "1 to 8",
                });
            }
        }
        let layers: Vec<(usize, u8)> = graph
            .layers()
            .filter_map(|(node, _)| {
                let (_, bits) =
                    self.bits.iter().find(|(pattern, _)| glob::matches(pattern, &node.name))?;
                Some((node.weight?, *bits))
            })
            .collect();
        let mut forms = Vec::with_capacity(layers.len());
        for &(id, bits) in &layers {
            forms.push(share(&graph.params[id], 1 << bits)?);
        }
        report(self.name(), graph, |graph| {
            for ((id, _), form) in layers.iter().zip(forms) {
                graph.params[*id].form = form;
            }
            Ok(())
        })
    }
}

/// Restricts the centroids of every shared layer to multiples of a step, at most 127 of them, so that integer kernels
/// compute with them. The step is the largest centroid over 127.
pub fn snap_centroids(graph: &mut Graph) {
    for param in &mut graph.params {
        if let Form::Shared { centroids, step, .. } = &mut param.form {
            let largest = centroids.iter().fold(0.0_f32, |largest, c| largest.max(c.abs()));
            *step = Some(if largest > 0.0 { largest / 127.0 } else { 1.0 });
        }
    }
}

fn share(param: &Param, count: usize) -> Result<Form, CompressError> {
    let values = param.values();
    let keep = |at: usize| param.mask.as_ref().is_none_or(|mask| mask[at]);
    let mut kept: Vec<f32> =
        values.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, &w)| w).collect();
    if kept.is_empty() {
        return Err(CompressError::NothingLeft { param: param.name.clone() });
    }
    kept.sort_unstable_by(f32::total_cmp);
    let centroids = kmeans(&kept, count);
    let codes = values
        .iter()
        .enumerate()
        .map(|(at, &w)| if keep(at) { nearest(&centroids, w) } else { 0 })
        .collect();
    Ok(Form::Shared { centroids, codes, step: None })
}

/// Centroids of sorted values, ascending, at most `count`; clusters that end up empty are dropped.
fn kmeans(sorted: &[f32], count: usize) -> Vec<f32> {
    let (low, high) = (f64::from(sorted[0]), f64::from(sorted[sorted.len() - 1]));
    let mut sums = Vec::with_capacity(sorted.len() + 1);
    sums.push(0.0_f64);
    for &w in sorted {
        sums.push(sums[sums.len() - 1] + f64::from(w));
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 256 centroids")]
    let mut centroids: Vec<f64> =
        (0..count).map(|i| low + (high - low) * i as f64 / (count - 1).max(1) as f64).collect();
    let mut bounds = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let next = boundaries(sorted, &centroids);
        if next == bounds {
            break;
        }
        for (centroid, range) in centroids.iter_mut().zip(next.windows(2)) {
            if range[1] > range[0] {
                #[expect(clippy::cast_precision_loss, reason = "a count of weights")]
                let members = (range[1] - range[0]) as f64;
                *centroid = (sums[range[1]] - sums[range[0]]) / members;
            }
        }
        bounds = next;
    }
    #[expect(clippy::cast_possible_truncation, reason = "means of f32")]
    let mut used: Vec<f32> = centroids
        .iter()
        .zip(bounds.windows(2))
        .filter(|(_, range)| range[1] > range[0])
        .map(|(&centroid, _)| centroid as f32)
        .collect();
    used.dedup();
    used
}

/// Where, in sorted values, the members of each of the ascending centroids begin and end.
fn boundaries(sorted: &[f32], centroids: &[f64]) -> Vec<usize> {
    let mut bounds = vec![0];
    for pair in centroids.windows(2) {
        let middle = f64::midpoint(pair[0], pair[1]);
        bounds.push(sorted.partition_point(|&w| f64::from(w) < middle));
    }
    bounds.push(sorted.len());
    bounds
}

fn nearest(centroids: &[f32], w: f32) -> u8 {
    let above = centroids.partition_point(|&c| c < w);
    let nearer_below = above > 0
        && (above == centroids.len()
            || (w - centroids[above - 1]).abs() <= (centroids[above] - w).abs());
    u8::try_from(if nearer_below { above - 1 } else { above }).expect("at most 256 centroids")
}

#[cfg(test)]
mod tests {
    use embdl_graph::zoo;

    use super::*;

    #[test]
    fn separated_clusters_are_found() {
        let sorted = [-1.1, -1.0, -0.9, 1.9, 2.0, 2.1];
        assert_eq!(kmeans(&sorted, 5), [-1.0, 2.0], "empty clusters are dropped");
    }

    #[test]
    fn every_weight_goes_to_its_nearest_centroid() {
        let mut graph = zoo::lenet300(5);
        let before = graph.params[0].values().to_vec();
        ShareWeights { bits: vec![("*".into(), 4)] }.run(&mut graph).unwrap();
        let Form::Shared { centroids, .. } = &graph.params[0].form else { panic!("not shared") };
        assert!(centroids.len() <= 16 && centroids.is_sorted());
        for (w, shared) in before.iter().zip(graph.params[0].effective()) {
            let best = centroids.iter().map(|c| (c - w).abs()).fold(f32::MAX, f32::min);
            assert!((shared - w).abs() <= best + 1e-6);
        }
    }

    #[test]
    fn error_shrinks_with_bits() {
        let mut last = f64::MAX;
        for bits in 1..=8 {
            let mut graph = zoo::lenet300(5);
            let report = ShareWeights { bits: vec![("*".into(), bits)] }.run(&mut graph).unwrap();
            assert!(report.layers[0].error < last, "{bits}");
            last = report.layers[0].error;
        }
    }

    #[test]
    fn snapped_centroids_are_levels() {
        let mut graph = zoo::lenet300(5);
        ShareWeights { bits: vec![("*".into(), 5)] }.run(&mut graph).unwrap();
        snap_centroids(&mut graph);
        let levels = graph.params[0].levels().unwrap();
        assert_eq!(levels.iter().map(|l| l.abs()).max(), Some(127));
    }
}
