//! Bytes over HTTP. In: a [`Request`] and [`Limits`]. Out: an [`Answer`] whose body comes in chunks, or a [`FetchError`].
//!
//! The only file that opens outgoing connections. Invariants: every request has a time and a size limit; redirects are not
//! followed (a MISP key must not go elsewhere, and maintenance is a redirect to a login page); a body that ends early is an
//! error; proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY` …); cookies are ignored.
#![allow(clippy::disallowed_types, reason = "the one place of outgoing connections")]

use std::time::Duration;

use bytes::Bytes;

use super::FetchError;
use super::tls::{self, Trust};
use crate::secret::Secret;

/// What one request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for the connection.
    pub connect: Duration,
    /// Longest silence: until the answer begins, and while reading.
    pub silence: Duration,
    /// Largest body in bytes, after decompression.
    pub body: u64,
}

/// A client with its limits; cheap to clone, keeps connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    limits: Limits,
}

/// What to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The whole URL.
    pub url: &'a str,
    /// The MISP key, sent in `Authorization` without a scheme.
    pub key: Option<&'a Secret>,
    /// A token, sent in the header `token`: the other end is a publisher of feeds.
    pub token: Option<&'a Secret>,
    /// A JSON body makes it a POST.
    pub body: Option<&'a serde_json::Value>,
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Answer {
    inner: reqwest::Response,
    shown: String,
    left: u64,
    limit: u64,
}

impl Client {
    /// Fails only if the TLS settings cannot be used.
    pub fn new(limits: Limits, trust: &Trust) -> Result<Self, FetchError> {
        let builder = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .read_timeout(limits.silence)
            .redirect(reqwest::redirect::Policy::none())
            .tls_info(true)
            .user_agent(concat!("cratos/", env!("CARGO_PKG_VERSION")));
        let builder = apply(trust, builder).map_err(|cause| FetchError::Http { url: "TLS settings".into(), cause })?;
        let inner = builder.build().map_err(|error| failed("client", &error))?;
        Ok(Self { inner, limits })
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, FetchError> {
        let shown = without_credentials(request.url);
        let mut builder = match request.body {
            Some(body) => self
                .inner
                .post(request.url)
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            None => self.inner.get(request.url),
        };
        builder = builder.header(reqwest::header::ACCEPT, "application/json");
        for (name, secret) in [("authorization", request.key), ("token", request.token)] {
            let Some(secret) = secret else { continue };
            let mut value = reqwest::header::HeaderValue::from_str(secret.reveal())
                .map_err(|_| FetchError::Http { url: shown.clone(), cause: "the key is no header value".into() })?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        // MISP builds the whole answer before the first byte. The read timeout of the client ends that wait, too.
        let sent = tokio::time::timeout(self.limits.connect + self.limits.silence, builder.send()).await;
        let inner = match sent {
            Ok(Ok(inner)) => inner,
            Ok(Err(error)) if error.is_connect() || !error.is_timeout() => return Err(failed(&shown, &error)),
            Ok(Err(_)) | Err(_) => {
                return Err(FetchError::Silent { url: shown, seconds: self.limits.silence.as_secs() });
            }
        };
        let limit = self.limits.body;
        if inner.content_length().is_some_and(|length| length > limit) {
            return Err(FetchError::TooLarge { what: shown, limit });
        }
        Ok(Answer { inner, shown, left: limit, limit })
    }

    /// GETs the body of a 200; any other status is an error.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.send(Request { url, ..Request::default() }).await?;
        if answer.status() != 200 {
            return Err(FetchError::Status {
                url: answer.shown,
                status: answer.inner.status().as_u16(),
                cause: String::new(),
            });
        }
        answer.body().await
    }
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// The URL as it may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The certificate of the other end in DER form, over TLS.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.inner.extensions().get::<reqwest::tls::TlsInfo>()?.peer_certificate()
    }

    /// The next bytes of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let chunk = self.inner.chunk().await.map_err(|error| failed(&self.shown, &error))?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| FetchError::TooLarge { what: self.shown.clone(), limit: self.limit })?;
        Ok(chunk)
    }

    /// The whole body.
    pub async fn body(&mut self) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn apply(trust: &Trust, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, String> {
    if let Some(config) = trust.pinned() {
        return config.map(|config| builder.tls_backend_preconfigured(config));
    }
    let builder = match &trust.authorities {
        Some(pem) => builder.tls_certs_merge(tls::authorities(pem)?),
        None => builder,
    };
    Ok(if trust.verify { builder } else { builder.tls_danger_accept_invalid_certs(true) })
}

/// The whole chain of causes, without the URL (it may carry a password).
fn failed(url: &str, error: &reqwest::Error) -> FetchError {
    let mut causes = vec![if error.is_timeout() { "time limit".to_owned() } else { String::new() }];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.retain(|cause| !cause.is_empty());
    if causes.is_empty() {
        causes.push("request failed".into());
    }
    let (url, cause) = (url.to_owned(), causes.join(": "));
    if is_untrusted(error) { FetchError::Untrusted { url, cause } } else { FetchError::Http { url, cause } }
}

/// Whether TLS refused the certificate of the other end.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    // `source` of an I/O error skips the error it was made from.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_untrusted(inner)) || error.source().is_some_and(is_untrusted)
}

/// The URL as it may be logged.
pub fn without_credentials(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) => {
            // Err: a URL that cannot carry credentials has none to hide.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            if parsed.query().is_some() {
                parsed.set_query(Some("…"));
            }
            parsed.to_string()
        }
        Err(_) => "(unreadable URL)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(
            without_credentials("https://u:p@misp.example.net/f/?key=1"),
            "https://misp.example.net/f/?%E2%80%A6"
        );
        assert_eq!(without_credentials("https://misp.example.net/f/"), "https://misp.example.net/f/");
    }
}
