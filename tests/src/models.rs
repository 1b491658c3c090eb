//! Problems of whole models: every operator through `Runtime` and `Session`, from memory and from the bytes of a file.

mod elementwise;
mod functions;
mod layers;
mod networks;
mod random;
mod windows;

pub use elementwise::{boundaries, element_wise, layouts, normalizations};
pub use functions::{functions, moved, products};
pub use layers::{convolutions, dense_layers};
pub use networks::{batches, lenet5_int8, networks};
pub use random::random_networks;
pub use windows::pools;

use embdl_core::format::{self, Limits};
use embdl_core::model::Model;
use embdl_core::op::Op;
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError, Session, WeightForm};
use embdl_core::tensor::{DType, TensorMut, TensorRef, ValueType};
use embdl_testkit::Random;

use crate::net::Net;
use crate::oracle;
use crate::report::Report;

/// Tolerance of float results, relative to the largest magnitude, where layers compute in halves: a few layers, each of whose
/// results is off by some units of 2^-11 of the sum of its products' magnitudes.
const HALVES: f64 = 1e-2;

/// A model with inputs; the oracle gives the expected results.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Name, unique in the suite.
    pub name: String,
    /// The model.
    pub net: Net,
    /// Samples a run.
    pub batch: usize,
    /// What every float result may be off by, relative to the largest magnitude of the result; integers must be equal.
    /// A chain of a few float layers with up to a thousand products each stays below `1e-5`.
    pub tolerance: f64,
    /// Results that were computed by hand, in order of the outputs; checked beside the oracle's.
    pub by_hand: Option<Vec<Vec<f64>>>,
    /// Inputs, where they are not random.
    pub inputs: Option<Vec<Vec<f64>>>,
    /// Whether the model is one that files can hold.
    pub in_files: bool,
}

/// Runtimes for which the threads of a session say nothing: what runs on a device, and the reference.
const WITHOUT_THREADS: [&str; 4] = ["reference", "jetson", "myriad", "wgpu"];

impl Problem {
    /// A problem with random inputs and a batch of one.
    #[must_use]
    pub fn new(name: impl Into<String>, net: Net) -> Self {
        Self {
            name: name.into(),
            net,
            batch: 1,
            tolerance: 1e-5,
            by_hand: None,
            inputs: None,
            in_files: true,
        }
    }

    /// With inputs and results by hand.
    #[must_use]
    pub fn by_hand(mut self, inputs: &[&[f64]], outputs: &[&[f64]]) -> Self {
        let owned = |tensors: &[&[f64]]| tensors.iter().map(|tensor| tensor.to_vec()).collect();
        self.inputs = Some(owned(inputs));
        self.by_hand = Some(owned(outputs));
        self
    }

    /// With so many samples a run.
    #[must_use]
    pub const fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// With what files cannot hold, but `Model` and the runtimes can.
    #[must_use]
    pub const fn only_in_memory(mut self) -> Self {
        self.in_files = false;
        self
    }

    /// Solves the problem in every form of weights and compares.
    pub fn check(&self, runtime: &dyn Runtime, isa: &str, unsupported: bool, report: &mut Report) {
        let model = self.net.model();
        if unsupported {
            let refusal = runtime.load(&model, &self.options(isa, WeightForm::Auto)).err();
            if !matches!(refusal, Some(RuntimeError::Unsupported { .. })) {
                report
                    .fail(&self.name, &"it is listed as unsupported, but was not refused as that");
            }
            return;
        }
        let inputs = self.inputs();
        let values = oracle::run(&model, &inputs, self.batch);
        let want: Vec<&[f64]> =
            model.outputs.iter().map(|&output| &values[output].data[..]).collect();
        if let Some(by_hand) = &self.by_hand {
            for (index, (oracle, hand)) in want.iter().zip(by_hand).enumerate() {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
                if oracle.len() != hand.len() || !oracle.iter().zip(hand).all(close) {
                    let reason = format!("output {index} by hand is {hand:?}, not {oracle:?}");
                    report.fail(&self.name, &reason);
                }
            }
        }
        if !WITHOUT_THREADS.contains(&runtime.name()) {
            self.share(runtime, &model, isa, &inputs, report);
        }
        for weights in [WeightForm::Auto, WeightForm::Dense, WeightForm::Compressed] {
            let case = format!("{} {isa} {weights:?}", self.name);
            let options = self.options(isa, weights);
            self.solve(runtime, &model, &options, &case, (&inputs, &want), report);
        }
        if self.in_files {
            let case = format!("{} {isa} from a file", self.name);
            match format::write(&model) {
                Err(error) => report.fail(&case, &error),
                Ok(bytes) => match format::read(&bytes, &Limits::default()) {
                    Err(error) => report.fail(&case, &error),
                    Ok(read) => {
                        let options = self.options(isa, WeightForm::Auto);
                        self.solve(runtime, &read, &options, &case, (&inputs, &want), report);
                    }
                },
            }
        }
    }

    /// Solves the problem on several threads: every bit is as on one.
    fn share(
        &self,
        runtime: &dyn Runtime,
        model: &Model<'_>,
        isa: &str,
        inputs: &[Vec<f64>],
        report: &mut Report,
    ) {
        for weights in [WeightForm::Auto, WeightForm::Compressed] {
            let solve = |threads| {
                let options = LoadOptions { threads, ..self.options(isa, weights) };
                run(&mut *runtime.load(model, &options)?, inputs)
            };
            let alone = solve(1);
            for threads in [2, 3] {
                let case = format!("{} {isa} {weights:?} on {threads} threads", self.name);
                match (&alone, solve(threads)) {
                    (Ok(alone), Ok(shared)) => {
                        for (alone, shared) in alone.iter().zip(&shared) {
                            shared.compare_bits(&case, alone, report);
                        }
                    }
                    (Err(error), _) => report.fail(&case, error),
                    (_, Err(error)) => report.fail(&case, &error),
                }
            }
        }
    }

    /// Random inputs of every range, or the given ones.
    fn inputs(&self) -> Vec<Vec<f64>> {
        if let Some(inputs) = &self.inputs {
            return inputs.clone();
        }
        let mut random = Random::new(0x5eed);
        let model = self.net.model();
        let tensor = |&value: &usize| {
            let kind = model.values[value].kind;
            let len = kind.shape.with_batch(self.batch).len();
            match kind.dtype {
                DType::F32 => random.floats(len).into_iter().map(f64::from).collect(),
                DType::U8 => random.bytes(len).into_iter().map(f64::from).collect(),
                _ => (0..len).map(|_| f64::from(random.integer(-100_000, 100_000))).collect(),
            }
        };
        model.inputs.iter().map(tensor).collect()
    }

    fn options(&self, isa: &str, weights: WeightForm) -> LoadOptions {
        LoadOptions {
            batch: self.batch,
            isa: Some(isa.to_owned()),
            weights,
            ..LoadOptions::default()
        }
    }

    fn solve(
        &self,
        runtime: &dyn Runtime,
        model: &Model<'_>,
        options: &LoadOptions,
        case: &str,
        (inputs, want): (&[Vec<f64>], &[&[f64]]),
        report: &mut Report,
    ) {
        let mut session = match runtime.load(model, options) {
            Ok(session) => session,
            Err(error) => return report.fail(&case, &error),
        };
        let in_halves = options.isa.as_deref() == Some(crate::kernels::HALVES);
        let tolerance = if in_halves { self.tolerance.max(HALVES) } else { self.tolerance };
        // The second run must not see what the first one left behind.
        for _ in 0..2 {
            match run(&mut *session, inputs) {
                Err(error) => report.fail(&case, &error),
                Ok(results) => {
                    for (result, want) in results.iter().zip(want) {
                        result.compare(case, want, tolerance, report);
                    }
                }
            }
        }
    }
}

/// A tensor with elements of its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats.
    F32(Vec<f32>),
    /// Levels.
    U8(Vec<u8>),
    /// Accumulators.
    I32(Vec<i32>),
}

impl Data {
    /// Elements from real numbers that the type can hold.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "integers are checked to come back")]
    pub fn new(kind: ValueType, values: &[f64]) -> Self {
        match kind.dtype {
            DType::F32 => Self::F32(values.iter().map(|&x| x as f32).collect()),
            DType::U8 => {
                let level = |&x: &f64| u8::try_from(x as i64).expect("a level");
                Self::U8(values.iter().map(level).collect())
            }
            _ => Self::I32(values.iter().map(|&x| x as i32).collect()),
        }
    }

    /// Zeros of a type.
    #[must_use]
    pub fn zeros(kind: ValueType) -> Self {
        Self::new(kind, &vec![0.0; kind.shape.len()])
    }

    /// Borrowed.
    #[must_use]
    pub fn view(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::U8(data) => TensorRef::U8(data),
            Self::I32(data) => TensorRef::I32(data),
        }
    }

    /// Borrowed to be written.
    #[must_use]
    pub fn view_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(data),
            Self::U8(data) => TensorMut::U8(data),
            Self::I32(data) => TensorMut::I32(data),
        }
    }

    fn compare_bits(&self, case: &str, want: &Self, report: &mut Report) {
        let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        match (self, want) {
            (Self::F32(data), Self::F32(want)) => report.equal(&case, &bits(data), &bits(want)),
            (Self::U8(data), Self::U8(want)) => report.equal(&case, data, want),
            (Self::I32(data), Self::I32(want)) => report.equal(&case, data, want),
            _ => report.fail(&case, &"results of another type"),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the oracle's integers are in range")]
    fn compare(&self, case: &str, want: &[f64], tolerance: f64, report: &mut Report) {
        match self {
            Self::F32(data) => {
                let largest =
                    want.iter().filter(|x| x.is_finite()).fold(0.0_f64, |a, b| a.max(b.abs()));
                report.close(&case, data, want, &vec![largest * tolerance; want.len()]);
            }
            Self::U8(data) => {
                let want: Vec<u8> = want.iter().map(|&x| x as u8).collect();
                report.equal(&case, data, &want);
            }
            Self::I32(data) => {
                let want: Vec<i32> = want.iter().map(|&x| x as i32).collect();
                report.equal(&case, data, &want);
            }
        }
    }
}

/// Runs a session on inputs given as real numbers.
///
/// # Errors
/// As the session.
pub fn run(session: &mut dyn Session, inputs: &[Vec<f64>]) -> Result<Vec<Data>, RuntimeError> {
    let inputs: Vec<Data> =
        session.inputs().iter().zip(inputs).map(|(spec, x)| Data::new(spec.kind, x)).collect();
    let mut results: Vec<Data> =
        session.outputs().iter().map(|spec| Data::zeros(spec.kind)).collect();
    let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Data::view).collect();
    let mut outputs: Vec<TensorMut<'_>> = results.iter_mut().map(Data::view_mut).collect();
    session.run(&inputs, &mut outputs)?;
    drop(outputs);
    Ok(results)
}

/// All problems.
#[must_use]
pub fn all() -> Vec<Problem> {
    [
        convolutions(),
        dense_layers(),
        pools(),
        element_wise(),
        layouts(),
        normalizations(),
        boundaries(),
        functions(),
        products(),
        moved(),
        networks(),
        batches(),
    ]
    .concat()
}

/// Names of the operators that some problem has.
#[must_use]
pub fn covered_operators() -> std::collections::BTreeSet<&'static str> {
    let problems = all();
    let names = problems.iter().flat_map(|problem| {
        problem.net.model().nodes.into_iter().map(|node| Op::name(&node.op)).collect::<Vec<_>>()
    });
    names.collect()
}
