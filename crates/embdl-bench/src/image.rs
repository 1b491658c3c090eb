//! Images into a model's input: raw bytes where the model takes levels that are bytes, floats otherwise.

use embdl_core::metadata::Preprocess;
use embdl_core::quant::Quant;
use embdl_core::runtime::{Session, TensorSpec};
use embdl_core::tensor::{DType, TensorRef};
use embdl_data::Dataset;
use embdl_data::preprocess::{fill_levels, fill_reals};

use crate::retest::BenchError;

/// The buffer for one run's input.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    floats: Vec<f32>,
    /// Level of each byte: the identity where the model's levels are the data set's bytes.
    levels: Option<[u8; 256]>,
    /// How bytes become reals, where the data set's normalization does not say it; with the levels of reals, if any.
    preprocess: Option<(Preprocess, Option<Quant>)>,
    kind: DType,
}

impl Input {
    /// A buffer for the only input of `session`, to be filled from `dataset`, whose bytes become reals by `preprocess`, or
    /// else by the data set's normalization.
    ///
    /// # Errors
    /// If the model has more than one input or takes images of another shape, or the preprocessing does not fit it.
    pub fn new(
        session: &dyn Session,
        dataset: &Dataset,
        preprocess: Option<&Preprocess>,
    ) -> Result<Self, BenchError> {
        let [spec] = session.inputs() else {
            return Err(BenchError::InputCount { found: session.inputs().len() });
        };
        let [height, width, channels] = dataset.image_shape();
        if !spec.kind.shape.iter().skip(1).eq([height, width, channels]) {
            return Err(BenchError::InputShape {
                model: spec.kind.shape,
                data: dataset.image_shape(),
            });
        }
        preprocess.map_or(Ok(()), |preprocess| preprocess.check(spec.kind.shape))?;
        let preprocess = preprocess.map(|preprocess| (preprocess.clone(), spec.kind.quant));
        Ok(Self { levels: levels(spec, dataset), preprocess, ..Self::blank(session)? })
    }

    /// A buffer of noise for the only input of `session`, for measurements that need no data: bytes of all values, floats
    /// between -1 and 1.
    ///
    /// # Errors
    /// If the model has more than one input.
    pub fn random(session: &dyn Session) -> Result<Self, BenchError> {
        let [spec] = session.inputs() else {
            return Err(BenchError::InputCount { found: session.inputs().len() });
        };
        let (len, kind) = (spec.kind.shape.len(), spec.kind.dtype);
        // The constants of MINSTD; any noise will do.
        let mut state = 1_u64;
        let mut next = || {
            state = state * 48_271 % 0x7fff_ffff;
            state
        };
        let (bytes, floats) = if kind == DType::U8 { (len, 0) } else { (0, len) };
        #[expect(clippy::cast_possible_truncation, reason = "the lowest bits of noise")]
        let bytes = (0..bytes).map(|_| (next() >> 8) as u8).collect();
        #[expect(clippy::cast_precision_loss, reason = "noise")]
        let floats = (0..floats).map(|_| next() as f32 / 0x4000_0000 as f32 - 1.0).collect();
        Ok(Self { bytes, floats, levels: None, preprocess: None, kind })
    }

    /// A buffer for the only input of `session`, for one sample, to be filled by [`fill_picture`](Self::fill_picture) or
    /// [`fill_raw`](Self::fill_raw).
    ///
    /// # Errors
    /// If the model has more than one input.
    pub fn blank(session: &dyn Session) -> Result<Self, BenchError> {
        let [spec] = session.inputs() else {
            return Err(BenchError::InputCount { found: session.inputs().len() });
        };
        let (len, kind) = (spec.kind.shape.len(), spec.kind.dtype);
        let (bytes, floats) = if kind == DType::U8 { (len, 0) } else { (0, len) };
        let (bytes, floats) = (vec![0; bytes], vec![0.0; floats]);
        Ok(Self { bytes, floats, levels: None, preprocess: None, kind })
    }

    /// Fills the buffer with a picture of the input's size, `embdl_data::preprocess::prepare`d.
    ///
    /// # Errors
    /// If it is not of that size, or the preprocessing does not fit the input.
    pub fn fill_picture(
        &mut self,
        spec: &TensorSpec,
        preprocess: &Preprocess,
        picture: &[u8],
    ) -> Result<(), BenchError> {
        preprocess.check(spec.kind.shape)?;
        let len = self.bytes.len().max(self.floats.len());
        if picture.len() != len {
            return Err(BenchError::InputLength {
                found: picture.len(),
                bytes: len,
                floats: len * 4,
            });
        }
        match spec.kind.quant {
            Some(quant) => fill_levels(preprocess, quant, picture, &mut self.bytes),
            None => fill_reals(preprocess, picture, &mut self.floats),
        }
        Ok(())
    }

    /// Fills the buffer with raw numbers, NHWC: bytes of a picture at the input's size, or f32 as the network takes them,
    /// little-endian. How many there are says which.
    ///
    /// # Errors
    /// If there are neither as many bytes nor as many floats, or they are bytes and `preprocess` is none.
    pub fn fill_raw(
        &mut self,
        spec: &TensorSpec,
        preprocess: Option<&Preprocess>,
        raw: &[u8],
    ) -> Result<(), BenchError> {
        let len = self.bytes.len().max(self.floats.len());
        if raw.len() == len {
            return self.fill_picture(spec, preprocess.ok_or(BenchError::NoPreprocess)?, raw);
        }
        if raw.len() != len * 4 {
            return Err(BenchError::InputLength { found: raw.len(), bytes: len, floats: len * 4 });
        }
        let reals = raw.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word));
        match spec.kind.quant {
            Some(quant) => {
                self.bytes.iter_mut().zip(reals).for_each(|(to, real)| *to = quant.quantize(real))
            }
            None => self.floats.iter_mut().zip(reals).for_each(|(to, real)| *to = real),
        }
        Ok(())
    }

    /// Fills the buffer with the images at `indices`; if they are fewer than the batch, the rest keeps what it had.
    pub fn fill(&mut self, dataset: &Dataset, indices: &[usize]) {
        if let Some((preprocess, quant)) = &self.preprocess {
            for (at, &index) in indices.iter().enumerate() {
                let (image, start) = (dataset.image(index), at * dataset.image_len());
                let place = start..start + image.len();
                match quant {
                    Some(quant) => fill_levels(preprocess, *quant, image, &mut self.bytes[place]),
                    None => fill_reals(preprocess, image, &mut self.floats[place]),
                }
            }
            return;
        }
        let len = indices.len() * dataset.image_len();
        if self.kind == DType::U8 {
            dataset.fill_batch_bytes(indices, &mut self.bytes[..len]);
            if let Some(levels) = &self.levels {
                self.bytes[..len].iter_mut().for_each(|byte| *byte = levels[usize::from(*byte)]);
            }
        } else {
            dataset.fill_batch(indices, &mut self.floats[..len]);
        }
    }

    /// The buffer as the model takes it.
    #[must_use]
    pub fn tensor(&self) -> TensorRef<'_> {
        if self.kind == DType::U8 {
            TensorRef::U8(&self.bytes)
        } else {
            TensorRef::F32(&self.floats)
        }
    }
}

/// A table from bytes to levels where they differ: real value by the data set's normalization, level by the model's.
fn levels(spec: &TensorSpec, dataset: &Dataset) -> Option<[u8; 256]> {
    let quant = spec.kind.quant?;
    let table = dataset.normalization().table().map(|real| quant.quantize(real));
    let identity = table.iter().enumerate().all(|(byte, &level)| byte == usize::from(level));
    (!identity).then_some(table)
}
