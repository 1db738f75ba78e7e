//! `cratos serve`: build everything, run until a signal, take newer configurations over.
//!
//! In: a checked configuration. Out: nothing; it ends when `stop` does, or with the reason why it could not start.
//!
//! Order of starting: lock → token keys → bind → tables of what is on disk → ready (systemd is told) → schedule. So a
//! restart serves from disk before anything is fetched.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{self, Config, ConfigErrors, SiteState};
use crate::demand::Demand;
use crate::demand::knock::Door;
use crate::last_good::LastGood;
use crate::learned::Learned;
use crate::schedule::{Inbox, Schedule, Shared};
use crate::snapshot::manifest;
use crate::state::{Lock, StateError};
use crate::status::{Board, State};
use crate::token::TokenKeys;
use crate::view::ViewId;
use crate::view::keyring::Keyring;
use crate::web::files::Front;
use crate::web::server;

/// Longest wait for the last lines of the access log.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Mistakes of one site file on the status page; the log has all.
const MAX_SHOWN: usize = 20;

/// Why serving could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another process works in the folder, or `state_dir` cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The trigger of the schedule.
    #[error("the scheduler does not start: {0}")]
    Schedule(String),
    /// The accept loop.
    #[error("serving ended: {0}")]
    Serve(std::io::Error),
}

/// Serves until `stop`. `ready` is told the address once requests are answered.
pub async fn serve(
    mut config: Config,
    ready: Option<oneshot::Sender<SocketAddr>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DaemonError> {
    let _lock = Lock::take(&config.state_dir)?;
    // Watched from the first moment: a file that changes while everything is built must not be missed.
    let changes = Changes::watch(&config);
    config.notes.iter().for_each(|note| tracing::info!("{note}"));
    let keys = token_keys(&config).await?;
    let sealer = keys.sealer();
    let last_good = Arc::new(LastGood::new(config.state_dir.clone(), Arc::clone(&sealer)));
    last_good.settle(&mut config, None);
    let config = Arc::new(config);
    let board = Arc::new(Board::default());
    let (demand, wishes) = Demand::new();
    let demand = Arc::new(demand);
    let keyring = Keyring::new().map_err(|_| DaemonError::Serve(std::io::Error::other("no random bytes")))?;
    let (keyring, (door, knocks)) = (Arc::new(keyring), Door::new());
    let learned = Learned::new(&config.state_dir, Arc::clone(&sealer), Arc::clone(&keyring));
    let front = Front::new(config.web.clone(), keys, board.clone(), demand.clone(), (Arc::clone(&keyring), door));
    let front = Arc::new(front);
    let address = config.web.listen;
    let listener =
        tokio::net::TcpListener::bind(address).await.map_err(|cause| DaemonError::Bind { address, cause })?;
    show_mistakes(&config, &board);
    let shared = shared(&front, board.clone(), demand, keyring);
    let schedule = {
        let config = Arc::clone(&config);
        tokio::task::spawn_blocking(move || Schedule::new(config, shared, (learned, sealer)))
    };
    let schedule = schedule.await.map_err(|error| DaemonError::Schedule(error.to_string()))?;
    let bound = listener.local_addr().map_err(DaemonError::Serve)?;
    tracing::info!(address = %bound, "serving");
    tell_systemd(sd_notify::NotifyState::Ready);
    // The one who asked may not care any more.
    let _ = ready.map(|ready| ready.send(bound));

    let (stopping, stopped) = watch::channel(false);
    let (newer, configs) = mpsc::channel(4);
    let inbox = Inbox { wishes, knocks, configs };
    let mut publishing = tokio::spawn(schedule.run(inbox, until(stopped.clone())));
    let reloader = Reloader { running: config, last_good, front: front.clone(), board, newer };
    let reloading = tokio::spawn(reloader.run(changes, until(stopped.clone())));
    let serving = server::serve(front.clone(), listener, until(stopped));
    tokio::pin!(serving, stop);
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        result = &mut serving => result.map_err(DaemonError::Serve),
        result = &mut publishing => Err(DaemonError::Schedule(match result {
            Ok(Ok(())) => "it ended".into(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })),
    };
    tell_systemd(sd_notify::NotifyState::Stopping);
    let _ = stopping.send(true);
    if ended.is_ok() {
        serving.await.map_err(DaemonError::Serve)?;
        // Both end by themselves once told; how they end changes nothing any more.
        let _ = tokio::join!(publishing, reloading);
    }
    if let Some(log) = front.log() {
        // Err: it panicked, which the panic hook has said.
        let _ = tokio::task::spawn_blocking(move || log.finish(LAST_LINES)).await;
    }
    ended
}

async fn token_keys(config: &Config) -> Result<TokenKeys, DaemonError> {
    let (key, salt) = (config.encryption_key.clone(), config.salt.clone());
    let derive = tokio::task::spawn_blocking(move || TokenKeys::derive(&key, &salt));
    derive.await.map_err(|error| DaemonError::Serve(std::io::Error::other(error)))
}

fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // Err: the sender is gone, which means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What the schedule shares with those who serve.
fn shared(front: &Arc<Front>, board: Arc<Board>, demand: Arc<Demand>, keyring: Arc<Keyring>) -> Shared {
    let (shows, dates, hides) = (Arc::clone(front), Arc::clone(front), Arc::clone(front));
    let told = Arc::clone(&board);
    Shared {
        board,
        demand,
        keyring,
        on_published: Arc::new(move |view: &ViewId, dir: &Path| show(&shows, &told, view, dir)),
        on_success: Arc::new(move |view: &ViewId, second: i64| dates.succeeded(view, second)),
        on_gone: Arc::new(move |view: &ViewId| hides.withdraw(view)),
    }
}

/// Sites whose files do not check stand on the board, with their mistakes; those that were mended or removed do not.
fn show_mistakes(config: &Config, board: &Board) {
    for (view, status) in board.all() {
        let is_broken = matches!(config.sites.get(view.site()), Some(SiteState::Broken(_)));
        if status.state == State::Broken && !is_broken {
            board.remove(&view);
        } else if !status.kept.is_empty() && !config.kept.contains_key(view.site()) {
            board.update(&view, |status| status.kept.clear());
        }
    }
    for (name, state) in &config.sites {
        let Some(view) = ViewId::main(name) else { continue };
        if let Some(mistakes) = config.kept.get(name) {
            let kept = mistakes.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
            board.update(&view, |status| status.kept = kept);
        } else if let SiteState::Broken(mistakes) = state {
            board.update(&view, |status| {
                status.state = State::Broken;
                status.last_error = mistakes.first().map(ToString::to_string);
            });
        }
    }
}

/// Swaps the table of a view for the version that is current now.
fn show(front: &Front, board: &Board, view: &ViewId, dir: &Path) {
    match manifest::open_current(dir) {
        Ok(Some(opened)) => {
            let (version, entries) = (opened.manifest.version, opened.manifest.entries());
            front.publish(view, opened);
            board.update(view, |status| (status.version, status.entries) = (Some(version), entries));
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%view, %error, "the new version cannot be read; the last one stays"),
    }
}

/// Files of the configuration that changed.
struct Changes {
    signal: mpsc::Receiver<()>,
    guard: Option<config::watch::Guard>,
}

impl Changes {
    fn watch(config: &Config) -> Self {
        let (changed, signal) = mpsc::channel(1);
        let dirs =
            ["config", "sites"].map(|name| config.dir.join(name)).into_iter().filter(|dir| dir.is_dir()).collect();
        let on_change = move || {
            // Full: one is waiting already.
            let _ = changed.try_send(());
        };
        let guard = config::watch::changes(dirs, on_change)
            .map_err(|error| tracing::warn!(%error, "changed files are not noticed; send SIGHUP"));
        let mut changes = Self { signal, guard: guard.ok() };
        changes.follow(config);
        changes
    }

    /// Files elsewhere that this configuration names.
    fn follow(&mut self, config: &Config) {
        if let Some(guard) = &mut self.guard {
            guard.follow(config.further_files());
        }
    }
}

/// Takes newer configurations over.
struct Reloader {
    running: Arc<Config>,
    last_good: Arc<LastGood>,
    front: Arc<Front>,
    board: Arc<Board>,
    newer: mpsc::Sender<(Arc<Config>, oneshot::Sender<()>)>,
}

/// The schedule has ended.
struct NobodySchedules;

impl Reloader {
    /// Waits for changed files or SIGHUP and takes the new configuration over, if it checks.
    async fn run(mut self, mut changes: Changes, stop: impl Future<Output = ()>) {
        let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
        tokio::pin!(stop);
        self.keep().await;
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(()) = changes.signal.recv() => {}
                Some(()) = hangup.recv() => {}
            }
            let (running, last_good) = (Arc::clone(&self.running), Arc::clone(&self.last_good));
            let load = move || {
                let mut config = config::load(&running.dir)?;
                last_good.settle(&mut config, Some(&running));
                Ok::<_, ConfigErrors>(config)
            };
            match tokio::task::spawn_blocking(load).await {
                Ok(Ok(config)) => {
                    changes.follow(&config);
                    if self.take_over(Arc::new(config)).await.is_err() {
                        return;
                    }
                    self.keep().await;
                }
                Ok(Err(errors)) => tracing::error!("the configuration has mistakes, the running one stays:\n{errors}"),
                Err(error) => tracing::error!(%error, "reading the configuration failed, the running one stays"),
            }
        }
    }

    /// The schedule comes first: a key must not open a view that still shows what the user before saw. Err: nobody schedules
    /// any more.
    async fn take_over(&mut self, config: Arc<Config>) -> Result<(), NobodySchedules> {
        let (done, configured) = oneshot::channel();
        self.newer.send((Arc::clone(&config), done)).await.map_err(|_| NobodySchedules)?;
        configured.await.map_err(|_| NobodySchedules)?;
        self.front.configure(config.web.clone());
        show_mistakes(&config, &self.board);
        self.running = config;
        tracing::info!("configuration taken over");
        Ok(())
    }

    /// Takes effect first, is kept for a restart then: syncing to a disk is slow.
    async fn keep(&self) {
        let (running, last_good) = (Arc::clone(&self.running), Arc::clone(&self.last_good));
        // Err: it panicked, which the panic hook has said.
        let _ = tokio::task::spawn_blocking(move || last_good.keep(&running)).await;
    }
}
