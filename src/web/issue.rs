//! The story of a new token: who asks, for what, may they. In: `POST /v1/generate_token_json`, or the fields of the form. Out: the
//! token, or a refusal.
//!
//! Invariants: a body is bounded in size and time; with `token_issuance: allowed_ips` a token goes to addresses that may read
//! its site and to nobody else; neither token nor key is logged.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::client_ip::Client;
use super::files::{self, Body, Front};
use super::guard::{self, Refusal};
use super::{Issuance, Settings, SiteAccess, issue_body, log_line, verify};
use crate::secret::Secret;
use crate::token::Claims;

/// Bytes of a body; five members need a few hundred.
const MAX_BODY: usize = 64 << 10;
/// From the head of a request to the end of its body.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Seconds to wait where a site's file has a mistake.
const RETRY: u64 = 60;

#[derive(Serialize)]
struct Issued<'a> {
    #[serde(rename = "MISP")]
    misp: &'a str,
    validity: String,
    token: &'a str,
    /// Whether the MISP knows the key; left out where nobody would ask it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

/// A new token and what is said about it.
#[derive(Debug)]
pub struct Made {
    /// Its text.
    pub token: Secret,
    /// Lower-case hex SHA-256; the first eight digits are the short id.
    pub hash: String,
    /// Where its MISP is.
    pub misp: String,
    /// First day on which it is refused.
    pub expires: Date,
    /// Whether the MISP knows the key; `None` where nobody would ask it.
    pub verified: Option<bool>,
}

/// Answers `/v1/generate_token_json`.
pub async fn issue(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    body: Incoming,
    client: &Client,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    check_anywhere(settings, client)?;
    let body = read(body).await?;
    let claims = issue_body::read(&request.headers, &body)?;
    let made = make(front, settings, &claims, client, now).await?;
    answer(&Issued {
        misp: &made.misp,
        validity: made.expires.to_string(),
        token: made.token.reveal(),
        verified: made.verified,
    })
}

/// Makes a token, if this client may have one for that site, and the MISP does not refuse its key. Every maker ends here.
pub async fn make(
    front: &Front,
    settings: &Settings,
    claims: &Claims,
    client: &Client,
    now: Timestamp,
) -> Result<Made, Refusal> {
    check_site(settings, claims, client)?;
    let verified = verify::verify(front, settings, claims, now).await?;
    let no_random = |_| Refusal::unavailable("The system gives no random bytes.", RETRY);
    let token = front.tokens().keys().mint(claims, now.as_second().unsigned_abs()).map_err(no_random)?;
    let opened = front.tokens().keys().open(token.reveal()).map_err(|error| {
        tracing::error!(%error, "a new token does not open");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "The token could not be made.")
    })?;
    let (site, expires, id) = (&claims.host, claims.expires, opened.short_id());
    tracing::info!(site, %expires, id, client = log_line::client(client), "made a token");
    Ok(Made { token, hash: opened.hash, misp: url(claims), expires, verified })
}

/// Refuses who would be refused whatever the body says, before it is read.
pub fn check_anywhere(settings: &Settings, client: &Client) -> Result<(), Refusal> {
    match settings.issuance {
        Issuance::Open => return Ok(()),
        Issuance::Off => return Err(forbidden("This server makes no tokens (token_issuance: off).")),
        Issuance::AllowedIps => {}
    }
    guard::check_proxy(settings, client, RETRY)?;
    let somewhere = settings.sites.values().any(|site| match site {
        SiteAccess::Good(site) => site.enabled && client.is_in(&site.allowed),
        SiteAccess::Broken => true,
    });
    if somewhere || client.is_in(&settings.allowed_everywhere) { Ok(()) } else { Err(not_here(client)) }
}

/// The address must be allowed to read the site that the token is for. A site that is not there looks like one that is not
/// for this address.
fn check_site(settings: &Settings, claims: &Claims, client: &Client) -> Result<(), Refusal> {
    if settings.issuance == Issuance::Open || client.is_in(&settings.allowed_everywhere) {
        return Ok(());
    }
    match settings.sites.get(&claims.host) {
        Some(SiteAccess::Good(site)) if client.is_in(&site.allowed) => Ok(()),
        Some(SiteAccess::Broken) => Err(guard::broken_site()),
        Some(SiteAccess::Good(_)) | None => Err(not_here(client)),
    }
}

fn not_here(client: &Client) -> Refusal {
    forbidden(&format!(
        "{client} may not make tokens for this site: it is neither in its allowed_ips nor in allways_allowed_ips \
         (token_issuance: allowed_ips)."
    ))
}

fn forbidden(detail: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, detail)
}

/// The body of a request, bounded in size and time.
pub async fn read(body: Incoming) -> Result<bytes::Bytes, Refusal> {
    let reading = tokio::time::timeout(MAX_TIME, Limited::new(body, MAX_BODY).collect());
    match reading.await {
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."))
        }
        Ok(Err(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "There was an error parsing the body")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// Where the token's MISP is; an IPv6 address in brackets.
fn url(claims: &Claims) -> String {
    let Claims { proto, host, port, .. } = claims;
    if host.contains(':') { format!("{proto}://[{host}]:{port}/") } else { format!("{proto}://{host}:{port}/") }
}

fn answer(issued: &Issued<'_>) -> Result<Response<Body>, Refusal> {
    // Texts and a boolean always serialize.
    let body = serde_json::to_vec(issued).unwrap_or_default();
    let mut response = Response::new(files::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
