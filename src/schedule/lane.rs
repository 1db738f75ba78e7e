//! One view on the schedule: what it is doing and when it is due. In: moments and results. Out: moments.
//!
//! Invariants: a period shorter than three times the last pull is stretched, so that a slow MISP is not busy with us all the
//! time; after a failure the next try is soon, at the latest when the period is over; a full refresh is due by its own
//! clock, from the last one that ended.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::asked::Askers;
use crate::config::Site;
use crate::contact::Question;
use crate::demand::Wish;
use crate::orders::Taken;
use crate::refresh::{How, Publisher};
use crate::status::{self, Board, State};
use crate::view::ViewId;

/// Periods without a success after which a view counts as failing.
const OVERDUE: i32 = 3;
/// First wait after a failure; doubles up to the period.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// A period is at least this many times as long as a pull.
const STRETCH: i32 = 3;

/// One view.
pub(super) struct Lane {
    pub(super) publisher: Publisher,
    pub(super) site: Site,
    pub(super) due: Timestamp,
    pub(super) full_due: Timestamp,
    /// When the refresh under way began.
    pub(super) running: Option<Timestamp>,
    /// It was to be a full one: only such a one counts for the next.
    asked_full: bool,
    pub(super) failures: u32,
    pub(super) waiting: Vec<Wish>,
    pub(super) rendering: bool,
    pub(super) rendered_at: i64,
    /// What consumers want to know of the MISP, and who waits for it.
    pub(super) questions: BTreeMap<Question, Askers>,
    /// One of them is being asked.
    pub(super) asking: bool,
    /// Decisions about versions that are under way.
    pub(super) deciding: u32,
    /// Of other commands, for the next refresh.
    pub(super) orders: Vec<Taken>,
    /// Of other commands, for the refresh under way.
    pub(super) serving: Vec<Taken>,
    /// A longer period than configured was logged.
    stretched: bool,
    /// A newer configuration, taken over once nothing of this view runs: two writers of one view must not meet.
    pub(super) newer: Option<Site>,
    /// That it is older than it may be was logged.
    pub(super) is_stale: bool,
    /// Wishes that wait for the refresh under way or the next one.
    pub(super) patient: Vec<Wish>,
}

impl Lane {
    /// A lane at rest. `changed`: its settings did, so it is due at once.
    pub(super) fn new(publisher: Publisher, site: Site, zone: &TimeZone, now: Timestamp, changed: bool) -> Self {
        let moment = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
        let due = match moment(publisher.last_success()) {
            // A refresh of an earlier run counts until its period is over; changed settings take effect at once.
            Some(last) if !changed => site.refresh.next(last, zone).max(now),
            _ => now,
        };
        let full_due = moment(publisher.last_full()).map_or(now, |last| site.full_refresh.next(last, zone));
        Self {
            publisher,
            site,
            due,
            full_due,
            running: None,
            asked_full: false,
            failures: 0,
            waiting: Vec::new(),
            rendering: false,
            rendered_at: 0,
            questions: BTreeMap::new(),
            asking: false,
            deciding: 0,
            orders: Vec::new(),
            serving: Vec::new(),
            stretched: false,
            newer: None,
            is_stale: false,
            patient: Vec::new(),
        }
    }

    /// Whether these settings see what the lane sees: the same user of the same server.
    pub(super) fn is_of(&self, site: &Site) -> bool {
        let identity = |site: &Site| site.source.identity(site.user.as_deref());
        identity(&self.site) == identity(site)
    }

    /// Nothing of the view runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && !self.rendering && !self.asking && self.deciding == 0
    }

    /// The next question to be asked, if none is.
    pub(super) fn next_question(&mut self) -> Option<(Question, Askers)> {
        let next = if self.asking { None } else { self.questions.pop_first() };
        self.asking |= next.is_some();
        next
    }

    /// Begins a refresh: how thorough it is.
    pub(super) fn begin(&mut self, now: Timestamp) -> How {
        self.running = Some(now);
        self.serving = std::mem::take(&mut self.orders);
        let asks = |ask: fn(&Taken) -> bool| self.serving.iter().any(ask);
        // A feed's own timestamps tell all; only a MISP has changes that no clock shows. But what is held waits for full pulls.
        let tells = self.site.source.server().is_none() && self.publisher.holds().is_empty();
        let full = !tells && self.full_due <= now;
        let how = How { full: full || asks(|taken| taken.order.full), release: asks(|taken| taken.order.release) };
        self.asked_full = how.full;
        how
    }

    /// A refresh succeeded: when the next one is due.
    pub(super) fn succeeded(&mut self, zone: &TimeZone, now: Timestamp) {
        self.failures = 0;
        let began = self.running.take().unwrap_or(now);
        if self.asked_full {
            self.full_due = self.site.full_refresh.next(now, zone);
        }
        self.due = self.site.refresh.next(now, zone);
        let took = now.duration_since(began);
        let least = took.checked_mul(STRETCH).unwrap_or(SignedDuration::ZERO);
        let earliest = began.checked_add(least).unwrap_or(self.due);
        let is_short = earliest > self.due;
        if is_short && !self.stretched {
            let (view, seconds) = (self.publisher.view(), took.as_secs());
            tracing::warn!(%view, seconds, "the last pull took more than a third of the period: the period is stretched");
        }
        (self.due, self.stretched) = (self.due.max(earliest), is_short);
    }

    /// A refresh failed: when to try again. `wait`: what the server asks for.
    pub(super) fn failed(&mut self, wait: Option<Duration>, zone: &TimeZone, now: Timestamp) {
        self.running = None;
        self.failures += 1;
        let pause = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(16));
        // A site's own share of up to a quarter keeps many sites of one server from coming back in the same second.
        let share =
            self.site.view.site().bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let pause = pause + pause * (share % 25) / 100;
        let later = |pause: Duration| {
            let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_hours(1));
            now.checked_add(pause).unwrap_or(now)
        };
        self.due = later(pause).min(self.site.refresh.next(now, zone)).max(wait.map_or(now, later));
    }

    /// The watchdog: a view without a success for several periods is failing, whatever the reason.
    pub(super) fn watch(&mut self, board: &Board, view: &ViewId, now: Timestamp) {
        let Some(status) = board.get(view) else { return };
        self.watch_age(view, status.last_success, now.as_second());
        let Some(last) = status.last_success.filter(|_| status.state == State::Ok) else { return };
        let period = i64::try_from(self.site.refresh.period().as_secs().max(5)).unwrap_or(i64::MAX / 8);
        if now.as_second() - last > period.saturating_mul(i64::from(OVERDUE)) && self.due < now {
            tracing::error!(%view, seconds = now.as_second() - last, "no refresh has ended for several periods");
            board.update(view, |status| {
                (status.state, status.last_error) = (State::Failing, Some("overdue".into()));
            });
        }
    }

    /// Says once when what is served begins to be older than it may be, and once when that ends.
    fn watch_age(&mut self, view: &ViewId, last_success: Option<i64>, now: i64) {
        let age = status::stale(last_success, self.site.max_stale, now);
        match (age, std::mem::replace(&mut self.is_stale, age.is_some())) {
            (Some(seconds), false) => {
                tracing::error!(%view, seconds, "stale: the last success is longer ago than max_stale allows");
            }
            (None, true) => tracing::info!(%view, "no longer stale"),
            _ => {}
        }
    }
}
