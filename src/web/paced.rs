//! A connection that gives up on clients that read too slowly. In: a stream, time limits. Out: the same stream, whose writes
//! fail once the client has kept them waiting for too long, and whose reads fail once nothing was heard for too long.
//!
//! Invariant: what is waited for is always an end: progress, or an error.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::server::Timeouts;

/// A stream that gives up on clients that read too slowly.
pub struct Paced<S> {
    stream: S,
    timeouts: Arc<Timeouts>,
    waiting: Option<Waiting>,
    alarm: Option<Pin<Box<Sleep>>>,
    silence: Option<Pin<Box<Sleep>>>,
}

/// From the first write since all was written, until all is written again.
struct Waiting {
    since: Instant,
    progress: Instant,
    written: u64,
}

impl<S> Paced<S> {
    /// Silence is not its matter.
    pub fn new(stream: S, timeouts: Arc<Timeouts>) -> Self {
        Self { stream, timeouts, waiting: None, alarm: None, silence: None }
    }

    /// Reading fails, too, when nothing was read or written for [`Timeouts::silence`].
    pub fn listening(stream: S, timeouts: Arc<Timeouts>) -> Self {
        let silence = Some(Box::pin(tokio::time::sleep(timeouts.silence)));
        Self { silence, ..Self::new(stream, timeouts) }
    }

    fn heard(&mut self) {
        let limit = self.timeouts.silence;
        if let Some(silence) = &mut self.silence {
            silence.as_mut().reset(Instant::now() + limit);
        }
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
            self.heard();
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
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, to);
        if read.is_ready() {
            this.heard();
        } else if let Some(silence) = &mut this.silence {
            ready!(silence.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
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
    use tokio::time::sleep;

    use super::*;

    fn short() -> Arc<Timeouts> {
        let (stall, grace) = (Duration::from_millis(100), Duration::from_millis(300));
        Arc::new(Timeouts { stall, grace, silence: grace, ..Timeouts::default() })
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_dropped() {
        let (ours, _theirs) = duplex(16);
        let error = Paced::new(ours, short()).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_dropped() {
        let (ours, mut theirs) = duplex(16);
        let speaking = tokio::spawn(async move {
            for _ in 0..10 {
                sleep(Duration::from_millis(100)).await;
                theirs.write_all(&[1]).await.unwrap();
            }
            sleep(Duration::from_secs(60)).await;
        });
        let mut ours = Paced::listening(ours, short());
        for _ in 0..10 {
            assert_eq!(ours.read_u8().await.unwrap(), 1);
        }
        assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        speaking.abort();
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
