//! Who may read. In: a request, its client, the settings. Out: a [`Grant`], or a [`Refusal`].
//!
//! Invariants: 401 and 403 only when this request's token or address is wrong, anything of ours is 503; the order of checks
//! is token, expiry, site file, enabled, blacklist, address. Which view a good token opens is [`views`](super::views)'.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use subtle::{Choice, ConstantTimeEq};

use super::client_ip::{Client, latin1};
use super::files::{self, Body};
use super::params;
use super::{Settings, SiteAccess, SiteSettings};
use crate::secret::Secret;
use crate::token::cache::Opener;
use crate::token::{Claims, Opened};

/// What clients send in Basic, read a little leniently.
const BASIC: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
/// The user name beside which the password is the token.
const USER: &str = "cratos";
/// Seconds to wait where no site says how many.
const RETRY: u64 = 60;

/// An answer other than a list.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With a text for the client.
    pub fn new(status: StatusCode, detail: &str) -> Self {
        Self::json(status, format!("{{\"detail\":{}}}", params::quote(detail)))
    }

    /// With a whole JSON body.
    pub fn json(status: StatusCode, body: String) -> Self {
        Self { status, body: body.into(), headers: Vec::new() }
    }

    /// 503: a fault of ours, or not yet.
    pub fn unavailable(detail: &str, retry_after: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, &retry_after.to_string())
    }

    /// With one more header; a value that is none is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its text, if it has one; a 422 has a list instead.
    pub fn detail(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body.get("detail")?.as_str().map(str::to_owned)
    }

    /// As it is sent.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(files::whole(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.headers);
        response
    }
}

fn forbidden(detail: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, detail)
}

/// A good token at a good address.
#[derive(Debug)]
pub struct Grant<'a> {
    /// The token.
    pub token: Arc<Opened>,
    /// The site it names.
    pub site: &'a SiteSettings,
    /// Days until it ends.
    pub left: i32,
}

/// All checks of a request's token and address, in their order.
pub fn admit<'a>(
    tokens: &Opener,
    settings: &'a Settings,
    request: &Parts,
    client: &Client,
    now: Timestamp,
) -> Result<Grant<'a>, Refusal> {
    let token = presented(request)?;
    let token = tokens.open(token.text()).map_err(|error| forbidden(&error.to_string()))?;
    let today = now.to_zoned_datetime(settings.timezone.clone()).date();
    token.claims.check_expiry(today).map_err(|error| forbidden(&error.to_string()))?;
    let site = site(settings, &token.claims)?;
    check_enabled(site)?;
    check_revoked(site, &token)?;
    check_address(settings, site, client)?;
    // Both are calendar days, so the number is whole; Err: never, these are spans of days only.
    let left = today.until(token.claims.expires).map_or(0, |span| span.get_days());
    Ok(Grant { token, site, left })
}

/// The text of a token as a request has it. Never shown.
pub enum Presented<'a> {
    /// It stands there as it is.
    Lent(&'a str),
    /// It was encoded.
    Decoded(Secret),
}

impl Presented<'_> {
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            Self::Decoded(text) => text.reveal(),
        }
    }
}

/// The token's text: Basic before query before header before Bearer.
pub fn presented(request: &Parts) -> Result<Presented<'_>, Refusal> {
    let authorization = request.headers.get(AUTHORIZATION).map(latin1).unwrap_or_default();
    let (scheme, parameter) = authorization.split_once(' ').unwrap_or((&authorization, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return read_basic(parameter).map(Presented::Decoded).ok_or_else(|| {
            Refusal::new(StatusCode::UNAUTHORIZED, "Not authenticated").with(WWW_AUTHENTICATE, "Basic")
        });
    }
    let query = || params::last(request.uri.query(), "token");
    let header = || request.headers.get("token").map(latin1);
    let bearer = || scheme.eq_ignore_ascii_case("bearer").then(|| Cow::Owned(parameter.trim().to_owned()));
    let given = |token: &Cow<'_, str>| !token.is_empty();
    let token = query().filter(given).or_else(|| header().filter(given)).or_else(|| bearer().filter(given));
    let presented = |token| match token {
        Cow::Borrowed(text) => Presented::Lent(text),
        Cow::Owned(text) => Presented::Decoded(Secret::new(text)),
    };
    token.map(presented).ok_or_else(|| forbidden("Could not validate token, or token not set."))
}

/// Base64 of ASCII `user:password`; the token is the password of [`USER`], else both together.
fn read_basic(parameter: &str) -> Option<Secret> {
    if !parameter.is_ascii() {
        return None;
    }
    let foreign = |letter: &char| letter.is_ascii_alphanumeric() || "+/=".contains(*letter);
    let decoded = BASIC.decode(parameter.chars().filter(foreign).collect::<String>()).ok()?;
    let text = String::from_utf8(decoded).ok().filter(|text| text.is_ascii())?;
    let (user, password) = text.split_once(':')?;
    Some(if user == USER { Secret::new(password) } else { Secret::new(format!("{user}{password}")) })
}

fn site<'a>(settings: &'a Settings, claims: &Claims) -> Result<&'a SiteSettings, Refusal> {
    match settings.sites.get(&claims.host) {
        None => Err(forbidden("Token config file not found")),
        Some(SiteAccess::Broken) => Err(broken_site()),
        Some(SiteAccess::Good(site)) => Ok(site),
    }
}

/// The file of this site does not check.
pub fn broken_site() -> Refusal {
    Refusal::unavailable("The configuration of this site has a mistake; its feeds are not served.", RETRY)
}

fn check_enabled(site: &SiteSettings) -> Result<(), Refusal> {
    if site.enabled { Ok(()) } else { Err(forbidden("This site is disabled.")) }
}

fn check_revoked(site: &SiteSettings, token: &Opened) -> Result<(), Refusal> {
    let mut revoked = Choice::from(0);
    for listed in &site.blacklist {
        let listed = listed.as_bytes();
        revoked |= listed.ct_eq(token.hash.as_bytes()) | listed.ct_eq(token.hash_as_sent.as_bytes());
    }
    if revoked.into() {
        return Err(forbidden("The provided API token is blacklisted and cannot be used."));
    }
    Ok(())
}

/// Refuses a proxy that nobody said to trust.
pub fn check_proxy(settings: &Settings, client: &Client, retry_after: u64) -> Result<(), Refusal> {
    if let Client::UntrustedProxy(peer) = client {
        tracing::warn!(
            %peer,
            header = %settings.proxy_header,
            "reverse_proxy is on, but this peer sends its header and is not in trusted_proxies: add it there, or it is forged"
        );
        let detail = "The proxy in front of this server is not in its list of trusted proxies.";
        return Err(Refusal::unavailable(detail, retry_after));
    }
    Ok(())
}

fn check_address(settings: &Settings, site: &SiteSettings, client: &Client) -> Result<(), Refusal> {
    check_proxy(settings, client, site.retry_after)?;
    if client.is_in(&site.allowed) || client.is_in(&settings.allowed_everywhere) {
        return Ok(());
    }
    Err(forbidden(&format!("{client} are not allowed to access the MISP instance.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(target: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        presented(&parts).map(|token| token.text().to_owned()).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn basic_before_query_before_header_before_bearer() {
        let basic = ("authorization", "Basic Y3JhdG9zOmE=");
        let bearer = ("authorization", "Bearer d");
        assert_eq!(token("/?token=b", &[basic, ("token", "c")]), Ok("a".into()));
        assert_eq!(token("/?token=b", &[bearer, ("token", "c")]), Ok("b".into()));
        assert_eq!(token("/?token=b&token=", &[bearer, ("token", "c"), ("token", "e")]), Ok("c".into()));
        assert_eq!(token("/", &[bearer, ("token", "")]), Ok("d".into()));
        for nothing in [("authorization", "Bearer "), ("authorization", "a"), ("cookie", "token=a"), ("x-api-key", "a")]
        {
            assert_eq!(token("/?TOKEN=a", &[nothing]), Err(403), "{nothing:?}");
        }
    }

    #[test]
    fn basic_is_split_as_recorded() {
        for (sent, read) in [
            ("Basic Y3JhdG9zOmI6Yw==", "b:c"),
            ("basic YTpi", "ab"),
            ("Basic YTo=", "a"),
            ("Basic OmI=", "b"),
            ("Basic Og==", ""),
            ("Basic Q3JhdG9zOmI=", "Cratosb"),
        ] {
            assert_eq!(token("/", &[("authorization", sent), ("token", "c")]), Ok(read.into()), "{sent}");
        }
        for sent in ["Basic !!!", "Basic Y3JhdG9z", "Basic", "Basic ", "Basic Y3LDpHRvczp4", "Basic Y3JhdG9zOmI"] {
            assert_eq!(token("/?token=b", &[("authorization", sent)]), Err(401), "{sent}");
        }
    }

    #[test]
    fn a_refusal_is_never_stored() {
        let response = Refusal::unavailable("a \"b\"", 5).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
