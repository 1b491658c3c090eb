//! `embdl zoo --tx2`.
#![cfg(feature = "jetson")]

use std::process::{Command, Output};

use serde_json::Value;

fn zoo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embdl"));
    command.arg("zoo").args(arguments).output().expect("the command starts")
}

fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = zoo(&[arguments, &["--tx2", "--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of rows")
}

#[test]
fn a_network_is_modelled_in_32_and_16_bits_beside_what_was_published() {
    let rows = rows(&["mobilenet-v1"]);
    let [float, half] = &rows[..] else { panic!("two rows: {rows:?}") };
    assert_eq!([&float["precision"], &half["precision"]], ["fp32", "fp16"]);
    assert_eq!(float["published"][0]["by"], "TVM");
    assert_eq!(half["published"][0]["milliseconds"], 12.9);
    for row in [float, half] {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key}: {row}"));
        let shares = ["starting_share", "computing_share", "moving_share"].map(number);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
        let [milliseconds, fps] = ["modelled_milliseconds", "modelled_fps"].map(number);
        assert!((milliseconds * fps - 1e3).abs() < 1e-6);
        // 569 M products of the network, and what tiles add; no slower than what others have measured.
        assert!((569e6..1138e6).contains(&number("macs")), "{row}");
        assert!((1.0..5.1).contains(&milliseconds), "{row}");
        // 4.2 M weights and 28 layers.
        assert!(number("launches") >= 28.0 && number("moved_bytes") > 8.4e6, "{row}");
    }
    assert!(half["modelled_milliseconds"].as_f64() < float["modelled_milliseconds"].as_f64());
}

#[test]
fn compressed_dense_layers_move_fewer_bytes() {
    let [float, _] = &rows(&["lenet-300-100"])[..] else { panic!("two rows") };
    let [compressed] = &rows(&["lenet-300-100", "--precision", "compressed"])[..] else {
        panic!("one row: there is no form of 16 bits")
    };
    let moved = |row: &Value| row["moved_bytes"].as_u64().unwrap();
    assert!(moved(float) > 4 * 266_610, "all weights are read once");
    assert!(3 * moved(compressed) < moved(float), "{compressed}");
    assert!(compressed["published"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn the_table_says_that_it_is_modelled() {
    let output = zoo(&["lenet-5", "--tx2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("Jetson TX2, batch 1, modelled, not measured"), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
    let output = zoo(&["lenet-6", "--tx2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no network is called lenet-6"), "{said}");
}
