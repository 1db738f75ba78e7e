//! One view, once: fetch → index → render → snapshot. The only place that names all four.
//!
//! In: a site, the moment, and how thoroughly. Out: [`Report`], or a [`RefreshError`] that says which stage of which view
//! failed and why; whatever failed, what is served stays.
//!
//! | file | answers |
//! |---|---|
//! | `pull.rs` | what is known → a question → a new mirror |
//! | [`holds`] | what must not be published yet |
//! | [`guard`] | how much a list may change at once |
//! | `candidate.rs` | whether a version is served or put aside |
//! | [`steer`] | what somebody decides about versions |
//! | [`mod@never`] | what is never published, and the warninglists it names |
//! | `purge.rs` | what is served, without what must never be published |
//! | `kept.rs` | the mirror, in memory and in its file |
//! | `take_over.rs` | a pull is taken over, or held |
//! | `publish.rs` | lists → version → counters |
//! | `selection.rs` | the lists of a mirror, made once |
//! | `lists.rs` | one list → its bodies |
//! | `counts.rs` | what became of every attribute |
//! | `served.rs` | what is served now, and what is counted of it |
//! | `wanted.rs` | lists on demand, added to what is served |
//! | [`contact`] | questions beside a refresh: version, statistics, warninglists |
//! | `error.rs` | why a refresh failed |
//! | `matrix.rs` | which lists, in which ages and formats |
//! | [`repair`] | lists made once more, as they were |
//!
//! Order: pull (nothing is locked, it may take minutes) → holds → mirror kept → lists → version → counters. A crash between
//! any two is made good by the next refresh, because every list is compared with the version that is served.

mod candidate;
pub mod contact;
mod counts;
mod error;
pub mod guard;
pub mod holds;
mod kept;
mod lists;
mod matrix;
pub mod never;
mod publish;
mod pull;
mod purge;
pub mod repair;
mod selection;
mod served;
pub mod steer;
mod take_over;
mod wanted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Site};
use crate::contact::Contact;
use crate::demand::Wanted;
use crate::fetch::{Pulled, Server};
use crate::index::never::Never;
use crate::index::{Slice, mirror::Coverage};
use crate::snapshot::gzip::Blocks;
use crate::snapshot::manifest::{self, Change, Losses};
use crate::snapshot::{self, layout};
use crate::state::{Hold, ViewState};
use crate::view::ViewId;
use kept::Kept;

pub use counts::NOT_IN_FEED;
pub use error::{RefreshError, StageError};
pub use steer::{Act, Waiting};
pub use take_over::remedy;

/// How thorough a refresh is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Read everything; confirms what is held.
    pub full: bool,
    /// Publish what is held.
    pub release: bool,
}

/// What a refresh did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The new version; `None`: nothing new.
    pub version: Option<u64>,
    /// A newer version that is written but not served.
    #[serde(default)]
    pub candidate: Option<u64>,
    /// Everything was read.
    pub full: bool,
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
    /// Bodies that were made.
    pub rendered: u64,
    /// `feed/type` → what changed; every list that has entries or changed.
    pub changes: BTreeMap<String, Change>,
    /// Data type → reason → values that are in no list.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
    /// `feed/type` → what became of the attributes of its MISP types; lists without any are left out.
    pub losses: BTreeMap<String, Losses>,
    /// What is not published until it is confirmed.
    pub holds: BTreeMap<String, Hold>,
    /// What the source says of itself, if it was asked.
    #[serde(skip)]
    pub server: Option<Server>,
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
    known: Mutex<Option<Arc<Kept>>>,
    on_demand: Mutex<BTreeMap<Wanted, i64>>,
    contact: Mutex<Contact>,
    /// What is never published; `None`: not made ready yet, or not any more.
    never: Mutex<Option<Arc<Never>>>,
    selection: Mutex<Option<selection::Selection>>,
    made: lists::Made,
    blocks: Blocks,
    /// Held while a version is written.
    publishing: Mutex<()>,
    /// The served version is what somebody else sees; it must not be shown.
    is_foreign: AtomicBool,
}

/// Locks; a poisoned lock guards data that is replaced whole, so it is still good.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// Opens a site's view: state is read, left-overs of a killed process are removed.
    pub fn open(config: &Config, site: &Site) -> Result<Self, RefreshError> {
        let open = || -> Result<Inner, StageError> {
            let state = ViewState::open(&config.state_dir, &site.view)?;
            state.remove_leftovers()?;
            let on_demand =
                state.counters()?.on_demand.into_iter().map(|kept| (matrix::wanted(&kept), kept.last_asked)).collect();
            let mut inner = Inner {
                site: site.clone(),
                zone: config.timezone.clone(),
                view_dir: layout::view_dir(&config.feeds_dir, site.view.site(), site.view.name()),
                state,
                known: Mutex::default(),
                on_demand: Mutex::new(on_demand),
                contact: Mutex::default(),
                never: Mutex::default(),
                selection: Mutex::default(),
                made: lists::Made::default(),
                blocks: Blocks::default(),
                publishing: Mutex::default(),
                is_foreign: AtomicBool::new(false),
            };
            let is_own = inner.is_own(&inner.state.counters()?);
            inner.is_foreign.store(!is_own, Ordering::Relaxed);
            inner.contact = Mutex::new(inner.kept_contact()?);
            Ok(inner)
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

    /// Whether the served version is what the present key's user sees. After a change of the key it is what somebody else
    /// saw, until a refresh has ended.
    pub fn owns_current(&self) -> bool {
        !self.0.is_foreign.load(Ordering::Relaxed)
    }

    /// The number of the served version, once after it has become this user's without being a new one.
    pub fn newly_owned(&self) -> Option<u64> {
        let owned = self.0.state.counters().is_ok_and(|counters| counters.owner == self.0.owner());
        (owned && self.0.is_foreign.swap(false, Ordering::Relaxed))
            .then(|| manifest::open_current(&self.0.view_dir).ok().flatten().map(|opened| opened.manifest.version))
            .flatten()
    }

    /// Unix seconds of the last refresh that succeeded, also in an earlier run.
    pub fn last_success(&self) -> Option<i64> {
        self.0.counters().ok()?.last_success
    }

    /// Unix seconds of the last full pull that succeeded, also in an earlier run.
    pub fn last_full(&self) -> Option<i64> {
        self.0.counters().ok()?.last_full
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

    /// Pulls what changed (or everything) and publishes.
    pub async fn refresh(&self, how: How, now: Timestamp, progress: Progress) -> Result<Report, RefreshError> {
        self.pull_and_publish(how, now, progress).await.map_err(|stage| self.failed(stage))
    }

    /// Publishes from what is known: with the source away, ages go on expiring.
    pub async fn expire(&self, now: Timestamp) -> Result<Report, RefreshError> {
        let inner = Arc::clone(&self.0);
        on_thread(move || inner.expire(now)).await.map_err(|stage| self.failed(stage))
    }

    /// Publishes lists on demand from the mirror; everything else is carried over. Lists that do not exist here are left
    /// out.
    pub async fn render_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, RefreshError> {
        let inner = Arc::clone(&self.0);
        on_thread(move || inner.publish_wanted(wanted, now)).await.map_err(|stage| self.failed(stage))
    }

    /// Which lists can be made now: their rows are known, and their feed is not held.
    pub async fn can_render(&self, wanted: Vec<Wanted>) -> Result<Vec<bool>, RefreshError> {
        let inner = Arc::clone(&self.0);
        on_thread(move || inner.can_render(&wanted)).await.map_err(|stage| self.failed(stage))
    }

    /// Makes a list part of what the next refresh publishes. Returns `false` if that is nothing new.
    pub fn want(&self, wanted: &Wanted, now: Timestamp) -> bool {
        let known = self.0.site.rules.knows(&matrix::slice(wanted));
        known && lock(&self.0.on_demand).insert(wanted.clone(), now.as_second()).is_none()
    }

    /// What is not published until it is confirmed.
    pub fn holds(&self) -> BTreeMap<String, Hold> {
        self.0.state.counters().map(|counters| counters.holds).unwrap_or_default()
    }

    fn failed(&self, stage: StageError) -> RefreshError {
        RefreshError { view: self.view().clone(), stage }
    }

    async fn pull_and_publish(&self, how: How, now: Timestamp, progress: Progress) -> Result<Report, StageError> {
        let inner = Arc::clone(&self.0);
        let (before, counters) = on_thread(move || Ok((inner.mirror()?, inner.counters()?))).await?;
        // What is released must be what is there. And a view that was found empty is read whole: what was known before it
        // was held would look as if it were back.
        let is_held = counters.holds.contains_key(holds::VIEW) || (how.release && !counters.holds.is_empty());
        let full = how.full || is_held;
        if full {
            self.0.forget_selection();
        }
        self.0.renew_never(full || before.is_none(), now).await?;
        let fresh = pull::pull(&self.0, before, &counters, full, now.as_second(), progress).await?;
        self.0.check_user(&fresh.pulled)?;
        let inner = Arc::clone(&self.0);
        on_thread(move || {
            let about = fresh.pulled.server.as_ref().map(|server| server.about.clone());
            inner.note_success(about, now)?;
            inner.take_over(fresh, how, now)
        })
        .await
    }
}

/// Removes everything of a view: versions, mirror, counters.
pub fn remove(feeds_dir: &Path, state_dir: &Path, view: &ViewId) -> Result<(), StageError> {
    snapshot::remove_view(&layout::view_dir(feeds_dir, view.site(), view.name()))?;
    Ok(ViewState::open(state_dir, view)?.remove()?)
}

/// Names whose view of which server a site is.
fn owner_of(site: &Site) -> String {
    let identity = site.source.identity(site.user.as_deref());
    let digest = ring::digest::digest(&ring::digest::SHA256, identity.as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Inner {
    fn owner(&self) -> String {
        owner_of(&self.site)
    }

    /// A key that has become somebody else's gives nothing to a view.
    fn check_user(&self, pulled: &Pulled) -> Result<(), StageError> {
        match (&self.site.user, &pulled.server) {
            (Some(user), Some(server)) if *user != server.user => Err(StageError::OtherUser(server.user.clone())),
            _ => Ok(()),
        }
    }

    fn can_render(&self, wanted: &[Wanted]) -> Result<Vec<bool>, StageError> {
        let counters = self.state.counters()?;
        if candidate::is_aside(&counters) {
            return Ok(vec![false; wanted.len()]);
        }
        let (mirror, held) = (self.mirror()?, counters.holds);
        let covered = |slice: &Slice| {
            let coverage = mirror.as_ref().map(|kept| kept.mirror.coverage());
            coverage == Some(Coverage::Everything) || (coverage.is_some() && self.site.rules.is_tag_feed(slice))
        };
        let can = |wanted: &Wanted| {
            let slice = matrix::slice(wanted);
            covered(&slice) && holds::hold_on(&held, &slice).is_none()
        };
        Ok(wanted.iter().map(can).collect())
    }
}

/// Runs a blocking step off the async threads.
async fn on_thread<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    tokio::task::spawn_blocking(step).await.map_err(|error| StageError::Thread(error.to_string()))?
}
