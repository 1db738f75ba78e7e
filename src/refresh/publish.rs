//! Lists → version → counters: the blocking half of a refresh.
//!
//! In: a mirror (and wishes for lists), the moment, and what is held. Out: a [`Report`]; the version is in place and
//! `current` points to it.
//!
//! Invariants: one version of a view is written at a time; the highest number is kept before a version gets it; what the
//! served version holds and the configuration still covers stays, empty if need be; if nothing can have changed, nothing is
//! rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::holds;
use super::matrix::{self, Matrix, Slots};
use super::{How, Inner, Kept, Report, StageError, lock};
use crate::demand::Wanted;
use crate::index::mirror::Mirror;
use crate::index::select::{self, ListKey, Lists};
use crate::index::{AGES, DataType, List, TYPES};
use crate::render::{Body, FORMATS, Rendered};
use crate::snapshot::layout;
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Header, Outcome, Writer, hex};
use crate::state::{Compared, Counters, Hold};

/// Age → where its window begins, and the oldest attribute that counts.
type Windows = BTreeMap<String, (i64, i64)>;

/// What a publishing is about.
pub(super) struct Publishing<'a> {
    pub(super) reason: &'a str,
    pub(super) how: How,
    pub(super) now: Timestamp,
    /// Holds on the whole view, which are decided before.
    pub(super) view_holds: BTreeMap<String, Hold>,
}

impl Inner {
    /// The mirror, from memory or from its file; `None` if there is none for the present rules and source.
    pub(super) fn mirror(&self) -> Result<Option<Arc<Kept>>, StageError> {
        let mut known = lock(&self.known);
        if known.is_none()
            && let Some(bytes) = self.state.mirror()?
        {
            match Mirror::decode(&bytes) {
                Ok((mirror, hash)) if mirror.fingerprint() == self.fingerprint() => {
                    *known = Some(Arc::new(Kept { mirror, hash: hex(&hash) }));
                }
                Ok(_) => tracing::info!(view = %self.site.view, "rules or source changed: everything is read again"),
                Err(_) => self.state.put_aside(&self.state.mirror_path())?,
            }
        }
        Ok(known.clone())
    }

    /// Publishes from what is known.
    pub(super) fn expire(&self, now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let known = self.mirror()?.ok_or(StageError::NoMirror)?;
        let mut counters = self.counters()?;
        let view_holds = counters.holds.iter().filter(|(key, _)| !key.starts_with("feed "));
        let view_holds = view_holds.map(|(key, hold)| (key.clone(), hold.clone())).collect();
        self.publish(&known, &mut counters, Publishing { reason: "ages", how: How::default(), now, view_holds })
    }

    /// Makes the lists that can have changed, and a version if they did. The counters are kept.
    pub(super) fn publish(
        &self,
        Kept { mirror, hash }: &Kept,
        counters: &mut Counters,
        publishing: Publishing<'_>,
    ) -> Result<Report, StageError> {
        let now = publishing.now;
        // What is in memory counts: a crash may have left counters that name the mirror before.
        counters.mirror.clone_from(hash);
        let is_own = self.is_own(counters);
        self.drop_idle(now);
        let matrix = self.matrix();
        let previous = self.previous()?;
        if let Some(opened) = previous.as_ref().filter(|opened| self.is_quiet(opened, &matrix, counters, &publishing)) {
            let report = quiet_report(mirror, opened);
            counters.owner = self.owner();
            self.keep(counters)?;
            return Ok(report);
        }
        let keys: BTreeSet<ListKey> = matrix.keys().cloned().collect();
        let lists = select::lists(mirror, &self.site.rules, &keys);
        self.decide_holds(&lists, previous.is_some() && is_own, counters, &publishing);
        let header = self.header(counters, publishing.reason, refusals(&lists), now)?;
        let mut writer = Writer::new(&self.view_dir, previous.as_ref(), header)?;
        let (mut windows, mut rendered) = (Windows::new(), 0);
        for (key, list) in &lists.lists {
            match previous.as_ref().filter(|_| holds::hold_on(&counters.holds, &key.0).is_some()) {
                Some(previous) => carry(&mut writer, previous, key, &matrix[key]),
                None => rendered += self.render(&mut writer, key, list, &matrix[key], now, &mut windows)?,
            }
        }
        self.carry_warninglists(&mut writer, previous.as_ref().filter(|_| is_own), now);
        let outcome = self.finish(writer, counters)?;
        let version = outcome.version.or(previous.as_ref().map(|opened| opened.manifest.version)).unwrap_or(0);
        drop(previous);
        counters.owner = self.owner();
        counters.compared = Compared {
            mirror: counters.mirror.clone(),
            version,
            program: env!("CARGO_PKG_VERSION").into(),
            lists: matrix::artifact_keys(&matrix).count() as u64,
            windows,
        };
        self.keep(counters)?;
        if outcome.version.is_some() {
            prune::prune(&self.view_dir, now.as_second(), &self.site.keep)?;
        }
        let holds = counters.holds.clone();
        Ok(Report { rendered, holds, ..self.report(mirror, outcome, refusals(&lists))? })
    }

    /// Whether no list can differ from the served version: same mirror, same lists, and nothing has aged out.
    fn is_quiet(&self, previous: &Opened, matrix: &Matrix, counters: &Counters, publishing: &Publishing<'_>) -> bool {
        let Compared { mirror, version, program, lists, windows } = &counters.compared;
        let same = *mirror == counters.mirror
            && *version == previous.manifest.version
            && *program == env!("CARGO_PKG_VERSION")
            && counters.holds.is_empty()
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

    /// Adds lists on demand to what is published.
    pub(super) fn publish_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, StageError> {
        // The lock first: the lists must come from the mirror of the version they are added to, not from an older one.
        let _publishing = lock(&self.publishing);
        let known = self.mirror()?.ok_or(StageError::NoMirror)?;
        let mut counters = self.counters()?;
        let matrix = {
            let mut on_demand = lock(&self.on_demand);
            on_demand.extend(wanted.iter().map(|wanted| (wanted.clone(), now.as_second())));
            let mut matrix = Matrix::new();
            wanted.iter().for_each(|wanted| self.add_wanted(&mut matrix, wanted));
            matrix
        };
        let keys: BTreeSet<ListKey> = matrix.keys().cloned().collect();
        let lists = select::lists(&known.mirror, &self.site.rules, &keys);
        let previous = self.own_previous(&counters)?;
        let mut writer = self.adding(previous.as_ref(), &counters, now)?;
        let mut rendered = 0;
        for (key, list) in &lists.lists {
            rendered += self.render(&mut writer, key, list, &matrix[key], now, &mut Windows::new())?;
        }
        let outcome = self.finish(writer, &mut counters)?;
        self.keep(&mut counters)?;
        drop(previous);
        self.drop_on_demand();
        Ok(Report { rendered, ..self.report(&known.mirror, outcome, refusals(&lists))? })
    }

    /// Adds bodies that are made of no mirror to what is published.
    pub(super) fn publish_fixed(&self, bodies: &[Rendered], now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let mut counters = self.counters()?;
        let previous = self.own_previous(&counters)?;
        let mut writer = self.adding(previous.as_ref(), &counters, now)?;
        for body in bodies {
            writer.add(body, false)?;
        }
        let outcome = self.finish(writer, &mut counters)?;
        if let (Some(version), Some(previous)) = (outcome.version, &previous)
            && counters.compared.version == previous.manifest.version
        {
            // The lists are those of the version before.
            counters.compared.version = version;
        }
        self.keep(&mut counters)?;
        drop(previous);
        self.drop_on_demand();
        let entries = manifest::open_current(&self.view_dir)?.map_or(0, |opened| opened.manifest.entries());
        Ok(Report { version: outcome.version, entries, rendered: bodies.len() as u64, ..Report::default() })
    }

    /// A version that holds all of the one before, to be added to.
    fn adding<'a>(
        &self,
        previous: Option<&'a Opened>,
        counters: &Counters,
        now: Timestamp,
    ) -> Result<Writer<'a>, StageError> {
        let kept = previous.map(|opened| opened.manifest.refusals.clone()).unwrap_or_default();
        let header = self.header(counters, prune::ON_DEMAND, kept, now)?;
        let mut writer = Writer::new(&self.view_dir, previous, header)?;
        carry_lists(&mut writer, previous);
        self.carry_warninglists(&mut writer, previous, now);
        Ok(writer)
    }

    /// Versions that only added lists on demand give way. One that cannot be removed only takes up room.
    fn drop_on_demand(&self) {
        if let Err(error) = prune::drop_on_demand(&self.view_dir) {
            tracing::warn!(view = %self.site.view, %error, "a version that nobody needs any more could not be removed");
        }
    }

    /// Whether the served version is what this view's user sees. State that was lost says nothing; the main view is then served
    /// all the same.
    pub(super) fn is_own(&self, counters: &Counters) -> bool {
        counters.owner == self.owner() || (counters.owner.is_empty() && self.site.view.is_main())
    }

    /// The version that is served, to be added to. Err: it is what somebody else saw, which is not carried over.
    fn own_previous(&self, counters: &Counters) -> Result<Option<Opened>, StageError> {
        let previous = self.previous()?;
        if previous.is_none() || self.is_own(counters) { Ok(previous) } else { Err(StageError::NoMirror) }
    }

    pub(super) fn counters(&self) -> Result<Counters, StageError> {
        let mut counters = self.state.counters()?;
        if !counters.owner.is_empty() && counters.owner != self.owner() {
            // What somebody else saw is no measure of what this user sees: it holds nothing back, and nothing of it stays.
            let Counters { highest, lineage, owner, on_demand, .. } = counters;
            counters = Counters { highest, lineage, owner, on_demand, ..Counters::default() };
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
    fn previous(&self) -> Result<Option<Opened>, StageError> {
        manifest::open_current(&self.view_dir).or_else(|error| {
            tracing::warn!(view = %self.site.view, %error, "the served version cannot be read; a new one is written");
            Ok(None)
        })
    }

    fn header(
        &self,
        counters: &Counters,
        reason: &str,
        refusals: BTreeMap<String, BTreeMap<String, u64>>,
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
            refusals,
        })
    }

    fn finish(&self, writer: Writer<'_>, counters: &mut Counters) -> Result<Outcome, StageError> {
        writer.finish(&empty_forms(), |number| {
            counters.highest = number;
            // Only the number: everything else is true once the version is in place.
            let kept = Counters { highest: number, ..self.counters()? };
            Ok(self.state.keep_counters(&kept)?)
        })
    }

    fn drop_idle(&self, now: Timestamp) {
        let idle = i64::try_from(self.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX);
        lock(&self.on_demand).retain(|_, asked| now.as_second().saturating_sub(*asked) <= idle);
    }

    /// Renders one list in its ages and formats; ages are nested, so equal counts mean equal content, rendered once.
    /// Returns the number of bodies that were made.
    fn render(
        &self,
        writer: &mut Writer<'_>,
        list_key @ (_, data_type): &ListKey,
        list: &List,
        slots: &Slots,
        now: Timestamp,
        windows: &mut Windows,
    ) -> Result<u64, StageError> {
        // Per format the body of the age before, and no more: all ages of a large list at once would fill the memory.
        let mut last: BTreeMap<usize, (usize, Arc<Body>)> = BTreeMap::new();
        let counted = matrix::counted(slots);
        let mut made = 0;
        for (slot @ (age, format), on_demand) in slots {
            let (age, form) = (&AGES[*age], &FORMATS[*format]);
            let since = age.since(now, &self.zone);
            let oldest = list.oldest_since(since).unwrap_or(i64::MAX);
            let window = windows.entry(age.name.to_owned()).or_insert((since, oldest));
            window.1 = window.1.min(oldest);
            let values = list.count_since(since);
            if last.get(format).is_none_or(|(count, _)| *count != values) {
                last.remove(format);
                made += 1;
            }
            let make = || (values, Arc::new(form.body(data_type, list.since(since))));
            let (_, body) = last.entry(*format).or_insert_with(make);
            let rendered = Rendered {
                key: matrix::artifact_key(list_key, *slot),
                data_type: Some(*data_type),
                format: form,
                body: Arc::clone(body),
                on_demand: *on_demand,
            };
            writer.add(&rendered, Some(*slot) == counted)?;
        }
        Ok(made)
    }

    fn report(
        &self,
        mirror: &Mirror,
        outcome: Outcome,
        refusals: BTreeMap<String, BTreeMap<String, u64>>,
    ) -> Result<Report, StageError> {
        let entries = manifest::open_current(&self.view_dir)?.map_or(0, |opened| opened.manifest.entries());
        Ok(Report {
            version: outcome.version,
            events: mirror.event_count(),
            rows: mirror.rows(),
            malformed: mirror.malformed(),
            entries,
            changes: outcome.changes,
            refusals,
            ..Report::default()
        })
    }
}

/// All lists as they are served.
fn carry_lists(writer: &mut Writer<'_>, previous: Option<&Opened>) {
    let artifacts = previous.into_iter().flat_map(|opened| &opened.manifest.artifacts);
    artifacts
        .filter(|(key, _)| layout::warninglist_of(key).is_none())
        .for_each(|(key, artifact)| writer.carry(key, artifact));
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
        ..Report::default()
    }
}

fn refusals(lists: &Lists) -> BTreeMap<String, BTreeMap<String, u64>> {
    let named =
        |reasons: &BTreeMap<_, u64>| reasons.iter().map(|(reason, count)| (format!("{reason}"), *count)).collect();
    lists.refusals.iter().map(|(name, reasons)| ((*name).to_owned(), named(reasons))).collect()
}

/// The empty form of every data type and format: what a list answers that was never anything but empty.
fn empty_forms() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |data_type: &'static DataType| {
        let takers = FORMATS.iter().filter(|format| format.takes(data_type.name));
        takers.map(|format| (data_type.name, format.extension, format.body(data_type.name, std::iter::empty()).bytes))
    };
    TYPES.iter().flat_map(of).collect()
}
