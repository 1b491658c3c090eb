//! Trains a network of the zoo on a data set: `fit lenet-5 fashion-mnist "epochs = 3"`. Prints each epoch.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use embdl_data::catalog::{LoadOptions, load};
use embdl_graph::zoo;
use embdl_train::{Device, EpochReport, Run, TrainConfig, TrainHooks, evaluate, train};

struct Print;

impl TrainHooks for Print {
    fn on_epoch(&mut self, report: &EpochReport) -> bool {
        println!(
            "epoch {:3}  loss {:.4}  train {:.2} %  validation {:.2} %  {:.0} images/s",
            report.epoch,
            report.loss,
            100.0 * report.train_accuracy,
            100.0 * report.validation_accuracy,
            report.images_per_second
        );
        true
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, dataset, settings] = arguments.as_slice() else {
        return Err("usage: fit NETWORK DATASET \"SETTINGS AS TOML\"".into());
    };
    let mut graph = match network.as_str() {
        "lenet-5" => zoo::lenet5(1),
        "lenet-300-100" => zoo::lenet300(1),
        _ => return Err(format!("{network} is neither lenet-5 nor lenet-300-100").into()),
    };
    let config: TrainConfig = toml::from_str(settings)?;
    let data = load(dataset, &LoadOptions::default())?;
    let run = Run {
        train: &data.train,
        validation: &data.validation,
        teacher: None,
        checkpoints: None,
        threads: None,
        device: Device::Cpu,
    };
    train(&mut graph, &run, &config, &mut Print)?;
    let found = evaluate(&graph, data.test.for_report())?;
    println!("test {:.2} %, loss {:.4}", 100.0 * found.accuracy, found.loss);
    Ok(())
}
