//! Networks with initial weights, quantized and compressed without data: for sizes and latencies, not for answers.

use anyhow::{Context, Result};
use embdl_bench::open;
use embdl_compress::passes::{PruneMagnitude, ShareWeights, Sparsity, snap_centroids};
use embdl_compress::{Calibration, Pass, PostTraining, Samples, Use, quantize_post_training};
use embdl_compress::{EncodeOptions, encode};
use embdl_core::op::Op;
use embdl_graph::{Graph, Param, ParamRole, fold_batch_norm, fuse_activations, zoo};

/// Share of the weights that dense layers keep.
const DENSITY: f64 = 0.1;
/// Bits of an index into the codebook of a dense layer.
const CODE_BITS: u8 = 4;
/// Bits of the weights of convolutions.
const CONVOLUTION_BITS: u8 = 6;

/// Share of the blocks that convolutions keep at [`Precision::Blocks`], and their size: that of the largest vectors.
const BLOCK_DENSITY: f64 = 0.3;
const BLOCK: [usize; 2] = [16, 8];

/// What is done to the initial weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    /// Nothing.
    Fp32,
    /// 8-bit integers, ranges from noise.
    Int8,
    /// The same with weights of 7 bits, whose products with levels SSE and AVX2 add without overflow.
    Int7,
    /// Dense layers with 10 % of their weights, each one of 16 values; convolutions of 6 bits; integers throughout.
    Compressed,
    /// The same, and of the weights of convolutions but the first 30 %, in blocks of 16 channels and 8 elements.
    Blocks,
}

impl Precision {
    /// What it is called on the command line.
    #[cfg(feature = "jetson")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Int7 => "int7",
            Self::Compressed => "compressed",
            Self::Blocks => "blocks",
        }
    }

    /// Brings a network of the zoo to this precision, with batch normalization and activations in the layers before them.
    pub(crate) fn apply(self, graph: &mut Graph) -> Result<()> {
        let has_fan_in =
            |param: &&mut Param| param.role == ParamRole::Weight && param.shape.rank() > 1;
        graph.params.iter_mut().filter(has_fan_in).for_each(spread_normally);
        fold_batch_norm(graph)?;
        fuse_activations(graph)?;
        if self == Self::Fp32 {
            return Ok(());
        }
        let names = |is_wanted: fn(&Op) -> bool| -> Vec<String> {
            let layers = graph.layers().filter(|(node, _)| is_wanted(&node.op));
            layers.map(|(node, _)| node.name.clone()).collect()
        };
        let mut bits = vec![("*".to_owned(), if self == Self::Int7 { 7 } else { 8 })];
        if matches!(self, Self::Compressed | Self::Blocks) {
            let dense = names(|op| matches!(op, Op::Dense(_)));
            let convolutions = names(|op| matches!(op, Op::Conv2d(_)));
            if self == Self::Blocks {
                let is_wide = |name: &&String| {
                    let of_name = graph.layers().find(|(node, _)| node.name == **name);
                    of_name.is_some_and(|(_, param)| param.shape.dim(3) >= BLOCK[1])
                };
                let wide = convolutions.iter().filter(is_wide);
                let shares = wide.map(|name| (name.clone(), BLOCK_DENSITY)).collect();
                let blocks = PruneMagnitude::new(Sparsity::PerLayer(shares));
                blocks.by_blocks(Some(BLOCK)).run(graph)?;
            }
            bits = convolutions.into_iter().map(|name| (name, CONVOLUTION_BITS)).collect();
            let shares = dense.iter().map(|name| (name.clone(), DENSITY)).collect();
            PruneMagnitude::new(Sparsity::PerLayer(shares)).run(graph)?;
            let codes = dense.into_iter().map(|name| (name, CODE_BITS)).collect();
            ShareWeights { bits: codes }.run(graph)?;
            snap_centroids(graph);
        }
        let settings = PostTraining {
            calibration: Calibration::MinMax,
            bits,
            equalize: Use::Never,
            bias_correction: Use::Never,
            ..PostTraining::default()
        };
        let runtime = open("native")?;
        quantize_post_training(graph, &*runtime, &noise(graph)?, &settings, &mut |_| {})
            .context("quantizing the network")?;
        Ok(())
    }
}

/// The `.embdl` file of a network of the zoo. Weights that are not to be compressed are zero, which takes no time to make: the
/// file is for what looks at shapes and forms alone.
pub(crate) fn shapes_of(name: &str, precision: Precision) -> Result<Vec<u8>> {
    let is_plain = precision == Precision::Fp32;
    let zeroed = if is_plain { zoo::zeroed(name) } else { None };
    let graph = zeroed.or_else(|| zoo::by_name(name, 1));
    let mut graph =
        graph.with_context(|| format!("no network is called {name}; `embdl zoo` lists them"))?;
    if is_plain {
        fold_batch_norm(&mut graph)?;
        fuse_activations(&mut graph)?;
    } else {
        precision.apply(&mut graph)?;
    }
    Ok(encode(&graph, EncodeOptions::default()).context("encoding the network")?.bytes)
}

/// Replaces uniform weights by normal ones of the same variance. Trained weights are mostly small against the largest of
/// their channel, as normal ones are, and kernels that add integer products in few bits are the faster for it.
///
/// Source: He et al. 2015, "Delving Deep into Rectifiers", §2.2 (the distribution); Box and Muller 1958, "A Note on the
/// Generation of Random Normal Deviates".
fn spread_normally(param: &mut Param) {
    let bound = param.values().iter().fold(0.0_f32, |bound, w| bound.max(w.abs()));
    let deviation = bound / 3.0_f32.sqrt();
    for pair in param.values_mut().chunks_mut(2) {
        let [radius, angle] = [pair[0], pair[pair.len() - 1]]
            .map(|w| (0.5 + 0.5 * w / bound.max(f32::MIN_POSITIVE)).clamp(1e-7, 1.0));
        let radius = deviation * (-2.0 * radius.ln()).sqrt();
        let (sine, cosine) = (core::f32::consts::TAU * angle).sin_cos();
        for (w, part) in pair.iter_mut().zip([cosine, sine]) {
            *w = radius * part;
        }
    }
}

/// Two inputs of floats between -1 and 1.
fn noise(graph: &Graph) -> Result<Samples> {
    let shape = graph.values[graph.inputs[0]].shape;
    // The constants of MINSTD; any noise will do.
    let mut state = 1_u64;
    let values = (0..2 * shape.len()).map(|_| {
        state = state * 48_271 % 0x7fff_ffff;
        #[expect(clippy::cast_precision_loss, reason = "noise")]
        let value = state as f32 / 0x4000_0000 as f32 - 1.0;
        value
    });
    Ok(Samples::new(shape, values.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_spread_normally_with_the_variance_that_they_had() {
        let mut graph = zoo::lenet5(1);
        let variance = |param: &Param| {
            let values = param.values();
            values.iter().map(|w| f64::from(w * w)).sum::<f64>() / values.len() as f64
        };
        let param = graph.params.iter_mut().max_by_key(|param| param.values().len()).unwrap();
        let before = variance(param);
        spread_normally(param);
        let deviation = variance(param).sqrt();
        assert!((variance(param) / before - 1.0).abs() < 0.02, "{before} {}", variance(param));
        let share = |times: f64| {
            let inside = |w: &&f32| f64::from(w.abs()) < times * deviation;
            param.values().iter().filter(inside).count() as f64 / param.values().len() as f64
        };
        assert!((share(1.0) - 0.683).abs() < 0.01 && (share(2.0) - 0.954).abs() < 0.01);
    }

    #[test]
    fn scales_of_normalization_stay_as_they_were() {
        let mut graph = zoo::by_name("mobilenet-v2", 1).unwrap();
        Precision::Fp32.apply(&mut graph).unwrap();
        for param in graph.params.iter().filter(|param| param.role == ParamRole::Weight) {
            assert!(param.values().iter().any(|w| w.abs() > 0.01), "{}", param.name);
        }
    }

    #[test]
    fn each_precision_is_smaller_than_the_one_before() {
        let len_bytes = |precision: Precision| {
            let mut graph = zoo::lenet5(1);
            precision.apply(&mut graph).unwrap();
            encode(&graph, EncodeOptions::default()).unwrap().bytes.len()
        };
        let [fp32, int8, int7, compressed, blocks] = [
            Precision::Fp32,
            Precision::Int8,
            Precision::Int7,
            Precision::Compressed,
            Precision::Blocks,
        ]
        .map(len_bytes);
        assert!(fp32 > 3 * int8 && int8 > int7, "{fp32} {int8} {int7}");
        assert!(int7 > 4 * compressed, "{int7} {compressed}");
        assert!(compressed > blocks, "{compressed} {blocks}");
    }
}
