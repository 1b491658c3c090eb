//! Post-training quantization on a small MobileNet-like network whose channels have very different ranges.

use embdl_compress::passes::{Balance, Clipping, CorrectBias, EqualizeLayers, LearnRounding};
use embdl_compress::{
    Agreement, Calibration, CompressError, EncodeOptions, FloatLayer, FloatLayers, Pass,
    PostTraining, Samples, Use, encode, layer_quality, lift, observe, quantize_post_training,
    scores,
};
use embdl_core::format::{self, Limits};
use embdl_core::kernels::Reference;
use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder};

/// Numbers in -1 to 1 that repeat for the same seed. Source: Steele et al. 2014, "SplitMix".
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f32::from(u16::try_from((z ^ (z >> 31)) >> 48).unwrap()) / 32_767.5 - 1.0
    }
}

/// conv, then twice an inverted residual of expand (ReLU6), depthwise (ReLU6), project, then add, average, dense.
fn network() -> Graph {
    let mut builder = GraphBuilder::new("small", 3);
    let input = builder.input("image", Shape::nhwc(1, 8, 8, 3));
    let conv = |kernel: u32, groups: u32, activation| Conv2d {
        window: Window::square(kernel, 1).padded(kernel / 2),
        groups,
        activation,
    };
    let relu6 = Activation::Relu6;
    let stem = builder.conv2d("stem", input, 8, conv(3, 1, relu6)).unwrap();
    let wide = builder.conv2d("expand", stem, 24, conv(1, 1, relu6)).unwrap();
    let deep = builder.conv2d("depthwise", wide, 24, conv(3, 24, relu6)).unwrap();
    let narrow = builder.conv2d("project", deep, 8, conv(1, 1, Activation::None)).unwrap();
    let sum = builder.op("sum", Op::Add(Activation::None), &[stem, narrow]).unwrap();
    let pool = builder.op("pool", Op::GlobalAveragePool, &[sum]).unwrap();
    let flat = builder.op("flat", Op::Flatten, &[pool]).unwrap();
    let logits = builder.dense("classifier", flat, 10, Activation::None).unwrap();
    let mut graph = builder.finish(&[logits]).unwrap();
    // Labels belong to the ten scores, and must not be in the way where other values are looked at.
    graph.metadata.labels = (0..10).map(|class| format!("class {class}")).collect();
    spoil(&mut graph);
    graph
}

/// Divides and multiplies channels by 1 to 1000, as training with batch normalization leaves them, within what ReLU6
/// lets through: the network computes nearly what it did.
fn spoil(graph: &mut Graph) {
    let id = |name: &str| graph.params.iter().position(|param| param.name == name).unwrap();
    let (first, bias, second) = (id("expand.weight"), id("expand.bias"), id("depthwise.weight"));
    for channel in 0..24 {
        let s = 10_f32.powf(f32::from(u8::try_from(channel % 8).unwrap()) * 3.0 / 7.0);
        graph.params[first].values_mut()[channel * 8..][..8].iter_mut().for_each(|w| *w /= s);
        graph.params[bias].values_mut()[channel] /= s;
        graph.params[second].values_mut()[channel * 9..][..9].iter_mut().for_each(|w| *w *= s);
    }
}

fn samples(seed: u64, count: usize) -> Samples {
    let mut next = noise(seed);
    let shape = Shape::nhwc(1, 8, 8, 3);
    Samples::new(shape, (0..count * shape.len()).map(|_| next() * 2.0).collect()).unwrap()
}

fn agreement(graph: &Graph, other: &Graph) -> Agreement {
    let (runtime, fresh) = (Reference::runtime(), samples(99, 40));
    let scores = |graph| scores(graph, &runtime, &fresh).unwrap();
    Agreement::of(&scores(graph), &scores(other))
}

fn plain() -> PostTraining {
    PostTraining { equalize: Use::Never, bias_correction: Use::Never, ..PostTraining::default() }
}

fn quantized(settings: &PostTraining) -> Graph {
    let mut graph = network();
    let runtime = Reference::runtime();
    quantize_post_training(&mut graph, &runtime, &samples(1, 24), settings, &mut |_| ()).unwrap();
    graph
}

#[test]
fn equalizing_keeps_the_function_and_narrows_the_ranges() {
    let (runtime, samples) = (Reference::runtime(), samples(1, 24));
    for balance in [Balance::Weights, Balance::Activations] {
        let (before, mut after) = (network(), network());
        let pass = EqualizeLayers {
            runtime: &runtime,
            samples: &samples,
            balance,
            clipping: Clipping::Keep,
        };
        let report = pass.run(&mut after).unwrap();
        assert!(report.layers.iter().any(|layer| layer.layer == "expand"), "{report:?}");
        let found = agreement(&before, &after);
        assert!(found.sqnr_db > 50.0, "{balance:?}: {found:?}");
        let spread = |graph: &Graph| {
            let id = graph.params.iter().position(|p| p.name == "expand.weight").unwrap();
            let rows = graph.params[id].values().chunks(8);
            let tops: Vec<f32> =
                rows.map(|r| r.iter().fold(0.0, |a: f32, w| a.max(w.abs()))).collect();
            tops.iter().fold(0.0, |a: f32, &w| a.max(w))
                / tops.iter().fold(f32::MAX, |a, &w| a.min(w))
        };
        assert!(spread(&after) < spread(&before) / 10.0, "{} {}", spread(&after), spread(&before));
    }
}

#[test]
fn scales_for_a_tensor_collapse_and_equalization_restores() {
    let tensor = PostTraining { per_channel: false, ..plain() };
    let collapsed = agreement(&network(), &quantized(&tensor));
    let equal = PostTraining { equalize: Use::Always, ..tensor.clone() };
    let restored = agreement(&network(), &quantized(&equal));
    assert!(restored.sqnr_db > collapsed.sqnr_db + 6.0, "{collapsed:?} {restored:?}");
    let auto = PostTraining { equalize: Use::WhereItHelps, ..tensor };
    assert_eq!(quantized(&auto), quantized(&equal), "what helps is kept");
}

#[test]
fn correcting_biases_brings_means_back() {
    let coarse = PostTraining { bits: vec![("*".into(), 3)], ..plain() };
    let (reference, runtime, samples) = (network(), Reference::runtime(), samples(1, 24));
    let mut graph = quantized(&coarse);
    let before = agreement(&reference, &graph);
    CorrectBias { runtime: &runtime, samples: &samples, reference: &reference }
        .run(&mut graph)
        .unwrap();
    let after = agreement(&reference, &graph);
    assert!(after.sqnr_db > before.sqnr_db + 1.0, "{before:?} {after:?}");
}

#[test]
fn learned_rounding_beats_the_nearest_level() {
    let coarse = PostTraining { bits: vec![("*".into(), 4)], ..plain() };
    let (reference, runtime, samples) = (network(), Reference::runtime(), samples(1, 24));
    let mut graph = quantized(&coarse);
    let before = agreement(&reference, &graph);
    let pass =
        LearnRounding { runtime: &runtime, samples: &samples, reference: &reference, steps: 300 };
    let nearest = graph.clone();
    let report = pass.run(&mut graph).unwrap();
    let after = agreement(&reference, &graph);
    assert!(after.sqnr_db > before.sqnr_db + 1.0, "{before:?} {after:?} {report:?}");
    for (was, is) in nearest.params.iter().zip(&graph.params) {
        let (Some(was), Some(is)) = (was.levels(), is.levels()) else { continue };
        assert!(was.iter().zip(&is).all(|(a, b)| (a - b).abs() <= 1), "up or down, no further");
    }
}

#[test]
fn excluded_layers_stay_float_and_kinds_change_only_where_they_meet() {
    let settings = PostTraining { exclude: vec!["depth*".into()], ..plain() };
    let graph = quantized(&settings);
    let encoded = encode(&graph, EncodeOptions::default()).unwrap();
    let model = format::read(&encoded.bytes, &Limits::default()).unwrap();
    let ops: Vec<&str> = model.nodes.iter().map(|node| node.op.name()).collect();
    let count = |name: &str| ops.iter().filter(|op| **op == name).count();
    assert_eq!((count("quantize"), count("dequantize")), (1, 1), "{ops:?}");
    let at = |name: &str| model.nodes.iter().position(|node| node.name == name).unwrap();
    assert_eq!(ops[at("depthwise") - 1], "dequantize");
    assert_eq!(ops[at("depthwise") + 1], "quantize");
    let again = lift(&model).unwrap();
    assert!(agreement(&graph, &again).sqnr_db > 40.0);

    let all = quantized(&PostTraining { exclude: vec!["*".into()], ..plain() });
    assert!(all.values.iter().all(|value| value.quant.is_none()));
    let wrong = PostTraining { exclude: vec!["fc9".into()], ..plain() };
    let error = quantize_post_training(
        &mut network(),
        &Reference::runtime(),
        &samples(1, 2),
        &wrong,
        &mut |_| (),
    );
    assert!(matches!(error, Err(CompressError::NoSuchLayer { .. })));
}

/// The report of post-training quantization with `budget` for float layers, and the network.
fn with_budget(budget: FloatLayers) -> (embdl_compress::PostTrainingReport, Graph) {
    let settings = PostTraining { float: Some(budget), ..plain() };
    let (mut graph, samples) = (network(), samples(1, 24));
    let report =
        quantize_post_training(&mut graph, &Reference::runtime(), &samples, &settings, &mut |_| ());
    (report.unwrap(), graph)
}

#[test]
fn costly_layers_stay_float_until_the_target_is_met() {
    let before = agreement(&network(), &quantized(&plain()));
    let two = FloatLayers { target_db: 150.0, share: 1.0, layers: Some(2) };
    let (report, graph) = with_budget(two);
    // The channels between these two have ranges of 1 to 1000 in common levels: one of them in floats wins nothing.
    let mut names: Vec<&str> = report.float.iter().map(|layer| layer.layer.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["depthwise", "expand"], "{report:?}");
    assert!(report.agreement.sqnr_db > report.steps[0].agreement.sqnr_db, "{report:?}");
    let is_float =
        |name: &str| graph.layers().any(|(node, w)| node.name == name && w.levels().is_none());
    assert!(is_float("depthwise") && is_float("expand") && !is_float("stem"));
    assert!(agreement(&network(), &graph).sqnr_db > before.sqnr_db, "other samples too");

    let (report, graph) = with_budget(FloatLayers { target_db: 150.0, share: 1.0, layers: None });
    assert!(report.float.len() >= 2, "{report:?}");
    let closer = agreement(&network(), &graph).sqnr_db;
    assert!(closer > before.sqnr_db + 6.0, "{closer} after {before:?}");

    let (report, _) = with_budget(FloatLayers { target_db: 1.0, share: 1.0, layers: None });
    assert!(report.float.is_empty() && report.steps.len() == 2, "met already: {report:?}");
}

#[test]
fn the_budget_of_float_layers_is_a_share_of_the_network() {
    for share in [0.0, 0.1, 0.4, 1.0] {
        let (report, _) = with_budget(FloatLayers { target_db: 150.0, share, layers: None });
        let [macs, weights] = [|layer: &FloatLayer| layer.macs, |layer: &FloatLayer| layer.weights]
            .map(|of| report.float.iter().map(of).sum::<f64>());
        assert!(macs.max(weights) <= share + 1e-9, "{macs} and {weights} of {share}");
        assert!(share > 0.0 || report.float.is_empty(), "{report:?}");
        assert!(share < 1.0 || report.float.len() > 1, "{report:?}");
    }
    let wrong = PostTraining {
        float: Some(FloatLayers { share: 1.5, ..FloatLayers::default() }),
        ..plain()
    };
    let runtime = Reference::runtime();
    let error =
        quantize_post_training(&mut network(), &runtime, &samples(1, 2), &wrong, &mut |_| ());
    assert!(matches!(error, Err(CompressError::Setting { .. })), "{error:?}");
}

#[test]
fn averages_have_levels_of_their_own() {
    let graph = quantized(&plain());
    let scale = |name: &str| {
        graph.values.iter().find(|value| value.name == name).unwrap().quant.unwrap().scale
    };
    assert!(scale("pool") < scale("sum") / 2.0, "{} {}", scale("pool"), scale("sum"));
}

#[test]
fn quality_tells_layers_apart() {
    let (runtime, samples, reference) = (Reference::runtime(), samples(1, 8), network());
    let bits = vec![("project".to_owned(), 2), ("*".to_owned(), 8)];
    let settings = PostTraining { bits, ..plain() };
    let mut graph = network();
    quantize_post_training(&mut graph, &runtime, &samples, &settings, &mut |_| ()).unwrap();
    let layers = layer_quality(&reference, &graph, &runtime, &samples).unwrap();
    assert_eq!(layers.len(), 5);
    let of = |name: &str| layers.iter().find(|layer| layer.layer == name).unwrap();
    assert!(of("project").weight_sqnr_db + 10.0 < of("stem").weight_sqnr_db, "{layers:?}");
    let worst = layers.iter().min_by(|a, b| a.alone.sqnr_db.total_cmp(&b.alone.sqnr_db)).unwrap();
    // The channels between these two have ranges of 1 to 1000 in common levels.
    assert!(["expand", "depthwise"].contains(&worst.layer.as_str()), "{layers:?}");
    assert!(of("project").alone.sqnr_db + 10.0 < of("stem").alone.sqnr_db, "{layers:?}");
}

#[test]
fn samples_must_fit() {
    let few = Samples::new(Shape::matrix(1, 7), vec![0.0; 7]).unwrap();
    let error = observe(&network(), &Reference::runtime(), &few);
    assert!(matches!(error, Err(CompressError::Samples { expected: 192, found: 7 })));
    let observers = observe(&network(), &Reference::runtime(), &samples(1, 2)).unwrap();
    assert!(observers.iter().all(|seen| seen.quant(Calibration::MinMax).is_some()));
}
