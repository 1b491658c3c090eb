//! Runs allocate nothing, on any CPU runtime, whatever the operators and the form of the weights.

mod support;

use embdl_core::runtime::{LoadOptions, WeightForm};
use embdl_core::tensor::{TensorMut, TensorRef};
use embdl_testkit::{CountingAllocator, count_allocations};
use embdl_tests::models::{self, Data};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_counter_counts() {
    assert_eq!(count_allocations(|| drop(Vec::<u8>::with_capacity(9))).1, 1);
    assert_eq!(count_allocations(|| ()).1, 0);
}

#[test]
fn runs_allocate_nothing() {
    let mut runs = 0;
    for runtime in support::runtimes() {
        for problem in models::all() {
            let model = problem.net.model();
            for (weights, threads) in
                [(WeightForm::Dense, 1), (WeightForm::Compressed, 1), (WeightForm::Auto, 2)]
            {
                if threads > 1 && runtime.name() == "reference" {
                    continue;
                }
                let options = LoadOptions {
                    batch: problem.batch,
                    weights,
                    threads,
                    clock: Some(|| 0),
                    ..LoadOptions::default()
                };
                let mut session = runtime.load(&model, &options).expect("a problem of the suite");
                let inputs: Vec<Data> =
                    session.inputs().iter().map(|spec| Data::zeros(spec.kind)).collect();
                let mut results: Vec<Data> =
                    session.outputs().iter().map(|spec| Data::zeros(spec.kind)).collect();
                let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Data::view).collect();
                let mut outputs: Vec<TensorMut<'_>> =
                    results.iter_mut().map(Data::view_mut).collect();
                let (result, allocations) =
                    count_allocations(|| session.run(&inputs, &mut outputs));
                result.expect("inputs and outputs fit");
                assert_eq!(allocations, 0, "{} on {}", problem.name, runtime.name());
                runs += 1;
            }
        }
    }
    assert!(runs > 100, "only {runs} runs");
}
