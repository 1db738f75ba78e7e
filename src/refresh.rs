//! One view, once: fetch → index → render → snapshot. The only place that names all four.
//!
//! In: a site, the moment, and whether to read everything. Out: [`Report`], or a [`RefreshError`] that says which stage of
//! which view failed and why; whatever failed, what is served stays.
//!
//! Order: pull (nothing is locked, it may take minutes) → mirror kept → lists → version → counters. A crash between any two
//! is made good by the next refresh, because every list is compared with the version that is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, Site};
use crate::demand::Wanted;
use crate::fetch::{self, FetchError, Known, Sink, wire};
use crate::index::mirror::Mirror;
use crate::index::select::{self, ListKey, Lists};
use crate::index::{Age, DataType, List, Slice, TYPES};
use crate::render::{FORMATS, Format, Rendered};
use crate::snapshot::manifest::{self, Change, Opened};
use crate::snapshot::write::{Header, Outcome, Writer, hex};
use crate::snapshot::{SnapshotError, layout, prune};
use crate::state::{Counters, OnDemand, StateError, ViewState};
use crate::view::ViewId;

/// What a refresh did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The new version; `None`: nothing new.
    pub version: Option<u64>,
    /// Events of the source.
    pub events: u64,
    /// Of these, read again.
    pub read: u64,
    /// Attributes in the mirror.
    pub rows: u64,
    /// Attributes that could not be read.
    pub malformed: u64,
    /// Indicators published, every list at its largest age.
    pub entries: u64,
    /// `feed/type` → what changed; every list that has entries or changed.
    pub changes: BTreeMap<String, Change>,
    /// Data type → reason → values that are in no list.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Why a refresh failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("{view}: {stage}")]
pub struct RefreshError {
    /// Whose refresh.
    pub view: ViewId,
    /// The stage and its cause.
    #[source]
    pub stage: StageError,
}

/// The stage that failed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The source.
    #[error("fetch: {0}")]
    Fetch(#[from] FetchError),
    /// Longer than `refresh_time_limit`.
    #[error("fetch: not done after {0} s (refresh_time_limit)")]
    TimeLimit(u64),
    /// Writing or reading versions.
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// Mirror or counters.
    #[error("state: {0}")]
    State(#[from] StateError),
    /// Nothing was pulled yet, or under other rules.
    #[error("index: nothing known of this view under its present rules; a refresh comes first")]
    NoMirror,
    /// A thread ended early.
    #[error("{0}")]
    Thread(String),
}

/// How far a pull is: events done, events to do.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Refreshes one view and keeps what that needs between refreshes.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    site: Site,
    zone: TimeZone,
    view_dir: PathBuf,
    state: ViewState,
    known: Mutex<Option<Arc<Mirror>>>,
    on_demand: Mutex<BTreeMap<Wanted, i64>>,
    /// Held while a version is written.
    publishing: Mutex<()>,
}

/// Locks; a poisoned lock guards data that is replaced whole, so it is still good.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// Opens a site's main view: state is read, left-overs of a killed process are removed.
    pub fn open(config: &Config, site: &Site) -> Result<Self, RefreshError> {
        let open = || -> Result<Inner, StageError> {
            let state = ViewState::open(&config.state_dir, &site.view)?;
            state.remove_leftovers()?;
            let on_demand =
                state.counters()?.on_demand.into_iter().map(|kept| (wanted(&kept), kept.last_asked)).collect();
            Ok(Inner {
                site: site.clone(),
                zone: config.timezone.clone(),
                view_dir: layout::view_dir(&config.feeds_dir, site.view.site(), site.view.name()),
                state,
                known: Mutex::default(),
                on_demand: Mutex::new(on_demand),
                publishing: Mutex::default(),
            })
        };
        open().map(|inner| Self(Arc::new(inner))).map_err(|stage| RefreshError { view: site.view.clone(), stage })
    }

    /// The view it publishes.
    pub fn view(&self) -> &ViewId {
        &self.0.site.view
    }

    /// The folder of its versions.
    pub fn view_dir(&self) -> &Path {
        &self.0.view_dir
    }

    /// Unix seconds of the last refresh that succeeded, also in an earlier run.
    pub fn last_success(&self) -> Option<i64> {
        self.0.state.counters().ok()?.last_success
    }

    /// Lists on demand and when they were last asked for (Unix seconds).
    pub fn on_demand(&self) -> BTreeMap<Wanted, i64> {
        lock(&self.0.on_demand).clone()
    }

    /// Takes newer times over.
    pub fn note_asked(&self, times: impl IntoIterator<Item = (Wanted, i64)>) {
        let mut on_demand = lock(&self.0.on_demand);
        for (wanted, asked) in times {
            if let Some(last) = on_demand.get_mut(&wanted) {
                *last = asked.max(*last);
            }
        }
    }

    /// Pulls what changed (or everything, if `full`) and publishes.
    pub async fn refresh(&self, full: bool, now: Timestamp, progress: Progress) -> Result<Report, RefreshError> {
        self.pull_and_publish(full, now, progress).await.map_err(|stage| self.failed(stage))
    }

    /// Publishes lists on demand from the mirror; everything else is carried over. Lists that do not exist here are left
    /// out.
    pub async fn render_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, RefreshError> {
        let inner = Arc::clone(&self.0);
        on_thread(move || inner.publish_wanted(wanted, now)).await.map_err(|stage| self.failed(stage))
    }

    fn failed(&self, stage: StageError) -> RefreshError {
        RefreshError { view: self.view().clone(), stage }
    }

    async fn pull_and_publish(&self, full: bool, now: Timestamp, progress: Progress) -> Result<Report, StageError> {
        let inner = Arc::clone(&self.0);
        let before = on_thread(move || inner.mirror()).await?;
        let base = before.filter(|_| !full);
        let known = base.as_ref().map_or_else(Known::new, |mirror| mirror.known());
        let fresh = base.is_none();
        let mut pull = Pull {
            mirror: base.map_or_else(|| Mirror::new(self.0.site.rules.fingerprint()), |mirror| Mirror::clone(&mirror)),
            wanted: self.0.site.rules.misp_types().into_iter().map(str::to_owned).collect(),
            progress,
        };
        let limit = self.0.site.time_limit;
        let pulled = tokio::time::timeout(limit, fetch::pull(&self.0.site.source, &known, &mut pull))
            .await
            .map_err(|_| StageError::TimeLimit(limit.as_secs()))??;
        let mut mirror = pull.mirror;
        pulled.gone.iter().for_each(|uuid| mirror.drop_event(uuid));
        let changed = fresh || pulled.read > 0 || !pulled.gone.is_empty();
        let inner = Arc::clone(&self.0);
        let reason = if full { "full refresh" } else { "refresh" };
        let mut report = on_thread(move || inner.publish(mirror, changed, reason, now)).await?;
        (report.events, report.read) = (pulled.events, pulled.read);
        Ok(report)
    }
}

/// Runs a blocking step off the async threads.
async fn on_thread<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    tokio::task::spawn_blocking(step).await.map_err(|error| StageError::Thread(error.to_string()))?
}

/// Puts what a pull brings into a mirror.
struct Pull {
    mirror: Mirror,
    wanted: BTreeSet<String>,
    progress: Progress,
}

impl Sink for Pull {
    fn event(&mut self, event: wire::Event) {
        let wanted = &self.wanted;
        self.mirror.apply(event, |kind| wanted.contains(kind));
    }

    fn progress(&mut self, done: u64, of: u64) {
        (self.progress)(done, of);
    }
}

impl Inner {
    /// The mirror, from memory or from its file; `None` if there is none for the present rules.
    fn mirror(&self) -> Result<Option<Arc<Mirror>>, StageError> {
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
    fn publish(&self, mirror: Mirror, changed: bool, reason: &str, now: Timestamp) -> Result<Report, StageError> {
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
        prune::prune(&self.view_dir, now.as_second(), &self.site.keep)?;
        self.report(&mirror, outcome, refusals(&lists))
    }

    /// Adds lists on demand to what is published.
    fn publish_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, StageError> {
        let mirror = self.mirror()?.ok_or(StageError::NoMirror)?;
        let _publishing = lock(&self.publishing);
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
            let (age, form) = (&crate::index::AGES[*age], &FORMATS[*format]);
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
    crate::index::AGES.iter().position(|other| other.name == age.name).unwrap_or(0)
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

fn wanted(kept: &OnDemand) -> Wanted {
    let [feed, data_type, age, format] = kept.list.clone();
    Wanted { feed, data_type, age, format }
}

fn kept(wanted: &Wanted, last_asked: i64) -> OnDemand {
    let Wanted { feed, data_type, age, format } = wanted.clone();
    OnDemand { list: [feed, data_type, age, format], last_asked }
}
