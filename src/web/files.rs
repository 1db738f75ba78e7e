//! What is served now. In: versions, as they are published; settings. Out: the [`Table`] of each view, and all else that a
//! request looks at.
//!
//! Invariant: every part is swapped as a whole; a request sees one state of each.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::access_log::AccessLog;
use super::asset::Asset;
use super::hot::Hot;
use super::{Settings, openapi};
use crate::demand::Demand;
use crate::demand::knock::Door;
use crate::snapshot::manifest::Opened;
use crate::status::Board;
use crate::token::TokenKeys;
use crate::token::cache::Opener;
use crate::view::ViewId;
use crate::view::keyring::Keyring;

pub use super::body::Body;
pub use super::table::{Entry, Part, Table};

/// A body that is in memory.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Body::whole(bytes)
}

/// 200 with a small body that is never stored.
pub fn small(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// All that serving looks at.
#[derive(Debug)]
pub struct Front {
    settings: ArcSwap<Settings>,
    /// Made from the settings.
    description: ArcSwap<Asset>,
    tables: ArcSwap<HashMap<ViewId, Arc<Table>>>,
    hot: Arc<Hot>,
    tokens: Opener,
    log: ArcSwapOption<AccessLog>,
    board: Arc<Board>,
    demand: Arc<Demand>,
    keyring: Arc<Keyring>,
    door: Door,
}

impl Front {
    /// Serves nothing yet.
    pub fn new(
        settings: Settings,
        keys: TokenKeys,
        board: Arc<Board>,
        demand: Arc<Demand>,
        (keyring, door): (Arc<Keyring>, Door),
    ) -> Self {
        let log = settings.access_log.clone().and_then(AccessLog::start).map(Arc::new);
        Self {
            description: ArcSwap::from_pointee(openapi::description(&settings, &[])),
            hot: Arc::new(Hot::new(settings.cache_bytes)),
            settings: ArcSwap::from_pointee(settings),
            tables: ArcSwap::default(),
            tokens: Opener::new(keys),
            log: ArcSwapOption::new(log),
            board,
            demand,
            keyring,
            door,
        }
    }

    /// Serves this version of the view from now on.
    pub fn publish(&self, view: &ViewId, opened: Opened) {
        let last_success = self.table(view).and_then(|table| table.last_success().get());
        let table = Arc::new(Table::new(opened, last_success, &self.hot));
        self.tables.rcu(|tables| {
            let mut tables = HashMap::clone(tables);
            tables.insert(view.clone(), Arc::clone(&table));
            tables
        });
        self.hot.tidy();
        self.keyring.announce();
    }

    /// What is served of the view was good at that moment (Unix seconds), whether or not it is a new version.
    pub fn succeeded(&self, view: &ViewId, second: i64) {
        if let Some(table) = self.tables.load().get(view) {
            table.last_success().set(second);
        }
    }

    /// Serves nothing of the view from now on.
    pub fn withdraw(&self, view: &ViewId) {
        self.tables.rcu(|tables| {
            let mut tables = HashMap::clone(tables);
            tables.remove(view);
            tables
        });
    }

    /// Takes other settings. `listen`, `serve_threads` and `max_connections` count at start only. An access log that is not wanted any more
    /// ends with the last request that writes to it.
    pub fn configure(&self, mut settings: Settings) {
        if self.log().map(|log| log.settings().clone()) != settings.access_log {
            self.log.store(settings.access_log.clone().and_then(AccessLog::start).map(Arc::new));
        }
        self.description.store(Arc::new(openapi::description(&settings, &[])));
        self.hot.resize(settings.cache_bytes);
        if settings.tls == self.settings.load().tls {
            settings.tls.clone_from(&self.settings.load().tls);
        }
        self.settings.store(Arc::new(settings));
    }

    /// The access log, if there is one.
    pub fn log(&self) -> Option<Arc<AccessLog>> {
        self.log.load_full()
    }

    /// The settings now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The description of the interface, as everybody may see it.
    pub fn description(&self) -> Arc<Asset> {
        self.description.load_full()
    }

    /// The table of a view now.
    pub fn table(&self, view: &ViewId) -> Option<Arc<Table>> {
        self.tables.load().get(view).cloned()
    }

    /// Is anything served?
    pub fn serves_anything(&self) -> bool {
        !self.tables.load().is_empty()
    }

    /// Bodies that are kept in memory.
    pub fn hot(&self) -> &Hot {
        &self.hot
    }

    /// What tokens are opened with.
    pub fn tokens(&self) -> &Opener {
        &self.tokens
    }

    /// How the views are doing.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Which keys open which views.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Where keys go that nobody has proven.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Where wishes go.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }
}
