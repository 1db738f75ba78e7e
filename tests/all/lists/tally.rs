//! What became of the rows of one file.

use std::collections::BTreeMap;

use super::ids::Id;

/// Counts, and the rows that are wrong.
#[derive(Debug, Default)]
pub struct Tally {
    equal: usize,
    /// Under each id; a row may stand under several.
    ids: BTreeMap<Id, usize>,
    by_id: usize,
    /// Reason → rows.
    pending: BTreeMap<String, usize>,
    /// Pending rows under each id.
    open: BTreeMap<Id, usize>,
    failed: Vec<String>,
}

impl Tally {
    /// An answer that is to be as recorded.
    pub fn equal(&mut self) {
        self.equal += 1;
    }

    /// An answer that differs on purpose, as these decisions say.
    pub fn under(&mut self, ids: &[Id]) {
        self.by_id += 1;
        ids.iter().for_each(|id| *self.ids.entry(id).or_default() += 1);
    }

    /// A row that cannot be replayed yet. It will stand under these ids.
    pub fn pending(&mut self, reason: &str, ids: &[Id]) {
        *self.pending.entry(reason.to_owned()).or_default() += 1;
        ids.iter().for_each(|id| *self.open.entry(id).or_default() += 1);
    }

    /// An answer that is neither.
    pub fn failed(&mut self, what: String) {
        self.failed.push(what);
    }

    /// Prints the counts. Every row must be accounted for, none may have failed, and the numbers under the ids must be the
    /// decided ones, pending rows included.
    pub fn check(&self, file: &str, rows: usize, decided: &[(Id, usize)]) {
        let pending: usize = self.pending.values().sum();
        println!(
            "{file}: {rows} rows, {} equal, {} under an id {:?}, {pending} pending {:?}, {} failed",
            self.equal,
            self.by_id,
            self.ids,
            self.pending,
            self.failed.len()
        );
        let shown = self.failed.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.failed.is_empty(), "{file}: {} rows failed, among them\n{shown}", self.failed.len());
        assert_eq!(self.equal + self.by_id + pending, rows, "rows of {file}");
        let mut here = self.ids.clone();
        self.open.iter().for_each(|(id, count)| *here.entry(id).or_default() += count);
        assert_eq!(here, decided.iter().copied().collect(), "{file}: rows under each id, pending ones included");
    }
}
