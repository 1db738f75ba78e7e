//! `/`, `/robots.txt` and `/v1/status`. In: the client and what is served. Out: small answers that are never stored.
//!
//! Invariant: the state of a view is shown to its own tokens and to addresses that may read every site, to nobody else.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, USER_AGENT, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::client_ip::{Client, latin1};
use super::files::{self, Body, Front};
use super::{Settings, SiteAccess};
use super::{guard, views};
use crate::status::{State, ViewStatus};
use crate::view::ViewId;

/// Where the program comes from.
const REPOSITORY: &str = match env!("CARGO_PKG_REPOSITORY") {
    named if !named.is_empty() => named,
    _ => "https://github.com/cratos/cratos",
};

#[derive(Serialize)]
struct Root<'a> {
    message: &'a str,
    #[serde(rename = "IP")]
    ip: String,
    #[serde(rename = "User-Agent")]
    user_agent: Option<String>,
    timestamp: i64,
    date_time: String,
    repository: &'a str,
}

#[derive(Serialize)]
struct Status {
    ping: &'static str,
    memcachedstatus: &'static str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<BTreeMap<String, ViewStatus>>,
}

/// `/`: the program and how it sees the client.
pub fn root(client: &Client, headers: &HeaderMap, now: Timestamp) -> Response<Body> {
    let mut response = json(&Root {
        message: concat!("Cratos v.", env!("CARGO_PKG_VERSION"), ", feed publisher for MISP"),
        ip: client.to_string(),
        user_agent: headers.get(USER_AGENT).map(|agent| latin1(agent).into_owned()),
        timestamp: now.as_second(),
        date_time: now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        repository: REPOSITORY,
    });
    // A browser gets a page instead.
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// `/robots.txt`: nothing here is for search engines.
pub fn robots() -> Response<Body> {
    let mut response = Response::new(files::whole("User-agent: *\nDisallow: /"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// `/v1/status`: one word for everybody, more for those who may know.
pub fn status(front: &Front, settings: &Settings, request: &Parts, client: &Client, now: Timestamp) -> Response<Body> {
    let all = shown(front, settings, now);
    // Where no view is known yet, as before the first token of a fresh installation, nothing is missing.
    let good = front.serves_anything() || all.is_empty();
    json(&Status {
        ping: "pong",
        memcachedstatus: if good { "OK" } else { "FAIL" },
        state: all.values().map(|status| status.state).max().unwrap_or(State::Ok),
        views: views(front, settings, request, client, now, all),
    })
}

/// Every view as it is shown now.
fn shown(front: &Front, settings: &Settings, now: Timestamp) -> BTreeMap<ViewId, ViewStatus> {
    let max_stale = |view: &ViewId| match settings.sites.get(view.site()) {
        Some(SiteAccess::Good(site)) => site.max_stale,
        _ => None,
    };
    let show = |(view, status): (ViewId, ViewStatus)| {
        let status = status.shown(max_stale(&view), now.as_second());
        (view, status)
    };
    front.board().all().into_iter().map(show).collect()
}

fn views(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    client: &Client,
    now: Timestamp,
    mut all: BTreeMap<ViewId, ViewStatus>,
) -> Option<BTreeMap<String, ViewStatus>> {
    if client.is_in(&settings.allowed_everywhere) {
        return Some(all.into_iter().map(|(view, status)| (view.to_string(), status)).collect());
    }
    let grant = guard::admit(front.tokens(), settings, request, client, now).ok()?;
    let view = views::known(front, &grant, now)?;
    let status = all.remove(&view)?;
    Some(BTreeMap::from([(view.to_string(), status)]))
}

fn json(value: &impl Serialize) -> Response<Body> {
    // These types have text keys and no floats: they always serialize.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(files::whole(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
