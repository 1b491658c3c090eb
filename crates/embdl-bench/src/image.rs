//! Images into a model's input: raw bytes where the model takes levels that are bytes, floats otherwise.

use embdl_core::runtime::{Session, TensorSpec};
use embdl_core::tensor::{DType, TensorRef};
use embdl_data::Dataset;

use crate::retest::BenchError;

/// The buffer for one run's input.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    floats: Vec<f32>,
    /// Level of each byte: the identity where the model's levels are the data set's bytes.
    levels: Option<[u8; 256]>,
    kind: DType,
}

impl Input {
    /// A buffer for the only input of `session`, to be filled from `dataset`.
    ///
    /// # Errors
    /// If the model has more than one input or takes images of another shape.
    pub fn new(session: &dyn Session, dataset: &Dataset) -> Result<Self, BenchError> {
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
        let len = spec.kind.shape.len();
        let levels = levels(spec, dataset);
        let (bytes, floats) = if spec.kind.dtype == DType::U8 { (len, 0) } else { (0, len) };
        Ok(Self { bytes: vec![0; bytes], floats: vec![0.0; floats], levels, kind: spec.kind.dtype })
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
        Ok(Self { bytes, floats, levels: None, kind })
    }

    /// Fills the buffer with the images at `indices`; if they are fewer than the batch, the rest keeps what it had.
    pub fn fill(&mut self, dataset: &Dataset, indices: &[usize]) {
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
