//! `/v1/check`, `/v1/statistics` and warninglists: what the view's MISP said the last time it was asked.
//!
//! In: a request, and what is known of the MISP. Out: the answer; and a question, if nothing is known yet.
//!
//! Invariants: MISP is not asked for what is known; only the first request waits, as long as MISP may take; a failure answers
//! by its class, so no text of the other end is shown. A warninglist that is there is a file like any list.

use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use http::{Response, header};
use jiff::Timestamp;

use super::client_ip::Client;
use super::files::{self, Body, Front};
use super::guard::{self, Grant, Refusal};
use super::route::About;
use super::views::{self, NoView};
use super::{Settings, handler, params};
use crate::contact::{Contact, Failure, Question};
use crate::snapshot::layout;
use crate::token::Claims;
use crate::view::ViewId;
use crate::view::keyring::{Closed, Trouble};

/// Formats of warninglists, in the order of error texts; their names are their extensions.
const FORMATS: [&str; 4] = ["txt", "json", "xml", "yaml"];
/// Seconds until asking again is worth it when too much was asked for at once.
const BUSY: u64 = 5;
/// Beside the time MISP may take: for what is done with its answer.
const AFTER: Duration = Duration::from_secs(10);

/// Answers one of these URLs.
pub async fn answer(
    front: &Front,
    settings: &Settings,
    request: &Parts,
    client: &Client,
    about: &About,
    now: Timestamp,
) -> Result<Response<Body>, Refusal> {
    let check = || match about {
        About::Check => Ok((Question::Check, FORMATS[0])),
        About::Statistics => Ok((Question::Statistics, FORMATS[0])),
        About::Warninglist { id, format } => {
            read_warninglist(id, format).map(|(id, format)| (Question::Warninglist(id), format))
        }
    };
    let (asking, (question, format)) = Asking::admit(front, settings, request, client, now, || {
        check().map(|(question, format)| (question, (question, format)))
    })
    .await?;
    match question {
        Question::Check => asking.check().await,
        Question::Statistics => asking.statistics().await,
        Question::Warninglist(id) => asking.warninglist((id, format)).await,
    }
}

/// What a request is admitted to.
struct Asking<'a> {
    front: &'a Front,
    request: &'a Parts,
    grant: Grant<'a>,
    view: ViewId,
    now: Timestamp,
}

impl<'a> Asking<'a> {
    /// All checks of token and address, and `check`, which comes before the view is looked at. A key that is not proven is
    /// answered by what its MISP said of it.
    async fn admit<T>(
        front: &'a Front,
        settings: &'a Settings,
        request: &'a Parts,
        client: &Client,
        now: Timestamp,
        check: impl FnOnce() -> Result<(Question, T), Refusal>,
    ) -> Result<(Self, T), Refusal> {
        let grant = guard::admit(front.tokens(), settings, request, client, now)?;
        let (question, checked) = check()?;
        let view = views::open(front, &grant, now, grant.site.patience).await;
        let view = view.map_err(|none| match failure(none) {
            Some(failure) => refusal(question, failure, grant.site.retry_after),
            None => none.refusal(grant.site),
        })?;
        handler::note_end(front, settings, &view, &grant, now);
        Ok((Self { front, request, grant, view, now }, checked))
    }

    /// `/v1/check`: whether MISP answers, and what it says of itself.
    async fn check(self) -> Result<Response<Body>, Refusal> {
        self.object(Question::Check, |contact| {
            let last = contact.last?;
            match (last.failure, &contact.about) {
                (Some(failure), _) => Some(Err(failure)),
                (None, Some(about)) => Some(Ok(format!("{{{},\"unixtimestamp\":{}}}", self.common(about), last.at))),
                (None, None) => None,
            }
        })
        .await
    }

    /// `/v1/statistics`: attributes per type.
    async fn statistics(self) -> Result<Response<Body>, Refusal> {
        let now = self.now.as_second();
        self.front.demand().errands().touch(&self.view, Question::Statistics, now);
        self.object(Question::Statistics, |contact| match &contact.statistics {
            Some(statistics) => Some(Ok(format!("{{{}}}", self.common(statistics)))),
            None => contact.failure(Question::Statistics, now).map(Err),
        })
        .await
    }

    /// A warninglist, or their index.
    async fn warninglist(self, (id, format): (u16, &'static str)) -> Result<Response<Body>, Refusal> {
        let (question, now) = (Question::Warninglist(id), self.now.as_second());
        self.front.demand().errands().touch(&self.view, question, now);
        let key = layout::warninglist_key(id, format);
        let mut has_asked = false;
        loop {
            let table = self.front.table(&self.view);
            if let Some((table, entry)) = table.as_ref().and_then(|table| Some((table, table.entry(&key)?))) {
                return handler::deliver(self.request, table, entry, self.grant.site, self.now).await;
            }
            let contact = self.front.board().contacts().get(&self.view);
            if let Some(failure) = contact.and_then(|contact| contact.failure(question, now)) {
                return Err(refusal(question, failure, self.grant.site.retry_after));
            }
            if std::mem::replace(&mut has_asked, true) {
                return Err(self.later());
            }
            // The old version must not be held while waiting for the next one.
            drop(table);
            self.ask(question).await?;
        }
    }

    /// An answer that is made of what is known, or of what comes.
    async fn object(
        &self,
        question: Question,
        make: impl Fn(&Contact) -> Option<Result<String, Failure>>,
    ) -> Result<Response<Body>, Refusal> {
        let known = || self.front.board().contacts().get(&self.view).and_then(|contact| make(&contact));
        let made = match known() {
            Some(made) => made,
            None => {
                self.ask(question).await?;
                known().ok_or_else(|| self.later())?
            }
        };
        let body = made.map_err(|failure| refusal(question, failure, self.grant.site.retry_after))?;
        Ok(files::small("application/json", body))
    }

    async fn ask(&self, question: Question) -> Result<(), Refusal> {
        let busy = || Refusal::unavailable("Too much was asked for at once, try again later.", BUSY);
        let answer = self.front.demand().errands().ask(&self.view, question).ok_or_else(busy)?;
        // Told, dropped or too late: what is known now says which.
        let _ = tokio::time::timeout(self.grant.site.patience + AFTER, answer).await;
        Ok(())
    }

    fn later(&self) -> Refusal {
        Refusal::unavailable("MISP has not answered yet, try again later.", self.grant.site.retry_after)
    }

    /// The members that check and statistics share. The address is the one in the token.
    fn common(&self, content: &str) -> String {
        let Claims { proto, port, host, .. } = &self.grant.token.claims;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let address = params::quote(&format!("{proto}://{host}:{port}"));
        format!("\"status_code\":200,\"encoding\":\"UTF-8\",\"content\":{content},\"misp_host\":{address}")
    }
}

/// The class of failure that kept a key from being proven; `None`: nobody was asked.
fn failure(none: NoView) -> Option<Failure> {
    let NoView::Closed(closed) = none else { return None };
    match closed {
        Closed::Refused => Some(Failure::Refused),
        Closed::NoAnswer(Trouble::Connection) => Some(Failure::Unreachable),
        Closed::NoAnswer(Trouble::Timeout) => Some(Failure::Silent),
        Closed::NoAnswer(Trouble::Status) => Some(Failure::Status),
        Closed::NoAnswer(Trouble::Content) => Some(Failure::Unexpected),
        Closed::NowhereToAsk => None,
    }
}

/// Both words of a warninglist's URL.
fn read_warninglist(id: &str, format: &str) -> Result<(u16, &'static str), Refusal> {
    let (read, wrong) = (params::read_warninglist_id(id), params::check_word("returnedDataType", format, &FORMATS));
    let known = FORMATS.into_iter().find(|name| *name == format);
    match (read, known) {
        (Ok(id), Some(format)) => Ok((id, format)),
        (read, _) => {
            let mistakes: Vec<String> = read.err().into_iter().chain(wrong).collect();
            let body = format!("{{\"detail\":[{}]}}", mistakes.join(","));
            Err(Refusal::json(StatusCode::UNPROCESSABLE_ENTITY, body))
        }
    }
}

/// The answer to a question that failed, from the class of the failure alone: as the predecessor answers it, but for a MISP
/// that cannot be reached (503 where it had 500). `retry_after` in seconds.
fn refusal(question: Question, failure: Failure, retry_after: u64) -> Refusal {
    let (status, detail) = match (question, failure) {
        (_, Failure::NoMisp) => (StatusCode::NOT_FOUND, "This site has no MISP that could be asked."),
        (_, Failure::Unreachable) => (StatusCode::SERVICE_UNAVAILABLE, "MISP - Connection error"),
        (Question::Check, Failure::Silent) => (StatusCode::GATEWAY_TIMEOUT, "MISP - Connection error, timeout"),
        (_, Failure::Silent) => (StatusCode::SERVICE_UNAVAILABLE, "MISP - Connection error, timeout"),
        (Question::Check, Failure::Refused) => (StatusCode::FORBIDDEN, "MISP - Authentication failed"),
        (Question::Check, Failure::Status) => (StatusCode::FORBIDDEN, "MISP - HTTP Error"),
        (Question::Check, Failure::Garbled) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "MISP - Parsing error"),
        _ => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "MISP - None JSON data returned"),
    };
    let refusal = Refusal::new(status, detail);
    if status.is_server_error() { refusal.with(header::RETRY_AFTER, &retry_after.to_string()) } else { refusal }
}
