//! Keeping a training on disk and taking it up again.

use std::time::Instant;

use super::Training;
use crate::checkpoint::{Checkpoints, Content, load, save};
use crate::error::{CheckpointError, TrainError};
use crate::operators::Operators;
use crate::update::Slot;

impl<E: Operators> Training<'_, E> {
    /// Takes up what a checkpoint holds, if there is one to go on from.
    pub(super) fn resume(&mut self) -> Result<bool, TrainError> {
        let (Some(checkpoints), Some(key)) = (self.run.checkpoints, self.key) else {
            return Ok(false);
        };
        if !checkpoints.resume {
            return Ok(false);
        }
        let content = load(&checkpoints.path, key).map_err(|source| failed(checkpoints, source))?;
        let Some(Content { state, params, values, moments, averages }) = content else {
            return Ok(false);
        };
        (self.state, self.graph.params, self.graph.values) = (state, params, values);
        self.graph.validate()?;
        self.slots = self
            .graph
            .params
            .iter()
            .zip(moments.into_iter().zip(averages))
            .map(|(param, (moments, average))| Slot { moments, average, ..Slot::new(param) })
            .collect();
        Ok(true)
    }

    pub(super) fn save_if_due(&mut self) -> Result<(), TrainError> {
        match self.run.checkpoints {
            Some(checkpoints) if self.saved.elapsed() >= checkpoints.every => self.save(),
            _ => Ok(()),
        }
    }

    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let (Some(checkpoints), Some(key)) = (self.run.checkpoints, self.key) else {
            return Ok(());
        };
        let content = Content {
            state: self.state.clone(),
            params: self.graph.params.clone(),
            values: self.graph.values.clone(),
            moments: self.slots.iter().map(|slot| slot.moments.clone()).collect(),
            averages: self.slots.iter().map(|slot| slot.average.clone()).collect(),
        };
        save(&checkpoints.path, key, &content).map_err(|source| failed(checkpoints, source))?;
        self.saved = Instant::now();
        Ok(())
    }
}

pub(super) fn failed(checkpoints: &Checkpoints, source: CheckpointError) -> TrainError {
    TrainError::Checkpoint { path: checkpoints.path.clone(), source }
}
