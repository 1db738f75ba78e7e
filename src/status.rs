//! How each view is doing: written by the drivers, read by `web`. Health is kept beside the data, never instead of it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;

use crate::view::ViewId;

/// One word for a view or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The last refresh succeeded, in time.
    Ok,
    /// No refresh has ended yet.
    Starting,
    /// The last refresh failed or is overdue; what was published before is served.
    Failing,
    /// The site file does not check.
    Broken,
}

/// One view.
#[derive(Clone, Debug, Serialize)]
pub struct ViewStatus {
    /// In one word.
    pub state: State,
    /// The version that is served.
    pub version: Option<u64>,
    /// Unix seconds of the last refresh that succeeded.
    pub last_success: Option<i64>,
    /// Unix seconds of the last refresh that failed.
    pub last_failure: Option<i64>,
    /// Why it failed; never with a secret.
    pub last_error: Option<String>,
    /// Refreshes that failed since the last success.
    pub failures: u64,
    /// Indicators served, all lists at their largest age.
    pub entries: u64,
    /// Unix seconds of the next refresh.
    pub next: Option<i64>,
}

impl Default for ViewStatus {
    fn default() -> Self {
        Self {
            state: State::Starting,
            version: None,
            last_success: None,
            last_failure: None,
            last_error: None,
            failures: 0,
            entries: 0,
            next: None,
        }
    }
}

/// The board all views stand on.
#[derive(Debug, Default)]
pub struct Board(RwLock<BTreeMap<ViewId, ViewStatus>>);

impl Board {
    /// Changes the status of a view, which is created if need be.
    pub fn update(&self, view: &ViewId, change: impl FnOnce(&mut ViewStatus)) {
        let mut views = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(views.entry(view.clone()).or_default());
    }

    /// Takes a view off.
    pub fn remove(&self, view: &ViewId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(view);
    }

    /// A copy of one view's status.
    pub fn get(&self, view: &ViewId) -> Option<ViewStatus> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(view).cloned()
    }

    /// A copy of everything.
    pub fn all(&self) -> BTreeMap<ViewId, ViewStatus> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The worst state of all views.
    pub fn overall(&self) -> State {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        views.values().map(|view| view.state).max().unwrap_or(State::Ok)
    }
}
