//! One connection, to its end. In: an accepted stream. Out: every request on it handed to [`handler::answer`].
//!
//! Invariants: a TLS handshake and a head come in time or not at all; a panic of a request is a 500 and ends nothing else;
//! request bodies are read where a token is asked for, and bounded there.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::direct::{Direct, Told};
use super::files::{self, Body, Front};
use super::handler;
use super::logged::{self, Counted, Pending};
use super::paced::Paced;
use super::server::Timeouts;
use super::timer::Timer;
use super::tls;

/// Header lines of one request.
const MAX_HEADERS: usize = 64;
/// Bytes of all headers of an HTTP/2 request; about what one of HTTP/1 may have.
const MAX_HEADER_BYTES: u32 = 256 << 10;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;

/// A connection that was accepted.
pub struct Accepted {
    /// What is served.
    pub front: Arc<Front>,
    /// The connection.
    pub stream: TcpStream,
    /// The other side.
    pub peer: SocketAddr,
    /// Tells when all is to end.
    pub watcher: Watcher,
    /// How long things may take.
    pub timeouts: Arc<Timeouts>,
}

/// Serves a connection to its end. Whether it speaks TLS is what the settings say now.
pub async fn serve(accepted: Accepted) {
    let Accepted { front, stream, peer, watcher, timeouts } = accepted;
    if let Err(error) = prepare(&stream, &timeouts) {
        tracing::debug!(%peer, %error, "a connection could not be prepared");
        return;
    }
    let Some(tls) = front.settings().tls.as_ref().map(tls::Tls::acceptor) else {
        let told = Told::default();
        let stream = Direct::new(stream, told.clone());
        return first((front, Some(told)), stream, peer, watcher, timeouts).await;
    };
    match tokio::time::timeout(timeouts.head, tls.accept(stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2) => {
            second(front, stream, peer, watcher, timeouts).await;
        }
        Ok(Ok(stream)) => first((front, None), stream, peer, watcher, timeouts).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection came about"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake did not come in time"),
    }
}

/// HTTP/1. `told`: if there is somebody who can send bodies from their files.
async fn first<S>(
    (front, told): (Arc<Front>, Option<Told>),
    stream: S,
    peer: SocketAddr,
    watcher: Watcher,
    timeouts: Arc<Timeouts>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(Timer::default()).header_read_timeout(timeouts.head).max_headers(MAX_HEADERS).keep_alive(true);
    let stream = TokioIo::new(Paced::new(stream, timeouts));
    let answering = Arc::clone(&front);
    let service = service_fn(move |request| respond(Arc::clone(&answering), request, peer.ip(), told.clone()));
    if let Err(error) = watcher.watch(http.serve_connection(stream, service)).await {
        tracing::trace!(%peer, %error, "a connection ended early");
        if let Some(status) = status_of(&error) {
            Pending::unread(&front, peer.ip(), status);
        }
    }
}

/// HTTP/2.
async fn second<S>(front: Arc<Front>, stream: S, peer: SocketAddr, watcher: Watcher, timeouts: Arc<Timeouts>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADER_BYTES);
    let stream = TokioIo::new(Paced::listening(stream, timeouts));
    let service = service_fn(move |request| respond(Arc::clone(&front), request, peer.ip(), None));
    if let Err(error) = watcher.watch(http.serve_connection(stream, service)).await {
        tracing::trace!(%peer, %error, "a connection ended early");
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

/// One request and its line in the log; a request that panics has both, too.
async fn respond(
    front: Arc<Front>,
    request: Request<Incoming>,
    peer: IpAddr,
    told: Option<Told>,
) -> Result<Response<Counted<Body>>, Infallible> {
    let (mut request, body) = request.into_parts();
    settle(&mut request);
    let now = jiff::Timestamp::now();
    let pending = Pending::new(&front, &request, peer);
    let answering = AssertUnwindSafe(handler::answer(&front, &request, body, peer, now)).catch_unwind();
    let mut response = answering.await.unwrap_or_else(panicked);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let filed = response.body_mut().take_filed();
    if let Some(told) = told {
        told.set(filed);
    }
    Ok(logged::counted(response, pending))
}

/// Headers that hold tokens are never shown; HTTP/2 says in its own way what HTTP/1 says with path and `Host`.
fn settle(request: &mut Parts) {
    for (name, value) in &mut request.headers {
        if *name == AUTHORIZATION || name.as_str() == "token" {
            value.set_sensitive(true);
        }
    }
    if request.version == Version::HTTP_2 {
        if let Some(host) = request.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            request.headers.entry(HOST).or_insert(host);
        }
        let target = request.uri.path_and_query().cloned();
        request.uri = target.map_or_else(Uri::default, Uri::from);
    }
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
