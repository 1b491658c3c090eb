//! The files that weights come from, as names, shapes and floats.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;

use crate::error::WeightsError;

/// Bytes of the largest file that is read: VGG-16 in f64 has room.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A file with named tensors.
pub(crate) enum Source {
    PyTorch(PytorchReader),
    /// The whole file, which was found to be one.
    SafeTensors(Vec<u8>),
}

/// How the file has its floats.
#[derive(Clone, Copy, Debug)]
enum Element {
    F16,
    Bf16,
    F32,
    F64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let found = std::fs::metadata(path)?.len();
        if found > MAX_FILE_BYTES {
            return Err(WeightsError::FileTooLarge { found, allowed: MAX_FILE_BYTES });
        }
        // A safetensors file starts with the length of its header, which is JSON; a pickle or an archive does not have
        // a brace there.
        let mut start = [0; 9];
        let is_safetensors =
            File::open(path)?.read_exact(&mut start).is_ok() && start[8] == b'{' && start[7] == 0;
        if is_safetensors {
            let bytes = std::fs::read(path)?;
            SafeTensors::deserialize(&bytes)?;
            return Ok(Self::SafeTensors(bytes));
        }
        Ok(Self::PyTorch(PytorchReader::new(path)?))
    }

    /// Names and shapes of all tensors.
    pub(crate) fn shapes(&self) -> Result<BTreeMap<String, Vec<usize>>, WeightsError> {
        Ok(match self {
            Self::PyTorch(reader) => {
                let tensors = reader.tensors().iter();
                tensors.map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect()
            }
            Self::SafeTensors(bytes) => {
                let tensors = SafeTensors::deserialize(bytes)?;
                let shape = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
                    (name.to_owned(), view.shape().to_vec())
                };
                tensors.iter().map(shape).collect()
            }
        })
    }

    /// The floats of the tensor `name`, which has `len` of them.
    pub(crate) fn floats(&self, name: &str, len: usize) -> Result<Vec<f32>, WeightsError> {
        let missing = || WeightsError::Mismatch {
            missing: vec![name.to_owned()],
            unexpected: Vec::new(),
            mismatched: Vec::new(),
        };
        match self {
            Self::PyTorch(reader) => {
                let tensor = reader.get(name).ok_or_else(missing)?;
                let element = match tensor.dtype() {
                    pytorch_reader::DType::F16 => Element::F16,
                    pytorch_reader::DType::BF16 => Element::Bf16,
                    pytorch_reader::DType::F32 => Element::F32,
                    pytorch_reader::DType::F64 => Element::F64,
                    other => return Err(element_type(name, &other)),
                };
                // The reader gives bytes in this machine's order.
                convert(name, element, &tensor.read()?, len, cfg!(target_endian = "big"))
            }
            Self::SafeTensors(bytes) => {
                let tensors = SafeTensors::deserialize(bytes)?;
                let view = tensors.tensor(name)?;
                let element = match view.dtype() {
                    safetensors::Dtype::F16 => Element::F16,
                    safetensors::Dtype::BF16 => Element::Bf16,
                    safetensors::Dtype::F32 => Element::F32,
                    safetensors::Dtype::F64 => Element::F64,
                    other => return Err(element_type(name, &other)),
                };
                convert(name, element, view.data(), len, false)
            }
        }
    }
}

fn element_type(name: &str, found: &impl core::fmt::Debug) -> WeightsError {
    WeightsError::ElementType { tensor: name.to_owned(), found: format!("{found:?}") }
}

fn convert(
    name: &str,
    element: Element,
    bytes: &[u8],
    len: usize,
    is_big_endian: bool,
) -> Result<Vec<f32>, WeightsError> {
    let floats: Vec<f32> = match element {
        Element::F16 => {
            words(bytes, is_big_endian).map(|b| f16::from_le_bytes(b).to_f32()).collect()
        }
        Element::Bf16 => {
            words(bytes, is_big_endian).map(|b| bf16::from_le_bytes(b).to_f32()).collect()
        }
        Element::F32 => words(bytes, is_big_endian).map(f32::from_le_bytes).collect(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "networks are f32; infinity is refused"
        )]
        Element::F64 => words(bytes, is_big_endian).map(|b| f64::from_le_bytes(b) as f32).collect(),
    };
    let size = match element {
        Element::F16 | Element::Bf16 => 2,
        Element::F32 => 4,
        Element::F64 => 8,
    };
    if bytes.len() != len * size {
        let (tensor, found) = (name.to_owned(), bytes.len());
        return Err(WeightsError::Length { tensor, found, needed: len * size });
    }
    if let Some(index) = floats.iter().position(|value| !value.is_finite()) {
        return Err(WeightsError::NotFinite {
            tensor: name.to_owned(),
            index,
            value: floats[index],
        });
    }
    Ok(floats)
}

/// The words of `N` bytes, lowest byte first.
fn words<const N: usize>(bytes: &[u8], is_big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().map(move |&word| {
        let mut word = word;
        if is_big_endian {
            word.reverse();
        }
        word
    })
}
