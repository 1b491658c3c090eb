//! The CUDA runtime solves every problem: its kernels' PTX in an interpreter, behind a driver that has what CUDA 10.2 has.

use embdl_core::runtime::RuntimeError;
use rt_jetson::{Jetson, JetsonOptions};
use standin_cuda::{Settings, Standin};

/// A Jetson TX2, whose driver stays open as long as the process: the runtime has it open too.
fn tx2() -> Result<Jetson, RuntimeError> {
    let standin = Standin::new(Settings::default()).expect("the stand-in is built with the tests");
    let options =
        JetsonOptions { library: Some(standin.path().into()), ..JetsonOptions::default() };
    Jetson::with_options(&options)
}

embdl_tests::conformance! {
    device: tx2,
    required_on: "any",
    unsupported: [],
}
