//! What the chip's kernels without windows and matrices compute: each in 32-bit floats, rounded once when it is stored.

use super::tensor::Map;
use crate::blob::{Eltwise, Params, StageKind};

/// The function of one tensor, element by element; `None` for a kind that is none.
pub(super) fn function(kind: StageKind, params: &Params, x: f32) -> Option<f32> {
    Some(match (kind, params) {
        (StageKind::RELU | StageKind::LEAKY_RELU, Params::Relu { slope, .. }) => relu(x, *slope),
        (StageKind::SIGMOID, _) => 1.0 / (1.0 + (-x).exp()),
        (StageKind::TANH, _) => x.tanh(),
        (StageKind::EXP, _) => x.exp(),
        (StageKind::LOG, _) => x.ln(),
        (StageKind::FLOOR, _) => x.floor(),
        (StageKind::ELU, Params::Elu { alpha }) => {
            if x < 0.0 {
                alpha * x.exp_m1()
            } else {
                x
            }
        }
        (StageKind::CLAMP, Params::Clamp { min, max }) => x.max(*min).min(*max),
        (StageKind::POWER, Params::Power { bias, scale, power }) => {
            let line = bias + scale * x;
            if *power == 1.0 { line } else { line.powf(*power) }
        }
        (StageKind::COPY | StageKind::NONE, _) => x,
        _ => return None,
    })
}

/// The function of one element and of the element of a vector that its channel has; `None` for a kind that is none.
pub(super) fn with_vector(kind: StageKind, params: &Params, x: f32, v: f32) -> Option<f32> {
    Some(match (kind, params) {
        (StageKind::BIAS, _) => x + v,
        (StageKind::SCALE, _) => x * v,
        (StageKind::PRELU, _) => relu(x, v),
        (StageKind::BIAS_RELU | StageKind::BIAS_LEAKY_RELU, Params::Relu { slope, .. }) => {
            relu(x + v, *slope)
        }
        _ => return None,
    })
}

/// Two tensors element by element; `None` for a kind that is none.
pub(super) fn combine(kind: StageKind, eltwise: &Eltwise, x: f32, y: f32) -> Option<f32> {
    let [a, b] = eltwise.factors;
    let result = match kind {
        StageKind::SUM => a * x + b * y,
        StageKind::PROD => a * x * (b * y),
        StageKind::MAX => (a * x).max(b * y),
        StageKind::MIN => (a * x).min(b * y),
        _ => return None,
    };
    Some(match StageKind(eltwise.post) {
        StageKind::EMPTY => result,
        StageKind::RELU => relu(result, 0.0),
        StageKind::LEAKY_RELU => relu(result, eltwise.slope),
        StageKind::CLAMP => result.max(eltwise.bounds[0]).min(eltwise.bounds[1]),
        _ => return None,
    })
}

fn relu(x: f32, slope: f32) -> f32 {
    // Zero is added so that a slope of zero gives no negative zero.
    if x < 0.0 { slope * x + 0.0 } else { x }
}

/// Softmax over channels; the largest is subtracted first.
pub(super) fn softmax(map: &mut Map) {
    let channels = map.channels();
    for row in map.data.chunks_mut(channels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

/// Local response normalization as Caffe has it, which divides alpha by the size. That the chip does so too is taken from
/// what frameworks mean, not from its documents.
pub(super) fn normalize(map: &Map, size: usize, [k, alpha, beta]: [f32; 3]) -> Vec<f32> {
    let channels = map.channels();
    let reach = size / 2;
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    let factor = alpha / size as f32;
    let mut out = Vec::with_capacity(map.data.len());
    for row in map.data.chunks(channels) {
        for c in 0..channels {
            let window = &row[c.saturating_sub(reach)..(c + reach + 1).min(channels)];
            let squares: f32 = window.iter().map(|x| x * x).sum();
            out.push(row[c] / (k + factor * squares).powf(beta));
        }
    }
    out
}
