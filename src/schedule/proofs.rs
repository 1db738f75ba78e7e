//! Keys that are to be proven: by tokens that came, by `cratos learn`, and again with every full refresh.
//!
//! In: knocks and orders. Out: what the MISP says of each key, into [`Learned`](crate::learned::Learned) and the keyring.
//!
//! Invariants: few at a time and [`PER_MINUTE`] at most, whatever comes; nothing is asked where the site's keys may not be
//! sent; a key that is already proven is not closed by one refusal.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{Done, Schedule, ended};
use crate::config::{Site, SiteState};
use crate::demand::Answer;
use crate::demand::knock::Knock;
use crate::fetch::api::Retry;
use crate::fetch::{FetchError, Server};
use crate::learned::{self, short_id};
use crate::orders::{self, LearnOrder, Outcome, Taken};
use crate::probe;
use crate::secret::Secret;
use crate::view::ViewId;
use crate::view::keyring::{Closed, Trouble};

/// Keys that are proven at the same time.
const PARALLEL: usize = 4;
/// Keys that are proven per minute.
const PER_MINUTE: u32 = 120;
/// Keys that wait to be proven.
const WAITING: usize = 1024;
/// What an order's key is sealed for.
pub const ORDER: &str = "order";

/// Keys to be proven.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    waiting: VecDeque<Question>,
    running: usize,
    /// The minute that is counted, and how many began in it.
    minute: (i64, u32),
}

/// A key and why it is asked for.
#[derive(Debug)]
pub(super) struct Question {
    site: String,
    url: String,
    key: Secret,
    /// It was proven before.
    again: bool,
    /// Another command waits for the outcome.
    order: Option<Taken>,
}

/// What the MISP said.
#[derive(Debug)]
pub(super) struct Proof {
    question: Question,
    result: Result<Server, FetchError>,
}

/// What kind of trouble a failed question is.
pub(super) fn closed(error: &FetchError) -> Closed {
    match error.cause() {
        FetchError::Status { status: 403, .. } => Closed::Refused,
        FetchError::Silent { .. } => Closed::NoAnswer(Trouble::Timeout),
        FetchError::Http { .. } | FetchError::Untrusted { .. } => Closed::NoAnswer(Trouble::Connection),
        FetchError::Status { .. } | FetchError::RateLimited { .. } => Closed::NoAnswer(Trouble::Status),
        _ => Closed::NoAnswer(Trouble::Content),
    }
}

impl Schedule {
    /// A token came whose key nobody knows.
    pub(super) fn knocked(&mut self, knock: Knock, now: Timestamp) {
        let Knock { site, proto, port, key } = knock;
        if let Some(why) = self.ask(&site, (&proto, port), key.clone(), None) {
            tracing::warn!(site, port, key = short_id(&key), "a token's key is not tried: {why}");
            self.shared.keyring.close(&site, &key, Closed::NowhereToAsk, now.as_second());
        }
    }

    /// `cratos learn` beside this process.
    pub(super) fn learn(&mut self, taken: Taken, order: &LearnOrder) {
        let sealed = STANDARD.decode(&order.sealed).ok();
        let key = sealed.and_then(|sealed| self.sealer.open(ORDER, &sealed));
        let key = key.and_then(|key| std::str::from_utf8(&key).ok().map(Secret::new));
        let Some(key) = key else {
            return orders::answer(&self.state_dir, &taken, &Outcome::Failed("the key does not open".into()));
        };
        let site = taken.order.site.clone();
        let why = self.ask(&site, (&order.proto, order.port), key, Some(taken.clone()));
        if let Some(why) = why {
            orders::answer(&self.state_dir, &taken, &Outcome::Failed(why));
        }
    }

    /// Has a key proven; or says why not.
    fn ask(&mut self, site: &str, place: (&str, u16), key: Secret, order: Option<Taken>) -> Option<String> {
        let Some(SiteState::Good(good)) = self.config.sites.get(site).filter(|_| self.proofs.waiting.len() < WAITING)
        else {
            return Some("there is no such site, its file does not check, or too many keys are waiting".into());
        };
        match learned::place(good, place.0, place.1) {
            Ok(url) => {
                let again = self.learned.view_of(site, &key).is_some();
                self.proofs.waiting.push_back(Question { site: site.to_owned(), url, key, again, order });
                None
            }
            Err(why) => Some(why),
        }
    }

    /// After a full refresh of a view: its other keys are proven again too.
    pub(super) fn prove_again(&mut self, view: &ViewId, used: &Secret) {
        let others = self.learned.keys_of(view).into_iter().filter(|(_, key)| !key.same_as(used));
        for (url, key) in others.take(WAITING.saturating_sub(self.proofs.waiting.len())) {
            let site = view.site().to_owned();
            self.proofs.waiting.push_back(Question { site, url, key, again: true, order: None });
        }
    }

    /// Begins what may begin.
    pub(super) fn begin_proofs(&mut self, now: Timestamp) {
        let minute = now.as_second() / 60;
        if self.proofs.minute.0 != minute {
            self.proofs.minute = (minute, 0);
        }
        while self.proofs.running < PARALLEL && self.proofs.minute.1 < PER_MINUTE {
            let Some(question) = self.proofs.waiting.pop_front() else { return };
            let endpoint = match self.config.sites.get(&question.site) {
                Some(SiteState::Good(site)) => site.endpoint.clone(),
                _ => None,
            };
            let Some(mut endpoint) = endpoint else {
                let (site, now) = (&question.site, now.as_second());
                self.shared.keyring.close(site, &question.key, Closed::NowhereToAsk, now);
                continue;
            };
            endpoint.retry = Retry { tries: 1, ..endpoint.retry };
            (self.proofs.running, self.proofs.minute.1) = (self.proofs.running + 1, self.proofs.minute.1 + 1);
            self.tasks.spawn(async move {
                let source = endpoint.source(&question.url, question.key.clone());
                let result = probe::prove(&source).await;
                Done::Proof(Box::new(Proof { question, result }))
            });
        }
    }

    /// The MISP has said whose key it is, or that it knows none such, or nothing.
    pub(super) fn proved(&mut self, proof: Proof, now: Timestamp) {
        let Proof { question: Question { site, url, key, again, order }, result } = proof;
        self.proofs.running = self.proofs.running.saturating_sub(1);
        let Some(SiteState::Good(good)) = self.config.sites.get(&site).cloned() else {
            return self.shared.keyring.forget(&site, &key);
        };
        match result {
            Ok(_) if again && order.is_none() => self.learned.proven_again(&site, &key, now.as_second()),
            Ok(user) => match self.learned.proven(&good, &url, &key, &user, now.as_second()) {
                Some(view) => self.welcome(&good, &view, &user, order, now),
                None => self.shared.keyring.close(&site, &key, Closed::NoAnswer(Trouble::Content), now.as_second()),
            },
            Err(error) => {
                tracing::warn!(site, key = short_id(&key), %error, "a key could not be proven");
                if let Some(taken) = order {
                    orders::answer(&self.state_dir, &taken, &Outcome::Failed(error.to_string()));
                }
                match again {
                    true if error.refuses_key() => self.key_refused(&site, &key, now),
                    true => {}
                    false => self.shared.keyring.close(&site, &key, closed(&error), now.as_second()),
                }
            }
        }
    }

    /// A proven key's view is kept fresh from now on.
    fn welcome(&mut self, site: &Site, view: &ViewId, user: &Server, order: Option<Taken>, now: Timestamp) {
        tracing::info!(%view, user = user.user, organisation = user.organisation, "a key was proven");
        let seen = self.learned.sites_of(site).into_iter().find(|seen| seen.view == *view);
        if let Some(seen) = seen.filter(|_| site.enabled && !self.lanes.contains_key(view)) {
            self.adopt(seen, now);
        }
        match (order, self.lanes.get_mut(view)) {
            (Some(taken), Some(lane)) => lane.orders.push(taken),
            (Some(taken), None) => {
                orders::answer(&self.state_dir, &taken, &Outcome::Failed("the view cannot be refreshed".into()));
            }
            (None, _) => {}
        }
    }

    /// The MISP refuses a proven key; if it ends with that, its view goes on with another key or not at all.
    pub(super) fn key_refused(&mut self, site: &str, key: &Secret, now: Timestamp) {
        let view = self.learned.view_of(site, key);
        self.learned.refused(site, key, now.as_second());
        let (Some(view), Some(SiteState::Good(good))) = (view, self.config.sites.get(site).cloned()) else { return };
        match self.learned.sites_of(&good).into_iter().find(|seen| seen.view == view) {
            Some(seen) => self.adopt(seen, now),
            None => self.stop_view(&view),
        }
    }

    /// Nothing of the view is pulled or served any more. Its files stay.
    pub(super) fn stop_view(&mut self, view: &ViewId) {
        if let Some(lane) = self.lanes.remove(view) {
            ended::answer(lane.waiting, Answer::Later);
        }
        self.shared.board.remove(view);
        self.shared.demand.forget(view);
        (self.shared.on_gone)(view);
    }

    /// Once an hour: views nobody polls, and those without a key, are dropped with all their files.
    pub(super) fn drop_idle(&mut self, now: Timestamp) {
        let config = self.config.clone();
        let busy = self.lanes.iter().filter(|(_, lane)| !lane.is_idle()).map(|(view, _)| view.clone()).collect();
        for site in config.good_sites() {
            for view in self.learned.drop_idle(site, &busy, now.as_second()) {
                tracing::info!(%view, "dropped: not polled for long, or without a key");
                self.stop_view(&view);
                let (feeds, state) = (config.feeds_dir.clone(), config.state_dir.clone());
                self.tasks.spawn_blocking(move || {
                    if let Err(error) = crate::refresh::remove(&feeds, &state, &view) {
                        tracing::error!(%view, %error, "the files of a dropped view could not be removed");
                    }
                    Done::Removed
                });
            }
        }
    }
}
