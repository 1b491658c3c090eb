//! Random networks give the oracle's results on every CPU runtime of this machine.

mod support;

use embdl_tests::models::random_networks;
use embdl_tests::report::Report;

#[test]
fn random_networks_are_solved() {
    for runtime in support::runtimes() {
        let mut report = Report::new();
        for problem in random_networks(1000..1200) {
            problem.check(&*runtime, runtime.capabilities().isa, false, &mut report);
        }
        report.finish(runtime.name());
    }
}
