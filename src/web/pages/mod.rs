//! The pages people use. In: a request for one. Out: HTML, or the files and the description that the pages load.
//!
//! | file | answers |
//! |---|---|
//! | [`form`] | `/v1/generate_token_form`: the form, the token, or what is wrong |
//! | [`fields`] | the body of a form → its five fields → the claims of a token |
//! | [`statics`] | `/static/…`, all part of the program |
//!
//! Texts are in `templates/`. Invariants: a page loads nothing from another host, has no script or style inside it, and
//! says so to the browser; an error is a page only for somebody who prefers HTML, and has the status it would have as JSON.

pub mod fields;
pub mod form;
pub mod statics;

use askama::Template;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;

use crate::web::Settings;
use crate::web::client_ip::Client;
use crate::web::files::{self, Body, Front};
use crate::web::guard::Refusal;
use crate::web::openapi;

/// Shown at the foot of every page.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything comes from here and nothing from inside a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page, or what one loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/v1/generate_token_form`.
    Form,
    /// `/v1/help`.
    Help,
    /// `/redoc`.
    Redoc,
    /// `/openapi.json` and `/v1/openapi.json`.
    OpenApi,
    /// `/static/` and this name.
    Static(String),
}

#[derive(Template)]
#[template(path = "start.html")]
struct Start;

#[derive(Template)]
#[template(path = "help.html")]
struct Help;

#[derive(Template)]
#[template(path = "redoc.html")]
struct Redoc;

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused<'a> {
    title: &'a str,
    detail: &'a str,
}

/// Answers for a page.
pub async fn answer(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    body: Incoming,
    client: &Client,
    page: &Page,
    now: Timestamp,
) -> Response<Body> {
    match page {
        Page::Form if request.method == Method::POST => {
            let made = form::submitted(front, settings, request, body, client, now).await;
            made.unwrap_or_else(|refusal| refused(&request.headers, refusal))
        }
        Page::Form => {
            let shown = form::empty(settings, client, now);
            shown.unwrap_or_else(|refusal| refused(&request.headers, refusal))
        }
        Page::Help => html(StatusCode::OK, &Help),
        Page::Redoc => html(StatusCode::OK, &Redoc),
        Page::OpenApi => openapi::answer(front, settings, request, client, now.as_second()),
        Page::Static(name) => statics::answer(name, request, now.as_second()).await,
    }
}

/// `/` for a browser.
pub fn start() -> Response<Body> {
    let mut response = html(StatusCode::OK, &Start);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Does the client prefer HTML to JSON, as browsers do? A program that takes anything gets JSON.
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json, mut any) = (None, None, None);
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for item in lines.flat_map(|line| line.split(',')) {
        let (kind, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = quality(parameters);
        match kind.trim().to_ascii_lowercase().as_str() {
            "text/html" => html = Some(quality),
            "application/json" => json = Some(quality),
            "*/*" => any = Some(quality),
            _ => {}
        }
    }
    html.is_some_and(|html| html > json.or(any).unwrap_or(0.0))
}

/// `q` among the parameters of an item, 1 without one; one that cannot be read is as good as none.
fn quality(parameters: &str) -> f32 {
    let given = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut given = given.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    given.next().map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0))
}

/// A refusal, as a page for somebody who prefers one. Status and headers stay.
fn refused(headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let detail = refusal.detail();
    let mut response = refusal.into_response();
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    if !prefers_html(headers) {
        return response;
    }
    let title = response.status().canonical_reason().unwrap_or("Refused");
    let detail = detail.as_deref().unwrap_or("A field is missing or empty: all five are needed.");
    let page = html(response.status(), &Refused { title, detail });
    let (parts, body) = page.into_parts();
    *response.body_mut() = body;
    response.headers_mut().extend(parts.headers);
    response
}

/// A page, never stored: it may show a token or say how somebody was refused.
fn html(status: StatusCode, page: &impl Template) -> Response<Body> {
    let (status, text) = match page.render() {
        Ok(text) => (status, text),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page cannot be shown.".to_owned())
        }
    };
    let mut response = Response::new(files::whole(text));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_prefer_html_and_programs_do_not() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, html) in [
            (browser, true),
            ("text/html", true),
            ("TEXT/HTML; q=0.5, application/json;q=0.4", true),
            ("text/html;level=1;q=0.3, */*;q=0.1", true),
            ("*/*", false),
            ("", false),
            ("application/json", false),
            ("text/html, application/json", false),
            ("text/html;q=0.2, */*", false),
            ("text/html;q=0", false),
            ("text/html;q=x", false),
        ] {
            let headers = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(prefers_html(&headers), html, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
