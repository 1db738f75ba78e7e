//! Lists → version → counters: the blocking half of a refresh.
//!
//! In: a mirror (and wishes for lists), the moment, and what is held. Out: a [`Report`]; the version is in place, and `current`
//! points to it unless it is put aside.
//!
//! Invariants: one version of a view is written at a time; the highest number is kept before a version gets it; what the
//! served version holds and the configuration still covers stays, empty if need be; if nothing can have changed, nothing is
//! rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::candidate;
use super::counts::Counts;
use super::holds;
use super::lists::Windows;
use super::matrix::{self, Matrix, Slots};
use super::{How, Inner, Kept, Report, StageError, lock, steer};
use crate::index::AGES;
use crate::index::mirror::Mirror;
use crate::index::never::Never;
use crate::index::select::{ListKey, Wants};
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Outcome, Writer};
use crate::state::{Compared, Counters, Hold};

/// What a publishing is about.
pub(super) struct Publishing<'a> {
    pub(super) reason: &'a str,
    pub(super) how: How,
    /// The source was just asked.
    pub(super) fresh: bool,
    pub(super) now: Timestamp,
    /// Holds on the whole view, which are decided before.
    pub(super) view_holds: BTreeMap<String, Hold>,
}

impl Inner {
    /// Publishes from what is known.
    pub(super) fn expire(&self, now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let known = self.mirror()?.ok_or(StageError::NoMirror)?;
        let mut counters = self.counters()?;
        if !self.site.expire_when_stale {
            let purged = self.purge(&*self.never()?, &mut counters, now)?;
            if let Some(opened) = self.own_previous(&counters)? {
                let report = quiet_report(&known.mirror, &opened).after(purged);
                return Ok(Report { holds: counters.holds, ..report });
            }
        }
        let view_holds = counters.holds.iter().filter(|(key, _)| holds::is_of_view(key));
        let view_holds = view_holds.map(|(key, hold)| (key.clone(), hold.clone())).collect();
        let how = How::default();
        self.publish(&known, &mut counters, Publishing { reason: "ages", how, fresh: false, now, view_holds })
    }

    /// Takes out of what is served what must not be published any more, makes the lists that can have changed, and a version if
    /// they did. The counters are kept.
    pub(super) fn publish(
        &self,
        kept: &Arc<Kept>,
        counters: &mut Counters,
        publishing: Publishing<'_>,
    ) -> Result<Report, StageError> {
        let never = self.never()?;
        let purged = self.purge(&never, counters, publishing.now)?;
        Ok(self.publish_lists(kept, &never, counters, publishing)?.after(purged))
    }

    fn publish_lists(
        &self,
        kept: &Arc<Kept>,
        never: &Never,
        counters: &mut Counters,
        publishing: Publishing<'_>,
    ) -> Result<Report, StageError> {
        let (now, Kept { mirror, hash, .. }) = (publishing.now, &**kept);
        let decides = self.decides(never);
        // What is in memory counts: a crash may have left counters that name the mirror before.
        counters.mirror.clone_from(hash);
        let is_own = self.is_own(counters);
        self.drop_idle(now);
        let matrix = self.matrix();
        let previous = self.previous()?;
        let quiet = |opened: &&Opened| self.is_quiet(opened, &matrix, counters, &publishing, &decides);
        if let Some(opened) = previous.as_ref().filter(quiet) {
            let report = quiet_report(mirror, opened);
            counters.owner = self.owner();
            if publishing.fresh {
                counters.base.clear();
            }
            self.keep(counters)?;
            return Ok(report);
        }
        let lists = self.select(kept, never, &decides, &self.wants(&matrix, now), now);
        let own = previous.as_ref().filter(|_| is_own);
        let held_before = counters.holds.clone();
        self.decide_holds(&lists, own.is_some(), counters, &publishing);
        self.keep_base(&matrix, own, counters, publishing.fresh);
        self.decide_guard(&lists, &matrix, own, counters, &publishing);
        steer::show_pin(counters);
        self.log_holds(&held_before, &counters.holds);
        let is_aside = candidate::is_aside(counters);
        let stays = |key: &ListKey| previous.as_ref().filter(|_| candidate::stays(counters, key));
        let counts = Counts::with_stays(&lists, stays);
        let reason = if is_aside { format!("{}, held", publishing.reason) } else { publishing.reason.to_owned() };
        let header = self.header(counters, &reason, counts.clone(), now)?;
        let mut writer = self.writer(previous.as_ref(), header)?;
        let mut round = self.round(own, now);
        for (key, list) in &lists.lists {
            match stays(key) {
                Some(previous) => carry(&mut writer, previous, key, &matrix[key]),
                None => self.render(&mut writer, (key, list), &matrix[key], &mut round)?,
            }
        }
        self.carry_warninglists(&mut writer, previous.as_ref().filter(|_| is_own), now);
        let outcome = self.place(writer, counters)?;
        counters.owner = self.owner();
        let rendered = round.rendered;
        if !is_aside {
            let version = outcome.version.or(previous.as_ref().map(|opened| opened.manifest.version)).unwrap_or(0);
            let windows = std::mem::take(&mut round.windows);
            self.note_compared(counters, version, &matrix, windows, lists.grace_ends, decides);
            self.note_made(version, round);
            if publishing.fresh {
                counters.base.clear();
            }
        }
        drop(previous);
        self.keep(counters)?;
        if outcome.version.is_some() || is_aside {
            let spared = counters.candidate.map(|candidate| candidate.version);
            prune::prune(&self.view_dir, now.as_second(), &self.site.keep, spared)?;
        }
        let candidate = counters.candidate.map(|candidate| candidate.version);
        Ok(Report { rendered, candidate, holds: counters.holds.clone(), ..self.report(mirror, outcome, counts)? })
    }

    /// What the served version was compared with: while it stays so there is nothing to render.
    fn note_compared(
        &self,
        counters: &mut Counters,
        version: u64,
        matrix: &Matrix,
        windows: Windows,
        grace_ends: Option<i64>,
        decides: String,
    ) {
        counters.compared = Compared {
            mirror: counters.mirror.clone(),
            version,
            program: env!("CARGO_PKG_VERSION").into(),
            lists: matrix::artifact_keys(matrix).count() as u64,
            windows,
            grace_ends,
            decides,
        };
    }

    /// Where the window of each list's largest age begins: what is counted of a list is counted there.
    pub(super) fn wants(&self, matrix: &Matrix, now: Timestamp) -> Wants {
        let since =
            |slots: &Slots| matrix::counted(slots).map_or(i64::MIN, |(age, _)| AGES[age].since(now, &self.zone));
        matrix.iter().map(|(key, slots)| (key.clone(), since(slots))).collect()
    }

    /// Whether no list can differ from the served version: same mirror, same lists, and nothing has aged out.
    fn is_quiet(
        &self,
        previous: &Opened,
        matrix: &Matrix,
        counters: &Counters,
        publishing: &Publishing<'_>,
        decides: &str,
    ) -> bool {
        let Compared { mirror, version, program, lists, windows, grace_ends, decides: before } = &counters.compared;
        let same = before == decides
            && *mirror == counters.mirror
            && *version == previous.manifest.version
            && *program == env!("CARGO_PKG_VERSION")
            && counters.holds.is_empty()
            && grace_ends.is_none_or(|ends| publishing.now.as_second() < ends)
            && publishing.view_holds.is_empty();
        let artifacts = &previous.manifest.artifacts;
        let still = |(age, (began, oldest)): (&String, &(i64, i64))| {
            let since = AGES.iter().find(|known| known.name == age).map(|age| age.since(publishing.now, &self.zone));
            since.is_some_and(|since| *began <= since && since <= *oldest)
        };
        same && matrix::artifact_keys(matrix).count() as u64 == *lists
            && self.warninglists(previous, publishing.now).count() as u64 + *lists == artifacts.len() as u64
            && matrix::artifact_keys(matrix).all(|key| artifacts.contains_key(&key))
            && windows.iter().all(still)
            && artifacts.values().all(|artifact| previous.is_intact(artifact))
    }

    pub(super) fn report(&self, mirror: &Mirror, outcome: Outcome, counts: Counts) -> Result<Report, StageError> {
        let entries = manifest::open_current(&self.view_dir)?.map_or(0, |opened| opened.manifest.entries());
        Ok(Report {
            version: outcome.version,
            events: mirror.event_count(),
            rows: mirror.rows(),
            malformed: mirror.malformed(),
            entries,
            changes: outcome.changes,
            refusals: counts.refusals,
            losses: counts.losses,
            ..Report::default()
        })
    }
}

/// The lists of a feed that is held, as they are served.
fn carry(writer: &mut Writer<'_>, previous: &Opened, list: &ListKey, slots: &Slots) {
    for slot in slots.keys() {
        let key = matrix::artifact_key(list, *slot);
        if let Some(artifact) = previous.manifest.artifacts.get(&key) {
            writer.carry(&key, artifact);
        }
    }
}

/// Nothing changed: what there is.
fn quiet_report(mirror: &Mirror, previous: &Opened) -> Report {
    Report {
        events: mirror.event_count(),
        rows: mirror.rows(),
        malformed: mirror.malformed(),
        entries: previous.manifest.entries(),
        changes: previous.manifest.unchanged(),
        refusals: previous.manifest.refusals.clone(),
        losses: previous.manifest.losses.clone(),
        ..Report::default()
    }
}
