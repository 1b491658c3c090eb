//! What a finished step leaves on disk, so that a run that was stopped continues where it was.

use std::path::{Path, PathBuf};

use embdl_data::atomic;
use embdl_graph::Graph;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::FlowError;
use crate::record::{EpochRecord, StepRecord};

/// First bytes of a state file; the last one counts versions.
const MAGIC: &[u8; 8] = b"EMBDSTP1";

/// A finished step: the network after it and what was found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepState {
    /// The network after the step.
    pub(crate) graph: Graph,
    /// What the report says of it.
    pub(crate) step: StepRecord,
    /// Its training curve.
    pub(crate) epochs: Vec<EpochRecord>,
}

/// Identifies a step by everything that its result depends on.
///
/// Settings go in as what they serialize to, not as how they print: a key outlives a change of a `Debug` text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepKey([u8; 32]);

impl StepKey {
    /// The key of what comes before all steps: program version, network, data set, seed.
    ///
    /// # Errors
    /// If `identity` has no binary form.
    pub(crate) fn root(identity: &impl Serialize) -> Result<Self, FlowError> {
        Self([0; 32]).then("start", identity)
    }

    /// The key of a step with these settings after `self`.
    ///
    /// # Errors
    /// If the settings have no binary form.
    pub(crate) fn then(&self, step: &str, settings: &impl Serialize) -> Result<Self, FlowError> {
        let bytes = postcard::to_stdvec(&(self.0, step, settings))
            .map_err(|source| FlowError::State { step: step.into(), source })?;
        Ok(Self(Sha256::digest(bytes).into()))
    }
}

/// Where the steps of one network keep their state.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    dir: PathBuf,
    resume: bool,
}

impl StateDir {
    /// The folder `dir`, created if need be; without `resume` nothing in it is read.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub(crate) fn open(dir: &Path, resume: bool) -> Result<Self, FlowError> {
        std::fs::create_dir_all(dir)
            .map_err(|source| FlowError::File { path: dir.into(), source })?;
        Ok(Self { dir: dir.into(), resume })
    }

    /// Where a step's training keeps its checkpoint.
    #[must_use]
    pub(crate) fn checkpoint(&self, step: &str) -> PathBuf {
        self.dir.join(format!("{step}.checkpoint"))
    }

    /// Whether state of earlier runs counts.
    #[must_use]
    pub(crate) const fn resumes(&self) -> bool {
        self.resume
    }

    /// The state of `step` if it is there and was made under the same key. A damaged file counts as absent.
    #[must_use]
    pub(crate) fn load(&self, step: &str, key: &StepKey) -> Option<StepState> {
        if !self.resume {
            return None;
        }
        let bytes = std::fs::read(self.path(step)).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&key.0)?;
        let (sum, body) = rest.split_at_checked(32)?;
        if Sha256::digest(body).as_slice() != sum {
            tracing::warn!(step, "the state of a step is damaged; the step is done again");
            return None;
        }
        let state: StepState = postcard::from_bytes(body).ok()?;
        state.graph.validate().ok()?;
        Some(state)
    }

    /// Keeps the state of `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(
        &self,
        step: &str,
        key: &StepKey,
        state: &StepState,
    ) -> Result<(), FlowError> {
        let body = postcard::to_stdvec(state)
            .map_err(|source| FlowError::State { step: step.into(), source })?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        let path = self.path(step);
        atomic::write(&path, &bytes).map_err(|source| FlowError::File { path, source })
    }

    fn path(&self, step: &str) -> PathBuf {
        self.dir.join(format!("{step}.state"))
    }
}

#[cfg(test)]
mod tests {
    use embdl_graph::zoo;

    use super::*;

    fn state() -> StepState {
        let step = StepRecord {
            step: "train".into(),
            what: "x".into(),
            file_bytes: 1,
            validation_accuracy: 0.5,
            test_accuracy: 0.5,
            seconds: 1.0,
            passes: vec![],
        };
        StepState { graph: zoo::lenet300(1), step, epochs: vec![] }
    }

    #[test]
    fn only_the_same_key_and_whole_bytes_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let resumed = StateDir::open(dir.path(), true).unwrap();
        let key = StepKey::root(&("lenet", 1)).unwrap();
        assert_eq!(resumed.load("train", &key), None);
        resumed.save("train", &key, &state()).unwrap();
        assert_eq!(resumed.load("train", &key), Some(state()));
        assert_eq!(resumed.load("train", &key.then("other", &()).unwrap()), None);
        assert_eq!(StateDir::open(dir.path(), false).unwrap().load("train", &key), None);

        let path = dir.path().join("train.state");
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 9, 41, 80, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(resumed.load("train", &key), None, "byte {at}");
        }
        for len in [0, 8, 40, 72, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(resumed.load("train", &key), None, "length {len}");
        }
    }

    #[test]
    fn keys_differ_where_steps_settings_or_what_came_before_do() {
        let root = StepKey::root(&("lenet", 1)).unwrap();
        let settings = embdl_train::TrainConfig::default();
        let other = embdl_train::TrainConfig { learning_rate: 0.051, ..settings.clone() };
        let keys = [
            root.clone(),
            StepKey::root(&("lenet", 2)).unwrap(),
            StepKey::root(&("lene", "t", 1)).unwrap(),
            root.then("train", &settings).unwrap(),
            root.then("train", &other).unwrap(),
            root.then("prune", &settings).unwrap(),
            root.then("train", &settings).unwrap().then("train", &settings).unwrap(),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != key), "key {at}");
        }
        assert_eq!(root.then("train", &settings).unwrap(), keys[3]);
    }

    /// A key that changed by itself would silently train again: this one is of version 1 of the form above.
    #[test]
    fn keys_stay_what_they_are() {
        let key = StepKey::root(&("lenet-5", "mnist", 7_u64)).unwrap();
        let hex: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "d33a12cd079150578d747a4672c811ee681dfd1aff03428e8766488864b952ec");
    }
}
