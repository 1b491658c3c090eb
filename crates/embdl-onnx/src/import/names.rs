//! Names of values, nodes and parameters, each given once.

use std::collections::{HashMap, HashSet};

/// Names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// Highest number given to a name that was wished for more than once.
    counts: HashMap<String, usize>,
}

impl Names {
    pub(super) fn insert(&mut self, name: &str) {
        self.taken.insert(name.into());
    }

    /// `wish`, or `wish.2`, `wish.3` and so on; taken from then on.
    pub(super) fn unique(&mut self, wish: &str) -> String {
        if self.taken.insert(wish.into()) {
            return wish.into();
        }
        let count = self.counts.entry(wish.into()).or_insert(1);
        loop {
            *count += 1;
            let name = format!("{wish}.{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
