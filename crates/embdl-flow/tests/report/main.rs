//! The report of a run: what tables, JSON and page say, and that odd records do not spoil them.

mod sample;

use embdl_compress::{Sensitivity, SensitivityPoint};
use embdl_flow::record::{EpochRecord, LayerRecord, NetworkRecord, RunRecord};
use embdl_flow::report::{consistent, html, summary_json, table};

const HOSTILE: &str = "</text><script>alert(\"x\")</script>&'<svg onload=x>\u{0}";

/// A network of which nothing is known but its name.
fn bare() -> NetworkRecord {
    let mut network = sample::network(1);
    network.retests.clear();
    network.steps.clear();
    network.layers.clear();
    network.sensitivity.clear();
    network.confusion.clear();
    network.classes.clear();
    network.latencies.clear();
    network.epochs.clear();
    network
}

/// All numbers the same, most of them zero.
fn flat() -> NetworkRecord {
    let mut network = sample::network(1);
    network.fp32.accuracy = 0.0;
    network.fp32.bytes = 0;
    network.compressed.accuracy = 0.0;
    network.compressed.file_bytes = 0;
    network.compressed.ratio = 0.0;
    for step in &mut network.steps {
        (step.file_bytes, step.test_accuracy, step.validation_accuracy) = (0, 0.0, 0.0);
    }
    for layer in &mut network.layers {
        *layer = LayerRecord {
            layer: layer.layer.clone(),
            shape: String::new(),
            encoding: String::new(),
            weights: 0,
            nonzero: 0,
            fp32_bytes: 0,
            file_bytes: 0,
            bits_per_weight: 0.0,
        };
    }
    for layer in &mut network.sensitivity {
        for point in layer.pruned.iter_mut().chain(&mut layer.shared) {
            *point = SensitivityPoint { setting: 0.0, accuracy: 0.0 };
        }
    }
    for latency in &mut network.latencies {
        (latency.median_us, latency.min_us) = (0.0, 0.0);
    }
    for epoch in &mut network.epochs {
        epoch.validation_accuracy = 0.0;
    }
    network.confusion = vec![vec![0; 10]; 10];
    network
}

/// One of each, and numbers that are none.
fn broken() -> NetworkRecord {
    let mut network = sample::network(1);
    network.fp32.accuracy = f64::NAN;
    network.compressed.accuracy = f64::INFINITY;
    network.compressed.ratio = f64::NAN;
    network.steps.truncate(1);
    network.steps[0].test_accuracy = f64::NAN;
    network.steps[0].validation_accuracy = f64::NAN;
    network.steps[0].seconds = f64::NAN;
    network.layers.truncate(1);
    network.layers[0].bits_per_weight = f64::NAN;
    network.retests.truncate(1);
    network.retests[0].images_per_second = f64::INFINITY;
    network.latencies.truncate(1);
    network.latencies[0].median_us = f64::NAN;
    let point = SensitivityPoint { setting: f64::NAN, accuracy: f64::NAN };
    network.sensitivity =
        vec![Sensitivity { layer: "x".into(), pruned: vec![point], shared: vec![] }];
    network.epochs = vec![EpochRecord {
        step: "train".into(),
        epoch: 0,
        loss: f64::NAN,
        validation_accuracy: f64::NAN,
        images_per_second: f64::NAN,
    }];
    network.confusion = vec![vec![], vec![1, 2, 3]];
    network
}

/// More classes, layers and epochs than fit at full size.
fn crowded() -> NetworkRecord {
    let mut network = sample::network(1);
    network.confusion = (0..100).map(|i| (0..100).map(|j| (i * j) % 7).collect()).collect();
    let layers = network.layers.clone();
    network.layers = layers.iter().cycle().take(60).cloned().collect();
    let epochs = network.epochs.clone();
    network.epochs = epochs.iter().cycle().take(700).cloned().collect();
    network
}

fn records() -> Vec<(&'static str, RunRecord)> {
    let two_seeds = vec![sample::network(1), sample::network(2)];
    vec![
        ("full", sample::run(vec![sample::network(1)])),
        ("no networks", sample::run(vec![])),
        ("bare", sample::run(vec![bare()])),
        ("flat", sample::run(vec![flat()])),
        ("broken", sample::run(vec![broken()])),
        ("crowded", sample::run(vec![crowded()])),
        ("seeds", sample::run(two_seeds)),
        ("many", sample::run(vec![sample::network(1), bare_named("b"), bare_named("c")])),
        ("hostile", sample::run(vec![hostile(), bare_named(HOSTILE)])),
    ]
}

fn bare_named(name: &str) -> NetworkRecord {
    NetworkRecord { name: name.into(), ..bare() }
}

/// Every text says something that a browser would run.
fn hostile() -> NetworkRecord {
    let mut network = sample::network(1);
    let text = || String::from(HOSTILE);
    network.name = text();
    network.dataset = text();
    network.compressed.path = text();
    network.classes = vec![text(); 10];
    for retest in &mut network.retests {
        (retest.runtime, retest.isa, retest.machine) = (text(), text(), text());
        retest.outputs_sha256 = text();
    }
    for step in &mut network.steps {
        (step.step, step.what) = (text(), text());
        for pass in &mut step.passes {
            pass.pass = text();
            pass.layers.iter_mut().for_each(|layer| layer.layer = text());
        }
    }
    for layer in &mut network.layers {
        (layer.layer, layer.shape, layer.encoding) = (text(), text(), text());
    }
    network.sensitivity.iter_mut().for_each(|layer| layer.layer = text());
    for latency in &mut network.latencies {
        (latency.file, latency.runtime, latency.isa) = (text(), text(), text());
    }
    network.epochs.iter_mut().for_each(|epoch| epoch.step = text());
    network
}

/// Names of all tags in order, closing ones with their slash; panics on a stray `<`.
fn tags(page: &str) -> Vec<String> {
    let body = &page[page.find("</style>").expect("a style sheet")..];
    let head = &page[..page.find("<style>").expect("a style sheet")];
    let mut all = Vec::new();
    for part in head.split('<').skip(1).chain(["style>"]).chain(body.split('<').skip(1)) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("unclosed tag: {part}"));
        assert!(!text.contains('>'), "a stray > in {part}");
        if !tag.ends_with('/') {
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            all.push(name.to_string());
        }
    }
    all
}

#[test]
fn every_tag_is_closed() {
    for (name, run) in records() {
        let page = html(&run);
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&page) {
            if ["!doctype", "meta"].contains(&tag.as_str()) {
                continue;
            }
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed), "{name}"),
                None => open.push(tag),
            }
        }
        assert!(open.is_empty(), "{name}: open at the end: {open:?}");
    }
}

#[test]
fn the_page_needs_nothing_else() {
    for (name, run) in records() {
        let page = html(&run);
        for word in ["src=", "http:", "https:", "@import", "<script", "<link", "<img", "<iframe"] {
            assert!(!page.contains(word), "{name}: {word}");
        }
        for reference in page.split("href=\"").skip(1).chain(page.split("url(").skip(1)) {
            assert!(reference.starts_with('#'), "{name}: {:?}", reference.get(..20));
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let mut run = sample::run(vec![hostile()]);
    run.command = HOSTILE.into();
    for text in [
        &mut run.provenance.version,
        &mut run.provenance.rustc,
        &mut run.provenance.cpu,
        &mut run.provenance.system,
    ] {
        *text = HOSTILE.into();
    }
    let page = html(&run);
    assert!(page.contains("&lt;script&gt;"), "the text itself is shown");
    for tag in tags(&page) {
        assert!(!tag.contains("script"), "{tag}");
    }
    assert!(!page.contains("<svg onload"));
    assert!(!page.contains('\u{0}'));
}

#[test]
fn no_drawing_holds_what_is_no_number() {
    for (name, run) in records() {
        for drawing in html(&run).split("<svg").skip(1) {
            let drawing = drawing.split("</svg>").next().unwrap_or_default();
            for (i, value) in drawing.split('"').enumerate().filter(|(i, _)| i % 2 == 1) {
                let bad = ["NaN", "inf"].iter().any(|word| value.contains(word));
                assert!(!bad, "{name}: attribute {i} is {value}");
            }
        }
    }
}

#[test]
fn the_page_says_what_was_measured() {
    let page = html(&sample::run(vec![sample::network(1)]));
    for text in [
        "62.9×\u{a0}smaller, 0.15\u{a0}points less accurate",
        "7 retests, outputs identical bit for bit",
        "emulated: says nothing about a device&#39;s time",
        "embdl flow --recipe lenet5.toml --seed 1",
        "10.4% of “Shirt” taken for “T-shirt/top” (104)",
        "rustc 1.95.0",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn further_seeds_get_a_mean() {
    let page = html(&sample::run(vec![sample::network(1), sample::network(3)]));
    // 91.37% and 91.29%.
    assert!(page.contains("91.33% ± 0.06%"));
    assert_eq!(page.matches("<section class=\"network\"").count(), 1);
    assert!(!page.contains("<nav"));
}

#[test]
fn differing_outputs_are_named() {
    let mut run = sample::run(vec![sample::network(1)]);
    assert!(consistent(&run));
    run.networks[0].retests[5].outputs_sha256 = "00".repeat(32);
    assert!(!consistent(&run));
    assert!(table(&run).contains("7 retests, outputs DIFFER in 1: arm/neon"));
    assert!(html(&run).contains("<tr class=\"bad\"><td>arm</td><td>neon</td>"));
    assert!(consistent(&sample::run(vec![bare()])));
}

#[test]
fn summary_has_its_shape() {
    let mut network = sample::network(2);
    network.retests.truncate(5);
    let summary = summary_json(&sample::run(vec![network]));
    assert_eq!(summary["seconds"], 754.2);
    let network = &summary["networks"][0];
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let mut found = keys(network);
    found.sort();
    assert_eq!(found, ["compressed", "dataset", "fp32", "name", "retests", "seed"]);
    assert_eq!(network["name"], "lenet-5");
    assert_eq!(network["seed"], 2);
    assert_eq!(network["fp32"]["bytes"], 1_724_320);
    assert_eq!(network["fp32"]["accuracy"], 0.9156);
    assert_eq!(network["compressed"]["file_bytes"], 27_412);
    assert_eq!(network["compressed"]["accuracy"], 0.9133);
    assert!(network["compressed"]["ratio"].as_f64().is_some_and(|ratio| ratio > 62.9));
    assert_eq!(network["retests"].as_array().map(Vec::len), Some(5));
    let mut found = keys(&network["retests"][4]);
    found.sort();
    assert_eq!(found, ["accuracy", "emulated", "isa", "outputs_sha256", "runtime"]);
    assert_eq!(network["retests"][4]["emulated"], true);
    assert_eq!(network["retests"][0]["isa"], "scalar");
}

#[test]
fn tables_fit_a_terminal() {
    for (name, run) in records() {
        for line in table(&run).lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

#[test]
fn tables_look_like_this() {
    let mut network = sample::network(1);
    network.steps.drain(2..4);
    network.retests.drain(1..5);
    network.latencies.drain(..5);
    let text = table(&sample::run(vec![network]));
    let expected = include_str!("table.txt");
    assert!(text == expected, "tests/report/table.txt is not:\n{text}");
}
