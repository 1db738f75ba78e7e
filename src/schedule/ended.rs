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
use crate::orders::{self, Outcome};
use crate::refresh::{RefreshError, Report};
use crate::state::Hold;
use crate::status::{Board, Held, State, ViewStatus};
use crate::view::ViewId;

impl Schedule {
    /// Something has ended; a newer configuration is taken over once nothing of the view runs.
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
        };
        let idle = self.lanes.get_mut(&view).filter(|lane| lane.is_idle());
        if let Some(config) = idle.and_then(|lane| lane.newer.take())
            && let Some(site) = config.good_sites().find(|site| site.view == view)
        {
            let orders = self.lanes.get_mut(&view).map(|lane| std::mem::take(&mut lane.orders)).unwrap_or_default();
            self.start(&config, site, now);
            if let Some(lane) = self.lanes.get_mut(&view) {
                lane.orders.extend(orders);
            }
        }
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
        }
        answer(rendered.later, Answer::Later);
    }

    fn refreshed(&mut self, view: &ViewId, refreshed: Refreshed, now: Timestamp) {
        if let Some(report) = refreshed.result.as_ref().ok().or(refreshed.expired.as_ref()) {
            self.published(view, report);
        }
        let Some(lane) = self.lanes.get_mut(view) else { return };
        let outcome = match &refreshed.result {
            Ok(report) => {
                lane.succeeded(&self.zone, now);
                let before =
                    now.as_second() - i64::try_from(lane.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX / 2);
                self.shared.demand.forget_idle(view, before);
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
                self.shared.board.update(view, |status| failed(status, error, failures, lane.due, now));
                Outcome::Failed(error.to_string())
            }
        };
        for taken in std::mem::take(&mut lane.serving) {
            orders::answer(&self.state_dir, &taken, &outcome);
        }
    }

    fn published(&self, view: &ViewId, report: &Report) {
        let Some(lane) = self.lanes.get(view) else { return };
        if let Some(version) = report.version {
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
