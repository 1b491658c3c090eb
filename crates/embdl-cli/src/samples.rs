//! Samples for calibration and comparison, from files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use embdl_compress::Samples;
use embdl_core::metadata::Preprocess;
use embdl_core::tensor::Shape;
use embdl_data::image::{Image, ImageLimits};
use embdl_data::preprocess::{fill_reals, prepare};

/// Endings of the names of pictures.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

/// How pictures become inputs where the network's file does not say it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PreprocessArgs {
    /// How pictures become inputs, where the network's file does not say it: imagenet, caffe, or symmetric.
    #[arg(long, value_name = "NAME")]
    preprocess: Option<String>,
}

impl PreprocessArgs {
    /// What is asked for, or else what the network's file says.
    pub(crate) fn or(&self, recorded: Option<&Preprocess>) -> Result<Option<Preprocess>> {
        Ok(match self.preprocess.as_deref() {
            None => recorded.cloned(),
            Some("imagenet") => Some(Preprocess::imagenet()),
            Some("caffe") => Some(Preprocess::caffe()),
            Some("symmetric") => Some(Preprocess::symmetric()),
            Some(other) => bail!("{other:?} is no preprocessing: imagenet, caffe, symmetric"),
        })
    }
}

/// Loads samples of `shape` (batch 1): a folder of pictures, or an `.npy` file of f32 `[n, h, w, c]` that needs no
/// preprocessing.
pub(crate) fn load(path: &Path, shape: Shape, preprocess: Option<&Preprocess>) -> Result<Samples> {
    if path.is_dir() {
        let Some(preprocess) = preprocess else {
            bail!("the network does not say how pictures become its input; --preprocess does");
        };
        preprocess.check(shape)?;
        return folder(path, shape, preprocess);
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (dims, values) = npy(&bytes).with_context(|| format!("{} as .npy", path.display()))?;
    let expected: Vec<usize> = shape.iter().skip(1).collect();
    if dims.get(1..) != Some(&expected[..]) {
        bail!("{} holds {dims:?}, and the network takes [n, {expected:?}]", path.display());
    }
    Ok(Samples::new(shape, values)?)
}

/// All pictures of a folder, in the order of their names.
fn folder(path: &Path, shape: Shape, preprocess: &Preprocess) -> Result<Samples> {
    let reading = || format!("reading {}", path.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(reading)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .with_context(reading)?;
    files.retain(|file| {
        let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| PICTURES.iter().any(|known| ending == *known))
    });
    files.sort();
    if files.is_empty() {
        bail!("{} holds no pictures: {}", path.display(), PICTURES.join(", "));
    }
    let mut values = vec![0.0; files.len() * shape.len()];
    for (file, values) in files.iter().zip(values.chunks_exact_mut(shape.len())) {
        let reading = || format!("reading {}", file.display());
        let image = Image::open(file, &ImageLimits::default()).with_context(reading)?;
        let size = [shape.dim(1), shape.dim(2)];
        fill_reals(preprocess, &prepare(preprocess, &image, size).with_context(reading)?, values);
    }
    Ok(Samples::new(shape, values)?)
}

/// Dimensions and values of an array of little-endian f32 in C order. Source: NumPy's "NPY format", versions 1 to 3.
fn npy(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").context("it does not start like one")?;
    let (header, data) = match rest {
        [1, _, a, b, rest @ ..] => rest.split_at_checked(usize::from(u16::from_le_bytes([*a, *b]))),
        [2 | 3, _, a, b, c, d, rest @ ..] => {
            let len = u32::from_le_bytes([*a, *b, *c, *d]);
            rest.split_at_checked(usize::try_from(len)?)
        }
        _ => bail!("its version is not known"),
    }
    .context("its header is cut off")?;
    let header = core::str::from_utf8(header)?;
    if !header.contains("'<f4'") || header.contains("'fortran_order': True") {
        bail!("only little-endian f32 in C order is read, it has {header}");
    }
    let (_, dims) = header.split_once("'shape': (").context("it has no shape")?;
    let (dims, _) = dims.split_once(')').context("its shape has no end")?;
    let dims: Vec<usize> = dims
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let count = dims.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim));
    let (values, tail) = data.as_chunks::<4>();
    if count != Some(values.len()) || !tail.is_empty() {
        bail!("its shape {dims:?} does not fit its {} bytes", data.len());
    }
    Ok((dims, values.iter().map(|&value| f32::from_le_bytes(value)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes
    }

    #[test]
    fn arrays_are_read_and_damage_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
        let (dims, values) = npy(&file(header, &[1.5, -2.0])).unwrap();
        assert_eq!((dims, values), (vec![1, 2], vec![1.5, -2.0]));
        assert!(npy(&file(header, &[1.5])).is_err());
        assert!(npy(&file(&header.replace("f4", "f8"), &[1.5, 1.0])).is_err());
        assert!(npy(&file(&header.replace("False", "True"), &[1.5, 1.0])).is_err());
        assert!(npy(&file(header, &[])[..9]).is_err());
        assert!(npy(b"PNG").is_err());
    }
}
