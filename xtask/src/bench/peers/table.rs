//! The tables that a person reads.
use super::record::{Outcome, Record};
use crate::bench::models::Precision;

/// A row for each record: ours, each peer, the ratio to the best; below, geometric means and who did not run.
pub(super) fn table(records: &[Record]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for peer in records.iter().flat_map(|record| &record.peers) {
        if !names.contains(&peer.name.as_str()) {
            names.push(&peer.name);
        }
    }
    let mut text = format!("{:<15} {:<10} {:<10} {:>11}", "median µs", "", "isa", "ours");
    text.extend(names.iter().map(|name| format!(" {name:>11}")));
    text += &format!(" {:>7}  best\n", "ratio");
    for record in records {
        text += &format!(
            "{:<15} {:<10} {:<10} {:>11}",
            record.model,
            record.precision,
            record.isa,
            micros(record.median_ns)
        );
        for name in &names {
            let found = record.peers.iter().find(|peer| peer.name == *name);
            let shown = match found.map(|peer| &peer.outcome) {
                Some(Outcome::Ran(ran)) => micros(ran.median_ns),
                _ => "-".into(),
            };
            text += &format!(" {shown:>11}");
        }
        let ratio = record.ratio_to_best_peer.map_or_else(|| "-".into(), |r| format!("{r:.2}"));
        let best = record.best().map_or("none", |(name, _)| name);
        text += &format!(" {ratio:>7}  {best}\n");
    }
    text + &means(records) + &failures(records)
}

/// Sizes and load times of the same records.
pub(super) fn files(records: &[Record]) -> String {
    let mut text = format!(
        "{:<15} {:<10} {:>12} {:>12} {:>10} {:>14} {:>12}\n",
        "", "", "file bytes", "peer's", "load ms", "peer's load", "peak MiB"
    );
    for record in records {
        let best = record.best().map(|(_, ran)| ran);
        let of_best = |number: fn(&super::record::Ran) -> String| best.map_or("-".into(), number);
        text += &format!(
            "{:<15} {:<10} {:>12} {:>12} {:>10} {:>14} {:>12.1}\n",
            record.model,
            record.precision,
            record.file_bytes,
            of_best(|ran| ran.file_bytes.to_string()),
            millis(record.load_ns),
            of_best(|ran| millis(ran.load_ns)),
            mebibytes(record.peak_rss),
        );
    }
    text
}

/// The geometric mean of the ratios of each precision at each level.
fn means(records: &[Record]) -> String {
    let mut isas: Vec<&str> = Vec::new();
    for record in records {
        if !isas.contains(&record.isa.as_str()) {
            isas.push(&record.isa);
        }
    }
    let mut text = String::new();
    for isa in isas {
        for precision in Precision::ALL {
            let of = |record: &&Record| record.isa == isa && record.precision == precision.name();
            let of = records.iter().filter(of);
            let ratios: Vec<f64> = of.filter_map(|record| record.ratio_to_best_peer).collect();
            if ratios.len() > 1 {
                text += &format!(
                    "{} at {isa}: geometric mean of {} ratios {:.2}, least {:.2}\n",
                    precision.name(),
                    ratios.len(),
                    geometric_mean(&ratios),
                    ratios.iter().copied().fold(f64::MAX, f64::min),
                );
            }
        }
    }
    text
}

fn failures(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        for peer in &record.peers {
            if let Outcome::Failed { reason } = &peer.outcome {
                let line = format!("{} {}, {}", peer.name, record.model, record.precision);
                text += &format!("did not run: {line}: {reason}\n");
            }
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn millis(ns: u64) -> String {
    format!("{:.2}", ns as f64 / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "a size")]
fn mebibytes(len_bytes: u64) -> f64 {
    len_bytes as f64 / f64::from(1 << 20)
}

/// The geometric mean; 1 of no numbers.
#[expect(clippy::cast_precision_loss, reason = "a count")]
pub(in crate::bench) fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len().max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::super::record::pretend;
    use super::*;

    #[test]
    fn rows_hold_ours_and_the_peers_and_nobody_is_dropped() {
        let records = [
            pretend("lenet-5", "int8", "avx2", [40_000, 60_000]),
            pretend("vgg-16", "int8", "avx2", [1_000_000, 6_000_000]),
        ];
        let text = table(&records);
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            words,
            ["lenet-5", "int8", "avx2", "40.0", "120.0", "60.0", "-", "1.50", "fast"]
        );
        assert!(text.contains("int8 at avx2: geometric mean of 2 ratios 3.00, least 1.50"));
        assert!(text.contains("did not run: mnn vgg-16, int8: no int8"), "{text}");
        assert!(files(&records).contains("1000"), "{text}");
    }
}
