//! What was measured of kernels on a machine, kept in a file: which was the fastest for which problem, and by how much
//! estimates are wrong there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use embdl_core::runtime::Tuner;
use embdl_data::{atomic, cache};
use serde::{Deserialize, Serialize};

use crate::machine::{Machine, nanoseconds};

/// The form of the file. One of another form counts as empty.
const VERSION: u32 = 2;
/// Factors beyond these are errors of measurement.
const FACTORS: core::ops::RangeInclusive<f32> = 1.0 / 32.0..=32.0;

/// The file: machines by the names of their processors.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tuning {
    version: u32,
    machines: BTreeMap<String, Learned>,
}

/// What is known of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// The fastest kernel by problem.
    choices: BTreeMap<String, String>,
    /// By kernel.
    factors: BTreeMap<String, Factor>,
}

/// The geometric mean of the factors of some problems.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Factor {
    factor: f32,
    problems: u32,
}

/// Whether what is not known is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tune {
    /// Yes, and remembered.
    Measure,
    /// No: what is known chooses, and estimates with the machine's factors for the rest.
    Remember,
}

/// Remembers choices in a file, which is written whole after each. A file that cannot be read counts as empty, and one that
/// cannot be written is not, because a choice can always be made anew.
#[derive(Debug)]
pub struct FileTuner {
    path: Option<PathBuf>,
    cpu: String,
    how: Tune,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    learned: Learned,
    /// Factors of the problem that is being measured.
    observed: Vec<(String, f32)>,
    uses: Uses,
}

/// How a tuner was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Questions for a problem that was known.
    pub known: usize,
    /// Problems that were measured.
    pub measured: usize,
}

impl FileTuner {
    /// What is known of this machine: `embdl/tuning.json` in the user's cache.
    #[must_use]
    pub fn of_this_machine(how: Tune) -> Self {
        Self::open(Self::file(), Machine::detect().cpu, how)
    }

    /// The file of this user; none where there is no place for it.
    #[must_use]
    pub fn file() -> Option<PathBuf> {
        cache::folder().map(|folder| folder.join("tuning.json"))
    }

    /// What the file `path` knows of the processor `cpu`; without a file it is forgotten with the value.
    #[must_use]
    pub fn open(path: Option<PathBuf>, cpu: String, how: Tune) -> Self {
        let learned = path.as_deref().map(read).unwrap_or_default().machines.remove(&cpu);
        let state = State { learned: learned.unwrap_or_default(), ..State::default() };
        Self { path, cpu, how, state: Mutex::new(state) }
    }

    /// Whether anything is known of this machine.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().learned == Learned::default()
    }

    /// Forgets what is known of this machine, in the file too.
    pub fn forget(&self) {
        let mut state = self.state();
        state.learned = Learned::default();
        self.change(&mut state, |learned| *learned = Learned::default());
    }

    /// How it was used so far.
    #[must_use]
    pub fn uses(&self) -> Uses {
        self.state().uses
    }

    /// The factors by kernel, each with the number of problems that it is from.
    #[must_use]
    pub fn factors(&self) -> Vec<(String, f32, u32)> {
        let state = self.state();
        let all = state.learned.factors.iter();
        all.map(|(kernel, factor)| (kernel.clone(), factor.factor, factor.problems)).collect()
    }

    /// Changes what is known of this machine, in the newest version of the file: another process may have written it.
    fn change(&self, state: &mut State, change: impl FnOnce(&mut Learned)) {
        let Some(path) = &self.path else { return change(&mut state.learned) };
        let mut tuning = read(path);
        let learned = tuning.machines.entry(self.cpu.clone()).or_default();
        change(learned);
        state.learned.clone_from(learned);
        tuning.version = VERSION;
        let Ok(text) = serde_json::to_string_pretty(&tuning) else { return };
        if let Some(folder) = path.parent() {
            // If this fails, so does writing.
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = atomic::write(path, text.as_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learned {
    fn observe(&mut self, kernel: String, factor: f32) {
        let mean = self.factors.entry(kernel).or_insert(Factor { factor: 1.0, problems: 0 });
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let [before, after] = [mean.problems as f32, mean.problems.saturating_add(1) as f32];
        mean.factor = (mean.factor.ln().mul_add(before, factor.ln()) / after).exp();
        mean.problems = mean.problems.saturating_add(1);
    }
}

impl Tuner for FileTuner {
    fn now_ns(&self) -> u64 {
        nanoseconds()
    }

    fn known(&self, problem: &str) -> Option<String> {
        let mut state = self.state();
        let known = state.learned.choices.get(problem).cloned();
        state.uses.known += usize::from(known.is_some());
        known
    }

    fn learn(&self, problem: &str, kernel: &str) {
        let mut state = self.state();
        state.uses.measured += 1;
        let observed = core::mem::take(&mut state.observed);
        self.change(&mut state, |learned| {
            // Where another process has measured the same meanwhile, its factors are there already.
            if learned.choices.insert(problem.into(), kernel.into()).is_none() {
                observed.into_iter().for_each(|(kernel, factor)| learned.observe(kernel, factor));
            }
        });
    }

    fn measures(&self) -> bool {
        self.how == Tune::Measure
    }

    fn factor(&self, kernel: &str) -> f32 {
        self.state().learned.factors.get(kernel).map_or(1.0, |factor| factor.factor)
    }

    fn observe(&self, kernel: &str, factor: f32) {
        if FACTORS.contains(&factor) {
            self.state().observed.push((kernel.into(), factor));
        }
    }
}

/// What a file holds, as far as it can be used.
fn read(path: &Path) -> Tuning {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let tuning: Tuning = serde_json::from_str(&text).unwrap_or_default();
    if tuning.version != VERSION {
        return Tuning::default();
    }
    let is_sound = |factor: &Factor| FACTORS.contains(&factor.factor);
    let mut machines = tuning.machines;
    machines.values_mut().for_each(|learned| learned.factors.retain(|_, f| is_sound(f)));
    Tuning { version: VERSION, machines }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("embdl-{name}-{}", std::process::id())))
        }

        fn path(&self) -> PathBuf {
            self.0.join("below/tuning.json")
        }

        fn open(&self, cpu: &str) -> FileTuner {
            FileTuner::open(Some(self.path()), cpu.into(), Tune::Measure)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn choices_outlive_the_tuner_and_belong_to_a_processor() {
        let file = File::new("tuning");
        let tuner = file.open("a");
        assert_eq!(tuner.known("conv"), None);
        assert!(tuner.is_empty());
        tuner.learn("conv", "winograd");
        tuner.learn("conv", "gemm");
        assert_eq!(file.open("a").known("conv").as_deref(), Some("gemm"));
        assert_eq!(file.open("b").known("conv"), None);
        assert_eq!(tuner.uses(), Uses { known: 0, measured: 2 });
        // A second process that has opened the file before writes beside the first.
        let other = file.open("a");
        tuner.learn("third", "direct");
        other.learn("second", "gemm");
        assert_eq!(file.open("a").known("third").as_deref(), Some("direct"));
        other.forget();
        assert!(other.is_empty() && file.open("a").is_empty());
        std::fs::write(file.path(), "{").unwrap();
        assert_eq!(file.open("a").known("conv"), None);
    }

    #[test]
    fn a_factor_is_the_geometric_mean_of_its_problems() {
        let file = File::new("factors");
        let tuner = file.open("a");
        assert!((tuner.factor("winograd") - 1.0).abs() < f32::EPSILON);
        for (problem, factor) in [("one", 2.0), ("two", 0.5), ("three", 8.0)] {
            tuner.observe("winograd", factor);
            tuner.observe("direct", f32::NAN);
            tuner.observe("sliced", 1e9);
            tuner.learn(problem, "gemm");
        }
        let factors = file.open("a").factors();
        let [(kernel, factor, problems)] = &factors[..] else { panic!("{factors:?}") };
        assert_eq!((kernel.as_str(), *problems), ("winograd", 3));
        assert!((factor - 2.0).abs() < 1e-4, "{factor}");
        // What is measured again does not count twice.
        tuner.observe("winograd", 8.0);
        tuner.learn("three", "winograd");
        assert_eq!(tuner.factors(), factors);
    }

    #[test]
    fn a_file_of_another_form_or_with_absurd_factors_is_not_used() {
        let file = File::new("forms");
        file.open("a").learn("conv", "gemm");
        let text = std::fs::read_to_string(file.path()).unwrap();
        std::fs::write(file.path(), text.replace("\"version\": 2", "\"version\": 1")).unwrap();
        assert!(file.open("a").is_empty());
        let absurd = r#"{"version":2,"machines":{"a":{"choices":{},
            "factors":{"x":{"factor":-1.0,"problems":1},"y":{"factor":2.0,"problems":1}}}}}"#;
        std::fs::write(file.path(), absurd).unwrap();
        assert_eq!(file.open("a").factors(), [("y".to_owned(), 2.0, 1)]);
    }
}
