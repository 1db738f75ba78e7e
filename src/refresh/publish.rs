//! The blocking half of a refresh: mirror kept → lists → version → counters.
//!
//! In: a mirror (or wishes for lists) and the moment. Out: a [`Report`]; the version is in place and `current` points to it.
//!
//! Invariants: one version of a view is written at a time; the highest number is kept before a version gets it; what the
//! served version holds and the configuration still covers stays, empty if need be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Inner, Report, StageError, lock};
use crate::demand::Wanted;
use crate::index::mirror::Mirror;
use crate::index::select::{self, ListKey, Lists};
use crate::index::{AGES, Age, DataType, List, Slice, TYPES};
use crate::render::{FORMATS, Format, Rendered};
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Header, Outcome, Writer, hex};
use crate::state::{Counters, OnDemand};

impl Inner {
    /// The mirror, from memory or from its file; `None` if there is none for the present rules.
    pub(super) fn mirror(&self) -> Result<Option<Arc<Mirror>>, StageError> {
        let mut known = lock(&self.known);
        if known.is_none()
            && let Some(bytes) = self.state.mirror()?
        {
            match Mirror::decode(&bytes) {
                Ok((mirror, _)) if mirror.fingerprint() == self.site.rules.fingerprint() => {
                    *known = Some(Arc::new(mirror));
                }
                Ok(_) => tracing::info!(view = %self.site.view, "the rules changed: everything is read again"),
                Err(_) => self.state.put_aside(&self.state.mirror_path())?,
            }
        }
        Ok(known.clone())
    }

    /// Keeps the mirror, makes all lists, writes a version if they changed.
    pub(super) fn publish(
        &self,
        mirror: Mirror,
        changed: bool,
        reason: &str,
        now: Timestamp,
    ) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let mut counters = self.counters()?;
        if changed || counters.mirror.is_empty() {
            counters.mirror = hex(&self.state.keep_mirror(|out| mirror.encode(out))?);
        }
        let mirror = Arc::new(mirror);
        *lock(&self.known) = Some(Arc::clone(&mirror));
        self.drop_idle(now);
        let matrix = self.matrix();
        let keys: BTreeSet<ListKey> = matrix.keys().cloned().collect();
        let lists = select::lists(&mirror, &self.site.rules, &keys);
        let previous = self.previous()?;
        let header = self.header(&counters, reason, refusals(&lists), now)?;
        let mut writer = Writer::new(&self.view_dir, previous.as_ref(), header)?;
        for (key, list) in &lists.lists {
            self.render(&mut writer, key, list, &matrix[key], now)?;
        }
        let outcome = self.finish(writer, &mut counters)?;
        counters.last_success = Some(now.as_second());
        self.keep(&mut counters)?;
        drop(previous);
        if outcome.version.is_some() {
            prune::prune(&self.view_dir, now.as_second(), &self.site.keep)?;
        }
        self.report(&mirror, outcome, refusals(&lists))
    }

    /// Adds lists on demand to what is published.
    pub(super) fn publish_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, StageError> {
        // The lock first: the lists must come from the mirror of the version they are added to, not from an older one.
        let _publishing = lock(&self.publishing);
        let mirror = self.mirror()?.ok_or(StageError::NoMirror)?;
        let mut counters = self.counters()?;
        let matrix = {
            let mut on_demand = lock(&self.on_demand);
            on_demand.extend(wanted.iter().map(|wanted| (wanted.clone(), now.as_second())));
            let mut matrix = Matrix::new();
            wanted.iter().for_each(|wanted| self.add_wanted(&mut matrix, wanted));
            matrix
        };
        let keys: BTreeSet<ListKey> = matrix.keys().cloned().collect();
        let lists = select::lists(&mirror, &self.site.rules, &keys);
        let previous = self.previous()?;
        let kept = previous.as_ref().map(|opened| opened.manifest.refusals.clone()).unwrap_or_default();
        let header = self.header(&counters, "on demand", kept, now)?;
        let mut writer = Writer::new(&self.view_dir, previous.as_ref(), header)?;
        for (key, artifact) in previous.iter().flat_map(|opened| &opened.manifest.artifacts) {
            writer.carry(key, artifact);
        }
        for (key, list) in &lists.lists {
            self.render(&mut writer, key, list, &matrix[key], now)?;
        }
        let outcome = self.finish(writer, &mut counters)?;
        self.keep(&mut counters)?;
        self.report(&mirror, outcome, refusals(&lists))
    }

    fn counters(&self) -> Result<Counters, StageError> {
        let mut counters = self.state.counters()?;
        if counters.lineage.is_empty() {
            counters.lineage = lineage();
        }
        Ok(counters)
    }

    fn keep(&self, counters: &mut Counters) -> Result<(), StageError> {
        let on_demand = lock(&self.on_demand);
        counters.on_demand = on_demand.iter().map(|(wanted, asked)| kept(wanted, *asked)).collect();
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
            Ok(self.state.keep_counters(counters)?)
        })
    }

    /// Every list to publish, and in which ages and formats.
    fn matrix(&self) -> Matrix {
        let publish = &self.site.publish;
        let mut matrix = Matrix::new();
        for feed in &publish.feeds {
            for data_type in &publish.types {
                let slots = matrix.entry((Slice::Feed(feed.as_str().into()), data_type.name)).or_default();
                for age in &publish.ages {
                    for format in &publish.formats {
                        slots.insert((place_of(age), place_of_format(format)), false);
                    }
                }
            }
        }
        for wanted in lock(&self.on_demand).keys() {
            self.add_wanted(&mut matrix, wanted);
        }
        matrix
    }

    fn add_wanted(&self, matrix: &mut Matrix, wanted: &Wanted) {
        let slice = Slice::Feed(wanted.feed.as_str().into());
        if let (true, Some(data_type), Some(age), Some(format)) = (
            self.site.rules.knows(&slice),
            DataType::named(&wanted.data_type),
            Age::named(&wanted.age),
            Format::named(&wanted.format),
        ) {
            let slots = matrix.entry((slice, data_type.name)).or_default();
            slots.entry((place_of(age), place_of_format(format))).or_insert(true);
        }
    }

    fn drop_idle(&self, now: Timestamp) {
        let idle = i64::try_from(self.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX);
        lock(&self.on_demand).retain(|_, asked| now.as_second().saturating_sub(*asked) <= idle);
    }

    /// Renders one list in its ages and formats; ages with equal counts have equal content and share one body.
    fn render(
        &self,
        writer: &mut Writer<'_>,
        (slice, data_type): &ListKey,
        list: &List,
        slots: &Slots,
        now: Timestamp,
    ) -> Result<(), StageError> {
        let mut bodies: BTreeMap<(usize, usize), Arc<Vec<u8>>> = BTreeMap::new();
        let largest = slots.keys().next_back().copied();
        for (slot @ (age, format), on_demand) in slots {
            let (age, form) = (&AGES[*age], &FORMATS[*format]);
            let since = age.since(now, &self.zone);
            let entries = list.count_since(since);
            let body = bodies.entry((entries, *format)).or_insert_with(|| Arc::new(form.body(list.since(since))));
            let rendered = Rendered {
                feed: slice.to_string(),
                data_type,
                age: age.name,
                format: form,
                entries: entries as u64,
                body: Arc::clone(body),
                on_demand: *on_demand,
            };
            writer.add(&rendered, Some(*slot) == largest)?;
        }
        Ok(())
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
            read: 0,
            rows: mirror.rows(),
            malformed: mirror.malformed(),
            entries,
            changes: outcome.changes,
            refusals,
        })
    }
}

/// Place in AGES and in FORMATS → wanted by a request only.
type Slots = BTreeMap<(usize, usize), bool>;
/// Which lists, in which ages and formats.
type Matrix = BTreeMap<ListKey, Slots>;

fn place_of(age: &Age) -> usize {
    AGES.iter().position(|other| other.name == age.name).unwrap_or(0)
}

fn place_of_format(format: &Format) -> usize {
    FORMATS.iter().position(|other| other.name == format.name).unwrap_or(0)
}

fn refusals(lists: &Lists) -> BTreeMap<String, BTreeMap<String, u64>> {
    let named =
        |reasons: &BTreeMap<_, u64>| reasons.iter().map(|(reason, count)| (format!("{reason}"), *count)).collect();
    lists.refusals.iter().map(|(name, reasons)| ((*name).to_owned(), named(reasons))).collect()
}

/// The empty form of every data type and format: what a list answers that was never anything but empty.
fn empty_forms() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |data_type: &'static DataType| {
        FORMATS.iter().map(|format| (data_type.name, format.extension, format.body(std::iter::empty())))
    };
    TYPES.iter().flat_map(of).collect()
}

fn lineage() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(super) fn wanted(kept: &OnDemand) -> Wanted {
    let [feed, data_type, age, format] = kept.list.clone();
    Wanted { feed, data_type, age, format }
}

fn kept(wanted: &Wanted, last_asked: i64) -> OnDemand {
    let Wanted { feed, data_type, age, format } = wanted.clone();
    OnDemand { list: [feed, data_type, age, format], last_asked }
}
