//! Whether what was made is served, or written and put aside.
//!
//! In: how many entries the lists have and had, what is pinned. Out: changed counters, and where the version goes.
//!
//! Invariants: at most one version of a view is put aside, the newest; one that was never served goes when another takes its
//! place or nothing is held any more; as long as one is held or pinned, nothing newer is shown.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::guard;
use super::holds;
use super::matrix::{self, Matrix};
use super::publish::Publishing;
use super::{Inner, StageError};
use crate::index::select::{ListKey, Lists};
use crate::index::{AGES, Slice};
use crate::snapshot::manifest::{self, Manifest, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Outcome, Placing, Writer};
use crate::state::{Candidate, Counted, Counters, Hold};

impl Inner {
    /// What goes beyond its limits, as a hold each. `previous` is what this view's user sees now.
    pub(super) fn decide_guard(
        &self,
        lists: &Lists,
        matrix: &Matrix,
        previous: Option<&Opened>,
        counters: &mut Counters,
        publishing: &Publishing<'_>,
    ) {
        let (how, now) = (publishing.how, publishing.now);
        let Some(previous) = previous.filter(|_| !how.release) else {
            counters.guarded = None;
            return;
        };
        let mut before = published_counts(matrix, &previous.manifest);
        before.extend(counters.base.clone());
        let trips = guard::trips(&self.site.guard, &before, &self.counts(lists, matrix, now));
        let release = self.site.guard.release;
        counters.guarded = guard::decide(&trips, counters.guarded.as_ref(), how.full, release, now.as_second());
        let Some(guarded) = &counters.guarded else { return };
        let rejected = if guarded.rejected { "; rejected" } else { "" };
        let holds = trips
            .into_iter()
            .map(|(list, text)| (guard::key(&list), Hold { since: guarded.since, text: format!("{text}{rejected}") }));
        counters.holds.extend(holds);
    }

    /// What is measured against while the source is away, or was away until now.
    pub(super) fn keep_base(&self, matrix: &Matrix, previous: Option<&Opened>, counters: &mut Counters, fresh: bool) {
        if !fresh && counters.base.is_empty() {
            counters.base = previous.map(|opened| published_counts(matrix, &opened.manifest)).unwrap_or_default();
        }
    }

    /// Entries of every feed's list at its largest age.
    fn counts(&self, lists: &Lists, matrix: &Matrix, now: Timestamp) -> BTreeMap<String, Counted> {
        let count = |(key, list): (&ListKey, &crate::index::List)| {
            let (age, _) = matrix::counted(matrix.get(key)?)?;
            let entries = list.count_since(AGES[age].since(now, &self.zone)) as u64;
            is_feed(key).then(|| (matrix::list_name(key), Counted { age: AGES[age].name.to_owned(), entries }))
        };
        lists.lists.iter().filter_map(count).collect()
    }

    /// Ends a version: it is served, or put aside while something is held or pinned.
    pub(super) fn place(&self, writer: Writer<'_>, counters: &mut Counters) -> Result<Outcome, StageError> {
        let before = counters.candidate;
        if !is_aside(counters) {
            let outcome = self.finish(writer, Placing::Serve, counters)?;
            self.set_candidate(None, counters)?;
            return Ok(outcome);
        }
        let unserved = before.filter(|candidate| !candidate.was_served);
        // Only what it holds: a version that is open is not removed.
        let known = unserved.and_then(|known| manifest::open_number(&self.view_dir, known.version).ok());
        let known = known.map(|opened| opened.manifest);
        let outcome = self.finish(writer, Placing::Aside(known.as_ref()), counters)?;
        let candidate = outcome.version.map(|version| Candidate { version, was_served: false });
        self.set_candidate(candidate, counters)?;
        Ok(Outcome { version: None, ..outcome })
    }

    /// Another version, or none, waits from now on.
    pub(super) fn set_candidate(
        &self,
        candidate: Option<Candidate>,
        counters: &mut Counters,
    ) -> Result<(), StageError> {
        let before = std::mem::replace(&mut counters.candidate, candidate);
        if let Some(before) = before.filter(|before| !before.was_served)
            && candidate.is_none_or(|candidate| candidate.version != before.version)
        {
            prune::remove(&self.view_dir, before.version)?;
        }
        Ok(())
    }
}

/// Whether nothing newer than what is served may be shown.
pub(super) fn is_aside(counters: &Counters) -> bool {
    counters.guarded.is_some() || counters.pin.is_some()
}

/// Whether a list stays as it is served. What is put aside for its jumps is put aside as it is, the feeds that fell to zero
/// among it: who approves it approves all of it.
pub(super) fn stays(counters: &Counters, key: &ListKey) -> bool {
    counters.guarded.is_none() && holds::hold_on(&counters.holds, &key.0).is_some()
}

fn is_feed(key: &ListKey) -> bool {
    matches!(key.0, Slice::Feed(_))
}

/// Entries of every feed's list at its largest age, as published.
fn published_counts(matrix: &Matrix, manifest: &Manifest) -> BTreeMap<String, Counted> {
    let count = |(key, slots): (&ListKey, &matrix::Slots)| {
        let slot = matrix::counted(slots)?;
        let artifact = manifest.artifacts.get(&matrix::artifact_key(key, slot))?;
        let counted = Counted { age: AGES[slot.0].name.to_owned(), entries: artifact.entries };
        is_feed(key).then(|| (matrix::list_name(key), counted))
    };
    matrix.iter().filter_map(count).collect()
}
