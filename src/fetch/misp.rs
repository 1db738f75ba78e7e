//! The source kind `misp`: one pull of everything a view needs, over MISP's REST API.
//!
//! In: a [`Question`]. Out: whole events through the [`Sink`], and [`Pulled`].
//!
//! Order: (full pull: version, user, tags) → event index → warninglists → false-positive rows → batches of events, each in
//! pages → event index again; batches of which something changed meanwhile are read again, up to three times.
//!
//! Which rows are on a warninglist the rows say themselves (`warnings`). A full pull checks that on its first batches against
//! what the server takes out when warninglists are enforced; if they differ, every batch is asked for both ways.
//!
//! Invariants: an event is given to the sink with all rows of one batch that was read without a gap; a row of an event that
//! was not asked for fails the pull (the server ignored a filter); an answer without `X-Result-Count` fails it too; nothing
//! is ever asked for without a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use uuid::Uuid;

use super::api::{Api, Ask, Retry};
use super::changes::{self, Batching, FalsePositives, Index};
use super::client::{Client, Limits};
use super::pages::MAX_LIMIT;
use super::query::{Question, Search};
use super::search::{Paging, Searching};
use super::split::Shape;
use super::tls::Trust;
use super::{FetchError, Known, Pulled, Sink, server, wire};
use crate::secret::Secret;

/// How often batches that changed while they were read are read again.
const ROUNDS: u32 = 3;
/// Batches of a full pull whose warnings are checked at most; one with hits is enough.
const CHECKS: u32 = 3;
/// More events than this are refused.
const MAX_EVENTS: usize = 2_000_000;

/// A MISP and what asking it may cost.
#[derive(Clone, Debug)]
pub struct MispSource {
    /// Without a slash at the end.
    pub url: String,
    /// The key of one MISP user: what this user may see is the view.
    pub key: Secret,
    /// Whom to trust.
    pub trust: Trust,
    /// Time and size limits of one request.
    pub limits: Limits,
    /// How often a request is tried.
    pub retry: Retry,
    client: Arc<OnceLock<Client>>,
}

impl PartialEq for MispSource {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
            && self.key.same_as(&other.key)
            && (&self.trust, self.limits, self.retry) == (&other.trust, other.limits, other.retry)
    }
}

impl MispSource {
    /// Connects to nothing yet.
    pub fn new(url: &str, key: Secret, trust: Trust, limits: Limits, retry: Retry) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { url, key, trust, limits, retry, client: Arc::default() }
    }

    /// The client, made once: it keeps connections and the trust store.
    pub(super) fn client(&self) -> Result<Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = Client::new(self.limits, &self.trust)?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Pulls what the question asks for.
pub async fn pull(source: &MispSource, question: &Question, sink: &mut dyn Sink) -> Result<Pulled, FetchError> {
    let api = Api::new(source)?;
    let mut out = Pulled { full: question.full, ..Pulled::default() };
    let mut memory = question.memory_mb;
    if question.full {
        let server = server::ask(&api).await?;
        memory = server.memory_mb;
        out.tags = Some(server::tag_names(&api, &question.watched).await?);
        out.server = Some(server);
    }
    let version = out.server.as_ref().map(|server| server.version.as_str()).or(question.version.as_deref());
    // The server's own cap is 50 rows per MB of its memory limit; a page above it would be cut without a word.
    let limit = memory.map_or(MAX_LIMIT, |memory| MAX_LIMIT.min((memory * 25).max(100)));
    let paging = Paging::new(limit, version);
    let checks = if question.full { CHECKS } else { 0 };
    let hits = Hits { missing: question.hits_missing && !question.full, checks };
    let mut pull = Pull { api, question, sink, paging, everything: question.full, hits };
    let (index, date) = event_index(&pull.api).await?;
    let warninglists = server::warninglists(&pull.api).await?;
    pull.everything |= question.warninglists.as_ref().is_some_and(|before| *before != warninglists);
    out.warninglists = Some(warninglists);
    let false_positives = pull.false_positives().await?;
    out.false_positives = false_positives.values().map(|rows| rows.len() as u64).sum();
    if out.false_positives == 0 && question.watches_false_positive && out.tags.is_none() {
        let pattern = BTreeSet::from([question.false_positive.clone()]);
        out.tags = Some(server::tag_names(&pull.api, &pattern).await?);
    }
    pull.events((index, date), &false_positives, &mut out).await?;
    out.malformed = pull.paging.malformed;
    out.hits_missing = pull.hits.missing;
    if pull.paging.hidden > 0 {
        let rows = pull.paging.hidden;
        tracing::warn!(rows, url = source.url, "the server counts rows that it does not show (its allowedlist)");
    }
    Ok(out)
}

/// What the rows of a batch say of an event.
#[derive(Debug, Default)]
struct Draft {
    tags: BTreeSet<String>,
    malformed: u64,
}

/// Whether `warnings` can be relied on.
#[derive(Clone, Copy, Debug)]
struct Hits {
    /// They cannot.
    missing: bool,
    /// Batches still to be checked.
    checks: u32,
}

/// Rows of one search of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    rows: u64,
    /// Of these, on a warninglist as they say themselves.
    hits: u64,
}

/// The event index, and the server's time.
async fn event_index(api: &Api<'_>) -> Result<(Index, Option<i64>), FetchError> {
    let ask = Ask::post("/events/index", json!({"minimal": true}), "the event index");
    let mut attempt = 1;
    loop {
        // Anew with every try: an event may have gone since the last one.
        let mut index = Index::new();
        let result = api
            .attempt(&ask, Shape::Bare, &mut |element| {
                let entry = wire::index_entry(element)?;
                index.insert(entry.uuid, entry);
                if index.len() > MAX_EVENTS { Err(format!("more than {MAX_EVENTS} events")) } else { Ok(()) }
            })
            .await;
        match result {
            Ok(head) => return Ok((index, head.date)),
            Err(error) => api.before_retry(&ask, error, attempt).await?,
        }
        attempt += 1;
    }
}

struct Pull<'a> {
    api: Api<'a>,
    question: &'a Question,
    sink: &'a mut dyn Sink,
    paging: Paging,
    /// Every event is read, whatever is known of it.
    everything: bool,
    hits: Hits,
}

impl Pull<'_> {
    /// Every row with the false-positive tag, whatever else is known of it.
    async fn false_positives(&mut self) -> Result<FalsePositives, FetchError> {
        let mut found = FalsePositives::new();
        let Self { api, question, paging, .. } = self;
        let search = Searching { api, question, search: Search::FalsePositives, events: &[] };
        search
            .all(paging, &mut |row| {
                if let Ok(row) = row {
                    found.entry(row.event).or_default().insert(row.attribute.uuid);
                }
                Ok(())
            })
            .await?;
        Ok(found)
    }

    /// Reads what is new or changed, until nothing changes any more.
    async fn events(
        &mut self,
        (mut index, mut date): (Index, Option<i64>),
        false_positives: &FalsePositives,
        out: &mut Pulled,
    ) -> Result<(), FetchError> {
        let nothing = Known::new();
        let known = if self.everything { &nothing } else { &self.question.known };
        let mut to_read = changes::to_read(&index, known, false_positives);
        let mut batching = Batching::default();
        let mut batches: Vec<Vec<Uuid>> = Vec::new();
        let (mut read, mut unsettled) = (BTreeSet::new(), BTreeSet::new());
        let mut round = 0;
        while !to_read.is_empty() {
            if round > ROUNDS {
                return Err(FetchError::Moving { rounds: ROUNDS });
            }
            round += 1;
            let first = batches.len();
            self.read(&to_read, &index, false_positives, &mut batching, &mut batches).await?;
            for uuid in &to_read {
                unsettled.remove(uuid);
            }
            unsettled.extend(changes::unsettled(&batches[first..], &index, date));
            read.extend(to_read);
            let (after, later) = event_index(&self.api).await?;
            let moved = changes::moved(&batches, &index, &after, false_positives, known);
            (index, date) = (after, later);
            to_read = moved.take_out(&mut batches, &index);
        }
        out.unsettled = unsettled.into_iter().filter(|uuid| index.contains_key(uuid)).collect();
        out.events = index.len() as u64;
        out.read = read.len() as u64;
        let all = self.question.known.keys().chain(&read);
        out.gone = all.filter(|uuid| !index.contains_key(uuid)).copied().collect();
        Ok(())
    }

    /// Reads events, batch by batch.
    async fn read(
        &mut self,
        events: &[Uuid],
        index: &Index,
        false_positives: &FalsePositives,
        batching: &mut Batching,
        batches: &mut Vec<Vec<Uuid>>,
    ) -> Result<(), FetchError> {
        let mut rest = events;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batching.size().min(rest.len()));
            let rows = self.batch(batch, index, false_positives).await?;
            batching.learn(batch.len(), rows);
            batches.push(batch.to_vec());
            rest = later;
            self.sink.progress((events.len() - rest.len()) as u64, events.len() as u64);
        }
        Ok(())
    }

    /// Reads all rows of some events and gives the events to the sink. Returns the number of rows.
    async fn batch(
        &mut self,
        batch: &[Uuid],
        index: &Index,
        false_positives: &FalsePositives,
    ) -> Result<u64, FetchError> {
        let ids: Vec<u64> = batch.iter().filter_map(|uuid| index.get(uuid)).map(|entry| entry.id).collect();
        let mut drafts: BTreeMap<Uuid, Draft> = batch.iter().map(|uuid| (*uuid, Draft::default())).collect();
        let mut rows = self.detection(&ids, &mut drafts).await?;
        if !self.question.any_to_ids.is_empty() {
            let others = self.rows(Search::Other { enforced: false }, &ids, &mut drafts).await?;
            if others.rows > 0 {
                self.rows(Search::Other { enforced: true }, &ids, &mut drafts).await?;
            }
            rows += others.rows;
        }
        for (uuid, draft) in drafts {
            let Some(entry) = index.get(&uuid) else { continue };
            self.sink.event(wire::Event {
                uuid,
                timestamp: entry.timestamp,
                published: entry.published,
                creator: entry.creator,
                tags: draft.tags.into_iter().collect(),
                false_positives: changes::name_of(false_positives.get(&uuid)),
                malformed: draft.malformed,
            });
        }
        Ok(rows)
    }

    /// The rows meant for detection, and which of them are on a warninglist.
    async fn detection(&mut self, ids: &[u64], drafts: &mut BTreeMap<Uuid, Draft>) -> Result<u64, FetchError> {
        let all = self.rows(Search::Detection { enforced: false }, ids, drafts).await?;
        if all.rows == 0 {
            return Ok(0);
        }
        if self.hits.checks > 0 && !self.hits.missing {
            self.hits.checks -= 1;
            let kept = self.count(Search::Detection { enforced: true }, ids).await?;
            if all.rows.saturating_sub(kept) == all.hits {
                self.hits.checks = if all.hits > 0 { 0 } else { self.hits.checks };
                return Ok(all.rows);
            }
            tracing::warn!("rows on warninglists carry no warnings: everything is asked for with and without them");
            self.hits.missing = true;
            // Again: without an enforced answer every row counts as on a list from now on.
            self.rows(Search::Detection { enforced: false }, ids, drafts).await?;
        }
        if self.hits.missing {
            self.rows(Search::Detection { enforced: true }, ids, drafts).await?;
        }
        Ok(all.rows)
    }

    /// How many rows a search has.
    async fn count(&mut self, search: Search, events: &[u64]) -> Result<u64, FetchError> {
        let Self { api, question, paging, .. } = self;
        Searching { api, question, search, events }.all(paging, &mut |_| Ok(())).await
    }

    /// One search of a batch: its rows go to the sink, what they say of their events into the drafts.
    async fn rows(
        &mut self,
        search: Search,
        events: &[u64],
        drafts: &mut BTreeMap<Uuid, Draft>,
    ) -> Result<Count, FetchError> {
        let Self { api, question, sink, paging, hits, .. } = self;
        let searching = Searching { api, question, search, events };
        let mut warned = BTreeSet::new();
        searching
            .all(paging, &mut |row| {
                let mut row = match row {
                    Ok(row) => row,
                    Err(malformed) => {
                        let draft = drafts.get_mut(&malformed).ok_or(IGNORED)?;
                        draft.malformed += 1;
                        return Ok(());
                    }
                };
                let draft = drafts.get_mut(&row.event).ok_or(IGNORED)?;
                for tag in row.event_tags {
                    if !draft.tags.contains(&*tag) {
                        draft.tags.insert(tag.into_owned());
                    }
                }
                if row.attribute.on_warninglist {
                    warned.insert(row.attribute.uuid);
                }
                // Where rows do not say it themselves, each counts as on a list until the enforced search shows it.
                if hits.missing || matches!(search, Search::Other { .. }) {
                    row.attribute.on_warninglist = !search.is_enforced();
                }
                if !row.deleted {
                    sink.attribute(&row.event, &row.attribute);
                }
                Ok(())
            })
            .await
            .map(|rows| Count { rows, hits: warned.len() as u64 })
    }
}

/// Why a row is not taken.
const IGNORED: &str = "a row of an event that was not asked for: the server ignored the filter `eventid`";
