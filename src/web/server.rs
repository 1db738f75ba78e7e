//! Accepting. In: a listener. Out: every connection handed to [`connection::serve`], until the shutdown ends and all is drained.
//!
//! Invariants: the loop outlives every accept error; connections are bounded in number, in all and per address, and in time in
//! each direction, so no client can hold one for nothing, and no address can hold all.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::connection::{self, Accepted};
use super::files::Front;
use super::peers::Peers;

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
    let limit = Arc::new(Semaphore::new(front.settings().max_connections.min(Semaphore::MAX_PERMITS)));
    let (graceful, peers, timeouts) = (GracefulShutdown::new(), Arc::new(Peers::default()), Arc::new(timeouts));
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let permit = Arc::clone(&limit).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((permit, listener.accept().await?))
        };
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((permit, (stream, peer))) => {
                // None: it is closed at once. A client that holds so many will not read a text.
                let Some(place) = peers.admit(peer.ip(), &front.settings()) else { continue };
                let (front, timeouts) = (Arc::clone(&front), Arc::clone(&timeouts));
                let accepted = Accepted { front, stream, peer, watcher: graceful.watcher(), timeouts };
                tokio::spawn(async move {
                    connection::serve(accepted).await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(timeouts.pause).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(timeouts.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    Ok(())
}
