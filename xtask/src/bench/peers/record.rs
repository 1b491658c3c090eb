//! What is kept of a comparison: our time, the peers' times, and everything that they depend on.
use crate::bench::picture::Ratio;
use crate::bench::records::{self, Provenance};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One model in one precision, on our runtime and on the peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Record {
    pub(in crate::bench) model: String,
    /// `fp32`, `int8`, or `compressed`; what is compressed is compared with the peers' int8.
    pub(in crate::bench) precision: String,
    /// Ours.
    pub(in crate::bench) runtime: String,
    pub(in crate::bench) isa: String,
    pub(in crate::bench) threads: usize,
    /// `host`: wall time of this machine.
    pub(in crate::bench) source: String,
    pub(in crate::bench) median_ns: u64,
    pub(in crate::bench) min_ns: u64,
    pub(in crate::bench) load_ns: u64,
    /// The whole file.
    pub(in crate::bench) file_bytes: u64,
    pub(in crate::bench) peak_rss: u64,
    /// What the peers are held to: `native`, or a level.
    pub(in crate::bench) peers_isa: String,
    pub(in crate::bench) peers: Vec<Peer>,
    /// Time of the fastest peer over ours, medians: above 1 ours is faster. Absent where no peer ran.
    pub(in crate::bench) ratio_to_best_peer: Option<f64>,
    #[serde(flatten)]
    pub(in crate::bench) circumstances: Circumstances,
}

/// A peer: what it took, or why it did not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Peer {
    pub(in crate::bench) name: String,
    #[serde(flatten)]
    pub(in crate::bench) outcome: Outcome,
}

/// What became of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::bench) enum Outcome {
    Ran(Ran),
    Failed { reason: String },
}

/// What a peer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Ran {
    pub(in crate::bench) version: String,
    pub(in crate::bench) median_ns: u64,
    pub(in crate::bench) min_ns: u64,
    pub(in crate::bench) load_ns: u64,
    pub(in crate::bench) file_bytes: u64,
    /// Of the whole process; that of Python is in it, where the peer is called from Python.
    pub(in crate::bench) peak_rss: u64,
}

/// Where, when and of what a number was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Circumstances {
    pub(in crate::bench) machine: Machine,
    #[serde(flatten)]
    pub(in crate::bench) provenance: Provenance,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Machine {
    pub(in crate::bench) cpu: String,
    pub(in crate::bench) cores: usize,
    /// Of the first core, where the system says it.
    pub(in crate::bench) governor: Option<String>,
    pub(in crate::bench) system: String,
    /// Programs that wanted to run, over the last minute, when the measurement began; ours is in it.
    pub(in crate::bench) load_average: f64,
}

impl Record {
    /// The fastest peer.
    pub(in crate::bench) fn best(&self) -> Option<(&str, &Ran)> {
        let ran = self.peers.iter().filter_map(|peer| match &peer.outcome {
            Outcome::Ran(ran) => Some((peer.name.as_str(), ran)),
            Outcome::Failed { .. } => None,
        });
        ran.min_by_key(|(_, ran)| ran.median_ns)
    }

    /// Fills in the ratio from the peers.
    #[expect(clippy::cast_precision_loss, reason = "durations")]
    pub(in crate::bench) fn with_ratio(mut self) -> Self {
        let best = self.best().map(|(_, ran)| ran.median_ns);
        self.ratio_to_best_peer = best.map(|best| best as f64 / self.median_ns.max(1) as f64);
        self
    }

    /// What a picture shows of it.
    pub(in crate::bench) fn ratio(&self) -> Ratio<'_> {
        Ratio {
            model: &self.model,
            precision: &self.precision,
            isa: &self.isa,
            threads: self.threads,
            ratio: self.ratio_to_best_peer,
            best: self.best().map_or("", |(name, _)| name),
        }
    }
}

impl Circumstances {
    /// Of now and here.
    pub(in crate::bench) fn now() -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let load = read("/proc/loadavg");
        Ok(Self {
            machine: Machine {
                cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                governor: Some(governor.trim().to_owned()).filter(|text| !text.is_empty()),
                system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                load_average: load
                    .split(' ')
                    .next()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default(),
            },
            provenance: Provenance::now()?,
        })
    }
}

/// The records of comparisons in `file`; none where it does not exist yet. Other benches append to such files too.
pub(in crate::bench) fn read(file: &Path) -> Result<Vec<Record>> {
    let all = records::read(file)?;
    let is_ours = |record: &&serde_json::Value| record.get("peers_isa").is_some();
    let records = all.iter().filter(is_ours).map(Record::deserialize).collect::<Result<_, _>>();
    records.with_context(|| format!("{} holds other things than records", file.display()))
}

/// A record as a measurement makes it, with peers of these medians.
#[cfg(test)]
pub(in crate::bench) fn pretend(model: &str, precision: &str, isa: &str, ns: [u64; 2]) -> Record {
    let ran = |median_ns| {
        let version = "1.2".into();
        Ran { version, median_ns, min_ns: 1, load_ns: 5, file_bytes: 9, peak_rss: 8 }
    };
    let machine = Machine {
        cpu: "Some CPU".into(),
        cores: 2,
        governor: None,
        system: "linux x86_64".into(),
        load_average: 1.0,
    };
    Record {
        model: model.into(),
        precision: precision.into(),
        runtime: "atom".into(),
        isa: isa.into(),
        threads: 1,
        source: "host".into(),
        median_ns: ns[0],
        min_ns: ns[0],
        load_ns: 4,
        file_bytes: 1000,
        peak_rss: 7,
        peers_isa: "native".into(),
        peers: vec![
            Peer { name: "slow".into(), outcome: Outcome::Ran(ran(ns[1] * 2)) },
            Peer { name: "fast".into(), outcome: Outcome::Ran(ran(ns[1])) },
            Peer { name: "mnn".into(), outcome: Outcome::Failed { reason: "no int8".into() } },
        ],
        ratio_to_best_peer: None,
        circumstances: Circumstances { machine, provenance: Provenance::pretend() },
    }
    .with_ratio()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_peer_counts_and_records_are_appended() {
        let record = pretend("lenet-5", "int8", "avx2", [40, 60]);
        assert_eq!(record.best().map(|(name, _)| name), Some("fast"));
        assert_eq!(record.ratio_to_best_peer, Some(1.5));
        let folder = std::env::temp_dir().join(format!("embdl-records-{}", std::process::id()));
        let file = folder.join("peers.json");
        records::append(&file, core::slice::from_ref(&record)).unwrap();
        records::append(&file, &[serde_json::json!({ "source": "emulated" })]).unwrap();
        records::append(&file, &[record.clone(), record.clone()]).unwrap();
        let all = read(&file).unwrap();
        std::fs::write(&file, "{}").unwrap();
        let error = records::append(&file, &[0; 0]).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(all, [record.clone(), record.clone(), record]);
        assert!(error.to_string().contains("other things"), "{error:#}");
    }
}
