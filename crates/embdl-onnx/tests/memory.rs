//! How much memory an import takes: a model is read, converted tensor by tensor, and never held three times. Each step
//! runs in a process of its own, which is this program again; Linux says the peak.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::path::Path;

use embdl_graph::{fold_batch_norm, zoo};
use embdl_onnx::{ImportOptions, export, import_file};
use embdl_testkit::status_bytes;

/// What the child does: `write NAME` or `read`, and the path.
const STEP: &str = "EMBDL_MEMORY_STEP";
const PATH: &str = "EMBDL_MEMORY_PATH";

/// The child's part; does nothing where nobody asks.
#[test]
fn child() {
    let (Ok(step), Some(path)) = (std::env::var(STEP), std::env::var_os(PATH)) else { return };
    let path = Path::new(&path);
    if let Some(name) = step.strip_prefix("write ") {
        let mut graph = zoo::by_name(name, 1).expect("in the zoo");
        fold_batch_norm(&mut graph).expect("positive variances");
        std::fs::write(path, export(&graph).expect("exports")).expect("written");
        return;
    }
    let before = status_bytes("VmRSS:");
    let graph = import_file(path, &ImportOptions::default()).expect("imports");
    let peak = status_bytes("VmHWM:") - before;
    eprintln!("PEAK {peak} for {} parameters", graph.param_count());
}

fn run_child(step: &str, path: &Path) -> String {
    embdl_testkit::run_child(&[(STEP, step), (PATH, path.to_str().expect("a path in UTF-8"))])
}

/// Peak of importing network `name`, and the size of its file.
fn measure(name: &str) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    run_child(&format!("write {name}"), &path);
    let len = std::fs::metadata(&path).expect("it is there").len();
    let said = run_child("read", &path);
    let peak = said.split_whitespace().skip_while(|word| *word != "PEAK").nth(1);
    let peak = peak.and_then(|number| number.parse().ok()).expect("the child says its peak");
    eprintln!("{name}: {peak} bytes to import a file of {len}");
    (peak, len)
}

#[test]
fn weights_are_not_held_three_times() {
    let (peak, len) = measure("vgg-16-0.5-cifar10");
    assert!(peak < 3 * len, "{peak} bytes for a file of {len}");
}

#[test]
#[ignore = "takes half a minute and 2 GiB of memory"]
fn vgg16_imports_in_two_and_a_half_gibibytes() {
    let (peak, _) = measure("vgg-16");
    assert!(peak < 5 << 29, "{peak} bytes");
}
