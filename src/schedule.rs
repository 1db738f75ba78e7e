//! When what is refreshed: per view at its period or cron line, wishes in between; never two refreshes of a view at once.
//!
//! In: the configuration (and newer ones), wishes, the stop signal. Out: calls of [`Publisher`], a word to the daemon for
//! every new version, lines on the status board.
//!
//! The trigger is tokio-cron-scheduler: one UTC job per second that only says "look". What is due, single flight, back-off
//! and the watchdog are decided here, in one task that owns all lanes; nothing needs a lock. Should the trigger die, the
//! loop looks by itself.
//!
//! Invariants: a failed refresh keeps what is served, is logged once and shows on the board; wishes are answered from the
//! mirror beside a refresh that hangs; at most one version per second exists because of wishes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::{Config, Site};
use crate::demand::{Answer, Demand, Wish};
use crate::refresh::{Publisher, RefreshError, Report};
use crate::status::{Board, State};
use crate::view::ViewId;

/// Refreshes at the same time, all views together.
const PARALLEL: usize = 2;
/// Periods without a success after which a view counts as failing.
const OVERDUE: i32 = 3;
/// First wait after a failure; doubles up to the period.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// Told after every new version, before the wishes that caused it are answered: view and its folder.
pub type OnPublished = Arc<dyn Fn(&ViewId, &Path) + Send + Sync>;

/// What the loop shares with the daemon.
pub struct Shared {
    /// Status of every view.
    pub board: Arc<Board>,
    /// Times of lists on demand.
    pub demand: Arc<Demand>,
    /// Called for every new version.
    pub on_published: OnPublished,
}

/// One view.
struct Lane {
    publisher: Publisher,
    site: Site,
    due: Timestamp,
    running: bool,
    failures: u32,
    waiting: Vec<Wish>,
    rendering: bool,
    rendered_at: i64,
    /// A newer configuration, taken over once nothing of this view runs: two writers of one view must not meet.
    newer: Option<Arc<Config>>,
}

enum Done {
    Refresh(ViewId, Box<Result<Report, RefreshError>>),
    Wishes(ViewId, Vec<Wish>, Box<Result<Report, RefreshError>>),
}

/// Runs until `stop`; refreshes under way are then given up (they change nothing that is served).
pub async fn run(
    config: Arc<Config>,
    shared: Shared,
    mut wishes: mpsc::Receiver<Wish>,
    mut configs: mpsc::Receiver<Arc<Config>>,
    stop: impl Future<Output = ()>,
) -> Result<(), JobSchedulerError> {
    let (look, mut looks) = mpsc::channel(1);
    let mut trigger = trigger(look).await?;
    let mut state = Schedule {
        lanes: HashMap::new(),
        shared,
        zone: config.timezone.clone(),
        permits: Arc::new(Semaphore::new(PARALLEL)),
        tasks: JoinSet::new(),
    };
    state.configure(&config, Timestamp::now());
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(config) = configs.recv() => state.configure(&config, Timestamp::now()),
            Some(wish) = wishes.recv() => state.take(wish),
            Some(done) = state.tasks.join_next(), if !state.tasks.is_empty() => match done {
                Ok(done) => state.ended(done, Timestamp::now()),
                Err(error) => tracing::error!(%error, "a refresh ended in a panic"),
            },
            _ = looks.recv() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => tracing::warn!("the trigger is late; looking without it"),
        }
        state.look(Timestamp::now());
    }
    state.tasks.shutdown().await;
    trigger.shutdown().await
}

/// One job, every second: says "look", and never waits.
async fn trigger(look: mpsc::Sender<()>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async("* * * * * *", move |_, _| {
        // Full: the loop has not taken the last one yet, which says the same.
        let _ = look.try_send(());
        Box::pin(async {})
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

struct Schedule {
    lanes: HashMap<ViewId, Lane>,
    shared: Shared,
    zone: jiff::tz::TimeZone,
    permits: Arc<Semaphore>,
    tasks: JoinSet<Done>,
}

impl Schedule {
    /// Takes a configuration over: new sites start, changed ones start anew, removed ones end.
    fn configure(&mut self, config: &Arc<Config>, now: Timestamp) {
        self.zone = config.timezone.clone();
        let sites: BTreeMap<ViewId, &Site> = config.good_sites().map(|site| (site.view.clone(), site)).collect();
        let gone: Vec<ViewId> = self.lanes.keys().filter(|view| !sites.contains_key(view)).cloned().collect();
        for view in gone {
            self.lanes.remove(&view);
            self.shared.board.remove(&view);
        }
        for (view, site) in sites {
            let same = self.lanes.get(&view).is_some_and(|lane| format!("{:?}", lane.site) == format!("{site:?}"));
            match self.lanes.get_mut(&view) {
                Some(_) if same => {}
                Some(lane) if lane.running || lane.rendering => lane.newer = Some(Arc::clone(config)),
                _ => self.start(config, site, now),
            }
        }
    }

    fn start(&mut self, config: &Config, site: &Site, now: Timestamp) {
        let publisher = match Publisher::open(config, site) {
            Ok(publisher) => publisher,
            Err(error) => {
                tracing::error!(view = %site.view, %error, "this view cannot be refreshed");
                self.shared.board.update(&site.view, |status| {
                    (status.state, status.last_error) = (State::Failing, Some(error.stage.to_string()));
                });
                return;
            }
        };
        self.shared.demand.restore(&site.view, publisher.on_demand().into_iter().collect());
        let changed = self.lanes.contains_key(&site.view);
        let due = match publisher.last_success().and_then(|last| Timestamp::from_second(last).ok()) {
            // A refresh of an earlier run counts until its period is over; changed settings take effect at once.
            Some(last) if !changed => site.refresh.next(last, &self.zone).max(now),
            _ => now,
        };
        self.shared.board.update(&site.view, |status| {
            status.last_success = publisher.last_success();
            status.next = Some(due.as_second());
            if status.last_success.is_some() && status.version.is_some() {
                status.state = State::Ok;
            }
        });
        let lane = Lane {
            publisher,
            site: site.clone(),
            due,
            running: false,
            failures: 0,
            waiting: Vec::new(),
            rendering: false,
            rendered_at: 0,
            newer: None,
        };
        self.lanes.insert(site.view.clone(), lane);
    }

    fn take(&mut self, wish: Wish) {
        match self.lanes.get_mut(&wish.view) {
            Some(lane) => lane.waiting.push(wish),
            None => answer(vec![wish], Answer::Later),
        }
    }

    /// Starts what is due.
    fn look(&mut self, now: Timestamp) {
        for (view, lane) in &mut self.lanes {
            if !lane.running && lane.due <= now {
                lane.running = true;
                lane.publisher.note_asked(self.shared.demand.last_asked(view));
                self.tasks.spawn(refresh(lane.publisher.clone(), Arc::clone(&self.permits)));
            }
            if !lane.rendering && !lane.waiting.is_empty() && lane.rendered_at < now.as_second() {
                lane.rendering = true;
                lane.rendered_at = now.as_second();
                self.tasks.spawn(render(lane.publisher.clone(), std::mem::take(&mut lane.waiting)));
            }
            watch(&self.shared.board, view, lane, now);
        }
    }

    fn ended(&mut self, done: Done, now: Timestamp) {
        let view = match &done {
            Done::Refresh(view, _) | Done::Wishes(view, ..) => view.clone(),
        };
        self.take_result(done, now);
        let idle = self.lanes.get_mut(&view).filter(|lane| !lane.running && !lane.rendering);
        if let Some(config) = idle.and_then(|lane| lane.newer.take())
            && let Some(site) = config.good_sites().find(|site| site.view == view)
        {
            self.start(&config, site, now);
        }
    }

    fn take_result(&mut self, done: Done, now: Timestamp) {
        match done {
            Done::Refresh(view, result) => self.refreshed(&view, *result, now),
            Done::Wishes(view, wishes, result) => {
                let good = match &*result {
                    Ok(report) => {
                        self.published(&view, report);
                        Answer::Done
                    }
                    Err(error) => {
                        tracing::warn!(%view, error = %error.stage, "lists on demand could not be published");
                        Answer::Later
                    }
                };
                answer(wishes, good);
                if let Some(lane) = self.lanes.get_mut(&view) {
                    lane.rendering = false;
                }
            }
        }
    }

    fn refreshed(&mut self, view: &ViewId, result: Result<Report, RefreshError>, now: Timestamp) {
        if let Ok(report) = &result {
            self.published(view, report);
        }
        let Some(lane) = self.lanes.get_mut(view) else { return };
        lane.running = false;
        match result {
            Ok(report) => {
                lane.failures = 0;
                lane.due = lane.site.refresh.next(now, &self.zone);
                let before =
                    now.as_second() - i64::try_from(lane.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX / 2);
                self.shared.demand.forget_idle(view, before);
                tracing::info!(%view, version = ?report.version, events = report.events, read = report.read, "refreshed");
                self.shared.board.update(view, |status| {
                    (status.state, status.last_success, status.failures) = (State::Ok, Some(now.as_second()), 0);
                    (status.last_error, status.next) = (None, Some(lane.due.as_second()));
                });
            }
            Err(error) => {
                lane.failures += 1;
                lane.due = retry(lane, &self.zone, now);
                tracing::error!(%view, error = %error.stage, failures = lane.failures, "refresh failed; what is served stays");
                self.shared.board.update(view, |status| {
                    (status.state, status.last_failure) = (State::Failing, Some(now.as_second()));
                    status.failures = u64::from(lane.failures);
                    (status.last_error, status.next) = (Some(error.stage.to_string()), Some(lane.due.as_second()));
                });
            }
        }
    }

    fn published(&self, view: &ViewId, report: &Report) {
        let Some(lane) = self.lanes.get(view) else { return };
        if let Some(version) = report.version {
            (self.shared.on_published)(view, lane.publisher.view_dir());
            self.shared.board.update(view, |status| status.version = Some(version));
        }
        self.shared.board.update(view, |status| status.entries = report.entries);
    }
}

fn answer(wishes: Vec<Wish>, answer: Answer) {
    for wish in wishes {
        // The asker may have given up.
        let _ = wish.answer.send(answer);
    }
}

async fn refresh(publisher: Publisher, permits: Arc<Semaphore>) -> Done {
    // The semaphore is never closed; without a permit the refresh would only be one too many at once.
    let _permit = permits.acquire().await.ok();
    let result = publisher.refresh(false, Timestamp::now(), Arc::new(|_, _| {})).await;
    Done::Refresh(publisher.view().clone(), Box::new(result))
}

async fn render(publisher: Publisher, wishes: Vec<Wish>) -> Done {
    let wanted = wishes.iter().map(|wish| wish.wanted.clone()).collect();
    let result = publisher.render_wanted(wanted, Timestamp::now()).await;
    Done::Wishes(publisher.view().clone(), wishes, Box::new(result))
}

/// The next try after a failure: soon at first, at the latest when the period is over.
fn retry(lane: &Lane, zone: &jiff::tz::TimeZone, now: Timestamp) -> Timestamp {
    let wait = FIRST_RETRY.saturating_mul(1 << (lane.failures - 1).min(16));
    // A site's own share of up to a quarter keeps many sites of one server from coming back in the same second.
    let share = lane.site.view.site().bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let wait = wait + wait * (share % 25) / 100;
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1));
    now.checked_add(wait).unwrap_or(now).min(lane.site.refresh.next(now, zone))
}

/// The watchdog: a view without a success for several periods is failing, whatever the reason.
fn watch(board: &Board, view: &ViewId, lane: &Lane, now: Timestamp) {
    let Some(status) = board.get(view) else { return };
    let Some(last) = status.last_success.filter(|_| status.state == State::Ok) else { return };
    let period = i64::try_from(lane.site.refresh.period().as_secs().max(5)).unwrap_or(i64::MAX / 8);
    if now.as_second() - last > period.saturating_mul(i64::from(OVERDUE)) && lane.due < now {
        tracing::error!(%view, seconds = now.as_second() - last, "no refresh has ended for several periods");
        board.update(view, |status| {
            (status.state, status.last_error) = (State::Failing, Some("overdue".into()));
        });
    }
}
