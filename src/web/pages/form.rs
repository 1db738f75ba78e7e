//! `/v1/generate_token_form`. In: a request for the form, or a filled one. Out: the form; the token; or the form again with
//! everything that is wrong.
//!
//! Invariants: who may have a token, and how one is made, is decided in `issue` only; a key is never written back; a page
//! with mistakes is a 422.

use askama::Template;
use http::header::{HOST, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::fields::{Fields, Mistake};
use crate::secret::Secret;
use crate::web::client_ip::Client;
use crate::web::files::{Body, Front};
use crate::web::guard::Refusal;
use crate::web::issue::{self, Made};
use crate::web::{Settings, SiteAccess};

/// The feed of the example, one that every site has.
const FEED: &str = "block";
/// What stands behind it in the example.
const LIST: &str = "type/ipv4/age/1w/output/txt";
/// Longest passwords that devices with short fields take; longer tokens are shown in two parts for them.
const SHORT: [usize; 3] = [128, 100, 64];
/// A proxy that speaks TLS says so here. Only shown, never trusted.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[derive(Template)]
#[template(path = "form.html")]
struct Form<'a> {
    mistakes: &'a [Mistake],
    domain: &'a str,
    proto: &'a str,
    port: &'a str,
    expire: &'a str,
    tomorrow: Date,
}

#[derive(Template)]
#[template(path = "token.html")]
struct Token<'a> {
    token: &'a str,
    expires: Date,
    expired: bool,
    misp: &'a str,
    verified: Option<bool>,
    short_id: &'a str,
    hash: &'a str,
    origin: &'a str,
    path: String,
    splits: Vec<Split<'a>>,
}

/// A token in two parts.
struct Split<'a> {
    user: &'a str,
    password: &'a str,
}

/// The form, for those who may have a token at all.
pub fn empty(settings: &Settings, client: &Client, now: Timestamp) -> Result<Response<Body>, Refusal> {
    issue::check_anywhere(settings, client)?;
    let today = today(settings, now);
    let year = today.checked_add(1.year()).unwrap_or(today).to_string();
    let form = Form { mistakes: &[], domain: "", proto: "https", port: "443", expire: &year, tomorrow: next(today) };
    Ok(super::html(StatusCode::OK, &form))
}

/// A filled form.
pub async fn submitted(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    body: Incoming,
    client: &Client,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    issue::check_anywhere(settings, client)?;
    let body = issue::read(body).await?;
    let fields = Fields::read(&request.headers, &body)?;
    let today = today(settings, now);
    let mistakes = match fields.claims() {
        Ok(claims) => match issue::make(front, settings, &claims, client, now).await {
            Ok(made) => return Ok(token(settings, &request.headers, &made, &claims.host, today)),
            Err(refusal) => vec![refused_key(refusal)?],
        },
        Err(mistakes) => mistakes,
    };
    let Fields { domain, proto, port, expire, .. } = &fields;
    let form = Form { mistakes: &mistakes, domain, proto, port, expire, tomorrow: next(today) };
    Ok(super::html(StatusCode::UNPROCESSABLE_ENTITY, &form))
}

/// A 422 is about the key, the only field that others have a say in. Any other refusal is about who asks.
fn refused_key(refusal: Refusal) -> Result<Mistake, Refusal> {
    let text = refusal.detail().filter(|_| refusal.status() == StatusCode::UNPROCESSABLE_ENTITY);
    text.map(Mistake::of_key).ok_or(refusal)
}

fn today(settings: &Settings, now: Timestamp) -> Date {
    now.to_zoned_datetime(settings.timezone.clone()).date()
}

/// The day after; at the end of the calendar there is none.
fn next(day: Date) -> Date {
    day.tomorrow().unwrap_or(day)
}

fn token(settings: &Settings, headers: &HeaderMap, made: &Made, host: &str, today: Date) -> Response<Body> {
    let known = match settings.sites.get(host) {
        Some(SiteAccess::Good(site)) if !site.feeds.iter().any(|feed| feed == FEED) => site.feeds.first(),
        _ => None,
    };
    let feed = known.map_or(FEED, String::as_str);
    super::html(
        StatusCode::OK,
        &Token {
            token: made.token.reveal(),
            expires: made.expires,
            expired: made.expires <= today,
            misp: &made.misp,
            verified: made.verified,
            short_id: &made.hash[..8],
            hash: &made.hash,
            origin: &origin(headers),
            path: format!("/v1/feed/{feed}/{LIST}"),
            splits: splits(&made.token),
        },
    )
}

/// This server as the client calls it. A script puts in what the browser knows better.
fn origin(headers: &HeaderMap) -> String {
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(is_name).unwrap_or("localhost");
    let encrypted = headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    format!("{}://{host}", if encrypted { "https" } else { "http" })
}

/// The token in two parts, for passwords of each short length. A token is ASCII, so it can be cut anywhere.
fn splits(token: &Secret) -> Vec<Split<'_>> {
    let token = token.reveal();
    let cut =
        |length| token.len().checked_sub(length).filter(|user| *user > 0).and_then(|at| token.split_at_checked(at));
    SHORT.into_iter().filter_map(cut).map(|(user, password)| Split { user, password }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_the_token_again() {
        let token = Secret::new("t".repeat(120) + &"u".repeat(80));
        let splits = splits(&token);
        assert_eq!(splits.iter().map(|split| split.password.len()).collect::<Vec<_>>(), SHORT);
        assert!(splits.iter().all(|split| format!("{}{}", split.user, split.password) == token.reveal()));
        assert!(super::splits(&Secret::new("short")).is_empty());
    }

    #[test]
    fn the_example_names_this_server_and_nothing_odd() {
        let ask = |headers: &[(HeaderName, &'static str)]| {
            let value =
                |(name, value): &(HeaderName, &'static str)| (name.clone(), http::HeaderValue::from_static(value));
            origin(&headers.iter().map(value).collect())
        };
        assert_eq!(ask(&[(HOST, "cratos.example.net:8443")]), "http://cratos.example.net:8443");
        assert_eq!(ask(&[(HOST, "[::1]:80"), (FORWARDED_PROTO, "https")]), "https://[::1]:80");
        assert_eq!(ask(&[(HOST, "a'b")]), "http://localhost");
        assert_eq!(ask(&[]), "http://localhost");
    }
}
