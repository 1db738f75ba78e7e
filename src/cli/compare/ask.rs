//! Asks both servers everything. In: questions. Out: a verdict each.
//!
//! Invariants: at most `parallel` questions are under way; every answer has a time and a size limit; a server that does not answer
//! is a difference, never a reason to stop.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use super::entries::entries;
use super::explain::{self, Answer, Asked, Verdict};
use super::known::Known;
use super::report::Compared;
use super::target::{self, Kind, ListUrl, Target};
use crate::cli::Failure;
use crate::fetch::client::{Client, Limits, Request};
use crate::fetch::tls::Trust;
use crate::index::TAG_FEEDS;

/// The predecessor asks its MISP while one waits.
const LIMITS: Limits = Limits { connect: Duration::from_secs(10), silence: Duration::from_secs(180), body: 64 << 20 };
/// Longest wait for one whole answer.
const WHOLE: Duration = Duration::from_secs(600);
/// Before what differs is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// One thing to ask.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked.
    pub target: Target,
    /// With which token.
    pub bearer: Option<usize>,
}

/// At most `limit` of them; it is said how many are left out.
pub fn bounded(questions: impl Iterator<Item = Question>, limit: usize) -> Vec<Question> {
    let mut questions = questions.fuse();
    let bounded: Vec<Question> = questions.by_ref().take(limit).collect();
    let left = questions.count();
    if left > 0 {
        crate::cli::complain(&format!("{left} questions are left out: --limit {limit}"));
    }
    bounded
}

/// Both servers and all that is known.
#[derive(Debug)]
pub struct Run {
    client: Client,
    old: String,
    new: String,
    known: Known,
}

impl Run {
    /// Fails only if there can be no client.
    pub fn new(old: &str, new: &str, known: Known) -> Result<Self, Failure> {
        let client = Client::new(LIMITS, &Trust::default())?;
        Ok(Self { client, old: old.to_owned(), new: new.to_owned(), known })
    }

    /// What is known.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// All lists of each token's site; which feeds it has the old server says.
    pub async fn matrix(&self, limit: usize) -> Vec<Question> {
        let (mut questions, mut public) = (Vec::new(), HashSet::new());
        for bearer in 0..self.known.bearers().len() {
            let mapping = Question { target: Target::new("/v1/feedmapping".into()), bearer: Some(bearer) };
            let mapped = match self.fetch(&self.old, &mapping).await {
                Ok(answer) => target::mapped_feeds(&String::from_utf8_lossy(&answer.body)),
                Err(_) => Vec::new(),
            };
            let feeds = if mapped.is_empty() { TAG_FEEDS.map(str::to_owned).to_vec() } else { mapped };
            let of_token = target::matrix(&feeds).filter_map(|target| {
                let asked = target.needs_token() || public.insert(target.text.clone());
                asked.then(|| Question { bearer: target.needs_token().then_some(bearer), target })
            });
            questions.push(of_token.collect::<Vec<_>>());
        }
        // Every token gets its share of the limit.
        let mut each: Vec<_> = questions.into_iter().map(Vec::into_iter).collect();
        let longest = each.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let in_turn: Vec<Question> =
            (0..longest).flat_map(|_| each.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect();
        bounded(in_turn.into_iter(), limit)
    }

    /// Asks everything, and once more what differs.
    pub async fn ask_all(self: Arc<Self>, questions: Vec<Question>, parallel: usize) -> Vec<Compared> {
        let mut compared = Arc::clone(&self).round(questions.clone(), parallel).await;
        let differing: Vec<usize> =
            compared.iter().enumerate().filter(|(_, compared)| compared.is_different()).map(|(at, _)| at).collect();
        if !differing.is_empty() {
            tokio::time::sleep(PAUSE).await;
            let again = differing.iter().map(|at| questions[*at].clone()).collect();
            let second = self.round(again, parallel).await;
            differing.into_iter().zip(second).for_each(|(at, verdict)| compared[at] = verdict);
        }
        compared
    }

    /// In the order of the questions.
    async fn round(self: Arc<Self>, questions: Vec<Question>, parallel: usize) -> Vec<Compared> {
        let bar = progress(questions.len());
        let (questions, next) = (Arc::new(questions), Arc::new(AtomicUsize::new(0)));
        let done = Arc::new(Mutex::new(HashMap::new()));
        let mut workers = JoinSet::new();
        for _ in 0..parallel {
            let (run, questions, next) = (Arc::clone(&self), Arc::clone(&questions), Arc::clone(&next));
            let (done, bar) = (Arc::clone(&done), bar.clone());
            workers.spawn(async move {
                while let Some((at, question)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, questions.get(at)?)))
                {
                    let compared = run.compare(question).await;
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, compared);
                    bar.inc(1);
                }
            });
        }
        while workers.join_next().await.is_some() {}
        bar.finish_and_clear();
        let mut done = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        // A worker that panicked leaves its question without a verdict.
        let lost = |question| self.compared(question, Verdict::Different("was not compared".into()));
        let in_order =
            questions.iter().enumerate().map(|(at, question)| done.remove(&at).unwrap_or_else(|| lost(question)));
        in_order.collect()
    }

    async fn compare(self: &Arc<Self>, question: &Question) -> Compared {
        let (old, new) = tokio::join!(self.fetch(&self.old, question), self.fetch(&self.new, question));
        let verdict = match (old, new) {
            (Ok(old), Ok(new)) => self.judge(question, old, new).await,
            (Err(why), _) => Verdict::Different(format!("the old server gives no answer: {why}")),
            (_, Err(why)) => Verdict::Different(format!("the new server gives no answer: {why}")),
        };
        self.compared(question, verdict)
    }

    fn compared(&self, question: &Question, verdict: Verdict) -> Compared {
        let bearer = question.bearer.and_then(|bearer| self.known.bearers().get(bearer));
        Compared {
            pattern: question.target.pattern(),
            url: question.target.text.clone(),
            token: bearer.map(|bearer| bearer.name.clone()),
            verdict,
        }
    }

    async fn judge(self: &Arc<Self>, question: &Question, old: Answer, new: Answer) -> Verdict {
        let differs = old.status == 200 && new.status == 200 && old.body != new.body;
        let list = match &question.target.kind {
            Kind::List(list) if differs => Some(list.clone()),
            _ => None,
        };
        let published = match &list {
            Some(list) => self.published(question, list).await,
            None => None,
        };
        let (run, question) = (Arc::clone(self), question.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let known = &run.known;
            let bearer = question.bearer.and_then(|bearer| known.bearers().get(bearer));
            let evidence = list.as_ref().and_then(|list| known.evidence(question.bearer, list));
            let asked = Asked {
                target: &question.target,
                claims: bearer.and_then(|bearer| bearer.claims.as_ref()),
                respelled: bearer.is_some_and(|bearer| bearer.respelled),
                standing: known.standing(question.bearer),
                rules: known.rules(question.bearer),
                evidence: evidence.as_deref(),
                published: published.as_ref(),
            };
            explain::explain(&asked, &old, &new)
        });
        judged.await.unwrap_or_else(|error| Verdict::Different(format!("cannot be compared: {error}")))
    }

    /// What published events have of a list that takes unpublished ones, too.
    async fn published(&self, question: &Question, list: &ListUrl) -> Option<BTreeSet<String>> {
        if !matches!(list.feed.as_deref(), Some("incident" | "alert" | "hunt")) {
            return None;
        }
        let target = format!("/v1/feed/any/type/{}/age/{}/output/json", list.data_type, list.age);
        let question = Question { target: Target::new(target), bearer: question.bearer };
        let answer = self.fetch(&self.new, &question).await.ok().filter(|answer| answer.status == 200)?;
        let list = entries("json", &String::from_utf8_lossy(&answer.body)).ok()?;
        Some(list.into_iter().collect())
    }

    async fn fetch(&self, base: &str, question: &Question) -> Result<Answer, String> {
        let url = format!("{base}{}", question.target.text);
        let token = question.bearer.and_then(|bearer| self.known.bearers().get(bearer)).map(|bearer| &bearer.token);
        let whole = async {
            let mut answer = self.client.send(Request { url: &url, token, ..Request::default() }).await?;
            let text = |name| answer.header(name).map(str::to_owned);
            let (content_type, location) = (text("content-type").unwrap_or_default(), text("location"));
            Ok(Answer { status: answer.status(), content_type, location, body: answer.body().await? })
        };
        let answer: Result<Answer, crate::fetch::FetchError> =
            tokio::time::timeout(WHOLE, whole).await.map_err(|_| format!("not whole within {} s", WHOLE.as_secs()))?;
        answer.map_err(|error| error.to_string())
    }
}

/// On stderr; nothing if that is no terminal.
fn progress(length: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} questions, {eta} left");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
