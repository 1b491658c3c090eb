//! Preprocessing and labels as the command line gives them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use embdl_core::metadata::{Channels, Metadata, Preprocess};

/// Bytes of the largest file of labels or preprocessing that is read.
const MAX_BYTES: u64 = 8 << 20;

/// What is recorded beside the network.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct MetadataArgs {
    /// Names of the classes: a text file with one a line, or a JSON list.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How a picture becomes the input: imagenet (torchvision), caffe, symmetric (Keras), unit, gray, or a JSON file.
    #[arg(long, value_name = "NAME")]
    preprocess: Option<String>,
}

impl MetadataArgs {
    /// Puts what was given in the place of what is there.
    pub(crate) fn apply(&self, metadata: &mut Metadata) -> Result<()> {
        if let Some(path) = &self.labels {
            metadata.labels =
                labels(path).with_context(|| format!("reading labels from {}", path.display()))?;
        }
        if let Some(name) = &self.preprocess {
            metadata.preprocess = Some(preprocess(name)?);
        }
        Ok(())
    }
}

fn preprocess(name: &str) -> Result<Preprocess> {
    Ok(match name {
        "imagenet" => Preprocess::imagenet(),
        "caffe" => Preprocess::caffe(),
        "symmetric" => Preprocess::symmetric(),
        "unit" => Preprocess::unit(Channels::Rgb),
        "gray" => Preprocess::unit(Channels::Gray),
        file if file.ends_with(".json") => serde_json::from_str(&text(file.as_ref())?)
            .with_context(|| format!("reading a preprocessing from {file}"))?,
        other => bail!(
            "{other:?} is no preprocessing: imagenet, caffe, symmetric, unit, gray, or a .json file"
        ),
    })
}

fn labels(path: &Path) -> Result<Vec<String>> {
    let text = text(path)?;
    if text.trim_start().starts_with('[') {
        return Ok(serde_json::from_str(&text)?);
    }
    Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
}

fn text(path: &Path) -> Result<String> {
    let len = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    if len > MAX_BYTES {
        bail!("{} has {len} bytes; up to {MAX_BYTES} are read", path.display());
    }
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines_or_a_list_and_presets_have_names() {
        let folder = std::env::temp_dir().join(format!("embdl-labels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            let mut metadata = Metadata::default();
            let args = MetadataArgs { labels: Some(path), preprocess: Some("imagenet".into()) };
            args.apply(&mut metadata).unwrap();
            assert_eq!(metadata.preprocess, Some(Preprocess::imagenet()));
            metadata.labels
        };
        assert_eq!(
            read("a.txt", "tench\r\n great white shark \n\ncock\n"),
            ["tench", "great white shark", "", "cock"]
        );
        assert_eq!(read("a.json", "[\"tench\", \"cock\"]"), ["tench", "cock"]);
        let json = folder.join("own.json");
        std::fs::write(&json, serde_json::to_string(&Preprocess::caffe()).unwrap()).unwrap();
        assert_eq!(preprocess(json.to_str().unwrap()).unwrap(), Preprocess::caffe());
        assert!(preprocess("imagnet").unwrap_err().to_string().contains("symmetric"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
