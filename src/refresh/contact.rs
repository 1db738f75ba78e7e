//! Questions to a view's MISP beside a refresh. In: a [`Question`]. Out: what is known of the MISP is changed and kept; a
//! warninglist becomes files of a new version.
//!
//! Invariants: one answer has a size and a time limit and is asked for once; what was good stays if the next answer is not;
//! no text of the other end is kept of a failure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Inner, Publisher, RefreshError, Report, StageError, lock, on_thread};
use crate::contact::{Contact, Ended, Failure, Question};
use crate::fetch::api::{Api, Ask};
use crate::fetch::misp::MispSource;
use crate::fetch::{FetchError, Source, server};
use crate::render::warninglist::{NoWarninglist, WARNINGLIST_FORMATS, Warninglist};
use crate::render::{Format, Rendered};
use crate::snapshot::manifest::{self, Artifact, Opened};
use crate::snapshot::{layout, write::Writer};

/// Bytes of version or statistics.
const SMALL: u64 = 1 << 20;
/// Bytes of a warninglist; the largest known one has 11 MB.
const LARGE: u64 = 64 << 20;
/// Longest wait for the version after a failed refresh.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// The class of a failure: the one place where it is decided.
pub fn failure(error: &FetchError) -> Failure {
    match error.cause() {
        FetchError::Status { status: 403, .. } => Failure::Refused,
        FetchError::Status { .. } | FetchError::RateLimited { .. } => Failure::Status,
        FetchError::Http { .. } | FetchError::Untrusted { .. } | FetchError::File { .. } => Failure::Unreachable,
        FetchError::Silent { .. } => Failure::Silent,
        FetchError::Json { .. } | FetchError::TooLarge { .. } => Failure::Garbled,
        FetchError::NoSource => Failure::NoMisp,
        _ => Failure::Unexpected,
    }
}

/// A good answer.
enum Good {
    /// A JSON object in its shortest form.
    Object(String),
    Warninglist(Warninglist),
}

impl Publisher {
    /// What is known of the view's MISP.
    pub fn contact(&self) -> Contact {
        lock(&self.0.contact).clone()
    }

    /// Takes times over at which consumers put questions; Unix seconds.
    pub fn note_questions(&self, times: impl IntoIterator<Item = (Question, i64)>) {
        let asked = &mut lock(&self.0.contact).asked;
        asked.extend(times.into_iter().map(|(question, time)| (question.to_string(), time)));
    }

    /// Asks, and keeps what comes. The report is of a new version, if there is one.
    pub async fn ask(&self, question: Question, now: Timestamp) -> Result<Option<Report>, RefreshError> {
        let limit = match &self.0.site.source {
            Source::Misp(misp) => misp.limits.connect + misp.limits.silence,
            Source::Feed(_) | Source::None => Duration::ZERO,
        };
        self.ask_within(question, limit, now).await.map_err(|stage| self.failed(stage))
    }

    /// After a refresh that failed: whether MISP answers at all.
    pub async fn ask_afterwards(&self, now: Timestamp) -> Result<(), RefreshError> {
        if self.0.site.source.server().is_some() {
            self.ask_within(Question::Check, AFTERWARDS, now).await.map_err(|stage| self.failed(stage))?;
        }
        Ok(())
    }

    async fn ask_within(
        &self,
        question: Question,
        limit: Duration,
        now: Timestamp,
    ) -> Result<Option<Report>, StageError> {
        if let Question::Warninglist(_) = question {
            // Beside what somebody else saw its files have no place, so MISP is not troubled for them.
            let inner = Arc::clone(&self.0);
            on_thread(move || inner.check_own()).await?;
        }
        let asking = async {
            match &self.0.site.source {
                Source::Misp(misp) => ask(misp, question).await.map_err(|error| {
                    tracing::warn!(view = %self.view(), %error, "MISP did not answer the question for its {question}");
                    failure(&error)
                }),
                Source::Feed(_) | Source::None => Err(Failure::NoMisp),
            }
        };
        let result = tokio::time::timeout(limit.max(Duration::from_secs(1)), asking).await;
        let result = result.unwrap_or(Err(Failure::Silent));
        let inner = Arc::clone(&self.0);
        on_thread(move || inner.answered(question, result, now)).await
    }
}

/// One try.
async fn ask(misp: &MispSource, question: Question) -> Result<Good, FetchError> {
    let api = Api::new(misp)?;
    let (path, limit) = match question {
        Question::Check => (server::ABOUT.into(), SMALL),
        Question::Statistics => ("/attributes/attributeStatistics".into(), SMALL),
        Question::Warninglist(0) => ("/warninglists/index".into(), LARGE),
        Question::Warninglist(id) => (format!("/warninglists/view/{id}").into(), LARGE),
    };
    let ask = Ask { path, ..Ask::get("", &question.to_string()) };
    let bytes = api.bytes(&ask, limit).await?;
    let unexpected = || api.wrong(&ask, "not what was asked for");
    if let Question::Warninglist(id) = question {
        // A large one takes a while to read.
        let reading = tokio::task::spawn_blocking(move || Warninglist::read(id, &bytes)).await;
        return reading.map_err(|_| unexpected())?.map(Good::Warninglist).map_err(|wrong| match wrong {
            NoWarninglist::Garbled => api.no_json(&ask, "no JSON".into()),
            NoWarninglist::Unexpected => unexpected(),
        });
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| api.no_json(&ask, error.to_string()))?;
    let is_good = value.is_object() && (question != Question::Check || value["version"].is_string());
    if is_good { Ok(Good::Object(value.to_string())) } else { Err(unexpected()) }
}

impl Inner {
    /// Err: the version that is served is what somebody else saw; a refresh comes first.
    fn check_own(&self) -> Result<(), StageError> {
        match manifest::open_current(&self.view_dir) {
            Ok(None) => Ok(()),
            _ if self.is_own(&self.counters()?) => Ok(()),
            _ => Err(StageError::NoMirror),
        }
    }

    /// The contact as it was kept, if it is about this source.
    pub(super) fn kept_contact(&self) -> Result<Contact, StageError> {
        let source = self.owner();
        let kept = self.state.contact()?;
        Ok(if kept.source == source { kept } else { Contact { source, ..Contact::default() } })
    }

    /// A refresh succeeded; a full one heard what the server says of itself.
    pub(super) fn note_success(&self, about: Option<String>, now: Timestamp) -> Result<(), StageError> {
        if self.site.source.server().is_none() {
            return Ok(());
        }
        self.change_contact(|contact| {
            contact.last = Some(Ended { at: now.as_second(), failure: None });
            contact.failed.remove(&Question::Check.to_string());
            contact.about = about.or(contact.about.take());
        })
    }

    fn answered(
        &self,
        question: Question,
        result: Result<Good, Failure>,
        now: Timestamp,
    ) -> Result<Option<Report>, StageError> {
        let (good, failure) = match result {
            Ok(good) => (Some(good), None),
            Err(failure) => (None, Some(failure)),
        };
        let mut report = None;
        if let (Some(Good::Warninglist(list)), Question::Warninglist(id)) = (&good, question) {
            report = Some(self.publish_fixed(&rendered(id, list), now)?);
        }
        self.change_contact(|contact| {
            let ended = Ended { at: now.as_second(), failure };
            match failure {
                Some(_) => drop(contact.failed.insert(question.to_string(), ended)),
                None => drop(contact.failed.remove(&question.to_string())),
            }
            match (question, good) {
                (Question::Check, Some(Good::Object(about))) => contact.about = Some(about),
                (Question::Statistics, Some(Good::Object(statistics))) => contact.statistics = Some(statistics),
                _ => {}
            }
            if question == Question::Check {
                contact.last = Some(ended);
            }
        })?;
        Ok(report)
    }

    /// Changes what is known and keeps it.
    fn change_contact(&self, change: impl FnOnce(&mut Contact)) -> Result<(), StageError> {
        let mut contact = lock(&self.contact);
        change(&mut contact);
        Ok(self.state.keep_contact(&contact)?)
    }

    /// The warninglists of a version that are whole and still asked for.
    pub(super) fn warninglists<'a>(
        &'a self,
        opened: &'a Opened,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a String, &'a Artifact)> {
        opened.manifest.artifacts.iter().filter(move |(key, artifact)| {
            let id = layout::warninglist_of(key);
            id.is_some_and(|id| self.is_asked_for(id, now)) && opened.is_intact(artifact)
        })
    }

    /// Takes them over. One that is damaged is left out and asked for anew.
    pub(super) fn carry_warninglists(&self, writer: &mut Writer<'_>, previous: Option<&Opened>, now: Timestamp) {
        for (key, artifact) in previous.into_iter().flat_map(|opened| self.warninglists(opened, now)) {
            writer.carry(key, artifact);
        }
    }

    /// Whether consumers still ask for a warninglist.
    pub(super) fn is_asked_for(&self, id: u16, now: Timestamp) -> bool {
        let idle = i64::try_from(self.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX);
        let asked = lock(&self.contact).asked.get(&Question::Warninglist(id).to_string()).copied();
        asked.is_some_and(|asked| now.as_second().saturating_sub(asked) <= idle)
    }
}

/// A warninglist in all its formats: whoever asks for another one is answered without another question.
fn rendered(id: u16, list: &Warninglist) -> Vec<Rendered> {
    let formats = WARNINGLIST_FORMATS.iter().filter_map(|name| Format::named(name));
    let fixed = |format: &'static Format| Rendered {
        key: layout::warninglist_key(id, format.extension),
        data_type: None,
        format,
        body: Arc::new(list.body(format)),
        on_demand: true,
    };
    formats.map(fixed).collect()
}
