//! The scalar reference solves every problem, on any architecture.

use std::sync::Arc;

use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::{Kernels, Reference};
use embdl_core::runtime::RuntimeError;

fn runtime() -> Result<CpuRuntime, RuntimeError> {
    Ok(Reference::runtime())
}

fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    assert_eq!(isa, Some("scalar"));
    Ok(Arc::new(Reference))
}

embdl_tests::conformance! {
    runtime: runtime,
    kernels: kernels,
    required_on: "any",
    unsupported: [],
}

#[test]
fn every_operator_has_a_problem() {
    let covered = embdl_tests::models::covered_operators();
    let all = [
        "conv2d",
        "dense",
        "max-pool",
        "average-pool",
        "global-average-pool",
        "identity",
        "relu",
        "relu6",
        "add",
        "concat",
        "lrn",
        "softmax",
        "flatten",
        "reshape",
        "quantize",
        "dequantize",
        "sigmoid",
        "hard-sigmoid",
        "hard-swish",
        "silu",
        "tanh",
        "leaky-relu",
        "elu",
        "clip",
        "mul",
        "prelu",
        "resize",
        "transpose",
        "pad",
    ];
    for op in all {
        assert!(covered.contains(op), "no problem has {op}");
    }
}
