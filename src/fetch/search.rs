//! One search, all its pages. In: a [`Search`] and what it asks for. Out: every row once or more (a page that is asked for
//! again comes again; the same row replaces itself), and how many there were.
//!
//! Invariants: rows count only once their page is whole; a page without `X-Result-Count` is an error; after a 500 the search
//! begins again with smaller pages.

use uuid::Uuid;

use super::FetchError;
use super::api::{Api, Ask, Head};
use super::pages::{Counting, FAR, MIN_LIMIT, Pager, Seen, Step};
use super::query::{Question, Search};
use super::split::Shape;
use super::wire::{self, Row};

/// What the searches of one pull learn from each other.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    limit: u64,
    counting: Option<Counting>,
    /// Rows that were counted and not shown.
    pub hidden: u64,
    /// Rows that cannot be read, not even whose they are.
    pub malformed: u64,
}

impl Paging {
    /// At the beginning of a pull.
    pub fn new(limit: u64, version: Option<&str>) -> Self {
        Self { limit, counting: version.and_then(Counting::of_version), hidden: 0, malformed: 0 }
    }
}

/// A row, or the event of one that is malformed. An error ends the search.
pub type EachRow<'a> = dyn FnMut(Result<Row<'_>, Uuid>) -> Result<(), &'static str> + Send + 'a;

/// What one page held.
struct Page {
    seen: Seen,
    /// The events of rows that are malformed, one each.
    malformed: Vec<Uuid>,
    /// Malformed rows that do not even name an event.
    nameless: u64,
}

/// One search.
#[derive(Clone, Copy)]
pub struct Searching<'a> {
    /// Whom to ask.
    pub api: &'a Api<'a>,
    /// What the pull is for.
    pub question: &'a Question,
    /// Which of its searches.
    pub search: Search,
    /// Numbers of the events; none: all of them.
    pub events: &'a [u64],
}

impl Searching<'_> {
    /// Reads all pages. Returns the number of rows.
    pub async fn all(&self, paging: &mut Paging, each: &mut EachRow<'_>) -> Result<u64, FetchError> {
        let mut pager = Pager::new(self.search.limit(paging.limit), paging.counting);
        let mut rows = 0;
        let mut attempt = 1;
        loop {
            let ask = self.ask(pager.page(), pager.limit());
            let Page { seen, malformed, nameless } = match self.page(&ask, each).await {
                Ok(page) => page,
                Err(FetchError::Asking { error, .. }) if is_500(&error) && pager.smaller() => {
                    tracing::info!(what = ask.what, limit = pager.limit(), "the server failed: smaller pages");
                    paging.limit = paging.limit.min(pager.limit());
                    tokio::time::sleep(self.api.pause(attempt)).await;
                    attempt += 1;
                    rows = 0;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let step = match pager.take(seen) {
                Step::Again => continue,
                Step::Far => self.far(&mut pager).await?,
                step => step,
            };
            rows += seen.rows;
            paging.malformed += nameless;
            malformed
                .into_iter()
                .try_for_each(|event| each(Err(event)))
                .map_err(|cause| self.api.wrong(&ask, cause))?;
            paging.counting = pager.counting();
            match step {
                Step::Done => break,
                Step::TooMany => return Err(self.api.wrong(&ask, "more pages than any search has")),
                Step::Page | Step::Again | Step::Far => {}
            }
        }
        paging.hidden += pager.hidden;
        Ok(rows)
    }

    fn ask(&self, page: u64, limit: u64) -> Ask {
        let body = self.search.body(self.question, self.events, page, limit);
        let events = match self.events {
            [] => String::new(),
            [only] => format!(" of event {only}"),
            [first, .., last] => format!(" of {} events ({first} to {last})", self.events.len()),
        };
        let what = format!("{}{events}, page {page} of {limit} rows", self.search.describe());
        // Where smaller pages are no remedy, a 500 is tried again like anything temporary.
        let once_on_500 = page != FAR && limit > MIN_LIMIT;
        Ask { once_on_500, ..Ask::post("/attributes/restSearch", body, what) }
    }

    /// One page, tried as often as any request.
    async fn page(&self, ask: &Ask, each: &mut EachRow<'_>) -> Result<Page, FetchError> {
        let mut attempt = 1;
        loop {
            let (mut rows, mut malformed, mut nameless) = (0, Vec::new(), 0);
            let result = self
                .api
                .attempt(ask, Shape::Attributes, &mut |element| {
                    rows += 1;
                    match wire::row(element) {
                        Ok(row) => each(Ok(row)).map_err(str::to_owned)?,
                        Err(Some(event)) => malformed.push(event),
                        Err(None) => nameless += 1,
                    }
                    Ok(())
                })
                .await;
            match result {
                Ok(head) => return Ok(Page { seen: self.seen(ask, &head, rows)?, malformed, nameless }),
                Err(error) => self.api.before_retry(ask, error, attempt).await?,
            }
            attempt += 1;
        }
    }

    fn seen(&self, ask: &Ask, head: &Head, rows: u64) -> Result<Seen, FetchError> {
        match head.count {
            Some(count) => Ok(Seen { rows, count, skipped: head.skipped }),
            None => {
                Err(self.api.wrong(ask, "the header X-Result-Count is missing or no number, so its end cannot be told"))
            }
        }
    }

    /// How the server counts, from a page far beyond the end.
    async fn far(&self, pager: &mut Pager) -> Result<Step, FetchError> {
        let ask = self.ask(FAR, pager.limit());
        let Page { seen, .. } = self.page(&ask, &mut |_| Ok(())).await?;
        if seen.rows > 0 {
            return Err(self.api.wrong(&ask, "there are rows on a page beyond the end: the server ignored `page`"));
        }
        Ok(pager.far(seen.count))
    }
}

fn is_500(error: &FetchError) -> bool {
    matches!(error, FetchError::Status { status: 500, .. })
}
