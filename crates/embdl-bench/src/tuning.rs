//! Which kernel was the fastest for which problem, kept in a file for each machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use embdl_core::runtime::Tuner;
use embdl_data::{atomic, cache};

use crate::machine::{Machine, nanoseconds};

/// Choices by processor, then by problem.
type Choices = BTreeMap<String, BTreeMap<String, String>>;

/// Remembers choices in a file. A file that cannot be read counts as empty, and one that cannot be written is not, because a
/// choice can always be made anew.
#[derive(Debug)]
pub struct FileTuner {
    path: Option<PathBuf>,
    cpu: String,
    choices: Mutex<Choices>,
}

impl FileTuner {
    /// The choices of this machine: `embdl/tuning.json` in the user's cache.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let path = cache::folder().map(|folder| folder.join("tuning.json"));
        Self::open(path, Machine::detect().cpu)
    }

    /// The choices of the processor `cpu` in the file `path`; without one they are forgotten with the value.
    #[must_use]
    pub fn open(path: Option<PathBuf>, cpu: String) -> Self {
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let choices = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { path, cpu, choices: Mutex::new(choices) }
    }
}

impl Tuner for FileTuner {
    fn now_ns(&self) -> u64 {
        nanoseconds()
    }

    fn known(&self, problem: &str) -> Option<String> {
        let choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        choices.get(&self.cpu)?.get(problem).cloned()
    }

    fn learn(&self, problem: &str, kernel: &str) {
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        choices.entry(self.cpu.clone()).or_default().insert(problem.into(), kernel.into());
        let Some(path) = &self.path else { return };
        let Ok(text) = serde_json::to_string_pretty(&*choices) else { return };
        if let Some(folder) = path.parent() {
            // If this fails, so does writing.
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = atomic::write(path, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_outlive_the_tuner_and_belong_to_a_processor() {
        let folder = std::env::temp_dir().join(format!("embdl-tuning-{}", std::process::id()));
        let path = folder.join("below/tuning.json");
        let open = |cpu: &str| FileTuner::open(Some(path.clone()), cpu.into());
        let tuner = open("a");
        assert_eq!(tuner.known("conv"), None);
        tuner.learn("conv", "winograd");
        tuner.learn("conv", "gemm");
        assert_eq!(open("a").known("conv").as_deref(), Some("gemm"));
        assert_eq!(open("b").known("conv"), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(open("a").known("conv"), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
