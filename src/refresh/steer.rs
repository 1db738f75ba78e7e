//! What somebody decides about versions: approve, reject, roll back, unpin.
//!
//! In: an [`Act`]. Out: what is served, as a [`Report`]; counters.
//!
//! Invariants: what is served again is a new version with the same content, so that times rise and history stays; a version
//! of another user's view is never served; nothing is asked of the source.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::{Inner, Publisher, RefreshError, Report, StageError, guard, holds, lock, on_thread, purge};
use crate::config::{Config, Site};
use crate::snapshot::layout;
use crate::snapshot::manifest::{self, Change, Manifest, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Outcome, Placing};
use crate::state::{Candidate, Counters, Hold, Pin, StateError, ViewState};

/// Key of the hold on a pinned view.
pub const PINNED: &str = "pinned";

/// What somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Serve what is held.
    Approve,
    /// Do not serve it, and do not release it by itself.
    Reject,
    /// Serve the content of an older version, and nothing newer.
    Rollback(u64),
    /// Serve newer versions again.
    Unpin,
}

/// What waits for a decision at a view.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// What is held, without what is pinned.
    pub holds: BTreeMap<String, Hold>,
    /// What is held is a version that is written and can be served as it is.
    version: Option<u64>,
}

impl Waiting {
    /// Whether a version can be approved or rejected; if not, it is the next pull that decides.
    pub fn is_version(&self) -> bool {
        self.version.is_some() && !self.holds.keys().any(|key| holds::is_of_view(key))
    }
}

impl Publisher {
    /// What waits at a site's view, without opening it: another process may work there.
    pub fn waiting(config: &Config, site: &Site) -> Result<Waiting, StateError> {
        let Counters { mut holds, guarded, candidate, .. } =
            ViewState::open(&config.state_dir, &site.view)?.counters()?;
        holds.remove(PINNED);
        Ok(Waiting { holds, version: guarded.and(candidate).map(|candidate| candidate.version) })
    }

    /// A version that is written but not served.
    pub fn candidate(&self) -> Option<u64> {
        self.0.counters().ok()?.candidate.map(|candidate| candidate.version)
    }

    /// Does what somebody decided.
    pub async fn steer(&self, act: Act, now: Timestamp) -> Result<Report, RefreshError> {
        let inner = self.0.clone();
        on_thread(move || inner.steer(act, now)).await.map_err(|stage| self.failed(stage))
    }
}

impl Inner {
    fn steer(&self, act: Act, now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let mut counters = self.counters()?;
        let outcome = match act {
            Act::Approve => self.approve(&mut counters, now)?,
            Act::Reject => self.reject(&mut counters)?,
            Act::Rollback(version) => self.roll_back(version, &mut counters, now)?,
            Act::Unpin => self.unpin(&mut counters, now)?,
        };
        counters.owner = self.owner();
        self.keep(&mut counters)?;
        let (version, changes) = outcome.map_or((None, BTreeMap::new()), |outcome| (outcome.version, outcome.changes));
        let entries = manifest::open_current(&self.view_dir)?.map_or(0, |opened| opened.manifest.entries());
        let candidate = counters.candidate.map(|candidate| candidate.version);
        Ok(Report { version, changes, entries, candidate, holds: counters.holds, ..Report::default() })
    }

    fn approve(&self, counters: &mut Counters, now: Timestamp) -> Result<Option<Outcome>, StageError> {
        if let Some(pin) = counters.pin {
            return Err(refused(format!("version {} is pinned; `cratos versions unpin` comes first", pin.version)));
        }
        let (Some(candidate), Some(_)) = (counters.candidate, &counters.guarded) else {
            return Err(refused("no version is held"));
        };
        let from = self.open(candidate.version, counters)?;
        let outcome = self.republish(&from, "approved", counters, now)?;
        drop(from);
        counters.guarded = None;
        // A feed that fell to zero was part of what is approved.
        let emptied: Vec<String> =
            counters.holds.keys().filter_map(|key| holds::feed_of(key)).map(str::to_owned).collect();
        counters.feeds.extend(emptied.into_iter().map(|feed| (feed, 0)));
        counters.holds.retain(|key, _| !guard::is_key(key) && holds::feed_of(key).is_none());
        self.set_candidate(None, counters)?;
        Ok(Some(outcome))
    }

    fn reject(&self, counters: &mut Counters) -> Result<Option<Outcome>, StageError> {
        let Some(guarded) = &mut counters.guarded else { return Err(refused("no version is held")) };
        if !std::mem::replace(&mut guarded.rejected, true) {
            let held = counters.holds.iter_mut().filter(|(key, _)| guard::is_key(key));
            held.for_each(|(_, hold)| hold.text.push_str("; rejected"));
        }
        self.set_candidate(None, counters)?;
        Ok(None)
    }

    fn roll_back(&self, number: u64, counters: &mut Counters, now: Timestamp) -> Result<Option<Outcome>, StageError> {
        let served = self.own_previous(counters)?.map(|opened| opened.manifest.version);
        let served = served.ok_or_else(|| refused("nothing was published yet"))?;
        if served == number {
            return Err(refused(format!("version {number} is served already")));
        }
        if counters.candidate.is_some_and(|candidate| candidate.version == number && !candidate.was_served) {
            return Err(refused(format!("version {number} was never served; `cratos approve` serves it")));
        }
        let from = self.open(number, counters)?;
        let before = (counters.pin, counters.candidate);
        // What was served until now is the newest there is, until the next refresh.
        counters.candidate.get_or_insert(Candidate { version: served, was_served: true });
        // Kept first: should this end half-way, nothing newer must be shown.
        counters.pin = Some(Pin { content: number, version: served, since: now.as_second() });
        self.keep(counters)?;
        let republished = self.republish(&from, &format!("rollback to {number}"), counters, now);
        if republished.is_err() && prune::current(&self.view_dir) == Some(served) {
            // Nothing came of it, so nothing is pinned.
            (counters.pin, counters.candidate) = before;
            self.keep(counters)?;
        }
        let outcome = republished?;
        let version = outcome.version.unwrap_or(served);
        counters.pin = Some(Pin { content: number, version, since: now.as_second() });
        show_pin(counters);
        Ok(Some(outcome))
    }

    fn unpin(&self, counters: &mut Counters, now: Timestamp) -> Result<Option<Outcome>, StageError> {
        if counters.pin.take().is_none() {
            return Err(refused("no version is pinned"));
        }
        counters.holds.remove(PINNED);
        // What is beyond its limits goes on being held.
        let Some(candidate) = counters.candidate.filter(|_| counters.guarded.is_none()) else { return Ok(None) };
        let from = self.open(candidate.version, counters)?;
        let outcome = self.republish(&from, "unpinned", counters, now)?;
        drop(from);
        self.set_candidate(None, counters)?;
        Ok(Some(outcome))
    }

    /// A version of this view's own history.
    fn open(&self, number: u64, counters: &Counters) -> Result<Opened, StageError> {
        let opened = manifest::open_number(&self.view_dir, number).map_err(|error| {
            refused(format!("version {number} cannot be opened ({error}); `cratos versions list` shows what there is"))
        })?;
        if opened.manifest.lineage != counters.lineage {
            let text = format!("version {number} is of another history: another user of the MISP may have seen it");
            return Err(refused(format!("{text}; `cratos versions export` copies it")));
        }
        Ok(opened)
    }

    /// A new version with the content of another one.
    fn republish(
        &self,
        from: &Opened,
        reason: &str,
        counters: &mut Counters,
        now: Timestamp,
    ) -> Result<Outcome, StageError> {
        let previous = self.own_previous(counters)?;
        let mut header = self.header(counters, reason, Counts::of_version(&from.manifest), now)?;
        header.mirror.clone_from(&from.manifest.mirror);
        let mut writer = self.writer(previous.as_ref(), header)?;
        // It may have been made under other settings.
        let bodies = purge::without(from, &*self.never()?).bodies;
        let mut content = from.manifest.clone();
        for (key, artifact) in &from.manifest.artifacts {
            match bodies.get(key) {
                Some(body) => writer.add(body, false)?,
                None => writer.adopt(key, from, artifact)?,
            }
        }
        for (key, artifact) in &mut content.artifacts {
            artifact.entries = bodies.get(key).map_or(artifact.entries, |body| body.body.entries);
        }
        if let Some(previous) = &previous {
            for (list, change) in changes(&previous.manifest, &content) {
                writer.note_change(&list, change);
            }
        }
        let outcome = self.finish(writer, Placing::Serve, counters)?;
        // What somebody chose is what jumps are measured against from now on.
        counters.base.clear();
        Ok(outcome)
    }
}

fn refused(text: impl Into<String>) -> StageError {
    StageError::Refused(text.into())
}

/// A pinned view says so wherever its holds are shown.
pub(super) fn show_pin(counters: &mut Counters) {
    if let Some(pin) = counters.pin {
        let text = format!("pinned: version {} with the content of version {}", pin.version, pin.content);
        counters.holds.insert(PINNED.to_owned(), Hold { since: pin.since, text });
    }
}

/// Per list: its entries, and by how many they changed. Which values came and went is for `versions diff` to say.
fn changes(before: &Manifest, now: &Manifest) -> BTreeMap<String, Change> {
    let counts = |manifest: &Manifest| -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (key, artifact) in manifest.artifacts.iter().filter(|(key, _)| layout::warninglist_of(key).is_none()) {
            let entries: &mut u64 = counts.entry(layout::list_of(key).to_owned()).or_default();
            *entries = artifact.entries.max(*entries);
        }
        counts
    };
    let before = counts(before);
    let change = |(list, entries): (String, u64)| {
        let had = before.get(&list).copied().unwrap_or(0);
        let (added, removed) = (entries.saturating_sub(had), had.saturating_sub(entries));
        (list, Change { entries, added, removed })
    };
    counts(now).into_iter().map(change).collect()
}
