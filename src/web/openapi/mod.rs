//! `/openapi.json`: every URL of this program, described in OpenAPI 3.1. In: the words that can be asked for. Out: the
//! description.
//!
//! | file | content |
//! |---|---|
//! | [`paths`] | the URLs, one operation each |
//! | [`parts`] | what they share: words, answers, ways to hand a token over |
//!
//! Invariants: feeds, types, ages, formats and vendors come from the settings, never from a second list; names of custom
//! feeds that only some sites have are shown to addresses that may read such a site.

pub mod parts;
pub mod paths;

use std::collections::BTreeSet;

use http::Response;
use http::request::Parts;
use serde_json::{Value, json};

use crate::web::asset::Asset;
use crate::web::client_ip::Client;
use crate::web::files::{Body, Front};
use crate::web::{Settings, SiteAccess};

/// Asked for again each time, answered with 304: a reload may change it, and so may the client's address.
const CACHE: &str = "private, no-cache";

/// What a reader should know first.
const INTRODUCTION: &str = "Lists of indicators from MISP, made ahead of time and served as files.\n\n\
    **Token.** Every list needs one. Hand it over as the password of the user `cratos` (Basic), as the query parameter or \
    header `token`, or as Bearer. Basic also takes the token cut in two, the first part as user name, for devices with short \
    fields. If there are several, Basic counts before query, header and Bearer.\n\n\
    **Polling.** Answers with a list carry `ETag` and `Last-Modified`: send them back and nothing new is a 304 without a body. \
    GET always has a HEAD; `Accept-Encoding: gzip` and `Range` work.\n\n\
    **Errors.** JSON with a `detail`. 401 and 403 mean this token or this address; a fault of the server or of its MISP is a 503 \
    with `Retry-After`, and never an empty list. A slash too many at the end is a 307 to the URL without it.";

/// Answers for the description.
pub fn answer(front: &Front, settings: &Settings, request: &Parts, client: &Client, now: i64) -> Response<Body> {
    let further = further_feeds(settings, client);
    if further.is_empty() {
        return front.description().answer(request, now);
    }
    description(settings, &further).answer(request, now)
}

/// The description with these feeds beside those that every site knows.
pub fn description(settings: &Settings, further: &[&str]) -> Asset {
    Asset::new(document(settings, further).to_string(), "application/json", CACHE)
}

/// Custom feeds with names of their own, at sites that the client's address may read.
fn further_feeds<'a>(settings: &'a Settings, client: &Client) -> Vec<&'a str> {
    let everywhere = client.is_in(&settings.allowed_everywhere);
    let readable = settings.sites.values().filter_map(|site| match site {
        SiteAccess::Good(site) if site.enabled && (everywhere || client.is_in(&site.allowed)) => Some(site),
        SiteAccess::Good(_) | SiteAccess::Broken => None,
    });
    let names: BTreeSet<&str> = readable.flat_map(|site| site.feeds.iter().map(String::as_str)).collect();
    names.into_iter().filter(|name| !settings.feeds.contains(name)).collect()
}

/// The whole document.
pub fn document(settings: &Settings, further: &[&str]) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cratos",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Feeds from MISP",
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [
            {"name": "Lists", "description": "What devices fetch."},
            {"name": "MISP", "description": "What is known of the MISP behind a token."},
            {"name": "Tokens", "description": "How to get one."},
            {"name": "Server", "description": "This program, and this description."},
        ],
        "paths": paths::all(settings),
        "components": parts::components(settings, further),
    })
}
