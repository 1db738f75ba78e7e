//! One request's line in the access log. In: a request, then its answer. Out: the line, once the body is sent or given up.
//!
//! Invariant: every request that was begun has a line: one whose client went away has status 499, one that panicked has 500.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;

use super::access_log::AccessLog;
use super::client_ip::{self, Client};
use super::files::Front;
use super::guard;
use super::log_line::Seen;

/// The client went before there was an answer.
const GONE: u16 = 499;

/// A request under way; its line is written when this is dropped.
pub struct Pending {
    log: Arc<AccessLog>,
    seen: Seen,
    since: Instant,
    status: u16,
    bytes: u64,
}

impl Pending {
    /// `None`: there is no access log.
    pub fn new(front: &Front, request: &Parts, peer: std::net::IpAddr) -> Option<Self> {
        let log = front.log()?;
        let settings = front.settings();
        let proxy_header = settings.reverse_proxy.then_some(&settings.proxy_header);
        let client = client_ip::resolve(peer, &request.headers, &settings.trusted_proxies, proxy_header);
        let opened = guard::presented(request).ok().and_then(|token| front.tokens().open(token.text()).ok());
        let token = opened.map(|opened| (opened.claims.host.clone(), opened.short_id().to_owned()));
        let at = Timestamp::now().to_zoned_datetime(settings.timezone.clone());
        Some(Self { log, seen: Seen::new(request, &client, at, token), since: Instant::now(), status: GONE, bytes: 0 })
    }

    /// A line for a request whose head could not be read; hyper has answered it.
    pub fn unread(front: &Front, peer: std::net::IpAddr, status: u16) {
        if let Some(log) = front.log() {
            let at = Timestamp::now().to_zoned_datetime(front.settings().timezone.clone());
            let seen = Seen::unread(&Client::Known(peer.to_canonical()).to_string(), at);
            drop(Self { log, seen, since: Instant::now(), status, bytes: 0 });
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.log.write(self.seen.line(self.status, self.bytes, self.since.elapsed()));
    }
}

/// An answer whose body is counted for a line, if there is to be one.
pub fn counted<B>(response: Response<B>, pending: Option<Pending>) -> Response<Counted<B>> {
    let status = response.status().as_u16();
    response.map(|body| {
        let pending = pending.map(|mut pending| {
            pending.status = status;
            pending
        });
        Counted { body, pending }
    })
}

/// A body that counts what is taken from it.
pub struct Counted<B> {
    body: B,
    pending: Option<Pending>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(pending)) = (&polled, &mut self.pending) {
            pending.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::web::LogSettings;
    use crate::web::files::whole;

    #[tokio::test]
    async fn bytes_are_those_taken_and_who_left_has_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(LogSettings { path: path.clone(), max_bytes: 0, rotations: 0 }).unwrap();
        let log = Arc::new(log);
        let pending = |client: &str| {
            let at = Timestamp::UNIX_EPOCH.to_zoned_datetime(jiff::tz::TimeZone::UTC);
            let seen = Seen::unread(client, at);
            Some(Pending { log: Arc::clone(&log), seen, since: Instant::now(), status: GONE, bytes: 0 })
        };
        let mut failed = Response::new(whole("Internal Server Error"));
        *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        let body = counted(failed, pending("failed")).into_body();
        assert_eq!(body.size_hint().exact(), Some(21));
        body.collect().await.unwrap();
        drop(counted(Response::new(whole("unread")), pending("head")));
        drop(pending("left"));
        log.finish(std::time::Duration::from_secs(10));
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (line, (client, end)) in lines.iter().zip([("failed", "500 21"), ("head", "200 0"), ("left", "499 0")]) {
            assert!(line.starts_with(client) && line.contains(&format!("\"-\" {end} \"-\"")), "{line}");
        }
        assert_eq!(lines.len(), 3);
    }
}
