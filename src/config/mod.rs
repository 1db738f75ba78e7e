//! What to fetch, publish and allow. In: `config/config.yaml`, `config/mappings.yaml`, `sites/*.yaml`. Out: [`Config`],
//! checked and immutable, or every mistake at once.
//!
//! | file | answers |
//! |---|---|
//! | [`mod@file`] | YAML → a tree in which every value knows its line |
//! | [`check`] | trees → the settings of each stage; names looked up; all mistakes |
//! | [`mod@never`] | what is never published |
//! | [`section`] | a tree → values of the wanted shape, and mistakes |
//! | [`guard`] | how much a list may change at once |
//! | [`listening`] | what `config.yaml` says about connections |
//! | [`serving`] | what `config.yaml` says about making tokens and the access log |
//! | [`settings`] | what `config.yaml` and site files have in common |
//! | [`sites`] | one site file → [`Site`] |
//! | `source.rs` | where its attributes come from, and where keys may be sent |
//! | [`when`] | `5m` or a cron line → the next moment |
//! | [`mistake`] | how a mistake reads |
//! | [`watch`] | files changed, SIGHUP → one "changed" signal |
//!
//! Invariants: a `config.yaml` with a mistake gives no [`Config`]; a site file with one gives [`SiteState::Broken`] and
//! touches no other site; no mistake shows a secret.

pub mod check;
pub mod file;
pub mod guard;
pub mod listening;
pub mod mistake;
pub mod never;
pub mod section;
pub mod serving;
pub mod settings;
pub mod sites;
mod source;
pub mod watch;
pub mod when;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::index::{Age, DataType, Rules};
use crate::render::Format;
use crate::secret::Secret;
use crate::snapshot::Keep;
use crate::view::ViewId;
use crate::{fetch, web};

pub use check::load;
pub use guard::Guard;
pub use mistake::{ConfigErrors, Mistake};
pub use never::NeverPublish;
pub use when::When;

/// Everything, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder given with `-C`; relative paths start here.
    pub dir: PathBuf,
    /// Versions are written below it.
    pub feeds_dir: PathBuf,
    /// Mirrors and counters are written below it.
    pub state_dir: PathBuf,
    /// Password of the token key.
    pub encryption_key: Secret,
    /// Salt of the token key.
    pub salt: Secret,
    /// Calendar of ages, token expiry and cron lines.
    pub timezone: TimeZone,
    /// What serving needs, sites included.
    pub web: web::Settings,
    /// Sites by name.
    pub sites: BTreeMap<String, SiteState>,
    /// The text of every site file that counts, by the site's name: what a restart may need once the file is broken.
    pub texts: BTreeMap<String, Secret>,
    /// Sites whose files do not check and whose last good settings count instead; the mistakes say why.
    pub kept: BTreeMap<String, Vec<Mistake>>,
    /// What no site publishes; part of every site's own.
    pub never: NeverPublish,
    /// Lines to log at start: settings that are accepted and do nothing any more.
    pub notes: Vec<String>,
}

/// One site file.
#[derive(Clone, Debug)]
pub enum SiteState {
    /// It checks.
    Good(Box<Site>),
    /// It does not; the mistakes say why.
    Broken(Vec<Mistake>),
}

/// All there is to a site whose file checks.
#[derive(Clone, Debug)]
pub struct Good {
    /// For fetching and publishing.
    pub site: Box<Site>,
    /// For serving.
    pub access: Box<web::SiteSettings>,
    /// The file itself.
    pub text: Secret,
}

/// One site, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its view of the site file's own key.
    pub view: ViewId,
    /// `enabled`.
    pub enabled: bool,
    /// Where attributes come from.
    pub source: fetch::Source,
    /// Where keys of tokens are proven, and what their views are pulled from; `None`: the source is no MISP.
    pub endpoint: Option<Endpoint>,
    /// The MISP user whose view this is; `None`: that of the site file's key.
    pub user: Option<String>,
    /// Views nobody polled for this long are dropped; never the main one.
    pub view_idle: Duration,
    /// Files of a view without a key stay for this long.
    pub view_grace: Duration,
    /// What decides membership.
    pub rules: Rules,
    /// What is never published, whatever the source says.
    pub never: NeverPublish,
    /// When to refresh.
    pub refresh: When,
    /// When to read everything.
    pub full_refresh: When,
    /// Longest a refresh may take.
    pub time_limit: Duration,
    /// What is published without being asked for.
    pub publish: Publish,
    /// How much a list may change at once.
    pub guard: Guard,
    /// Ages go on expiring while the source cannot be asked.
    pub expire_when_stale: bool,
    /// How long versions are kept.
    pub keep: Keep,
    /// Lists on demand nobody asked for in this time are dropped.
    pub on_demand_idle: Duration,
    /// A view whose last success is longer ago is stale; `None`: none ever is.
    pub max_stale: Option<Duration>,
    /// `mispAuthKey`: what tokens of the main view carry.
    pub key: Option<Secret>,
    /// Proto and port that tokens name when nothing else is said.
    pub token_endpoint: (String, u16),
}

/// Where the keys of a site's tokens are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// `mispUrl`: the one place, whatever a token says.
    pub url: Option<String>,
    /// `misp_ports`: ports above 1023 that tokens may name.
    pub ports: Vec<u16>,
    /// Whom to trust.
    pub trust: fetch::tls::Trust,
    /// Time and size limits of one request.
    pub limits: fetch::client::Limits,
    /// How often a request is tried.
    pub retry: fetch::api::Retry,
}

/// Ports up to this one only a system's administrator can listen on: what answers there is the host's own.
const MAX_SYSTEM_PORT: u16 = 1023;

impl Endpoint {
    /// The URL of the MISP that a token of `site` names; `None`: keys must not be sent there.
    pub fn url_for(&self, site: &str, proto: &str, port: u16) -> Option<String> {
        if let Some(url) = &self.url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        if port > MAX_SYSTEM_PORT && !self.ports.contains(&port) {
            return None;
        }
        Some(if site.contains(':') { format!("{proto}://[{site}]:{port}") } else { format!("{proto}://{site}:{port}") })
    }

    /// The MISP at that URL, as the user of that key sees it.
    pub fn source(&self, url: &str, key: Secret) -> fetch::misp::MispSource {
        fetch::misp::MispSource::new(url, key, self.trust.clone(), self.limits, self.retry)
    }
}

impl Site {
    /// The same site as another user sees it.
    pub fn of_user(&self, view: ViewId, user: &str, source: fetch::misp::MispSource) -> Self {
        let source = fetch::Source::Misp(source);
        Self { view, user: Some(user.to_owned()), source, key: None, ..self.clone() }
    }
}

/// The published matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Feed names; by default the tag feeds.
    pub feeds: Vec<String>,
    /// Data types; by default all.
    pub types: Vec<&'static DataType>,
    /// Ages; by default all.
    pub ages: Vec<&'static Age>,
    /// Formats; by default `txt`.
    pub formats: Vec<&'static Format>,
}

impl Config {
    /// A site whose file is broken goes on with settings that were good. Nothing happens if it is not broken.
    pub fn keep(&mut self, name: &str, good: Good) {
        let Some(state) = self.sites.get_mut(name) else { return };
        let SiteState::Broken(mistakes) = state else { return };
        self.kept.insert(name.to_owned(), std::mem::take(mistakes));
        *state = SiteState::Good(good.site);
        self.web.sites.insert(name.to_owned(), web::SiteAccess::Good(good.access));
        self.texts.insert(name.to_owned(), good.text);
    }

    /// What is known of a site that checks, or whose last good settings count.
    pub fn good(&self, name: &str) -> Option<Good> {
        let (Some(SiteState::Good(site)), Some(web::SiteAccess::Good(access))) =
            (self.sites.get(name), self.web.sites.get(name))
        else {
            return None;
        };
        Some(Good { site: site.clone(), access: access.clone(), text: self.texts.get(name)?.clone() })
    }

    /// Files outside `config/` and `sites/` that the configuration was read from, too.
    pub fn further_files(&self) -> BTreeSet<PathBuf> {
        let sites = self.sites.values().filter_map(|state| match state {
            SiteState::Good(site) => Some(&site.never),
            SiteState::Broken(_) => None,
        });
        let never = sites.chain([&self.never]).flat_map(|never| never.files.iter().cloned());
        never.chain(self.web.tls.iter().flat_map(|tls| tls.files.iter().cloned())).collect()
    }

    /// The sites whose files check and that are enabled.
    pub fn good_sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.values().filter_map(|state| match state {
            SiteState::Good(site) if site.enabled => Some(&**site),
            _ => None,
        })
    }
}
