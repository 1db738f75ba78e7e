//! What is known of a question beside its answers: the token, its site, and the values in the mirror of its view.
//!
//! In: the configuration and tokens. Out: what is known, per question. Mirrors are read once, from the files of `state_dir`; another
//! cratos may be at work there.
//!
//! Invariants: only the mirror of the token's own view is read; one that cannot be read explains nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::evidence::Evidence;
use super::explain::Standing;
use super::target::ListUrl;
use crate::config::{Config, Site, SiteState};
use crate::index::mirror::Mirror;
use crate::index::{Rules, select};
use crate::learned::short_id;
use crate::secret::Secret;
use crate::state::ViewState;
use crate::state::keys::SiteKeys;
use crate::token::{Claims, TokenKeys};
use crate::view::ViewId;

/// A token, and what it says if it opens.
#[derive(Debug)]
pub struct Bearer {
    /// Its short id; `line 3` if it does not open.
    pub name: String,
    /// The token.
    pub token: Secret,
    /// What it says.
    pub claims: Option<Claims>,
    /// It is not written as this program writes it.
    pub respelled: bool,
}

impl Bearer {
    /// A token of line `line`.
    pub fn new(keys: &TokenKeys, line: usize, token: Secret) -> Self {
        match keys.open(token.reveal()) {
            Ok(opened) => Self {
                name: opened.short_id().to_owned(),
                respelled: opened.hash != opened.hash_as_sent,
                claims: Some(opened.claims),
                token,
            },
            Err(_) => Self { name: format!("line {line}"), token, claims: None, respelled: false },
        }
    }
}

/// All that is known.
#[derive(Debug)]
pub struct Known {
    config: Config,
    bearers: Vec<Bearer>,
    mirrors: Mutex<HashMap<ViewId, Option<Arc<Mirror>>>>,
    evidence: Mutex<HashMap<(ViewId, &'static str), Arc<Evidence>>>,
}

impl Known {
    /// Nothing is read yet.
    pub fn new(config: Config, bearers: Vec<Bearer>) -> Self {
        Self { config, bearers, mirrors: Mutex::default(), evidence: Mutex::default() }
    }

    /// The tokens.
    pub fn bearers(&self) -> &[Bearer] {
        &self.bearers
    }

    /// The site of a token.
    fn site(&self, bearer: usize) -> Option<&SiteState> {
        self.config.sites.get(&self.bearers.get(bearer)?.claims.as_ref()?.host)
    }

    /// How the site of a token stands.
    pub fn standing(&self, bearer: Option<usize>) -> Standing {
        match bearer.and_then(|bearer| self.site(bearer)) {
            Some(SiteState::Good(site)) if site.enabled => Standing::Good,
            Some(SiteState::Good(_)) => Standing::Off,
            Some(SiteState::Broken(_)) => Standing::Broken,
            None => Standing::Unknown,
        }
    }

    /// What decides membership at the site of a token.
    pub fn rules(&self, bearer: Option<usize>) -> Option<&Rules> {
        match self.site(bearer?)? {
            SiteState::Good(site) => Some(&site.rules),
            SiteState::Broken(_) => None,
        }
    }

    /// The values that a list is made from. Reads files: not for an async thread.
    pub fn evidence(&self, bearer: Option<usize>, list: &ListUrl) -> Option<Arc<Evidence>> {
        let bearer = bearer?;
        let SiteState::Good(site) = self.site(bearer)? else { return None };
        let view = self.view(bearer, site)?;
        let rule = site.rules.types.iter().find(|rule| rule.data_type.name == list.data_type)?;
        let key = (view, rule.data_type.name);
        if let Some(evidence) = self.evidence.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(evidence));
        }
        let mirror = self.mirror(&key.0)?;
        let evidence = Evidence::new(rule.data_type, &site.rules.bounds, select::raw_values(&mirror, rule));
        let mut known = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(known.entry(key).or_insert_with(|| Arc::new(evidence))))
    }

    /// The view a token opens.
    fn view(&self, bearer: usize, site: &Site) -> Option<ViewId> {
        let key = &self.bearers.get(bearer)?.claims.as_ref()?.key;
        if site.key.as_ref().is_some_and(|main| main.same_as(key)) {
            return Some(site.view.clone());
        }
        let (name, id) = (site.view.site(), short_id(key));
        let records = SiteKeys::new(&self.config.state_dir, name).read().ok()?;
        ViewId::named(name, &records.iter().find(|record| record.id == id)?.view)
    }

    fn mirror(&self, view: &ViewId) -> Option<Arc<Mirror>> {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let bytes = ViewState::open(&self.config.state_dir, view).and_then(|state| state.mirror()).ok()??;
            Mirror::decode(&bytes).ok().map(|decoded| Arc::new(decoded.mirror))
        };
        mirrors.entry(view.clone()).or_insert_with(read).clone()
    }
}
