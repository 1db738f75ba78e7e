//! Answer requests from what is on disk. In: a request and the peer's address. Out: an answer; and wishes for lists that
//! nobody has rendered yet.
//!
//! | file | answers |
//! |---|---|
//! | [`server`] | accept, limits, graceful end |
//! | [`peers`] | connections per address |
//! | [`connection`] | TLS or not, HTTP/1 or 2, request after request |
//! | [`paced`] | clients that read too slowly |
//! | [`timer`] | when a head must have come |
//! | [`tls`] | certificate and key → what accepts TLS |
//! | [`handler`] | the order of all steps, in one function |
//! | [`route`] | which URLs exist: 404, 405, 307 |
//! | [`client_ip`] | peer and trusted proxies → the client's address |
//! | [`guard`] | token and address → who asks of which site, or a refusal |
//! | [`views`] | which view a token opens, and its table, waited for if need be |
//! | [`params`] | path and query → the list that is meant, or a 422 |
//! | [`conditional`] | validators and request headers → 200, 206, 304, 416 |
//! | [`files`] | what is served now, swapped part by part |
//! | [`table`] | key → list of one version → body |
//! | [`hot`] | bodies that are asked for, in memory |
//! | [`direct`] | a body from its file to the client |
//! | [`body`] | bytes in memory or a file → what is sent |
//! | [`stale`] | how old what is served is, and what a list that is too old answers |
//! | [`contact`] | `/v1/check`, `/v1/statistics`, warninglists: what MISP said the last time |
//! | [`health`] | `/` and `/v1/status` |
//! | [`mapping`] | `/v1/feedmapping` |
//! | [`favicon`] | `/favicon.ico` |
//! | [`issue`], [`issue_body`], [`issue_date`] | `/v1/generate_token_json`: who may, what is asked for, until when |
//! | [`pages`] | what people see: form, help, start page, and what these load |
//! | [`openapi`] | `/openapi.json`: every URL, described |
//! | [`asset`] | a body that is part of the program → 200, 206, 304, 412, 416 |
//! | [`verify`] | whether a MISP knows the key of a new token |
//! | [`log_line`], [`logged`], [`access_log`] | one line per request, without secrets: its text, its moment, its file |
//!
//! Invariants: never fetches, never renders, never joins a URL to a path; never 200 for an error and never HTML on a feed
//! URL; 401 and 403 only when this request's token or address is wrong.

pub mod access_log;
pub mod asset;
pub mod body;
pub mod client_ip;
pub mod conditional;
pub mod connection;
pub mod contact;
pub mod direct;
pub mod favicon;
pub mod files;
pub mod guard;
pub mod handler;
pub mod health;
pub mod hot;
pub mod issue;
pub mod issue_body;
pub mod issue_date;
pub mod log_line;
pub mod logged;
pub mod mapping;
pub mod openapi;
pub mod paced;
pub mod pages;
pub mod params;
pub mod peers;
pub mod route;
pub mod server;
pub mod stale;
pub mod table;
pub mod timer;
pub mod tls;
pub mod verify;
pub mod views;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret::Secret;

/// All that serving needs to know; made by `config`, swapped as a whole on reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address that is no trusted proxy.
    pub max_connections_per_address: usize,
    /// Threads that serve.
    pub threads: usize,
    /// `None`: connections are plain.
    pub tls: Option<tls::Tls>,
    /// `serve_cache_mb`, in bytes: bodies that are kept in memory.
    pub cache_bytes: u64,
    /// Peers whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Read the client's address from `proxy_header`.
    pub reverse_proxy: bool,
    /// E.g. `X-Real-IP`.
    pub proxy_header: http::HeaderName,
    /// Addresses that may read every site.
    pub allowed_everywhere: Vec<IpNet>,
    /// Who is given tokens.
    pub issuance: Issuance,
    /// `None`: no access log.
    pub access_log: Option<LogSettings>,
    /// Calendar of token expiry.
    pub timezone: jiff::tz::TimeZone,
    /// Site name → what applies there.
    pub sites: HashMap<String, SiteAccess>,
    /// Feeds that every site knows, defined there or not, in the order of error texts.
    pub feeds: Vec<&'static str>,
    /// Data types that can be asked for, in the order of error texts.
    pub types: Vec<&'static str>,
    /// Ages that can be asked for, in the order of error texts.
    pub ages: Vec<&'static str>,
    /// Formats and vendor profiles that can be asked for, in the order of error texts.
    pub formats: Vec<Form>,
}

/// One format or vendor profile.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// As it stands in URLs.
    pub name: &'static str,
    /// Of its files.
    pub extension: &'static str,
    /// With its character set.
    pub content_type: &'static str,
    /// At `/v1/vendor`, not at `/output`.
    pub vendor: bool,
    /// The data types it takes; `None`: all.
    pub types: Option<&'static [&'static str]>,
}

/// Who is given tokens by `/v1/generate_token_json` and the form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Issuance {
    /// Addresses that may read the site, for tokens of that site.
    #[default]
    AllowedIps,
    /// Everybody, as the predecessor does.
    Open,
    /// Nobody.
    Off,
}

/// Where requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The file; older ones are beside it, as `.1`, `.2` …
    pub path: PathBuf,
    /// A file is not made larger; 0: it may grow.
    pub max_bytes: u64,
    /// Older files that are kept; 0: the file may grow.
    pub rotations: u32,
}

/// One site.
#[derive(Clone, Debug)]
pub enum SiteAccess {
    /// Its file checks.
    Good(Box<SiteSettings>),
    /// Its file does not check, and no good settings are known: 503.
    Broken,
}

/// A site whose file checks.
#[derive(Clone, Debug)]
pub struct SiteSettings {
    /// `enabled: false` refuses every token with 403.
    pub enabled: bool,
    /// Addresses that may read the site.
    pub allowed: Vec<IpNet>,
    /// Lower-case hex SHA-256 of revoked tokens.
    pub blacklist: Vec<String>,
    /// The key whose view is `main`; `None`: no token opens anything.
    pub key: Option<Secret>,
    /// Feeds in the order of error texts: `incident block alert hunt`, custom ones, `any`, `42`.
    pub feeds: Vec<String>,
    /// Feeds that a tag decides, with that tag.
    pub feed_tags: Vec<(String, String)>,
    /// Custom feeds that have a name but no definition here: 404.
    pub undefined_feeds: Vec<String>,
    /// `Cache-Control` of answers with a list.
    pub cache_control: http::HeaderValue,
    /// Seconds a consumer should wait after a 503.
    pub retry_after: u64,
    /// How long a request waits for a view or list that is being made.
    pub patience: Duration,
    /// Keys other than the site's own may open views of their own.
    pub learns: bool,
    /// A view whose last success is longer ago is stale; `None`: none ever is.
    pub max_stale: Option<Duration>,
    /// Lists of a stale view are refused with 503.
    pub refuse_stale: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No sites, and all else as it is when nothing is said.
    pub fn settings() -> Settings {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            max_connections: 4096,
            max_connections_per_address: 512,
            threads: 1,
            tls: None,
            cache_bytes: 64 << 20,
            trusted_proxies: Vec::new(),
            reverse_proxy: false,
            proxy_header: http::HeaderName::from_static("x-real-ip"),
            allowed_everywhere: Vec::new(),
            issuance: Issuance::default(),
            access_log: None,
            timezone: jiff::tz::TimeZone::UTC,
            sites: HashMap::new(),
            feeds: Vec::new(),
            types: Vec::new(),
            ages: Vec::new(),
            formats: Vec::new(),
        }
    }
}
