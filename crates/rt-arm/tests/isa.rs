//! Levels are chosen by name, and named kernels follow the grammar.
#![cfg(target_arch = "aarch64")]

use embdl_core::kernels::KernelKind;
use embdl_core::runtime::RuntimeError;

#[test]
fn every_listed_level_can_be_chosen_and_no_other() {
    for isa in rt_arm::isas() {
        assert_eq!(rt_arm::kernels(Some(isa)).unwrap().isa(), isa);
    }
    let error = rt_arm::kernels(Some("avx2")).err().unwrap();
    let expected = RuntimeError::IsaUnavailable { asked: "avx2".into(), available: rt_arm::isas() };
    assert_eq!(error, expected);
}

#[test]
fn names_end_in_a_level_that_is_there() {
    use KernelKind::*;
    for isa in rt_arm::isas() {
        let kernels = rt_arm::kernels(Some(isa)).unwrap();
        for kind in [
            GemmF32,
            GemmQ8,
            SparseF32,
            SparseQ8,
            CodebookQ8,
            DepthwiseF32,
            DepthwiseQ8,
            MaxPoolF32,
            MaxPoolU8,
        ] {
            let name = kernels.kernel_name(kind);
            let level = name.rsplit_once("__").map(|parts| parts.1);
            let below = match isa {
                "i8mm" => &["dotprod", "neon"][..],
                _ => &["neon"],
            };
            let is_there = level == Some(isa) || below.iter().any(|&below| level == Some(below));
            assert!(is_there, "{name} at level {isa}");
        }
    }
}
