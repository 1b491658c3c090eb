//! A disk that forgets: what was not synced when power goes may be there or not, each change by itself.

use core::cell::Cell;
use std::collections::BTreeMap;
use std::io;

use embdl_slots::{Disk, checksum};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Number of the content.
    File(usize),
    Link(String),
    Folder,
}

/// Names of the disk.
type Tree = BTreeMap<String, Entry>;

/// What one operation changes, whole or not at all.
type Change = Vec<(String, Option<Entry>)>;

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgetful {
    /// As programs see it.
    live: Tree,
    /// As it is after a loss of power, at least.
    durable: Tree,
    /// Changes of names since then.
    pending: Vec<Change>,
    /// Contents, and whether they are on the disk.
    contents: Vec<(Vec<u8>, bool)>,
    /// Changes until power goes.
    power: Option<Cell<usize>>,
    /// Syncs of this path do nothing: a bug to be found.
    pub(crate) deaf_to: Option<&'static str>,
}

impl Forgetful {
    /// Puts a file there, as what arrives over a network does: nothing is synced.
    pub(crate) fn put(&mut self, path: &str, content: &[u8]) {
        let folder = parent(path).to_owned();
        if !self.live.contains_key(&folder) {
            self.change(vec![(folder, Some(Entry::Folder))]).unwrap();
        }
        self.contents.push((content.into(), false));
        let number = self.contents.len() - 1;
        self.change(vec![(path.into(), Some(Entry::File(number)))]).unwrap();
    }

    /// Power lasts for so many more changes; `None` for ever.
    pub(crate) fn power(&mut self, changes: Option<usize>) {
        self.power = changes.map(Cell::new);
    }

    /// Changes of names and contents that may be lost now.
    pub(crate) fn uncertain(&self) -> usize {
        self.pending.len() + self.contents.iter().filter(|(_, is_durable)| !is_durable).count()
    }

    /// The disk as it may be after power was lost: `survives` says of each uncertain change whether it is there.
    pub(crate) fn after_loss(&self, mut survives: impl FnMut() -> bool) -> Self {
        let mut tree = self.durable.clone();
        for change in self.pending.iter().filter(|_| survives()) {
            apply(&mut tree, change);
        }
        let whole = tree.clone();
        tree.retain(|path, _| parent(path).is_empty() || whole.contains_key(parent(path)));
        let content = |(bytes, is_durable): &(Vec<u8>, bool)| {
            let is_there = *is_durable || survives();
            (if is_there { bytes.clone() } else { Vec::new() }, true)
        };
        let contents = self.contents.iter().map(content).collect();
        Self { live: tree.clone(), durable: tree, contents, ..Self::default() }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.spend()?;
        apply(&mut self.live, &change);
        self.pending.push(change);
        Ok(())
    }

    fn spend(&self) -> io::Result<()> {
        let Some(power) = &self.power else { return Ok(()) };
        let left = power.get().checked_sub(1).ok_or_else(|| io::Error::other("power is gone"))?;
        power.set(left);
        Ok(())
    }

    fn content(&self, file: &str) -> io::Result<&(Vec<u8>, bool)> {
        match self.live.get(file) {
            Some(&Entry::File(number)) => Ok(&self.contents[number]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for Forgetful {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        if !folder.is_empty() && self.live.get(folder) != Some(&Entry::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.live.keys().filter(|path| parent(path) == folder && !path.is_empty());
        Ok(inside.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        Ok(self.content(file)?.0.clone())
    }

    fn digest(&self, file: &str) -> io::Result<String> {
        Ok(checksum(&self.read(file)?))
    }

    fn target(&self, link: &str) -> io::Result<Option<String>> {
        match self.live.get(link) {
            Some(Entry::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Err(io::ErrorKind::InvalidInput.into()),
            None => Ok(None),
        }
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        if self.live.contains_key(folder) {
            return Ok(());
        }
        self.change(vec![(folder.into(), Some(Entry::Folder))])
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let entry = self.live.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        let (gone, there) = ((from.to_owned(), None), (to.to_owned(), Some(entry)));
        if parent(from) == parent(to) {
            return self.change(vec![gone, there]);
        }
        // Two folders reach the disk each at its own time.
        self.change(vec![there])?;
        self.change(vec![gone])
    }

    fn link(&mut self, target: &str, link: &str) -> io::Result<()> {
        if self.live.contains_key(link) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(vec![(link.into(), Some(Entry::Link(target.into())))])
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        if !self.live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(vec![(path.into(), None)])
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        self.spend()?;
        if self.deaf_to == Some(path) {
            return Ok(());
        }
        if let Some(&Entry::File(number)) = self.live.get(path) {
            self.contents[number].1 = true;
            return Ok(());
        }
        let is_inside = |change: &Change| change.iter().any(|(name, _)| parent(name) == path);
        let (synced, pending) = self.pending.drain(..).partition(is_inside);
        self.pending = pending;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| apply(&mut self.durable, change));
        Ok(())
    }
}

fn apply(tree: &mut Tree, change: &Change) {
    for (path, entry) in change {
        match entry {
            Some(entry) => tree.insert(path.clone(), entry.clone()),
            None => tree.remove(path),
        };
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
