//! One view, once: fetch → index → render → snapshot. The only place that names all four.
//!
//! In: a site, the moment, and whether to read everything. Out: [`Report`], or a [`RefreshError`] that says which stage of
//! which view failed and why; whatever failed, what is served stays.
//!
//! Order: pull (nothing is locked, it may take minutes) → mirror kept → lists → version → counters. A crash between any two
//! is made good by the next refresh, because every list is compared with the version that is served.

mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, Site};
use crate::demand::Wanted;
use crate::fetch::{self, FetchError, Known, Sink, wire};
use crate::index::mirror::Mirror;
use crate::snapshot::manifest::Change;
use crate::snapshot::{SnapshotError, layout};
use crate::state::{StateError, ViewState};
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
                state.counters()?.on_demand.into_iter().map(|kept| (publish::wanted(&kept), kept.last_asked)).collect();
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
