//! Versions on a board: this program with its models, in two slots. A version is fit if each of its models answers a known
//! input as it did where the version was made.

use std::fs;
use std::path::{Path, PathBuf};

use embdl_core::format::{self, Limits};
use embdl_core::runtime::LoadOptions;
use embdl_slots::{CURRENT, Folder, Slot, SlotError, Slots, Step};
use serde::Serialize;

use crate::answer::{Answer, answer};
use crate::machine::nanoseconds;
use crate::runtimes::open;

/// A version that is whole and fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// `a` or `b`.
    pub slot: &'static str,
    /// Its models, each with the answer that was expected of it.
    pub models: Vec<String>,
    /// Time of the test, in milliseconds.
    pub tested_ms: u64,
}

/// Installs what arrived below `root`, and turns to it if it is fit.
///
/// # Errors
/// If it did not arrive whole, or is not fit. Then the version in use stays.
pub fn install(root: &Path, report: impl FnMut(Step)) -> Result<Version, SlotError> {
    let start = nanoseconds();
    let mut models = Vec::new();
    let slot = slots(root).install(fitness(root, &mut models), report)?;
    Ok(Version { slot: slot.name(), models, tested_ms: since(start) })
}

/// Turns back to the version before, if that is whole and fit.
///
/// # Errors
/// If there is none, or it is not. Then the version in use stays.
pub fn roll_back(root: &Path) -> Result<Version, SlotError> {
    let start = nanoseconds();
    let mut models = Vec::new();
    let slot = slots(root).roll_back(fitness(root, &mut models))?;
    Ok(Version { slot: slot.name(), models, tested_ms: since(start) })
}

/// Finds out whether the version in use is whole and fit.
///
/// # Errors
/// If there is none, or it is not.
pub fn check(root: &Path) -> Result<Version, SlotError> {
    let start = nanoseconds();
    let slots = slots(root);
    let slot = slots.current()?.ok_or(SlotError::Empty { place: CURRENT })?;
    slots.check(slot)?;
    let mut models = Vec::new();
    fitness(root, &mut models)(slot).map_err(|reason| SlotError::Unfit { reason })?;
    Ok(Version { slot: slot.name(), models, tested_ms: since(start) })
}

fn slots(root: &Path) -> Slots<Folder> {
    Slots::new(Folder::new(root))
}

fn since(start: u64) -> u64 {
    nanoseconds().saturating_sub(start) / 1_000_000
}

/// The test of a version: each model answers as expected. Keeps the names of the models.
fn fitness<'a>(
    root: &'a Path,
    tested: &'a mut Vec<String>,
) -> impl FnMut(Slot) -> Result<(), String> + 'a {
    move |slot| {
        let models = models(&root.join(slot.name())).map_err(|error| error.to_string())?;
        for model in models {
            answers(&model).map_err(|error| format!("{}: {error}", model.display()))?;
            tested.extend(model.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        Ok(())
    }
}

/// The models of a folder, in the order of their names.
fn models(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut models = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "embdl") {
            models.push(path);
        }
    }
    models.sort();
    Ok(models)
}

/// Whether a model answers as the file beside it says, on the fastest runtime.
fn answers(model: &Path) -> Result<(), Box<dyn core::error::Error>> {
    let expected = fs::read(model.with_extension("answer"))
        .map_err(|error| format!("reading its expected answer: {error}"))?;
    let expected: Answer = serde_json::from_slice(&expected)?;
    let bytes = fs::read(model)?;
    let parsed = format::read(&bytes, &Limits::default())?;
    let mut session = open("native")?.load(&parsed, &LoadOptions::default())?;
    expected.compare(&answer(session.as_mut())?)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use embdl_slots::{INCOMING, SUMS, checksum};

    use super::*;
    use crate::fixture::softmax;

    /// Lets a version with the model and this answer arrive below `root`.
    fn arrive(root: &Path, expected: &Answer) {
        let incoming = root.join(INCOMING);
        fs::create_dir_all(&incoming).unwrap();
        let files = [
            ("softmax.embdl", format::write(&softmax()).unwrap()),
            ("softmax.answer", serde_json::to_vec(expected).unwrap()),
        ];
        let mut sums = String::new();
        for (name, content) in files {
            sums += &format!("{}  {name}\n", checksum(&content));
            fs::write(incoming.join(name), content).unwrap();
        }
        fs::write(incoming.join(SUMS), sums).unwrap();
    }

    #[test]
    fn a_version_is_installed_if_its_models_answer_as_expected() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(matches!(check(root), Err(SlotError::Empty { .. })));
        let reference = open("reference").unwrap();
        let mut session = reference.load(&softmax(), &LoadOptions::default()).unwrap();
        let right = answer(session.as_mut()).unwrap();
        arrive(root, &right);
        let version = install(root, |_| {}).unwrap();
        assert_eq!((version.slot, &version.models[..]), ("a", &["softmax.embdl".to_owned()][..]));
        let mut wrong = right.clone();
        wrong.values[2] += 0.1;
        arrive(root, &wrong);
        let error = install(root, |_| {}).unwrap_err();
        assert!(error.to_string().contains("output 2 is"), "{error}");
        assert_eq!(check(root).unwrap().slot, "a");
        arrive(root, &right);
        assert_eq!(install(root, |_| {}).unwrap().slot, "b");
        assert_eq!(roll_back(root).unwrap().slot, "a");
    }
}
