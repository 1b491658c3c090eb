//! Models of the zoo that a bench makes for itself, kept in out/peers: initial weights do for latencies.
use crate::build::Programs;
use crate::process::{output, say};
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The networks that are compared where none is named, cheap ones first.
pub(super) const ZOO: [&str; 7] = [
    "lenet-300-100",
    "lenet-5",
    "squeezenet-1.1",
    "mobilenet-v2",
    "mobilenet-v1",
    "alexnet",
    "vgg-16",
];

/// What decides which bytes are in a model's file, below `crates`; kernels are not among it.
const SOURCES: [&str; 7] = [
    "embdl-cli/src/commands/untrained.rs",
    "embdl-cli/src/commands/zoo.rs",
    "embdl-compress/src",
    "embdl-core/src/encoding",
    "embdl-core/src/format",
    "embdl-graph/src",
    "embdl-onnx/src",
];

/// What is done to the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Precision {
    /// Floats.
    Fp32,
    /// 8-bit integers.
    Int8,
    /// The same with weights of 7 bits, which SSE and AVX2 multiply and add without overflow.
    Int7,
    /// Dense layers with 10 % of their weights, each one of 16 values; convolutions of 6 bits.
    Compressed,
    /// The same, and 30 % of the convolutions' weights, in blocks of 16 channels and 8 elements.
    Blocks,
}

impl Precision {
    pub(super) const ALL: [Self; 5] =
        [Self::Fp32, Self::Int8, Self::Int7, Self::Compressed, Self::Blocks];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Int7 => "int7",
            Self::Compressed => "compressed",
            Self::Blocks => "blocks",
        }
    }
}

/// A network, its files, and where to put those that are made of it.
pub(super) struct Network {
    pub(super) name: String,
    /// Our files.
    pub(super) ours: Vec<(Precision, PathBuf)>,
    /// Floats in ONNX, from which everything for the peers is made.
    pub(super) onnx: PathBuf,
    /// The ONNX file is in integers already, and goes to those who read such.
    pub(super) is_quantized: bool,
    pub(super) folder: PathBuf,
}

impl Network {
    /// A network of the zoo in these precisions; made where they are missing or older than what makes them.
    pub(super) fn of_zoo(
        name: &str,
        precisions: &[Precision],
        programs: &Programs,
    ) -> Result<Self> {
        let folder = root().join("out/peers").join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let embdl = programs.embdl.as_deref().context("the command `embdl` was not built")?;
        let onnx = folder.join("fp32.onnx");
        zoo(embdl, name, Precision::Fp32, &onnx)?;
        let mut ours = Vec::new();
        for &precision in precisions {
            let file = folder.join(format!("{}.embdl", precision.name()));
            zoo(embdl, name, precision, &file)?;
            ours.push((precision, file));
        }
        Ok(Self { name: name.into(), ours, onnx, is_quantized: false, folder })
    }

    /// The network of a file `NAME.embdl` alone, in the precision that the name ends with.
    pub(super) fn of_model(file: PathBuf) -> Self {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let named = Precision::ALL.into_iter().find_map(|precision| {
            let rest = stem.strip_suffix(precision.name())?;
            Some((rest.trim_end_matches('-').to_owned(), precision))
        });
        // A file of the pipeline is called after its network alone, and is compressed.
        let (name, precision) = named.unwrap_or((stem, Precision::Compressed));
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let name = if name.is_empty() {
            folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
        } else {
            name
        };
        Self {
            name,
            onnx: PathBuf::new(),
            ours: vec![(precision, file)],
            is_quantized: false,
            folder,
        }
    }

    /// The network of a file `NAME.embdl` or `NAME-int8.embdl`, with an `.onnx` beside it.
    pub(super) fn of_file(file: &Path) -> Result<Self> {
        let onnx = file.with_extension("onnx");
        if !onnx.exists() {
            bail!("{} is missing: peers read ONNX (`embdl export` writes it)", onnx.display());
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (name, precision) = match stem.strip_suffix("-int8") {
            Some(name) => (name.to_owned(), Precision::Int8),
            None => (stem.clone(), Precision::Fp32),
        };
        let folder = root().join("out/peers/files").join(stem);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let is_quantized = precision == Precision::Int8;
        Ok(Self { name, ours: vec![(precision, file.to_owned())], onnx, is_quantized, folder })
    }
}

/// Makes `file`, unless it is there already and not older than `from`.
pub(super) fn make_if_older(
    file: &Path,
    from: &[&Path],
    make: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let made = file.metadata().and_then(|data| data.modified()).ok();
    let newest = from.iter().filter_map(|path| newest(path)).max();
    if made.is_some() && made >= newest {
        return Ok(());
    }
    make()
}

/// When a file, or the newest of a folder's, was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = std::fs::read_dir(path) else { return path.metadata().ok()?.modified().ok() };
    entries.flatten().filter_map(|entry| newest(&entry.path())).max()
}

fn zoo(embdl: &Path, name: &str, precision: Precision, file: &Path) -> Result<()> {
    let sources = SOURCES.map(|source| root().join("crates").join(source));
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    make_if_older(file, &sources, || {
        say(format!("making {}", file.display()));
        let mut command = Command::new(embdl);
        command.args(["zoo", name, "--precision", precision.name(), "--out"]).arg(file);
        output(&mut command).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_its_precision_and_needs_onnx_beside_it() {
        let folder = std::env::temp_dir().join(format!("embdl-models-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("my-cnn-int8.embdl");
        let error = Network::of_file(&file).err().unwrap();
        std::fs::write(file.with_extension("onnx"), "").unwrap();
        let network = Network::of_file(&file).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.to_string().contains("my-cnn-int8.onnx is missing"), "{error:#}");
        assert_eq!((network.name.as_str(), network.ours[0].0), ("my-cnn", Precision::Int8));
        assert!(network.is_quantized);
    }

    #[test]
    fn a_file_alone_is_called_after_itself_or_its_folder() {
        let of = |file: &str| {
            let network = Network::of_model(file.into());
            (network.name, network.ours[0].0)
        };
        assert_eq!(of("x/lenet-5/int8.embdl"), ("lenet-5".into(), Precision::Int8));
        assert_eq!(of("lenet-5-fp32.embdl"), ("lenet-5".into(), Precision::Fp32));
        assert_eq!(of("x/lenet-5.embdl"), ("lenet-5".into(), Precision::Compressed));
    }

    #[test]
    fn what_is_newer_is_not_made_again() {
        let folder = std::env::temp_dir().join(format!("embdl-newer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [from, file] = ["from", "file"].map(|name| folder.join(name));
        std::fs::write(&from, "").unwrap();
        let mut made = 0;
        for _ in 0..2 {
            make_if_older(&file, &[&from], || {
                made += 1;
                Ok(std::fs::write(&file, "")?)
            })
            .unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(made, 1);
    }
}
