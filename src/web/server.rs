//! Accepting. In: a listener. Out: every connection handed to [`connection::serve`], until the shutdown ends and all is drained.
//!
//! As many threads as configured, each with a runtime of its own, take connections from the one listener.
//!
//! Invariants: a loop outlives every accept error; connections are bounded in number, in all and per address, and in time in
//! each direction, so no client can hold one for nothing, and no address can hold all.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{self, Accepted};
use super::files::Front;
use super::peers::Peers;

/// Threads that read files, for each one that serves.
const READERS: usize = 32;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A request's head, a TLS handshake, and an idle connection.
    pub head: Duration,
    /// A write that makes no progress.
    pub stall: Duration,
    /// From then on a client must have read at [`min_rate`](Self::min_rate) on average.
    pub grace: Duration,
    /// Bytes per second.
    pub min_rate: u32,
    /// An HTTP/2 connection on which nothing is sent in either direction. Longer than any request waits for its answer.
    pub silence: Duration,
    /// Sent bytes that nobody acknowledges.
    pub unacknowledged: Duration,
    /// Requests that are under way at the end.
    pub drain: Duration,
    /// The pause after a failed accept.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            stall: Duration::from_secs(20),
            grace: Duration::from_secs(30),
            min_rate: 1024,
            silence: Duration::from_secs(120),
            unacknowledged: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            pause: Duration::from_millis(100),
        }
    }
}

/// Serves until `shutdown` ends, then lets requests under way finish.
pub async fn serve(front: Arc<Front>, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    serve_within(front, listener, shutdown, Timeouts::default()).await
}

/// [`serve`] with other time limits.
pub async fn serve_within(
    front: Arc<Front>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    timeouts: Timeouts,
) -> io::Result<()> {
    let (threads, most) = (front.settings().threads.max(1), front.settings().max_connections);
    let shared = Arc::new(Shared {
        front,
        limit: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        peers: Arc::default(),
        timeouts: Arc::new(timeouts),
    });
    let listener = listener.into_std()?;
    let (stopping, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for number in 0..threads {
        let ended = thread(number, Arc::clone(&shared), listener.try_clone()?, stopped.clone())?;
        running
            .spawn(async move { ended.await.unwrap_or_else(|_| Err(io::Error::other("a serving thread panicked"))) });
    }
    drop((listener, stopped));
    tokio::select! {
        () = shutdown => {}
        Some(ended) = running.join_next() => ended.map_err(io::Error::other)??,
    }
    let _ = stopping.send(true);
    while let Some(ended) = running.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// What all threads serve by.
struct Shared {
    front: Arc<Front>,
    limit: Arc<Semaphore>,
    peers: Arc<Peers>,
    timeouts: Arc<Timeouts>,
}

/// Starts a thread that accepts and serves by itself: a connection stays on one core, and no request wakes another thread.
fn thread(
    number: usize,
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    stopped: watch::Receiver<bool>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build()?;
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
        let result = runtime.block_on(accept(&shared, listener, stopped));
        // Err: nobody waits any more.
        let _ = tell.send(result);
    })?;
    Ok(ended)
}

/// Accepts until told to stop, then drains.
async fn accept(
    shared: &Shared,
    listener: std::net::TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let (listener, graceful) = (TcpListener::from_std(listener)?, GracefulShutdown::new());
    loop {
        let next = async {
            let permit = Arc::clone(&shared.limit).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((permit, listener.accept().await?))
        };
        let accepted = tokio::select! {
            biased;
            // Err: the sender is gone, which means the same.
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((permit, (stream, peer))) => {
                // None: it is closed at once. A client that holds so many will not read a text.
                let Some(place) = shared.peers.admit(peer.ip(), &shared.front.settings()) else { continue };
                let (front, timeouts) = (Arc::clone(&shared.front), Arc::clone(&shared.timeouts));
                let accepted = Accepted { front, stream, peer, watcher: graceful.watcher(), timeouts };
                tokio::spawn(async move {
                    connection::serve(accepted).await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(shared.timeouts.pause).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(shared.timeouts.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    Ok(())
}
