//! Photographs through a network that says how it takes them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use embdl_bench::{BenchError, Input, nanoseconds, predict};
use embdl_core::metadata::Metadata;
use embdl_core::runtime::{Session, TensorSpec};
use embdl_data::image::{Image, ImageError, ImageLimits};
use embdl_data::preprocess;
use serde::Serialize;

use super::profile::Profile;
use crate::text;

/// What the network says of each picture.
#[derive(Serialize)]
pub(super) struct Photos {
    runtime: String,
    isa: String,
    pictures: Vec<Photo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
}

#[derive(Serialize)]
struct Photo {
    file: PathBuf,
    /// Most probable first.
    top: Vec<Guess>,
    /// Decoding and preprocessing.
    prepare_ns: u64,
    /// The run of the network.
    run_ns: u64,
}

#[derive(Serialize)]
struct Guess {
    class: usize,
    label: String,
    probability: f32,
    score: f32,
}

/// How scores are shown.
pub(super) struct Options<'a> {
    pub(super) metadata: &'a Metadata,
    /// The network ends with a softmax: scores are probabilities.
    pub(super) is_probability: bool,
    pub(super) top: usize,
    pub(super) profile: bool,
}

impl Photos {
    pub(super) fn run(
        session: &mut dyn Session,
        [runtime, isa]: [&str; 2],
        files: &[PathBuf],
        options: &Options<'_>,
    ) -> Result<Self> {
        let [spec] = session.inputs() else {
            bail!("the model has {} inputs; a picture is one", session.inputs().len());
        };
        let spec = spec.clone();
        let mut input = Input::blank(session)?;
        let mut pictures = Vec::with_capacity(files.len());
        for file in files {
            let start = nanoseconds();
            fill(&mut input, &spec, options.metadata, file)
                .with_context(|| format!("preparing {}", file.display()))?;
            let prepared = nanoseconds();
            let prediction = predict(session, &input)?;
            let run_ns = nanoseconds().saturating_sub(prepared);
            let prepare_ns = prepared.saturating_sub(start);
            let top = guesses(&prediction.scores, options);
            pictures.push(Photo { file: file.clone(), top, prepare_ns, run_ns });
        }
        let profile = options.profile.then(|| Profile::of(session));
        Ok(Self { runtime: runtime.into(), isa: isa.into(), pictures, profile })
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for picture in &self.pictures {
            let row = |guess: &Guess| {
                vec![
                    format!("{:.1} %", guess.probability * 100.0),
                    guess.class.to_string(),
                    format!("{:.3}", guess.score),
                    guess.label.clone(),
                ]
            };
            let rows: Vec<Vec<String>> = picture.top.iter().map(row).collect();
            let separator = if text.is_empty() { "" } else { "\n" };
            #[expect(clippy::cast_precision_loss, reason = "durations")]
            let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
            text += &format!(
                "{separator}{}: {:.1} ms on {} {}, {:.1} ms to prepare\n{}",
                picture.file.display(),
                milliseconds(picture.run_ns),
                self.runtime,
                self.isa,
                milliseconds(picture.prepare_ns),
                text::columns(&["probability", "class", "score", "label"], &rows)
            );
        }
        if let Some(profile) = &self.profile {
            text += &format!("\n{}", profile.describe());
        }
        text
    }
}

/// JPEG and PNG by their content; anything else is raw if it is as long as the input.
fn fill(input: &mut Input, spec: &TensorSpec, metadata: &Metadata, file: &Path) -> Result<()> {
    let limits = ImageLimits::default();
    let image = match Image::open(file, &limits) {
        Ok(image) => image,
        Err(ImageError::UnknownFormat { start }) => {
            let raw = std::fs::read(file)?;
            return match input.fill_raw(spec, metadata.preprocess.as_ref(), &raw) {
                Err(error @ BenchError::InputLength { .. }) => Err(error).with_context(|| {
                    format!("neither JPEG nor PNG (it starts with {start:02x?}), nor raw")
                }),
                other => other.with_context(missing_preprocess),
            };
        }
        Err(error) => return Err(error.into()),
    };
    let wanted = metadata.preprocess.as_ref().ok_or(BenchError::NoPreprocess);
    let wanted = wanted.with_context(missing_preprocess)?;
    wanted.check(spec.kind.shape)?;
    let size = [spec.kind.shape.dim(1), spec.kind.shape.dim(2)];
    let bytes = preprocess::prepare(wanted, &image, size)?;
    Ok(input.fill_picture(spec, wanted, &bytes)?)
}

fn missing_preprocess() -> &'static str {
    "say it with --preprocess, here or when importing"
}

fn guesses(scores: &[f32], options: &Options<'_>) -> Vec<Guess> {
    let probabilities = if options.is_probability { scores.to_vec() } else { softmax(scores) };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let labels = &options.metadata.labels;
    let guess = |class: usize| Guess {
        class,
        label: labels.get(class).cloned().unwrap_or_default(),
        probability: probabilities[class],
        score: scores[class],
    };
    order.into_iter().take(options.top).map(guess).collect()
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_sorted_and_probabilities_sum_to_one() {
        let labels = vec!["a".into(), "b".into(), "c".into()];
        let metadata = Metadata { preprocess: None, labels };
        let options =
            Options { metadata: &metadata, is_probability: false, top: 2, profile: false };
        let top = guesses(&[1.0, 3.0, 2.0], &options);
        assert_eq!(top.iter().map(|guess| guess.class).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(top[0].label, "b");
        assert!((top[0].probability - 0.665_240_94).abs() < 1e-6);
        let all = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-6 && all[2] == 0.0);
        let options = Options { is_probability: true, ..options };
        assert!((guesses(&[0.2, 0.7, 0.1], &options)[0].probability - 0.7).abs() < 1e-7);
    }
}
