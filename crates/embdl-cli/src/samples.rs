//! Samples for calibration and comparison, from files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use embdl_compress::Samples;
use embdl_core::tensor::Shape;

/// Loads samples of `shape` (batch 1): an `.npy` file of f32 `[n, h, w, c]`, preprocessed as the network takes it.
pub(crate) fn load(path: &Path, shape: Shape) -> Result<Samples> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (dims, values) = npy(&bytes).with_context(|| format!("{} as .npy", path.display()))?;
    let expected: Vec<usize> = shape.iter().skip(1).collect();
    if dims.get(1..) != Some(&expected[..]) {
        bail!("{} holds {dims:?}, and the network takes [n, {expected:?}]", path.display());
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
