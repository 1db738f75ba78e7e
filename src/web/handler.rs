//! The story of one request. In: its head and the peer's address. Out: the answer; and a wish, if the list is not there yet.
//!
//! Invariants: the steps come in one order, here; every refusal is a [`Refusal`], so an error is never 200 and never HTML;
//! HEAD is GET without the body.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST,
    LAST_MODIFIED, LOCATION, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::client_ip::{self, Client};
use super::conditional::{self, Verdict};
use super::files::{self, Body, Entry, Front, Part, Table};
use super::guard::{self, Grant, Refusal};
use super::params::{self, List, Words};
use super::route::{self, FeedPath, Route};
use super::views::{self, preparing};
use super::{Settings, SiteSettings};
use super::{contact, favicon, health, issue, log_line, mapping, pages, stale};
use crate::demand::Answer;
use crate::expiry;
use crate::view::ViewId;

/// Seconds until asking again is worth it when too much was asked for at once.
const BUSY: u64 = 5;

/// Headers of a 304. Room for more would be a block of memory of another kind, which costs more than growing does where a body
/// is sent.
const HEADERS: usize = 6;
/// Days a token has left that are more than any word is worth, wherever on earth midnight is.
const LONG: i32 = (expiry::NEAR / 86_400) as i32 + 2;

/// Answers a request. What waits for long, or is asked for seldom, has its state in a box: hyper moves that of every request.
pub async fn answer(front: &Front, request: &Parts, body: Incoming, peer: IpAddr, now: Timestamp) -> Response<Body> {
    let settings = front.settings();
    let proxy_header = settings.reverse_proxy.then_some(&settings.proxy_header);
    let client = client_ip::resolve(peer, &request.headers, &settings.trusted_proxies, proxy_header);
    let response = match route::route(&request.method, &request.uri) {
        Route::Root if has_empty_host(request) => {
            Refusal::new(StatusCode::BAD_REQUEST, "Invalid Host header").into_response()
        }
        Route::Root if pages::prefers_html(&request.headers) => pages::start(),
        Route::Root => health::root(&client, &request.headers, now),
        Route::Robots => health::robots(),
        Route::Status => health::status(front, &settings, request, &client, now),
        Route::Favicon => favicon::favicon(request, now.as_second()),
        Route::FeedMapping => {
            let grant = guard::admit(front.tokens(), &settings, request, &client, now);
            grant.map_or_else(Refusal::into_response, |grant| mapping::mapping(grant.site))
        }
        Route::IssueToken => {
            let issued = Box::pin(issue::issue(front, &settings, request, body, &client, now));
            issued.await.unwrap_or_else(Refusal::into_response)
        }
        Route::Page(page) => Box::pin(pages::answer(front, &settings, request, body, &client, &page, now)).await,
        Route::Feed(path) => {
            feed(front, &settings, request, &client, &path, now).await.unwrap_or_else(Refusal::into_response)
        }
        Route::Contact(about) => {
            let answered = Box::pin(contact::answer(front, &settings, request, &client, &about, now));
            answered.await.unwrap_or_else(Refusal::into_response)
        }
        Route::ClearCache(path) => {
            clear(front, &settings, request, &client, &path, now).unwrap_or_else(Refusal::into_response)
        }
        Route::Redirect(location) => redirect(&location),
        Route::NotAllowed(methods) => {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refusal.with(ALLOW, methods).into_response()
        }
        Route::NotFound => Refusal::new(StatusCode::NOT_FOUND, "Not Found").into_response(),
    };
    tracing::debug!(
        method = %request.method,
        target = log_line::target(&request.uri),
        status = response.status().as_u16(),
        client = log_line::client(&client),
        "answered"
    );
    finish(&request.method, response)
}

/// `/` shows how the request came; without a host it came wrong.
fn has_empty_host(request: &Parts) -> bool {
    request.headers.get(HOST).is_some_and(http::HeaderValue::is_empty)
}

/// One list: who asks, for what, is it there, does the client have it already.
async fn feed(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    client: &Client,
    path: &FeedPath<'_>,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    let grant = guard::admit(front.tokens(), settings, request, client, now)?;
    let words = Words::new(settings, &grant.site.feeds);
    let list = params::read(words, path, request.uri.query())
        .map_err(|body| Refusal::json(StatusCode::UNPROCESSABLE_ENTITY, body))?;
    check_defined(grant.site, &list)?;
    let view = match views::known(front, &grant, now) {
        Some(view) => view,
        None => {
            let view = Box::pin(views::open(front, &grant, now, grant.site.patience)).await;
            view.map_err(|none| none.refusal(grant.site))?
        }
    };
    note_end(front, settings, &view, &grant, now);
    let table = match front.table(&view) {
        Some(table) if table.entry(&list.key).is_some_and(|entry| !entry.on_demand) => table,
        _ => Box::pin(find(front, &view, &list, &grant, now)).await?,
    };
    let entry = table.entry(&list.key).ok_or_else(|| preparing(grant.site))?;
    deliver(request, &table, entry, grant.site, now).await
}

/// A token that ends soon shows on the board, from when it is seen in use. It ends at 00:00 of its date.
pub(super) fn note_end(front: &Front, settings: &Settings, view: &ViewId, grant: &Grant<'_>, now: Timestamp) {
    // Most tokens end much later: for them this is all.
    if grant.left > LONG {
        return;
    }
    let midnight = grant.token.claims.expires.to_zoned_datetime(settings.timezone.clone());
    let Ok(ends) = midnight.map(|midnight| midnight.timestamp().as_second()) else { return };
    let now = now.as_second();
    if expiry::step(now, ends).is_some() {
        front.board().note_end(view, &format!("token {}", grant.token.short_id()), ends, now);
    }
}

/// The predecessor forgets a list and asks for it anew. Here the view is refreshed soon, at most once a minute.
fn clear(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    client: &Client,
    path: &FeedPath<'_>,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    let grant = guard::admit(front.tokens(), settings, request, client, now)?;
    params::read(Words::new(settings, &grant.site.feeds), path, None)
        .map_err(|body| Refusal::json(StatusCode::UNPROCESSABLE_ENTITY, body))?;
    if let Some(view) = views::known(front, &grant, now) {
        front.demand().errands().refresh_soon(&view, now.as_second());
    }
    Ok(files::small("application/json", r#"{"ok":true}"#))
}

fn check_defined(site: &SiteSettings, list: &List<'_>) -> Result<(), Refusal> {
    if list.feed().is_some_and(|name| site.undefined_feeds.iter().any(|undefined| undefined == name)) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "This custom feed is not defined for this site."));
    }
    Ok(())
}

/// The table that has the list; if none has it yet, wishes for it and waits a little.
async fn find(
    front: &Front,
    view: &ViewId,
    list: &List<'_>,
    grant: &Grant<'_>,
    now: Timestamp,
) -> Result<Arc<Table>, Refusal> {
    let table = views::table(front, view, grant.site).await?;
    if let Some(entry) = table.entry(&list.key) {
        if entry.on_demand {
            front.demand().touch(view, &list.wanted(), now.as_second());
        }
        return Ok(table);
    }
    // The old version must not be held while waiting for the next one.
    stale::check(table.last_success(), grant.site, now.as_second())?;
    drop(table);
    let answer = front
        .demand()
        .wish(view, &list.wanted(), grant.token.short_id(), now.as_second())
        .ok_or_else(|| Refusal::unavailable("Too many feeds were asked for at once, try again later.", BUSY))?;
    match tokio::time::timeout(grant.site.patience, answer).await {
        Ok(Ok(Answer::Done)) => front.table(view).ok_or_else(|| preparing(grant.site)),
        Ok(Ok(Answer::Later) | Err(_)) | Err(_) => Err(preparing(grant.site)),
    }
}

/// 200, 206 or 304 for a list that is there; 412 or 416; 503 for one that is too old to be served.
pub(super) async fn deliver(
    request: &Parts,
    table: &Table,
    entry: &Entry,
    site: &SiteSettings,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    let now = now.as_second();
    let age = stale::check(table.last_success(), site, now)?;
    let verdict = conditional::decide(&request.method, &request.headers, entry.validators(), entry.bytes, now);
    let (status, gzip, part) = match verdict {
        Verdict::Whole { gzip } => (StatusCode::OK, gzip, Some(if gzip { Part::Gzip } else { Part::Whole })),
        Verdict::Part { start, end } => (StatusCode::PARTIAL_CONTENT, false, Some(Part::Range { start, end })),
        Verdict::NotModified { gzip } => (StatusCode::NOT_MODIFIED, gzip, None),
        Verdict::Unsatisfiable => {
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range Not Satisfiable");
            return Err(refusal.with(CONTENT_RANGE, &format!("bytes */{}", entry.bytes)));
        }
        Verdict::PreconditionFailed => {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "Precondition Failed"));
        }
    };
    let mut response = Response::new(files::whole(""));
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADERS);
    describe(response.headers_mut(), entry, gzip, site, now);
    stale::mark(response.headers_mut(), age);
    let Some(part) = part else { return Ok(response) };
    describe_body(response.headers_mut(), entry, part);
    if request.method != Method::HEAD {
        let body = match table.in_memory(entry, part) {
            Some(body) => Ok(body),
            None => Box::pin(table.body(entry, part)).await,
        };
        *response.body_mut() = body.map_err(|error| {
            tracing::error!(path = entry.path, %error, "a published list cannot be read");
            Refusal::unavailable("This feed cannot be read at the moment.", site.retry_after)
        })?;
    }
    Ok(response)
}

/// What 200, 206 and 304 share.
fn describe(headers: &mut HeaderMap, entry: &Entry, gzip: bool, site: &SiteSettings, now: i64) {
    let etag = entry.gzip_etag.as_ref().filter(|_| gzip).unwrap_or(&entry.etag);
    headers.insert(ETAG, etag.clone());
    if entry.changed_at <= now {
        headers.insert(LAST_MODIFIED, entry.last_modified.clone());
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CACHE_CONTROL, site.cache_control.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// What 200 and 206 have beyond that.
fn describe_body(headers: &mut HeaderMap, entry: &Entry, part: Part) {
    headers.insert(CONTENT_TYPE, entry.content_type.clone());
    headers.insert(CONTENT_LENGTH, Table::length(entry, part));
    match part {
        Part::Whole => {}
        Part::Gzip => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Part::Range { start, end } => {
            let range = HeaderValue::try_from(format!("bytes {start}-{end}/{}", entry.bytes));
            headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        }
    }
}

fn redirect(location: &str) -> Response<Body> {
    let mut response = Response::new(files::whole(""));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    // Nothing but ASCII is left in it, so it is always a header value.
    response.headers_mut().extend(HeaderValue::from_str(location).ok().map(|location| (LOCATION, location)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Names the length of what is in memory; takes the body off an answer to HEAD.
fn finish(method: &Method, mut response: Response<Body>) -> Response<Body> {
    let named = response.headers().contains_key(CONTENT_LENGTH) || response.status() == StatusCode::NOT_MODIFIED;
    if let Some(length) = response.body().size_hint().exact().filter(|_| !named) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if *method == Method::HEAD {
        *response.body_mut() = files::whole("");
    }
    response
}
