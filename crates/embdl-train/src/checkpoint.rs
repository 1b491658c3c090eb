//! Checkpoints: a training as one file that appears whole or not at all.
//!
//! Layout: magic and version, SHA-256 of what identifies the training, postcard of the state, CRC-32 of all before it.

use core::time::Duration;
use std::path::{Path, PathBuf};

use embdl_data::{Dataset, atomic};
use embdl_graph::{Graph, Param, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::TrainConfig;
use crate::error::CheckpointError;
use crate::hooks::EpochReport;
use crate::optimizer::Moments;

/// First bytes of a checkpoint; the last one counts versions.
const MAGIC: &[u8; 8] = b"EMBDTRN1";

/// Where and how often to write checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// The file; each checkpoint takes the place of the one before.
    pub path: PathBuf,
    /// Written after this time even within an epoch; after each epoch anyway.
    pub every: Duration,
    /// Go on from the file if it is there.
    pub resume: bool,
}

/// All that a training needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Epochs finished.
    pub(crate) epoch: usize,
    /// Steps done in the epoch after that.
    pub(crate) step: usize,
    /// Sum of losses over images of this epoch.
    pub(crate) loss: f64,
    /// Images of this epoch whose class was found.
    pub(crate) correct: usize,
    /// Images of this epoch.
    pub(crate) images: usize,
    /// Epochs since the best one.
    pub(crate) stale: usize,
    /// Whether training ended before all epochs.
    pub(crate) stopped: bool,
    /// Finished epochs.
    pub(crate) epochs: Vec<EpochReport>,
    /// The best epoch and its parameters.
    pub(crate) best: Option<Best>,
}

/// The epoch with the best validation accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) accuracy: f64,
    /// Empty unless the best are to be kept.
    pub(crate) params: Vec<Param>,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) state: State,
    pub(crate) params: Vec<Param>,
    pub(crate) values: Vec<Value>,
    pub(crate) moments: Vec<Moments>,
    pub(crate) averages: Vec<Vec<f32>>,
}

/// Identifies a training by all that its result depends on, hooks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn new(
        config: &TrainConfig,
        graph: &Graph,
        teacher: Option<&Graph>,
        data: [&Dataset; 2],
    ) -> Result<Self, CheckpointError> {
        let mut hash = Sha256::new();
        hash.update(postcard::to_stdvec(&(config, graph, teacher))?);
        for dataset in data {
            hash.update(dataset.images());
            hash.update(dataset.labels());
        }
        Ok(Self(hash.finalize().into()))
    }
}

pub(crate) fn save(path: &Path, key: Key, content: &Content) -> Result<(), CheckpointError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&key.0);
    let mut bytes = postcard::to_extend(content, bytes)?;
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(atomic::write(path, &bytes)?)
}

/// The checkpoint at `path`, or `None` if there is none.
pub(crate) fn load(path: &Path, key: Key) -> Result<Option<Content>, CheckpointError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or(CheckpointError::Magic)?;
    let (magic, rest) = body.split_first_chunk::<8>().ok_or(CheckpointError::Magic)?;
    if magic != MAGIC {
        return Err(CheckpointError::Magic);
    }
    let (found, expected) = (u32::from_le_bytes(*sum), crc32fast::hash(body));
    if found != expected {
        return Err(CheckpointError::Damaged { found, expected });
    }
    let (owner, content) = rest.split_first_chunk::<32>().ok_or(CheckpointError::Magic)?;
    if *owner != key.0 {
        return Err(CheckpointError::OtherTraining);
    }
    Ok(Some(postcard::from_bytes(content)?))
}
