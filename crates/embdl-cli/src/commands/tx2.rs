//! What networks would take on a Jetson TX2 by a model.

use anyhow::{Context, Result};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::LoadOptions;
use rt_jetson::forecast::{Forecast, jetson_tx2};
use serde::Serialize;

use super::untrained::{Precision, shapes_of};
use crate::{Outcome, text};

/// A time that others have measured, for one sample.
#[derive(Clone, Copy, Serialize)]
struct Published {
    milliseconds: f64,
    by: &'static str,
}

const fn by(by: &'static str, milliseconds: f64) -> Published {
    Published { milliseconds, by }
}

/// What others have published, by network and whether it is in 16 bits.
///
/// Sources: NVIDIA, `tf_to_trt_image_classification`, table of models (with the copies of input and result); apache/tvm, pull
/// request 1892 (f32, batch 1).
const PUBLISHED: [(&str, bool, &[Published]); 8] = [
    ("mobilenet-v1", false, &[by("TVM", 5.1), by("TensorRT", 12.9), by("TensorFlow", 24.4)]),
    ("mobilenet-v1", true, &[by("TensorRT", 12.9)]),
    ("mobilenet-v1-0.5@160", false, &[by("TensorRT", 4.0), by("TensorFlow", 16.9)]),
    ("mobilenet-v1-0.5@160", true, &[by("TensorRT", 3.95)]),
    ("mobilenet-v1-0.25@128", false, &[by("TensorRT", 2.65), by("TensorFlow", 15.7)]),
    ("mobilenet-v1-0.25@128", true, &[by("TensorRT", 2.67)]),
    ("vgg-16", false, &[by("TVM", 57.2), by("TensorRT", 79.2), by("TensorFlow", 171.0)]),
    ("vgg-16", true, &[by("TensorRT", 38.2)]),
];

/// What a network would take, by the model.
#[derive(Serialize)]
struct Modelled {
    network: String,
    precision: &'static str,
    launches: usize,
    /// Multiply-accumulates that blocks make, beyond the edges of results included.
    macs: u64,
    /// Bytes read and written by all launches.
    moved_bytes: u64,
    memory_bytes: usize,
    modelled_milliseconds: f64,
    modelled_fps: f64,
    /// Of the time: the gaps between launches, launches that compute the longest, those that move bytes the longest.
    starting_share: f64,
    computing_share: f64,
    moving_share: f64,
    published: Vec<Published>,
}

/// Prints what networks would take.
pub(crate) fn table(names: &[&str], precision: Precision, json: bool) -> Result<Outcome> {
    let mut rows = Vec::new();
    for name in names {
        let bytes = shapes_of(name, precision)?;
        let model = format::read(&bytes, &Limits::default())?;
        // Only float layers have a form of 16 bits.
        let forms = if precision == Precision::Fp32 { &[false, true][..] } else { &[false] };
        for &is_half in forms {
            let forecast = jetson_tx2(&model, &LoadOptions::default(), is_half)
                .with_context(|| format!("planning {name}"))?;
            rows.push(modelled(name, precision, is_half, &forecast));
        }
    }
    if json {
        text::json(&rows)?;
        return Ok(Outcome::Passed);
    }
    let head = [
        "network",
        "precision",
        "launches",
        "MACs",
        "moved",
        "memory",
        "ms",
        "fps",
        "starting",
        "computing",
        "moving",
        "published ms",
    ];
    println!(
        "Jetson TX2, batch 1, modelled, not measured: all launches of the plan at the full rates of the chip, without the host's part; \
         published are other people's programs"
    );
    let cells: Vec<Vec<String>> = rows.iter().map(Modelled::cells).collect();
    print!("{}", text::columns(&head, &cells));
    Ok(Outcome::Passed)
}

fn modelled(name: &str, precision: Precision, is_half: bool, forecast: &Forecast) -> Modelled {
    let seconds = forecast.seconds();
    let share = |part: f64| if seconds > 0.0 { part / seconds } else { 0.0 };
    let is_plain = precision == Precision::Fp32;
    let published = PUBLISHED.iter().find(|(of, halves, _)| (*of, *halves) == (name, is_half));
    Modelled {
        network: name.to_owned(),
        precision: if is_half { "fp16" } else { precision.name() },
        launches: forecast.launches,
        macs: forecast.macs,
        moved_bytes: forecast.bytes,
        memory_bytes: forecast.memory_bytes,
        modelled_milliseconds: seconds * 1e3,
        modelled_fps: 1.0 / seconds,
        starting_share: share(forecast.starting_seconds),
        computing_share: share(forecast.computing_seconds),
        moving_share: share(forecast.moving_seconds),
        published: published.filter(|_| is_plain).map_or(Vec::new(), |found| found.2.to_vec()),
    }
}

impl Modelled {
    fn cells(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let published = self.published.iter().map(|one| format!("{} {}", one.milliseconds, one.by));
        vec![
            self.network.clone(),
            self.precision.to_owned(),
            self.launches.to_string(),
            self.macs.to_string(),
            text::bytes(self.moved_bytes),
            text::bytes(self.memory_bytes as u64),
            format!("{:.3}", self.modelled_milliseconds),
            format!("{:.0}", self.modelled_fps),
            percent(self.starting_share),
            percent(self.computing_share),
            percent(self.moving_share),
            published.collect::<Vec<_>>().join(", "),
        ]
    }
}
