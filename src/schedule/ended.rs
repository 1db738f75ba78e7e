//! What follows from what has ended: the next moment, the board, answers to wishes and orders.
//!
//! In: results of refreshes and of lists on demand. Out: changed lanes and lines on the status board.
//!
//! Invariants: the daemon is told of a new version before anybody is told that it is there; a result of a view that was
//! removed meanwhile changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Done, Refreshed, Rendered, Schedule};
use crate::demand::{Answer, Wish};
use crate::orders::{self, Outcome, Taken};
use crate::refresh::{RefreshError, Report};
use crate::secret::Secret;
use crate::state::Hold;
use crate::status::{Board, Held, State, ViewStatus};
use crate::view::ViewId;

impl Schedule {
    /// Something has ended; newer settings are taken over once nothing of the view runs.
    pub(super) fn ended(&mut self, done: Done, now: Timestamp) {
        let view = match done {
            Done::Refresh(view, refreshed) => {
                self.refreshed(&view, *refreshed, now);
                view
            }
            Done::Wishes(view, rendered) => {
                self.rendered(&view, *rendered, now);
                view
            }
            Done::Question(view, asked) => {
                self.answered(&view, *asked);
                view
            }
            Done::Decision(view, decision) => {
                let (taken, result) = *decision;
                self.decided(&view, &taken, result);
                view
            }
            Done::Proof(proof) => return self.proved(*proof, now),
            Done::Removed => return,
        };
        let idle = self.lanes.get_mut(&view).filter(|lane| lane.is_idle());
        if let Some((lane, site)) = idle.and_then(|lane| lane.newer.take().map(|site| (lane, site))) {
            let (orders, waiting) = (std::mem::take(&mut lane.orders), std::mem::take(&mut lane.waiting));
            let patient = std::mem::take(&mut lane.patient);
            self.start(&self.config.clone(), &site, now);
            match self.lanes.get_mut(&view) {
                Some(lane) => {
                    lane.orders.extend(orders);
                    (lane.waiting, lane.patient) = (waiting, patient);
                }
                None => answer(waiting.into_iter().chain(patient).collect(), Answer::Later),
            }
        }
    }

    /// Somebody decided something about a version.
    fn decided(&mut self, view: &ViewId, taken: &Taken, result: Result<Report, RefreshError>) {
        if let Some(lane) = self.lanes.get_mut(view) {
            lane.deciding = lane.deciding.saturating_sub(1);
        }
        let outcome = match result {
            Ok(report) => {
                self.published(view, &report);
                tracing::info!(%view, act = ?taken.order.act, version = ?report.version, "decided");
                self.shared.board.update(view, |status| {
                    if status.state == State::Held {
                        status.state = State::Ok;
                    }
                    show_holds(status, report.holds.clone());
                    status.candidate = report.candidate;
                });
                Outcome::Done(serde_json::to_value(&report).unwrap_or_default())
            }
            Err(error) => Outcome::Failed(error.to_string()),
        };
        orders::answer(&self.state_dir, taken, &outcome);
    }

    fn rendered(&mut self, view: &ViewId, rendered: Rendered, now: Timestamp) {
        let good = match &rendered.result {
            Ok(report) => {
                self.published(view, report);
                Answer::Done
            }
            Err(error) => {
                tracing::warn!(%view, error = %error.stage, "lists on demand could not be published");
                Answer::Later
            }
        };
        answer(rendered.made, good);
        if let Some(lane) = self.lanes.get_mut(view) {
            lane.rendering = false;
            // What the mirror does not cover is part of the next refresh, which is due at once unless the last one failed.
            let news = rendered.later.iter().filter(|wish| lane.publisher.want(&wish.wanted, now)).count();
            if news > 0 && lane.failures == 0 {
                lane.due = lane.due.min(now);
            }
            let soon = lane.failures == 0 && (lane.running.is_some() || lane.due <= now);
            let (patient, later): (Vec<Wish>, Vec<Wish>) =
                rendered.later.into_iter().partition(|wish| wish.patient && soon);
            lane.patient.extend(patient.into_iter().map(|wish| Wish { patient: false, ..wish }));
            answer(later, Answer::Later);
        } else {
            answer(rendered.later, Answer::Later);
        }
    }

    fn refreshed(&mut self, view: &ViewId, refreshed: Refreshed, now: Timestamp) {
        // First: who sees the new version must find what the MISP said while it was made.
        self.show_contact(view);
        if let Some(report) = refreshed.result.as_ref().ok().or(refreshed.expired.as_ref()) {
            self.published(view, report);
        }
        let Some(lane) = self.lanes.get_mut(view) else { return };
        // What is asked for and was not covered has been pulled now, or will not be soon.
        let patient = std::mem::take(&mut lane.patient);
        match refreshed.result {
            Ok(_) => lane.waiting.extend(patient),
            Err(_) => answer(patient, Answer::Later),
        }
        let key = lane.site.source.key().cloned();
        let mut renew_since = None;
        let outcome = match &refreshed.result {
            Ok(report) => {
                lane.succeeded(&self.zone, now);
                (self.shared.on_success)(view, now.as_second());
                let before =
                    now.as_second() - i64::try_from(lane.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX / 2);
                self.shared.demand.forget_idle(view, before);
                renew_since = report.full.then_some(before);
                let Report { version, events, read, full, .. } = report;
                tracing::info!(%view, ?version, events, read, full, "refreshed");
                self.shared.board.update(view, |status| succeeded(status, report, lane.due, now));
                note_ends(&self.shared.board, view, report, now);
                Outcome::Done(serde_json::to_value(report).unwrap_or_default())
            }
            Err(error) => {
                lane.failed(wait_of(error), &self.zone, now);
                tracing::error!(%view, error = %error.stage, failures = lane.failures, "refresh failed; what is served stays");
                let failures = u64::from(lane.failures);
                self.shared.board.update(view, |status| {
                    failed(status, error, failures, lane.due, now);
                    if let Some(expired) = &refreshed.expired {
                        show_holds(status, expired.holds.clone());
                        status.candidate = expired.candidate;
                    }
                });
                Outcome::Failed(error.to_string())
            }
        };
        for taken in std::mem::take(&mut lane.serving) {
            orders::answer(&self.state_dir, &taken, &outcome);
        }
        if let Some(since) = renew_since {
            self.renew_answers(view, since);
        }
        if let Some(key) = key.filter(|_| !view.is_main()) {
            self.judge_key(view, &key, &refreshed.result, now);
        }
        // Who waits for a first version need not wait for one that does not come.
        self.shared.keyring.announce();
    }

    /// What a refresh says of the learned key it was made with.
    fn judge_key(&mut self, view: &ViewId, key: &Secret, result: &Result<Report, RefreshError>, now: Timestamp) {
        match result {
            Ok(report) if report.server.is_some() => {
                self.learned.proven_again(view.site(), key, now.as_second());
                self.prove_again(view, key);
            }
            Ok(_) => {}
            Err(error) if error.refuses_key() => self.key_refused(view.site(), key, now),
            Err(_) => {}
        }
    }

    pub(super) fn published(&self, view: &ViewId, report: &Report) {
        let Some(lane) = self.lanes.get(view) else { return };
        // Made with settings that do not count any more; perhaps with the key of somebody else.
        if lane.newer.is_some() {
            return;
        }
        if let Some(version) = report.version.or(lane.publisher.newly_owned()) {
            (self.shared.on_published)(view, lane.publisher.view_dir());
            self.shared.board.update(view, |status| {
                (status.version, status.entries) = (Some(version), report.entries);
            });
        }
    }
}

/// How long the server wants to be left alone.
fn wait_of(error: &RefreshError) -> Option<Duration> {
    error.wait().map(Duration::from_secs)
}

fn succeeded(status: &mut ViewStatus, report: &Report, due: Timestamp, now: Timestamp) {
    (status.last_success, status.failures) = (Some(now.as_second()), 0);
    if report.full {
        status.last_full = Some(now.as_second());
    }
    status.state = State::Ok;
    (status.last_error, status.failing_since, status.next) = (None, None, Some(due.as_second()));
    show_holds(status, report.holds.clone());
    status.candidate = report.candidate;
}

/// When key and certificate end, if the source was asked; the board warns of it.
fn note_ends(board: &Board, view: &ViewId, report: &Report, now: Timestamp) {
    let Some(server) = &report.server else { return };
    for (what, ends) in [("MISP key", server.key_ends()), ("MISP certificate", server.certificate_ends())] {
        board.note_end(view, what, ends.unwrap_or(i64::MAX), now.as_second());
    }
}

fn failed(status: &mut ViewStatus, error: &RefreshError, failures: u64, due: Timestamp, now: Timestamp) {
    (status.state, status.last_failure, status.failures) = (State::Failing, Some(now.as_second()), failures);
    status.failing_since.get_or_insert(now.as_second());
    (status.last_error, status.next) = (Some(error.stage.to_string()), Some(due.as_second()));
}

/// A view that holds something is not simply fine.
pub(super) fn show_holds(status: &mut ViewStatus, holds: BTreeMap<String, Hold>) {
    if !holds.is_empty() && status.state == State::Ok {
        status.state = State::Held;
    }
    status.held = holds.into_iter().map(|(key, hold)| (key, Held { since: hold.since, text: hold.text })).collect();
}

pub(super) fn answer(wishes: Vec<Wish>, answer: Answer) {
    for wish in wishes {
        // The asker may have given up.
        let _ = wish.answer.send(answer);
    }
}
