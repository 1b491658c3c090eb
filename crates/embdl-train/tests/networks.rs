//! Networks of the zoo on colour images: they run forwards and back, learn, and keep their statistics.

use core::time::Duration;

use embdl_data::Split;
use embdl_data::synthetic::{Lengths, colour_split};
use embdl_graph::zoo::{self, Options};
use embdl_graph::{Graph, ParamRole};
use embdl_train::{
    Checkpoints, Device, HookError, OptimizerConfig, Run, Schedule, TrainConfig, TrainError,
    TrainHooks, evaluate, train,
};

fn data(train: usize) -> Split {
    colour_split(Lengths { train, validation: 100, test: 10 }, 1)
}

fn run(data: &Split) -> Run<'_> {
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
    let optimizer = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999 };
    let schedule = Schedule::Constant;
    TrainConfig {
        epochs,
        batch: 16,
        optimizer,
        schedule,
        learning_rate: 0.003,
        ..TrainConfig::default()
    }
}

/// Channels of the smallest width that every builder takes.
fn narrow(width: f64) -> Options {
    Options::cifar(10, 1).with_width(width)
}

#[test]
fn networks_with_batch_normalization_learn_colours() {
    let data = data(320);
    for graph in
        [zoo::mobilenet_v2(&narrow(0.125)).unwrap(), zoo::vgg16_bn(&narrow(0.125)).unwrap()]
    {
        let mut graph = graph;
        let before = evaluate(&graph, &data.validation).unwrap();
        let report = train(&mut graph, &run(&data), &config(4), &mut ()).unwrap();
        let [first, last] = [&report.epochs[0], &report.epochs[3]];
        assert!(last.loss < 0.7 * first.loss, "{}: {:?}", graph.name, report.epochs);
        // By running statistics, which came from the batches.
        let after = evaluate(&graph, &data.validation).unwrap();
        assert!(after.accuracy > before.accuracy + 0.1, "{}: {:?}", graph.name, report.epochs);
        assert_eq!(after.accuracy, last.validation_accuracy);
        for param in graph.params.iter().filter(|param| param.role == ParamRole::Statistic) {
            assert!(param.values().iter().all(|value| value.is_finite()), "{}", param.name);
            let start = if param.name.ends_with("variance") { 1.0 } else { 0.0 };
            assert!(param.values().iter().any(|&value| value != start), "{} moved", param.name);
        }
    }
}

#[test]
fn the_other_networks_learn_a_few_images_by_heart() {
    let data = data(32);
    for graph in [
        zoo::alexnet(&narrow(0.125)).unwrap(),
        zoo::mobilenet_v1(&narrow(0.125)).unwrap(),
        zoo::squeezenet_1_1(&narrow(0.25)).unwrap(),
        zoo::vgg16(&narrow(0.125)).unwrap(),
    ] {
        let mut graph = graph;
        let report = train(&mut graph, &run(&data), &config(12), &mut ()).unwrap();
        let [first, last] = [&report.epochs[0], &report.epochs[11]];
        assert!(last.loss < 0.9 * first.loss, "{}: {:?}", graph.name, report.epochs);
    }
}

/// Fails at one step, as a kill would.
struct KillAt(usize);

impl TrainHooks for KillAt {
    fn on_step(&mut self, step: usize, _: usize, _: &mut Graph) -> Result<bool, HookError> {
        if step == self.0 { Err("killed".into()) } else { Ok(false) }
    }
}

#[test]
fn statistics_resume_bit_for_bit() {
    let data = data(64);
    let start = zoo::mobilenet_v2(&narrow(0.125)).unwrap();
    let trained = |run: &Run<'_>| {
        let mut graph = start.clone();
        train(&mut graph, run, &config(2), &mut ()).unwrap();
        let bits = |param: &embdl_graph::Param| -> Vec<u32> {
            param.values().iter().map(|value| value.to_bits()).collect()
        };
        graph.params.iter().map(bits).collect::<Vec<_>>()
    };
    let whole = trained(&run(&data));
    assert_eq!(whole, trained(&Run { threads: Some(5), ..run(&data) }), "on any number of threads");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let checkpoints = Checkpoints { path, every: Duration::ZERO, resume: true };
    let kept = Run { checkpoints: Some(&checkpoints), ..run(&data) };
    let killed = train(&mut start.clone(), &kept, &config(2), &mut KillAt(6));
    assert!(matches!(killed, Err(TrainError::Hook { step: 6, .. })));
    assert_eq!(whole, trained(&kept));
}
