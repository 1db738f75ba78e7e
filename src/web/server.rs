//! Connections. In: a listener. Out: every request handed to [`handler::answer`], until the shutdown ends and all is drained.
//!
//! Invariants: the loop outlives every accept error and every panic of a request; connections are bounded in number, and in
//! time in each direction, so no client can hold one for nothing; request bodies are read where a token is asked for, and
//! bounded there.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::files::{self, Body, Front};
use super::handler;
use super::logged::{self, Pending};

/// Header lines of one request.
const MAX_HEADERS: usize = 64;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A request's head, and an idle connection.
    pub head: Duration,
    /// A write that makes no progress.
    pub stall: Duration,
    /// From then on a client must have read at [`min_rate`](Self::min_rate) on average.
    pub grace: Duration,
    /// Bytes per second.
    pub min_rate: u32,
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
    let graceful = GracefulShutdown::new();
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
                let serving = connection(Arc::clone(&front), stream, peer, graceful.watcher(), timeouts.clone());
                tokio::spawn(async move {
                    serving.await;
                    drop(permit);
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

/// One connection, to its end.
async fn connection(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, watcher: Watcher, timeouts: Timeouts) {
    if let Err(error) = prepare(&stream, &timeouts) {
        tracing::debug!(%peer, %error, "a connection could not be prepared");
        return;
    }
    let (logging, refused) = (Arc::clone(&front), Arc::clone(&front));
    let answer = tower::service_fn(move |request: Request<Incoming>| {
        let front = Arc::clone(&front);
        async move {
            let (request, body) = request.into_parts();
            let now = jiff::Timestamp::now();
            Ok::<_, Infallible>(handler::answer(&front, &request, body, peer.ip(), now).await)
        }
    });
    let answer = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, HeaderName::from_static("token")]))
        .layer(CatchPanicLayer::custom(panicked))
        .service(answer);
    // Around the one that catches panics: they have a line, too.
    let logged = tower::service_fn(move |request: Request<Incoming>| {
        let (front, answer) = (Arc::clone(&logging), answer.clone());
        async move {
            let (request, body) = request.into_parts();
            let pending = Pending::new(&front, &request, peer.ip());
            let response = answer.oneshot(Request::from_parts(request, body)).await?;
            Ok::<_, Infallible>(logged::counted(response, pending))
        }
    });
    let service = ServiceBuilder::new()
        .layer(SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .service(logged);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.head).max_headers(MAX_HEADERS).keep_alive(true);
    let stream = TokioIo::new(Paced::new(stream, timeouts));
    let serving = http.serve_connection(stream, TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(serving).await {
        tracing::trace!(%peer, %error, "a connection ended early");
        if let Some(status) = status_of(&error) {
            Pending::unread(&refused, peer.ip(), status);
        }
    }
}

/// What hyper has answered to a head that it could not read.
fn status_of(error: &hyper::Error) -> Option<u16> {
    match error {
        error if error.is_parse_too_large() && error.to_string().contains("URI") => Some(414),
        error if error.is_parse_too_large() => Some(431),
        error if error.is_parse() => Some(400),
        _ => None,
    }
}

fn prepare(stream: &TcpStream, timeouts: &Timeouts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let unacknowledged = u32::try_from(timeouts.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unacknowledged)?;
    Ok(())
}

/// The answer to a request whose handling panicked. The panic's own text is for the log of the panic hook.
fn panicked(_cause: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a request ended in a panic");
    let mut response = Response::new(files::whole("Internal Server Error"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A stream that gives up on clients that read too slowly.
struct Paced<S> {
    stream: S,
    timeouts: Timeouts,
    waiting: Option<Waiting>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// From the first write since all was written, until all is written again.
struct Waiting {
    since: Instant,
    progress: Instant,
    written: u64,
}

impl<S> Paced<S> {
    fn new(stream: S, timeouts: Timeouts) -> Self {
        Self { stream, timeouts, waiting: None, alarm: None }
    }

    /// Counts what was written, and turns waiting for too long into an error.
    fn pace(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let waiting = self.waiting.get_or_insert(Waiting { since: now, progress: now, written: 0 });
        if let Poll::Ready(result) = wrote {
            if let Ok(count) = result {
                waiting.written += u64::try_from(count).unwrap_or_default();
                waiting.progress = now;
            }
            return Poll::Ready(result);
        }
        let paid = Duration::from_secs(waiting.written / u64::from(self.timeouts.min_rate.max(1)));
        let too_slow = waiting.since + paid.max(self.timeouts.grace);
        let deadline = too_slow.min(waiting.progress + self.timeouts.stall);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        alarm.as_mut().reset(deadline);
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.pace(context, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.pace(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        // hyper flushes when it has written all it has.
        this.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn short() -> Timeouts {
        let (stall, grace) = (Duration::from_millis(100), Duration::from_millis(300));
        Timeouts { stall, grace, ..Timeouts::default() }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_dropped() {
        let (ours, _theirs) = duplex(16);
        let error = Paced::new(ours, short()).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_trickles_is_dropped() {
        let (ours, mut theirs) = duplex(1);
        let trickle = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut ours = Paced::new(ours, short());
        let error = ours.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(ours);
        trickle.await.unwrap();
    }
}
