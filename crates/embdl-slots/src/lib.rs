//! Two slots and a link: puts a version onto a disk so that a loss of power at any moment leaves the old one or the new one, whole.
//! Never knows what the files are for, and never touches the slot that is in use.
//!
//! ```text
//! ROOT/a/…       one version, with a list of its checksums
//! ROOT/b/…       the other
//! ROOT/current   a link to the one in use
//! ROOT/incoming  where the next version arrives
//! ```
//! A version is installed into the slot that is not in use: its list goes first, so that a half slot never looks whole; files
//! are written to the disk before they get their names, and names before the next step; the test of the version runs in its
//! slot; then one rename turns the link. Who is told that an installation is done finds the new version after any loss of power.
#![forbid(unsafe_code)]

mod disk;
mod sums;

use core::fmt;
use std::io;

pub use disk::{Disk, Folder};
pub use sums::{SUMS, Sums, SumsError, checksum};

/// Where the next version arrives.
pub const INCOMING: &str = "incoming";
/// The link to the slot in use.
pub const CURRENT: &str = "current";
/// The link before it gets its name.
const TURNING: &str = "current.new";

/// One of the two places for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first that is used.
    A,
    /// The other.
    B,
}

impl Slot {
    /// The name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What has been done of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// What was in the slot is no version any more.
    Emptied(Slot),
    /// A file has arrived whole and is in the slot.
    Placed(String),
    /// The version passed its test.
    Tested,
    /// The slot has its list.
    Listed,
    /// The link points to the slot.
    Turned,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptied(slot) => write!(f, "emptied slot {slot}"),
            Self::Placed(file) => write!(f, "placed {file}"),
            Self::Tested => f.write_str("tested"),
            Self::Listed => f.write_str("listed"),
            Self::Turned => f.write_str("turned"),
        }
    }
}

/// Why a version cannot be installed, or is not whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The disk.
    #[error("{what}: {error}")]
    Disk {
        /// What was being done to which file.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The list of checksums cannot be used.
    #[error(transparent)]
    Sums(#[from] SumsError),
    /// A file is not what the list says.
    #[error("{file} has the checksum {found}, its list says {expected}")]
    Damaged {
        /// The file.
        file: String,
        /// Of what is there.
        found: String,
        /// Of what was sent.
        expected: String,
    },
    /// The link points to something else than a slot.
    #[error("{CURRENT} points to {target:?}, which is no slot")]
    NoSlot {
        /// Where it points.
        target: String,
    },
    /// There is no version in use, or none to go back to.
    #[error("there is no version in {place}")]
    Empty {
        /// The link or the slot.
        place: &'static str,
    },
    /// The version fails its own test; the one in use stays.
    #[error("the version fails its test, so {CURRENT} stays as it is: {reason}")]
    Unfit {
        /// What the test says.
        reason: String,
    },
}

/// The slots on a disk.
#[derive(Debug)]
pub struct Slots<D> {
    disk: D,
}

impl<D: Disk> Slots<D> {
    /// The slots of a disk. Nothing is done to it yet.
    pub const fn new(disk: D) -> Self {
        Self { disk }
    }

    /// The disk.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// The slot in use; `None` before the first installation.
    ///
    /// # Errors
    /// If the link cannot be read, or points elsewhere.
    pub fn current(&self) -> Result<Option<Slot>, SlotError> {
        let target = during("reading", CURRENT, self.disk.target(CURRENT))?;
        match target.as_deref() {
            None => Ok(None),
            Some("a") => Ok(Some(Slot::A)),
            Some("b") => Ok(Some(Slot::B)),
            Some(target) => Err(SlotError::NoSlot { target: target.into() }),
        }
    }

    /// The files of the version in a slot, each found to be what its list says.
    ///
    /// # Errors
    /// If the slot has no version, or a damaged one.
    pub fn check(&self, slot: Slot) -> Result<Sums, SlotError> {
        let has_slot = self.names("")?.iter().any(|name| name == slot.name());
        if !has_slot || !self.names(slot.name())?.iter().any(|name| name == SUMS) {
            return Err(SlotError::Empty { place: slot.name() });
        }
        self.verified(slot.name())
    }

    /// Installs what is in [`INCOMING`] and turns [`CURRENT`] to it, if `test` finds no fault with it in its slot. `report`
    /// is told each step when it is done.
    ///
    /// # Errors
    /// If something did not arrive as sent, the version fails its test, or the disk fails. Then the version in use stays.
    pub fn install(
        &mut self,
        mut test: impl FnMut(Slot) -> Result<(), String>,
        mut report: impl FnMut(Step),
    ) -> Result<Slot, SlotError> {
        let slot = self.current()?.map_or(Slot::A, Slot::other);
        let sums = self.verified(INCOMING)?;
        self.empty(slot)?;
        report(Step::Emptied(slot));
        for file in sums.files() {
            self.place(slot, file)?;
            report(Step::Placed(file.into()));
        }
        self.sync(slot.name())?;
        test(slot).map_err(|reason| SlotError::Unfit { reason })?;
        report(Step::Tested);
        self.place(slot, SUMS)?;
        self.sync(slot.name())?;
        report(Step::Listed);
        self.turn(slot)?;
        report(Step::Turned);
        // What arrived half in an earlier attempt is of no use.
        self.clear(INCOMING)?;
        Ok(slot)
    }

    /// Turns [`CURRENT`] back to the version before, if that is whole and `test` finds no fault with it.
    ///
    /// # Errors
    /// If there is no such version, or it fails its test. Then the version in use stays.
    pub fn roll_back(
        &mut self,
        mut test: impl FnMut(Slot) -> Result<(), String>,
    ) -> Result<Slot, SlotError> {
        let slot = self.current()?.ok_or(SlotError::Empty { place: CURRENT })?.other();
        self.check(slot)?;
        test(slot).map_err(|reason| SlotError::Unfit { reason })?;
        self.turn(slot)?;
        Ok(slot)
    }

    /// Makes room in a slot. The list goes first, and for good, before anything that it lists.
    fn empty(&mut self, slot: Slot) -> Result<(), SlotError> {
        let folder = slot.name();
        during("making", folder, self.disk.make_folder(folder))?;
        self.sync("")?;
        let names = self.names(folder)?;
        if names.iter().any(|name| name == SUMS) {
            self.remove(folder, SUMS)?;
            self.sync(folder)?;
        }
        self.clear(folder)
    }

    /// Moves a file that has arrived into a slot: on the disk first, then under its name.
    fn place(&mut self, slot: Slot, file: &str) -> Result<(), SlotError> {
        let from = format!("{INCOMING}/{file}");
        self.sync(&from)?;
        let to = format!("{slot}/{file}");
        during("renaming", &from, self.disk.rename(&from, &to))
    }

    /// Turns the link by one rename.
    fn turn(&mut self, slot: Slot) -> Result<(), SlotError> {
        if self.names("")?.iter().any(|name| name == TURNING) {
            during("removing", TURNING, self.disk.remove(TURNING))?;
        }
        during("linking", TURNING, self.disk.link(slot.name(), TURNING))?;
        // Otherwise the name could reach the disk before what it names.
        self.sync("")?;
        during("renaming", TURNING, self.disk.rename(TURNING, CURRENT))?;
        self.sync("")
    }

    /// The list of a folder, every file in it found to be what it says.
    fn verified(&self, folder: &str) -> Result<Sums, SlotError> {
        let list = format!("{folder}/{SUMS}");
        let sums = Sums::read(&during("reading", &list, self.disk.read(&list))?)?;
        for (file, expected) in sums.iter() {
            let file = format!("{folder}/{file}");
            let found = during("reading", &file, self.disk.digest(&file))?;
            if found != expected {
                return Err(SlotError::Damaged { file, found, expected: expected.into() });
            }
        }
        Ok(sums)
    }

    fn clear(&mut self, folder: &str) -> Result<(), SlotError> {
        for name in self.names(folder)? {
            self.remove(folder, &name)?;
        }
        Ok(())
    }

    fn remove(&mut self, folder: &str, name: &str) -> Result<(), SlotError> {
        let file = format!("{folder}/{name}");
        during("removing", &file, self.disk.remove(&file))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, SlotError> {
        during("listing", folder, self.disk.names(folder))
    }

    fn sync(&mut self, path: &str) -> Result<(), SlotError> {
        during("writing to the disk", path, self.disk.sync(path))
    }
}

/// An error of the disk with what was being done.
fn during<T>(doing: &str, path: &str, result: io::Result<T>) -> Result<T, SlotError> {
    let path = if path.is_empty() { "the root" } else { path };
    result.map_err(|error| SlotError::Disk { what: format!("{doing} {path}"), error })
}
