//! Bytes over HTTP. In: a URL and [`Limits`]. Out: the whole body, or a [`FetchError`].
//!
//! The only file that opens outgoing connections. Invariants: every request has a time and a size limit; redirects are not
//! followed; a body that ends early is an error.
#![allow(clippy::disallowed_types, reason = "the one place of outgoing connections")]

use std::time::Duration;

use super::FetchError;

/// What one request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for the connection.
    pub connect: Duration,
    /// Longest silence while reading.
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

impl Client {
    /// Fails only if the TLS trust store cannot be set up.
    pub fn new(limits: Limits) -> Result<Self, FetchError> {
        let inner = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .read_timeout(limits.silence)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cratos/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed("client", &error))?;
        Ok(Self { inner, limits })
    }

    /// GETs the body of a 200; any other status is an error.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let shown = without_credentials(url);
        let mut answer = self.inner.get(url).send().await.map_err(|error| failed(&shown, &error))?;
        if answer.status() != 200 {
            return Err(FetchError::Status { url: shown, status: answer.status().as_u16() });
        }
        let too_large = |shown: String| FetchError::TooLarge { what: shown, limit: self.limits.body };
        if answer.content_length().is_some_and(|length| length > self.limits.body) {
            return Err(too_large(shown));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&shown, &error))? {
            if body.len() as u64 + chunk.len() as u64 > self.limits.body {
                return Err(too_large(shown));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
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
    FetchError::Http { url: url.to_owned(), cause: causes.join(": ") }
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
