//! Whole trainings on rendered shapes: they learn, repeat, resume, and keep to their constraints.

use core::time::Duration;

use embdl_core::op::Activation;
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_data::Split;
use embdl_data::augment::Augmentation;
use embdl_data::synthetic::{Lengths, split};
use embdl_graph::{Form, Graph, GraphBuilder, zoo};
use embdl_train::{
    CheckpointError, Checkpoints, Device, Distillation, EpochReport, HookError, OptimizerConfig,
    Run, Schedule, TrainConfig, TrainError, TrainHooks, TrainReport, activations, evaluate, logits,
    train,
};

fn data(train: usize) -> Split {
    split(Lengths { train, validation: 200, test: 10 }, 1)
}

fn run<'a>(data: &'a Split) -> Run<'a> {
    Run {
        train: &data.train,
        validation: &data.validation,
        teacher: None,
        checkpoints: None,
        threads: Some(2),
        device: Device::Cpu,
    }
}

fn config(epochs: usize) -> TrainConfig {
    let augmentation = Augmentation { shift_px: 1, ..Augmentation::default() };
    TrainConfig { epochs, batch: 32, learning_rate: 0.02, augmentation, ..TrainConfig::default() }
}

fn weights(graph: &Graph) -> Vec<u32> {
    graph.params.iter().flat_map(|param| param.values().iter().map(|w| w.to_bits())).collect()
}

fn trained(graph: &Graph, run: &Run<'_>, config: &TrainConfig) -> (Graph, TrainReport) {
    let mut graph = graph.clone();
    let report = train(&mut graph, run, config, &mut ()).unwrap();
    (graph, report)
}

#[test]
fn both_lenets_learn_with_both_optimizers() {
    let data = data(1500);
    let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999 };
    for (graph, optimizer, learning_rate) in
        [(zoo::lenet5(1), OptimizerConfig::default(), 0.004), (zoo::lenet300(1), adam, 0.002)]
    {
        let config = TrainConfig { optimizer, learning_rate, ..config(4) };
        let before = evaluate(&graph, &data.validation).unwrap();
        let (after, report) = trained(&graph, &run(&data), &config);
        let found = evaluate(&after, &data.validation).unwrap();
        assert!(before.accuracy < 0.3 && found.accuracy > 0.7, "{}: {found:?}", graph.name);
        assert!(found.loss < before.loss);
        assert_eq!(report.epochs[3].validation_accuracy, found.accuracy);
        let images: u64 = found.confusion.iter().flatten().sum();
        assert_eq!(images, 200);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let data = data(150);
    let graph = zoo::lenet5(2);
    let weights_with = |threads| {
        weights(&trained(&graph, &Run { threads: Some(threads), ..run(&data) }, &config(1)).0)
    };
    let one = weights_with(1);
    assert_eq!(one, weights_with(2));
    assert_eq!(one, weights_with(5));
}

/// Fails at one step, as a kill would.
struct KillAt(usize);

impl TrainHooks for KillAt {
    fn on_step(&mut self, step: usize, _: usize, _: &mut Graph) -> Result<bool, HookError> {
        if step == self.0 { Err("killed".into()) } else { Ok(false) }
    }
}

#[test]
fn a_killed_training_resumes_bit_for_bit() {
    let data = data(200);
    let graph = zoo::lenet300(3);
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { ema: Some(0.9), keep_best: true, ..config(4) };
    let whole = trained(&graph, &run(&data), &config);
    // Seven steps an epoch: once between epochs, once within one.
    for (name, step, every) in
        [("between", 14, Duration::from_secs(3600)), ("within", 17, Duration::ZERO)]
    {
        let path = dir.path().join(name);
        let checkpoints = Checkpoints { path, every, resume: true };
        let run = Run { checkpoints: Some(&checkpoints), ..run(&data) };
        let killed = train(&mut graph.clone(), &run, &config, &mut KillAt(step));
        assert!(matches!(killed, Err(TrainError::Hook { step: at, .. }) if at == step));
        let resumed = trained(&graph, &run, &config);
        assert_eq!(weights(&resumed.0), weights(&whole.0), "{name}");
        assert_eq!(resumed.1.resumed_in, Some(3));
        let accuracies = |report: &TrainReport| -> Vec<(f64, f64)> {
            report.epochs.iter().map(|epoch| (epoch.loss, epoch.validation_accuracy)).collect()
        };
        assert_eq!(accuracies(&resumed.1), accuracies(&whole.1), "{name}");
        // A finished training has nothing left to do.
        let again = trained(&graph, &run, &config);
        assert_eq!(weights(&again.0), weights(&whole.0));
    }
}

#[test]
fn a_checkpoint_of_another_training_or_a_damaged_one_is_refused() {
    let data = data(64);
    let graph = zoo::lenet300(3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let checkpoints = Checkpoints { path: path.clone(), every: Duration::MAX, resume: true };
    let run = Run { checkpoints: Some(&checkpoints), ..run(&data) };
    let _ = trained(&graph, &run, &config(1));
    let cause = |graph: &Graph, config: &TrainConfig| match train(
        &mut graph.clone(),
        &run,
        config,
        &mut (),
    )
    .unwrap_err()
    {
        TrainError::Checkpoint { source, .. } => source,
        other => panic!("{other}"),
    };
    let other = TrainConfig { learning_rate: 0.03, ..config(1) };
    assert!(matches!(cause(&graph, &other), CheckpointError::OtherTraining));
    assert!(matches!(cause(&zoo::lenet300(4), &config(1)), CheckpointError::OtherTraining));
    let bytes = std::fs::read(&path).unwrap();
    for at in [9, 50, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(cause(&graph, &config(1)), CheckpointError::Damaged { .. }), "byte {at}");
    }
    for len in [0, 3, 8, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let cause = cause(&graph, &config(1));
        assert!(
            matches!(cause, CheckpointError::Damaged { .. } | CheckpointError::Magic),
            "{len} bytes: {cause}"
        );
    }
}

/// One hidden layer: enough to learn something in a moment.
fn small(seed: u64) -> Graph {
    let mut b = GraphBuilder::new("small", seed);
    let image = b.input("image", Shape::nhwc(1, 28, 28, 1));
    let pixels = b.op("flatten", embdl_core::op::Op::Flatten, &[image]).unwrap();
    let hidden = b.dense("hidden", pixels, 40, Activation::Relu).unwrap();
    let logits = b.dense("classes", hidden, 10, Activation::None).unwrap();
    b.finish(&[logits]).unwrap()
}

#[test]
fn retraining_keeps_to_every_constraint() {
    let data = data(600);
    let (graph, _) = trained(&small(1), &run(&data), &config(3));
    let free = evaluate(&graph, &data.validation).unwrap();
    let mut held = graph.clone();
    let len = held.params[0].len();
    let mask: Vec<bool> = held.params[0].values().iter().map(|w| w.abs() > 0.02).collect();
    held.params[0].mask = Some(mask.clone());
    let codes = (0..len).map(|at| u8::try_from(at % 7).unwrap()).collect::<Vec<_>>();
    let sharings = [
        Form::Free,
        Form::Integer { bits: 4, scales: vec![0.02; 40] },
        Form::Integer { bits: 3, scales: vec![0.03] },
        Form::Shared {
            centroids: (-3..4_i8).map(|c| f32::from(c) * 0.02).collect(),
            codes,
            step: Some(0.001),
        },
    ];
    for (case, form) in sharings.into_iter().enumerate() {
        let mut start = held.clone();
        start.params[0].form = form.clone();
        start.values[start.inputs[0]].quant = Some(Quant {
            scale: data.train.normalization().input_scale(),
            zero_point: data.train.normalization().input_zero_point(),
        });
        let before = evaluate(&start, &data.validation).unwrap();
        // The gradient of a centroid sums over thousands of weights.
        let is_shared = matches!(form, Form::Shared { .. });
        let learning_rate = if is_shared { 1e-5 } else { 0.02 };
        let config = TrainConfig { learning_rate, ..config(2) };
        let (after, _) = trained(&start, &run(&data), &config);
        let found = evaluate(&after, &data.validation).unwrap();
        assert!(found.loss < before.loss, "case {case}: {} to {}", before.loss, found.loss);
        let param = &after.params[0];
        assert_eq!(param.mask.as_ref(), Some(&mask));
        let effective = param.effective();
        assert!(effective.iter().zip(&mask).all(|(w, keep)| *keep || *w == 0.0));
        if let Form::Shared { centroids, codes: after, .. } = &param.form {
            let Form::Shared { centroids: before, codes, .. } = &form else { panic!("other form") };
            assert!(after == codes && centroids != before, "centroids move, codes stay");
        }
    }
    assert!(free.accuracy > 0.5);
}

/// Masks a weight more at each step of the first half.
struct GrowMask;

impl TrainHooks for GrowMask {
    fn on_step(&mut self, step: usize, steps: usize, graph: &mut Graph) -> Result<bool, HookError> {
        let param = &mut graph.params[0];
        let mask = param.mask.get_or_insert_with(|| vec![true; param.shape.len()]);
        if step < steps / 2 {
            mask[step] = false;
        }
        Ok(step < steps / 2)
    }

    fn is_settled(&self, step: usize, steps: usize) -> bool {
        step >= steps / 2
    }
}

#[test]
fn hooks_change_masks_and_best_epochs_wait_for_them() {
    let data = data(320);
    let mut graph = small(2);
    let config = TrainConfig { keep_best: true, ..config(4) };
    let report = train(&mut graph, &run(&data), &config, &mut GrowMask).unwrap();
    assert!(graph.params[0].effective()[..20].iter().all(|&w| w == 0.0));
    assert!(graph.params[0].effective()[20..].iter().any(|&w| w != 0.0));
    assert!(report.best_epoch.is_some_and(|epoch| epoch >= 2));
}

/// Stops after an epoch.
struct StopAfter(usize);

impl TrainHooks for StopAfter {
    fn on_epoch(&mut self, report: &EpochReport) -> bool {
        report.epoch < self.0
    }
}

#[test]
fn patience_and_hooks_stop_early() {
    let data = data(64);
    let mut graph = small(2);
    let report = train(&mut graph, &run(&data), &config(9), &mut StopAfter(2)).unwrap();
    assert!(report.stopped_early && report.epochs.len() == 2);
    // A learning rate at which nothing changes: the first epoch stays the best.
    let still = TrainConfig { learning_rate: 1e-30, patience: Some(3), ..config(9) };
    let report = train(&mut small(2), &run(&data), &still, &mut ()).unwrap();
    assert!(report.stopped_early && report.epochs.len() == 4 && report.best_epoch == Some(1));
}

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let data = data(300);
    let (teacher, _) = trained(&small(5), &run(&data), &config(3));
    let distill = Some(Distillation { alpha: 1.0, temperature: 2.0 });
    let config = TrainConfig { distill, schedule: Schedule::Constant, ..config(3) };
    let student = small(6);
    let distance = |graph: &Graph| -> f32 {
        let [ours, theirs] =
            [graph, &teacher].map(|graph| logits(graph, &data.validation).unwrap());
        ours.iter().zip(&theirs).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let run = Run { teacher: Some(&teacher), ..run(&data) };
    let (after, _) = trained(&student, &run, &config);
    assert!(distance(&after) < 0.5 * distance(&student));
    let alone = train(&mut student.clone(), &Run { teacher: None, ..run }, &config, &mut ());
    assert!(matches!(alone, Err(TrainError::NoTeacher)));
}

#[test]
fn activations_show_every_value_of_every_image() {
    let data = data(64);
    let graph = small(1);
    let mut seen = vec![0; graph.values.len()];
    let mut last = Vec::new();
    activations(&graph, &data.validation, &mut |id, values| {
        seen[id] += values.len();
        if id == graph.outputs[0] {
            last.extend_from_slice(values);
        }
    })
    .unwrap();
    let expected: Vec<usize> = graph.values.iter().map(|value| 200 * value.shape.len()).collect();
    assert_eq!(seen, expected);
    assert_eq!(last, logits(&graph, &data.validation).unwrap());
}

/// Without momentum, decay and schedule a step is `rate * gradient`: clipped, it is at most `rate * clip_norm` long.
#[test]
fn gradients_are_clipped_by_their_norm() {
    let data = data(32);
    let mut start = small(4);
    let mask: Vec<bool> = (0..start.params[0].len()).map(|at| at % 3 > 0).collect();
    start.params[0].mask = Some(mask);
    let moved = |clip_norm: f32| {
        let optimizer = OptimizerConfig::Sgd { momentum: 0.0, nesterov: false };
        let (schedule, weight_decay) = (Schedule::Constant, 0.0);
        let config = TrainConfig {
            optimizer,
            schedule,
            weight_decay,
            clip_norm,
            learning_rate: 0.01,
            ..config(1)
        };
        let (after, _) = trained(&start, &run(&data), &config);
        let steps = start.params.iter().zip(&after.params).flat_map(|(before, after)| {
            let pairs = before.effective().into_iter().zip(after.effective());
            pairs.map(|(before, after)| (after - before) / 0.01).collect::<Vec<_>>()
        });
        steps.collect::<Vec<f32>>()
    };
    let norm = |steps: &[f32]| steps.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let free = moved(0.0);
    let full = norm(&free);
    assert!(full > 0.5, "a first gradient is not small: {full}");
    assert_eq!(moved(1e6), free, "a norm below the limit changes nothing");
    let clipped = moved(0.25);
    assert!((norm(&clipped) - 0.25).abs() < 1e-3, "{}", norm(&clipped));
    for (clipped, free) in clipped.iter().zip(&free) {
        assert!((f64::from(*clipped) - f64::from(*free) * 0.25 / full).abs() < 1e-4);
    }
}

/// A rate at which the network without clipping is lost at once.
#[test]
fn clipping_saves_a_training_that_would_diverge() {
    let data = data(600);
    let steep = |clip_norm| TrainConfig {
        learning_rate: 0.3,
        schedule: Schedule::Constant,
        augmentation: Augmentation::default(),
        clip_norm,
        ..config(2)
    };
    let lost = train(&mut zoo::lenet5(1), &run(&data), &steep(0.0), &mut ());
    let is_lost = match &lost {
        Err(TrainError::Diverged { .. }) => true,
        Err(other) => panic!("{other}"),
        Ok(report) => report.epochs[1].loss > 2.0,
    };
    assert!(is_lost, "{lost:?}");
    let (_, report) = trained(&zoo::lenet5(1), &run(&data), &steep(0.1));
    assert!(report.epochs[1].loss < 2.0, "{:?}", report.epochs);
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let data = data(64);
    let error = |graph: &Graph, config: &TrainConfig| {
        train(&mut graph.clone(), &run(&data), config, &mut ()).unwrap_err().to_string()
    };
    let bad = TrainConfig { label_smoothing: 1.5, ..config(1) };
    assert_eq!(
        error(&small(1), &bad),
        "training cannot use label-smoothing = 1.5; it must be 0 to 1"
    );
    let steep = TrainConfig { learning_rate: 1e30, clip_norm: 0.0, ..config(2) };
    let text = error(&small(1), &steep);
    assert!(text.contains("epoch 1, at step") && text.contains("smaller learning-rate"), "{text}");
    let mut b = GraphBuilder::new("tiny", 1);
    let image = b.input("image", Shape::matrix(1, 9));
    let logits = b.dense("classes", image, 10, Activation::None).unwrap();
    let tiny = b.finish(&[logits]).unwrap();
    assert!(error(&tiny, &config(1)).contains("takes 9 elements"));
}

#[test]
fn settings_come_from_toml_and_unknown_ones_are_refused() {
    let text = "epochs = 3\nschedule = { cosine = { warm-up = 0.2 } }\noptimizer = { adam = { beta1 = 0.9, beta2 = 0.99 } }\n";
    let config: TrainConfig = toml::from_str(text).unwrap();
    assert_eq!(config.epochs, 3);
    assert_eq!(config.schedule, Schedule::Cosine { warm_up: 0.2 });
    assert!(toml::from_str::<TrainConfig>("epoch = 3").unwrap_err().to_string().contains("epoch"));
}
