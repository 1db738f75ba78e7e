//! What became of the attributes, in the words of the manifest. Pure.
//!
//! In: what selecting found. Out: [`Counts`] for a version's header and for reports.

use std::collections::BTreeMap;

use super::matrix;
use crate::index::fate::Ledger;
use crate::index::select::{ListKey, Lists};
use crate::snapshot::manifest::{Losses, Manifest, Opened};

/// How reports and manifests name what is no loss of a feed: it never was in it.
pub const NOT_IN_FEED: &str = "not in this feed";

/// Every value and attribute that is in no list, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Data type → reason → values that are in no list.
    pub(super) refusals: BTreeMap<String, BTreeMap<String, u64>>,
    /// `feed/type` → what became of its attributes.
    pub(super) losses: BTreeMap<String, Losses>,
}

impl Counts {
    /// Of lists that were just made.
    pub(super) fn of(lists: &Lists) -> Self {
        let named =
            |reasons: &BTreeMap<_, u64>| reasons.iter().map(|(reason, count)| (format!("{reason}"), *count)).collect();
        let refusals = lists.refusals.iter().map(|(name, reasons)| ((*name).to_owned(), named(reasons))).collect();
        let some = lists.ledgers.iter().filter(|(_, ledger)| ledger.rows > 0);
        Self { refusals, losses: some.map(|(key, ledger)| (matrix::list_name(key), losses(ledger))).collect() }
    }

    /// Of lists of which some stay as they are in another version.
    pub(super) fn with_stays<'a>(lists: &Lists, stays: impl Fn(&ListKey) -> Option<&'a Opened>) -> Self {
        let mut counts = Self::of(lists);
        for key in lists.lists.keys() {
            stays(key).into_iter().for_each(|from| counts.carry(key, &from.manifest));
        }
        counts
    }

    /// Those of a version.
    pub(super) fn of_version(manifest: &Manifest) -> Self {
        Self { refusals: manifest.refusals.clone(), losses: manifest.losses.clone() }
    }

    /// A list stays as it is in another version.
    fn carry(&mut self, key: &ListKey, from: &Manifest) {
        let name = matrix::list_name(key);
        match from.losses.get(&name) {
            Some(losses) => self.losses.insert(name, losses.clone()),
            None => self.losses.remove(&name),
        };
    }

    /// Takes the lists of another one over. What is refused of a data type does not depend on which lists there are.
    pub(super) fn add(&mut self, other: Counts) {
        self.losses.extend(other.losses);
    }
}

fn losses(ledger: &Ledger) -> Losses {
    let Ledger { rows, listed, in_grace, lost } = ledger;
    let mut reasons = BTreeMap::new();
    for (loss, count) in lost {
        *reasons.entry(loss.to_string()).or_default() += count;
    }
    Losses { rows: *rows, listed: *listed, in_grace: *in_grace, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fate::Loss;

    #[test]
    fn what_is_not_in_a_feed_has_one_name() {
        assert_eq!(Loss::NotInFeed.to_string(), NOT_IN_FEED);
    }
}
