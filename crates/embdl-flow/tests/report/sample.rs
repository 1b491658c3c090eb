//! A record made up for tests: every part is filled, the numbers are of the right kind and measure nothing.

use embdl_compress::{LayerReport, PassReport, Sensitivity, SensitivityPoint};
use embdl_flow::record::{
    CompressedRecord, EpochRecord, Fp32Record, Latency, LayerRecord, NetworkRecord, Provenance,
    Retest, RunRecord, StepRecord,
};

const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Name, shape, weights, share kept, bytes in the file.
const LAYERS: [(&str, &str, u64, f64, u64); 4] = [
    ("conv1", "20×5×5×1", 500, 0.66, 402),
    ("conv2", "50×5×5×20", 25_000, 0.12, 3_512),
    ("fc1", "500×800", 400_000, 0.04, 21_844),
    ("fc2", "10×500", 5_000, 0.19, 1_130),
];

pub(crate) fn run(networks: Vec<NetworkRecord>) -> RunRecord {
    RunRecord {
        seconds: 754.2,
        command: "embdl flow --recipe lenet5.toml --seed 1".into(),
        provenance: Provenance {
            version: "0.1.0".into(),
            commit: Some("0123456789ab".into()),
            rustc: "rustc 1.95.0".into(),
            cpu: "Example CPU @ 2.00 GHz".into(),
            threads: 2,
            system: "linux x86_64".into(),
        },
        networks,
    }
}

pub(crate) fn network(seed: u64) -> NetworkRecord {
    let shift = 0.0004 * (seed as f64 - 1.0);
    NetworkRecord {
        name: "lenet-5".into(),
        dataset: "fashion-mnist".into(),
        seed,
        parameters: 431_080,
        macs: 2_293_000,
        fp32: Fp32Record { accuracy: 0.9152 + shift, bytes: 1_724_320 },
        compressed: CompressedRecord {
            accuracy: 0.9137 - shift,
            file_bytes: 27_412,
            ratio: 1_724_320.0 / 27_412.0,
            path: "runs/lenet5/final.embdl".into(),
        },
        retests: retests(0.9137 - shift),
        steps: steps(shift),
        layers: layers(),
        sensitivity: sensitivity(),
        confusion: confusion(),
        classes: CLASSES.map(String::from).to_vec(),
        latencies: latencies(),
        epochs: epochs(),
    }
}

fn retests(accuracy: f64) -> Vec<Retest> {
    let retest = |runtime: &str, isa: &str, machine: Option<&str>, images_per_second| Retest {
        runtime: runtime.into(),
        isa: isa.into(),
        emulated: machine.is_some(),
        machine: machine.unwrap_or("Example CPU @ 2.00 GHz").into(),
        accuracy,
        outputs_sha256: "3f786850e387550fdab836ed7e6dc881de23001b6f1e2e2c3d1c6c0a5b7a9d10".into(),
        images_per_second,
    };
    vec![
        retest("reference", "scalar", None, 212.4),
        retest("atom", "scalar", None, 410.0),
        retest("atom", "sse41", None, 5_120.0),
        retest("atom", "avx2", None, 9_876.5),
        retest("arm", "scalar", Some("cortex-a53"), 31.0),
        retest("arm", "neon", Some("cortex-a53"), 120.0),
        retest("arm", "dotprod", Some("cortex-a76"), 133.0),
    ]
}

/// A share of the weights, as a count.
#[expect(clippy::cast_possible_truncation, reason = "the counts are small")]
fn kept(weights: u64, density: f64) -> usize {
    (weights as f64 * density) as usize
}

fn steps(shift: f64) -> Vec<StepRecord> {
    let step =
        |step: &str, what: &str, file_bytes, validation: f64, test: f64, seconds| StepRecord {
            step: step.into(),
            what: what.into(),
            file_bytes,
            validation_accuracy: validation + shift,
            test_accuracy: test + shift,
            seconds,
            passes: vec![PassReport {
                pass: step.into(),
                layers: LAYERS
                    .iter()
                    .map(|&(layer, _, weights, density, _)| LayerReport {
                        layer: layer.into(),
                        weights: kept(weights, 1.0),
                        kept: kept(weights, density),
                        levels: (step == "share").then_some(16),
                        error: 0.012,
                    })
                    .collect(),
            }],
        };
    vec![
        step(
            "train",
            "fp32 network, 12 epochs of SGD with momentum",
            1_725_011,
            0.9188,
            0.9152,
            301.0,
        ),
        step(
            "prune",
            "smallest weights to zero over 4 rounds, retrained after each; positions stored as gaps of 4 bits",
            211_904,
            0.9203,
            0.9161,
            240.5,
        ),
        step(
            "share",
            "16 levels a layer by k-means, centroids retrained",
            48_230,
            0.9179,
            0.9139,
            88.0,
        ),
        step("quantize", "activations to u8, centroids to i8", 46_980, 0.9174, 0.9137, 61.0),
        step(
            "huffman",
            "symbols and gaps by canonical Huffman codes, lossless",
            27_412,
            0.9174,
            0.9137,
            0.41,
        ),
    ]
}

fn layers() -> Vec<LayerRecord> {
    LAYERS
        .iter()
        .map(|&(layer, shape, weights, density, file_bytes)| LayerRecord {
            layer: layer.into(),
            shape: shape.into(),
            encoding: "gaps + 16 levels, Huffman".into(),
            weights,
            nonzero: kept(weights, density) as u64,
            fp32_bytes: 4 * weights + 200,
            file_bytes,
            bits_per_weight: 8.0 * file_bytes as f64 / weights as f64,
        })
        .collect()
}

fn sensitivity() -> Vec<Sensitivity> {
    let curve = |settings: &[f64], half: f64| {
        settings
            .iter()
            .map(|&setting| SensitivityPoint {
                setting,
                accuracy: 0.1 + 0.8185 / (1.0 + (half / setting).powi(3)),
            })
            .collect()
    };
    let densities = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7];
    let bits = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
    [(0.13, 1.3), (0.08, 0.9), (0.016, 0.4), (0.04, 0.6)]
        .iter()
        .zip(LAYERS)
        .map(|(&(pruned, shared), layer)| Sensitivity {
            layer: layer.0.into(),
            pruned: curve(&densities, pruned),
            shared: curve(&bits, shared),
        })
        .collect()
}

fn confusion() -> Vec<Vec<u64>> {
    let mistakes = [
        (0, 6, 97),
        (0, 3, 18),
        (0, 2, 14),
        (1, 3, 8),
        (2, 4, 62),
        (2, 6, 55),
        (3, 4, 21),
        (3, 0, 15),
        (4, 2, 51),
        (4, 6, 60),
        (4, 3, 24),
        (5, 7, 12),
        (5, 9, 9),
        (6, 0, 104),
        (6, 2, 58),
        (6, 4, 55),
        (6, 3, 22),
        (7, 9, 22),
        (7, 5, 8),
        (8, 0, 5),
        (9, 7, 31),
        (9, 5, 6),
    ];
    let mut matrix = vec![vec![0; 10]; 10];
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] = 1000;
    }
    for (i, j, count) in mistakes {
        matrix[i][j] = count;
        matrix[i][i] -= count;
    }
    matrix
}

fn latencies() -> Vec<Latency> {
    let latency = |file: &str, runtime: &str, isa: &str, emulated, median_us| Latency {
        file: file.into(),
        runtime: runtime.into(),
        isa: isa.into(),
        emulated,
        median_us,
        min_us: 0.94 * median_us,
    };
    vec![
        latency("fp32", "atom", "scalar", false, 2_310.0),
        latency("compressed", "atom", "scalar", false, 2_190.0),
        latency("fp32", "atom", "sse41", false, 420.0),
        latency("compressed", "atom", "sse41", false, 181.0),
        latency("fp32", "atom", "avx2", false, 212.0),
        latency("compressed", "atom", "avx2", false, 96.4),
        latency("fp32", "arm", "neon", true, 21_200.0),
        latency("compressed", "arm", "neon", true, 8_400.0),
    ]
}

fn epochs() -> Vec<EpochRecord> {
    [
        ("train", 12, 0.84, 0.9188),
        ("prune", 16, 0.905, 0.9203),
        ("share", 4, 0.914, 0.9179),
        ("quantize", 3, 0.9168, 0.9174),
    ]
    .iter()
    .flat_map(|&(step, epochs, first, last)| {
        (1..=epochs).map(move |epoch| EpochRecord {
            step: step.into(),
            epoch,
            loss: 1.0 / epoch as f64,
            validation_accuracy: last - (last - first) * (-0.45 * (epoch as f64 - 1.0)).exp()
                + 0.0006 * (epoch as f64 * 2.3).sin(),
            images_per_second: 4_000.0,
        })
    })
    .collect()
}
