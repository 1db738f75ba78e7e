//! What is served now, and what is counted of it.
//!
//! In: counters and the served version, as they are on disk. Out: both, as far as they belong to this view's user.
//!
//! Invariants: what somebody else saw is no measure of what this user sees; the highest number is kept before a version gets
//! it.

use jiff::Timestamp;

use super::counts::Counts;
use super::lists::empty_forms;
use super::{Inner, StageError, lock, matrix};
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Header, Outcome, Placing, Writer};
use crate::state::Counters;

impl Inner {
    /// Whether the served version is what this view's user sees. State that was lost says nothing; the main view is then served
    /// all the same.
    pub(super) fn is_own(&self, counters: &Counters) -> bool {
        counters.owner == self.owner() || (counters.owner.is_empty() && self.site.view.is_main())
    }

    /// The version that is served, to be added to. Err: it is what somebody else saw, which is not carried over.
    pub(super) fn own_previous(&self, counters: &Counters) -> Result<Option<Opened>, StageError> {
        let previous = self.previous()?;
        if previous.is_none() || self.is_own(counters) { Ok(previous) } else { Err(StageError::NoMirror) }
    }

    pub(super) fn counters(&self) -> Result<Counters, StageError> {
        let mut counters = self.state.counters()?;
        if !counters.owner.is_empty() && counters.owner != self.owner() {
            // What somebody else saw is no measure of what this user sees: it holds nothing back, and nothing of it stays.
            // It begins a history of its own, so that nobody rolls back to it.
            let Counters { highest, owner, on_demand, .. } = counters;
            counters = Counters { highest, owner, on_demand, ..Counters::default() };
        }
        if counters.lineage.is_empty() {
            counters.lineage = uuid::Uuid::new_v4().to_string();
        }
        Ok(counters)
    }

    pub(super) fn keep(&self, counters: &mut Counters) -> Result<(), StageError> {
        let on_demand = lock(&self.on_demand);
        counters.on_demand = on_demand.iter().map(|(wanted, asked)| matrix::kept(wanted, *asked)).collect();
        Ok(self.state.keep_counters(counters)?)
    }

    /// The version that is served. One that cannot be read is no reason to stop: everything is written anew.
    pub(super) fn previous(&self) -> Result<Option<Opened>, StageError> {
        manifest::open_current(&self.view_dir).or_else(|error| {
            tracing::warn!(view = %self.site.view, %error, "the served version cannot be read; a new one is written");
            Ok(None)
        })
    }

    pub(super) fn header(
        &self,
        counters: &Counters,
        reason: &str,
        counts: Counts,
        now: Timestamp,
    ) -> Result<Header, StageError> {
        let on_disk = prune::numbers(&self.view_dir)?.last().copied().unwrap_or(0);
        Ok(Header {
            site: self.site.view.site().to_owned(),
            view: self.site.view.name().to_owned(),
            version: counters.highest.max(on_disk) + 1,
            lineage: counters.lineage.clone(),
            created_at: now.as_second(),
            reason: reason.to_owned(),
            mirror: counters.mirror.clone(),
            refusals: counts.refusals,
            losses: counts.losses,
        })
    }

    /// Begins a version.
    pub(super) fn writer<'a>(&'a self, previous: Option<&'a Opened>, header: Header) -> Result<Writer<'a>, StageError> {
        Ok(Writer::new(&self.view_dir, previous, &self.blocks, header)?)
    }

    pub(super) fn finish(
        &self,
        writer: Writer<'_>,
        placing: Placing<'_>,
        counters: &mut Counters,
    ) -> Result<Outcome, StageError> {
        writer.finish(&empty_forms(), placing, |number| {
            counters.highest = number;
            // Only the number: everything else is true once the version is in place.
            let kept = Counters { highest: number, ..self.counters()? };
            Ok(self.state.keep_counters(&kept)?)
        })
    }
}
