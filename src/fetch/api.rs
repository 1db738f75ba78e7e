//! Questions to one MISP, each answered whole or not at all. In: path and body. Out: the elements of the answer, one by one,
//! and what its headers say; or a [`FetchError`] that names the request and the cause.
//!
//! Sources: MISP's `AppController.php`, `RestSearchComponent.php`, `RestResponseComponent.php`.
//!
//! Invariants: a 200 is good only if it is JSON of the wanted shape and whole; 403, 404, 405 and redirects are final; what
//! is temporary (no connection, cut answers, 429, 500 to 504) is tried again a few times with growing, jittered pauses.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::FetchError;
use super::client::{Answer, Client, Request};
use super::misp::MispSource;
use super::split::{Each, Shape, Splitter};

/// Longest wait that a 429 may ask for; more than this fails the pull, and the schedule comes back later.
const MAX_RATE_WAIT: Duration = Duration::from_secs(60);
/// Bytes of an error's body that are read.
const ERROR_BYTES: usize = 4096;

/// How often and how patiently a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all.
    pub tries: u32,
    /// The first pause; it doubles.
    pub pause: Duration,
}

/// What the headers of an answer say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `X-Result-Count`.
    pub count: Option<u64>,
    /// `X-Skipped-Elements-Count`.
    pub skipped: Option<u64>,
    /// `Date`, Unix seconds.
    pub date: Option<i64>,
    /// `X-Auth-Key-Expiration`: when the key ends, as MISP writes it.
    pub key_expires: Option<String>,
    /// The server's certificate in DER form.
    pub certificate: Option<Vec<u8>>,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Path below the MISP's URL, with its slash.
    pub path: Cow<'static, str>,
    /// The JSON body; without one it is a GET.
    pub body: Option<Value>,
    /// What is asked, for error texts: `attributes with to_ids, page 2`.
    pub what: String,
    /// Give a 500 back at once: the caller asks for less.
    pub once_on_500: bool,
}

impl Ask {
    /// A GET.
    pub fn get(path: &'static str, what: &str) -> Self {
        Self { path: path.into(), body: None, what: what.into(), once_on_500: false }
    }

    /// A POST.
    pub fn post(path: &'static str, body: Value, what: impl Into<String>) -> Self {
        Self { path: path.into(), body: Some(body), what: what.into(), once_on_500: false }
    }
}

/// A MISP to ask.
pub struct Api<'a> {
    client: Client,
    source: &'a MispSource,
}

impl<'a> Api<'a> {
    /// Fails only if the TLS settings cannot be used.
    pub fn new(source: &'a MispSource) -> Result<Self, FetchError> {
        Ok(Self { client: source.client()?, source })
    }

    /// A small answer, whole.
    pub async fn json<T: DeserializeOwned>(&self, ask: &Ask) -> Result<(Head, T), FetchError> {
        let mut attempt = 1;
        loop {
            match self.attempt_whole(ask).await {
                Ok((head, body)) => {
                    let value = serde_json::from_slice(&body).map_err(|error| match error.classify() {
                        Category::Data => self.wrong(ask, error.to_string()),
                        _ => self.no_json(ask, error.to_string()),
                    });
                    return value.map(|value| (head, value));
                }
                Err(error) => self.before_retry(ask, error, attempt).await?,
            }
            attempt += 1;
        }
    }

    /// Waits before the next try, if the error is temporary and there is one; else gives the error back.
    pub async fn before_retry(&self, ask: &Ask, error: FetchError, attempt: u32) -> Result<(), FetchError> {
        let Some(wait) = self.wait(&error, attempt, ask.once_on_500) else { return Err(error.asking(&ask.what)) };
        tracing::debug!(what = ask.what, %error, attempt, "asked again in {wait:?}");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// An answer that is JSON, but not what was asked for.
    pub fn wrong(&self, ask: &Ask, cause: impl Into<String>) -> FetchError {
        FetchError::Unexpected { what: self.url(ask), cause: cause.into() }.asking(&ask.what)
    }

    /// An answer that is no JSON.
    pub fn no_json(&self, ask: &Ask, cause: String) -> FetchError {
        FetchError::Json { what: self.url(ask), cause }.asking(&ask.what)
    }

    /// The bytes of an answer of at most `limit` bytes, asked for once. That they are JSON is for the caller to see.
    pub async fn bytes(&self, ask: &Ask, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.good(ask).await.map_err(|error| error.asking(&ask.what))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| error.asking(&ask.what))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                return Err(FetchError::TooLarge { what: self.url(ask), limit }.asking(&ask.what));
            }
        }
        Ok(body)
    }

    fn wait(&self, error: &FetchError, attempt: u32, once_on_500: bool) -> Option<Duration> {
        if let FetchError::RateLimited { seconds, .. } = error {
            let wait = Duration::from_secs(*seconds);
            return (wait <= MAX_RATE_WAIT && attempt < self.source.retry.tries).then_some(wait);
        }
        let temporary = match error {
            FetchError::Http { .. } => true,
            FetchError::Status { status: 500, .. } => !once_on_500,
            FetchError::Status { status, .. } => (501..=504).contains(status),
            _ => false,
        };
        (temporary && attempt < self.source.retry.tries).then(|| self.pause(attempt))
    }

    /// Doubles from try to try, with up to half of it more.
    pub fn pause(&self, attempt: u32) -> Duration {
        let pause = self.source.retry.pause.saturating_mul(1 << attempt.saturating_sub(1).min(6));
        pause + pause.mul_f64(f64::from(uuid::Uuid::new_v4().as_u128() as u8) / 512.0)
    }

    fn url(&self, ask: &Ask) -> String {
        format!("{}{}", self.source.url, ask.path)
    }

    /// One try. Elements may have been given away before it fails.
    pub async fn attempt(&self, ask: &Ask, shape: Shape, each: &mut Each<'_>) -> Result<Head, FetchError> {
        let mut answer = self.good(ask).await?;
        let wrong = |cause: String| FetchError::Json { what: self.url(ask), cause };
        let mut splitter = Splitter::new(shape);
        while let Some(chunk) = answer.chunk().await? {
            splitter.feed(&chunk, each).map_err(wrong)?;
        }
        splitter.finish().map_err(wrong)?;
        Ok(head(&answer))
    }

    async fn attempt_whole(&self, ask: &Ask) -> Result<(Head, Vec<u8>), FetchError> {
        let mut answer = self.good(ask).await?;
        let body = answer.body().await?;
        Ok((head(&answer), body))
    }

    /// An answer with status 200 that says it is JSON.
    async fn good(&self, ask: &Ask) -> Result<Answer, FetchError> {
        let url = self.url(ask);
        let request = Request { url: &url, key: Some(&self.source.key), body: ask.body.as_ref(), token: None };
        let answer = self.client.send(request).await?;
        let url = answer.shown().to_owned();
        match answer.status() {
            200 => {}
            status @ (301 | 302 | 303 | 307 | 308) => {
                let to = answer.header("location").map(super::client::without_credentials);
                return Err(FetchError::Redirect { url, status, to: to.unwrap_or_default() });
            }
            429 => {
                let reset = answer.header("x-rate-limit-reset").or(answer.header("retry-after"));
                let seconds = reset.and_then(|text| text.trim().parse().ok()).unwrap_or(900);
                return Err(FetchError::RateLimited { url, seconds });
            }
            status => return Err(FetchError::Status { url, status, cause: message(answer).await }),
        }
        match answer.header("content-type") {
            Some(kind) if kind.to_ascii_lowercase().starts_with("application/json") => Ok(answer),
            kind => {
                Err(FetchError::Json { what: url, cause: format!("not JSON but {}", kind.unwrap_or("of no type")) })
            }
        }
    }
}

/// What MISP says in the body of an error: `{"name":…,"message":…,"url":…}`. Nothing else of a body is shown.
async fn message(mut answer: Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BYTES {
            return String::new();
        }
    }
    let said = serde_json::from_slice::<Said>(&body).map(|said| said.message).unwrap_or_default();
    said.chars().filter(|character| !character.is_control()).take(200).collect()
}

fn head(answer: &Answer) -> Head {
    let number = |name| answer.header(name).and_then(|text| text.trim().parse().ok());
    let date = answer.header("date").and_then(|text| httpdate::parse_http_date(text).ok());
    Head {
        count: number("x-result-count"),
        skipped: number("x-skipped-elements-count"),
        date: date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok()).map(|since| since.as_secs() as i64),
        key_expires: answer.header("x-auth-key-expiration").map(str::to_owned),
        certificate: answer.certificate().map(<[u8]>::to_vec),
    }
}
