//! When what is refreshed: per view at its period or cron line, wishes in between; never two refreshes of a view at once, and
//! never two pulls from one MISP.
//!
//! In: the configuration (and newer ones), wishes, keys of tokens, orders of other commands, the stop signal. Out: calls of
//! [`Publisher`], a word to the daemon for every new version, lines on the status board, views for proven keys.
//!
//! | file | answers |
//! |---|---|
//! | `mod.rs` | the loop, and what it starts |
//! | `lane.rs` | one view: when it is due |
//! | `asked.rs` | questions to a view's MISP, and refreshes before their time |
//! | `ended.rs` | what follows from what has ended |
//! | `proofs.rs` | keys of tokens: proven, proven again, refused |
//!
//! The trigger is tokio-cron-scheduler: one UTC job per second that only says "look". What is due, single flight, back-off
//! and the watchdog are decided here, in one task that owns all lanes; nothing needs a lock. Should the trigger die, the
//! loop looks by itself.
//!
//! Invariants: a failed refresh keeps what is served but for the ages, is logged once and shows on the board; wishes are
//! answered from the mirror beside a refresh that hangs; at most one version per second exists because of wishes.

mod asked;
mod ended;
mod lane;
mod proofs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::{Config, Site};
use crate::demand::knock::Knock;
use crate::demand::{Answer, Demand, Wish};
use crate::fetch::Source;
use crate::learned::Learned;
use crate::orders::{self, Outcome, Taken};
use crate::refresh::{Act, How, Publisher, RefreshError, Report};
use crate::status::{Board, State};
use crate::view::keyring::Keyring;
use crate::view::seal::Sealer;
use crate::view::{MAIN, ViewId};

use lane::Lane;

/// Refreshes at the same time, all views together.
const PARALLEL: usize = 2;

/// Every so many seconds views nobody polls are looked for.
const IDLE_LOOK: i64 = 3600;

/// Told after every new version, before the wishes that caused it are answered: view and its folder.
pub type OnPublished = Arc<dyn Fn(&ViewId, &Path) + Send + Sync>;
/// Told when what is served of a view is known to be good: Unix seconds.
pub type OnSuccess = Arc<dyn Fn(&ViewId, i64) + Send + Sync>;
/// Told when a view is not served any more.
pub type OnGone = Arc<dyn Fn(&ViewId) + Send + Sync>;

/// What the loop shares with the daemon.
pub struct Shared {
    /// Status of every view.
    pub board: Arc<Board>,
    /// Times of lists on demand.
    pub demand: Arc<Demand>,
    /// Which keys open which views.
    pub keyring: Arc<Keyring>,
    /// Called for every new version.
    pub on_published: OnPublished,
    /// Called for every success, after the version that came of it is shown.
    pub on_success: OnSuccess,
    /// Called for every view that goes.
    pub on_gone: OnGone,
}

/// What comes in while it runs.
pub struct Inbox {
    /// Lists on demand.
    pub wishes: mpsc::Receiver<Wish>,
    /// Keys of tokens.
    pub knocks: mpsc::Receiver<Knock>,
    /// Newer configurations; told once nothing is shown any more that they do not allow.
    pub configs: mpsc::Receiver<(Arc<Config>, oneshot::Sender<()>)>,
}

pub use proofs::ORDER;

enum Done {
    Refresh(ViewId, Box<Refreshed>),
    Wishes(ViewId, Box<Rendered>),
    Proof(Box<proofs::Proof>),
    Removed,
    Question(ViewId, Box<asked::Asked>),
    Decision(ViewId, Box<(Taken, Result<Report, RefreshError>)>),
}

/// A refresh that ended. If it failed, what was published all the same because time went by.
struct Refreshed {
    result: Result<Report, RefreshError>,
    expired: Option<Report>,
}

/// Lists on demand that were made, and those that cannot be made now.
struct Rendered {
    made: Vec<Wish>,
    result: Result<Report, RefreshError>,
    later: Vec<Wish>,
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

/// All views and when they are due.
pub struct Schedule {
    lanes: HashMap<ViewId, Lane>,
    shared: Shared,
    zone: jiff::tz::TimeZone,
    state_dir: PathBuf,
    config: Arc<Config>,
    learned: Learned,
    sealer: Arc<Sealer>,
    proofs: proofs::Proofs,
    /// Unix seconds of the last look for views nobody polls.
    idle_looked: i64,
    permits: Arc<Semaphore>,
    tasks: JoinSet<Done>,
}

impl Schedule {
    /// Opens every view there is; versions on disk are published at once, nothing is pulled yet.
    pub fn new(config: Arc<Config>, shared: Shared, (learned, sealer): (Learned, Arc<Sealer>)) -> Self {
        let mut schedule = Self {
            lanes: HashMap::new(),
            shared,
            zone: config.timezone.clone(),
            state_dir: config.state_dir.clone(),
            config: Arc::clone(&config),
            learned,
            sealer,
            proofs: proofs::Proofs::default(),
            idle_looked: Timestamp::now().as_second(),
            permits: Arc::new(Semaphore::new(PARALLEL)),
            tasks: JoinSet::new(),
        };
        schedule.configure(&config, Timestamp::now());
        schedule
    }

    /// Runs until `stop`; refreshes under way are then given up (they change nothing that is served).
    pub async fn run(mut self, mut inbox: Inbox, stop: impl Future<Output = ()>) -> Result<(), JobSchedulerError> {
        let (look, mut looks) = mpsc::channel(1);
        let mut trigger = trigger(look).await?;
        let mut stop = pin!(stop);
        let demand = Arc::clone(&self.shared.demand);
        loop {
            tokio::select! {
                () = &mut stop => break,
                errand = demand.errands().next() => self.run_errand(errand, Timestamp::now()),
                Some((config, done)) = inbox.configs.recv() => {
                    self.configure(&config, Timestamp::now());
                    // The daemon may be ending.
                    let _ = done.send(());
                }
                Some(wish) = inbox.wishes.recv() => self.take(wish),
                Some(knock) = inbox.knocks.recv() => self.knocked(knock, Timestamp::now()),
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => match done {
                    Ok(done) => self.ended(done, Timestamp::now()),
                    Err(error) => tracing::error!(%error, "a refresh ended in a panic"),
                },
                _ = looks.recv() => self.take_orders(),
                () = tokio::time::sleep(Duration::from_secs(5)) => tracing::warn!("the trigger is late; looking without it"),
            }
            self.look(Timestamp::now());
        }
        self.tasks.shutdown().await;
        trigger.shutdown().await
    }

    /// Takes a configuration over: new sites start, changed ones start anew, removed ones end.
    fn configure(&mut self, config: &Arc<Config>, now: Timestamp) {
        self.zone = config.timezone.clone();
        self.config = Arc::clone(config);
        config.good_sites().for_each(|site| self.learned.load(site));
        let sites: BTreeMap<ViewId, Site> = self.views().map(|site| (site.view.clone(), site)).collect();
        let gone: Vec<ViewId> = self.lanes.keys().filter(|view| !sites.contains_key(view)).cloned().collect();
        gone.iter().for_each(|view| self.stop_view(view));
        sites.into_values().for_each(|site| self.adopt(site, now));
    }

    /// A view is refreshed with these settings from now on, or once nothing of it runs.
    fn adopt(&mut self, site: Site, now: Timestamp) {
        match self.lanes.get_mut(&site.view) {
            Some(lane) if lane.site == site => {
                if lane.newer.take().is_some() {
                    self.show(&site.view);
                }
            }
            Some(lane) if !lane.is_idle() => {
                if !lane.is_of(&site) {
                    (self.shared.on_gone)(&site.view);
                    self.shared.board.contacts().remove(&site.view);
                }
                lane.newer = Some(site);
            }
            _ => self.start(&self.config.clone(), &site, now),
        }
    }

    /// Every view there is to refresh, as a site of its own.
    fn views(&self) -> impl Iterator<Item = Site> {
        self.config.good_sites().flat_map(|site| {
            let main = (site.source != Source::None).then(|| site.clone());
            main.into_iter().chain(self.learned.sites_of(site))
        })
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
        let before = self.lanes.get(&site.view);
        let mut lane = Lane::new(publisher, site.clone(), &self.zone, now, before.is_some());
        lane.is_stale = before.is_some_and(|lane| lane.is_stale);
        self.lanes.insert(site.view.clone(), lane);
        // First: what counts as fine depends on the version that is shown.
        self.show(&site.view);
        let Some(lane) = self.lanes.get(&site.view) else { return };
        self.shared.board.update(&site.view, |status| {
            status.last_success = lane.publisher.last_success();
            status.last_full = lane.publisher.last_full();
            status.next = Some(lane.due.as_second());
            if status.last_success.is_some() && status.version.is_some() {
                status.state = State::Ok;
            }
            ended::show_holds(status, lane.publisher.holds());
            status.candidate = lane.publisher.candidate();
        });
    }

    /// Shows what is there of a view, if it is this user's. What a user before saw is shown no more.
    fn show(&self, view: &ViewId) {
        let Some(lane) = self.lanes.get(view) else { return };
        if lane.publisher.owns_current() {
            (self.shared.on_published)(view, lane.publisher.view_dir());
            if let Some(last) = lane.publisher.last_success() {
                (self.shared.on_success)(view, last);
            }
        } else {
            (self.shared.on_gone)(view);
        }
        self.show_contact(view);
    }

    fn take(&mut self, wish: Wish) {
        match self.lanes.get_mut(&wish.view) {
            Some(lane) => lane.waiting.push(wish),
            None => ended::answer(vec![wish], Answer::Later),
        }
    }

    /// What other commands ask for. An order makes its view due.
    fn take_orders(&mut self) {
        for taken in orders::take(&self.state_dir) {
            if let Some(order) = taken.order.learn.clone() {
                self.learn(taken, &order);
                continue;
            }
            let name = if taken.order.view.is_empty() { MAIN } else { &taken.order.view };
            let lane = ViewId::named(&taken.order.site, name).and_then(|view| self.lanes.get_mut(&view));
            match lane {
                Some(lane) => match taken.order.act {
                    Some(act) => {
                        lane.deciding += 1;
                        self.tasks.spawn(steer(lane.publisher.clone(), act, taken));
                    }
                    None => lane.orders.push(taken),
                },
                None => {
                    let text = format!("{}: the running cratos has no such site, or it is broken", taken.order.site);
                    orders::answer(&self.state_dir, &taken, &Outcome::Failed(text));
                }
            }
        }
    }

    /// Starts what is due; of the views of one MISP one at a time, the longest waiting first.
    fn look(&mut self, now: Timestamp) {
        self.begin_proofs(now);
        if now.as_second() - self.idle_looked >= IDLE_LOOK {
            self.idle_looked = now.as_second();
            self.drop_idle(now);
        }
        let server = |lane: &Lane| lane.site.source.server().map(str::to_owned);
        let mut busy: BTreeSet<String> =
            self.lanes.values().filter(|lane| lane.running.is_some()).filter_map(server).collect();
        let mut lanes: Vec<(&ViewId, &mut Lane)> = self.lanes.iter_mut().collect();
        lanes.sort_by_key(|(view, lane)| (lane.due, view.to_string()));
        for (view, lane) in lanes {
            let is_due = lane.running.is_none() && (lane.due <= now || !lane.orders.is_empty());
            if is_due && server(lane).is_none_or(|server| busy.insert(server)) {
                let how = lane.begin(now);
                lane.publisher.note_asked(self.shared.demand.last_asked(view));
                lane.publisher.note_questions(self.shared.demand.errands().take_asked(view));
                self.tasks.spawn(refresh(lane.publisher.clone(), how, Arc::clone(&self.permits)));
            }
            if !lane.rendering && !lane.waiting.is_empty() && lane.rendered_at < now.as_second() {
                lane.rendering = true;
                lane.rendered_at = now.as_second();
                self.tasks.spawn(render(lane.publisher.clone(), std::mem::take(&mut lane.waiting)));
            }
            if let Some((question, askers)) = lane.next_question() {
                lane.publisher.note_questions(self.shared.demand.errands().take_asked(view));
                self.tasks.spawn(asked::ask(lane.publisher.clone(), question, askers));
            }
            lane.watch(&self.shared.board, view, now);
        }
    }
}

async fn refresh(publisher: Publisher, how: How, permits: Arc<Semaphore>) -> Done {
    // The semaphore is never closed; without a permit the refresh would only be one too many at once.
    let _permit = permits.acquire().await.ok();
    let result = publisher.refresh(how, Timestamp::now(), Arc::new(|_, _| {})).await;
    // With the source away ages go on expiring. Err: nothing is known yet.
    let expired = if result.is_err() { publisher.expire(Timestamp::now()).await.ok() } else { None };
    if let Err(error) = &result
        && error.is_of_source()
        && let Err(error) = publisher.ask_afterwards(Timestamp::now()).await
    {
        tracing::warn!(view = %publisher.view(), error = %error.stage, "what MISP said could not be kept");
    }
    Done::Refresh(publisher.view().clone(), Box::new(Refreshed { result, expired }))
}

async fn steer(publisher: Publisher, act: Act, taken: Taken) -> Done {
    let result = publisher.steer(act, Timestamp::now()).await;
    Done::Decision(publisher.view().clone(), Box::new((taken, result)))
}

async fn render(publisher: Publisher, wishes: Vec<Wish>) -> Done {
    let view = publisher.view().clone();
    let can = publisher.can_render(wishes.iter().map(|wish| wish.wanted.clone()).collect()).await;
    let mut can = can.unwrap_or_default().into_iter();
    let (made, later): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(|_| can.next() == Some(true));
    let result = if made.is_empty() {
        Ok(Report::default())
    } else {
        publisher.render_wanted(made.iter().map(|wish| wish.wanted.clone()).collect(), Timestamp::now()).await
    };
    Done::Wishes(view, Box::new(Rendered { made, result, later }))
}
