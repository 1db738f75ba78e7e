//! Bodies that go from their file to the client without passing through this program: sendfile(2). In: what hyper writes, and
//! which of it is in a file, too. Out: the same bytes on the connection.
//!
//! Invariants: what is written is what hyper wrote, byte for byte, whether it came from the file or from memory; when the file
//! cannot be sent, memory is.

use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Less than this is copied as fast as it is sent.
pub const LEAST: usize = 32 << 10;

/// Bytes in memory that are in a file, too, from its first byte on.
#[derive(Clone, Debug)]
pub struct Filed {
    /// In memory.
    pub bytes: Bytes,
    /// The same.
    pub file: Arc<File>,
}

/// What the answer under way on a connection is in, told by whoever answers to whoever writes.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Option<Filed>>>);

impl Told {
    /// `None`: in memory only.
    pub fn set(&self, filed: Option<Filed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = filed;
    }

    /// The first of these slices that is in the file: which, and from what byte of the file on. Nobody else's bytes can be where
    /// these are: they are held.
    fn find(&self, slices: &[IoSlice<'_>]) -> Option<(usize, Arc<File>, u64)> {
        let at = slices.iter().position(|slice| slice.len() >= LEAST)?;
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Filed { bytes, file } = told.as_ref()?;
        let offset = (slices[at].as_ptr().addr()).checked_sub(bytes.as_ptr().addr())?;
        let end = offset.checked_add(slices[at].len())?;
        (end <= bytes.len()).then(|| (at, Arc::clone(file), offset as u64))
    }
}

/// A plain connection.
#[derive(Debug)]
pub struct Direct {
    stream: TcpStream,
    told: Told,
}

impl Direct {
    /// Sends from memory what it is told nothing of.
    pub fn new(stream: TcpStream, told: Told) -> Self {
        Self { stream, told }
    }

    /// Writes once it is possible.
    fn poll_with(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_io(Interest::WRITABLE, || write(&self.stream).map_err(io::Error::from)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => return Poll::Ready(wrote),
            }
        }
    }
}

impl AsyncRead for Direct {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, to)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.told.find(slices) {
            Some((0, file, mut offset)) => {
                let sent = ready!(this.poll_with(context, |stream| {
                    rustix::fs::sendfile(stream, &file, Some(&mut offset), slices[0].len())
                }));
                // 0: the file has become shorter. Memory has all of it.
                match sent {
                    Ok(count) if count > 0 => Poll::Ready(Ok(count)),
                    _ => Pin::new(&mut this.stream).poll_write(context, &slices[0]),
                }
            }
            // What stands before it goes in the same packet.
            Some((1, ..)) => this.poll_with(context, |stream| rustix::net::send(stream, &slices[0], SendFlags::MORE)),
            _ => Pin::new(&mut this.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What arrives of a head and this part of bytes that the file is said to have, too.
    #[allow(clippy::disallowed_methods, reason = "a test is its own client")]
    async fn arrives(in_file: &[u8], bytes: &Bytes, part: std::ops::Range<usize>) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let mut seen = Vec::new();
            TcpStream::connect(address).await.unwrap().read_to_end(&mut seen).await.unwrap();
            seen
        });
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(in_file).unwrap();
        let told = Told::default();
        told.set(Some(Filed { bytes: bytes.clone(), file: Arc::new(file) }));
        let mut ours = Direct::new(listener.accept().await.unwrap().0, told);
        let (mut head, mut body) = (&b"head"[..], bytes.slice(part));
        while !head.is_empty() || !body.is_empty() {
            let slices = [IoSlice::new(head), IoSlice::new(&body)];
            let slices = if head.is_empty() { &slices[1..] } else { &slices[..] };
            let count = ours.write_vectored(slices).await.unwrap();
            let of_head = count.min(head.len());
            head = &head[of_head..];
            let _ = body.split_to(count - of_head);
        }
        ours.shutdown().await.unwrap();
        drop(ours);
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn it_is_the_file_that_is_sent_and_memory_if_there_is_less_in_it() {
        let length = 5 << 20;
        let bytes = Bytes::from(vec![b'm'; length]);
        let file = vec![b'f'; length];
        let is = |seen: &[u8], letter: u8, length: usize| {
            seen.len() == 4 + length && seen.starts_with(b"head") && seen[4..].iter().all(|byte| *byte == letter)
        };
        // All but what is left at the end in a piece so small that it is copied.
        let seen = arrives(&file, &bytes, 0..length).await;
        let copied = seen.iter().filter(|byte| **byte == b'm').count();
        assert!(seen.len() == 4 + length && copied < LEAST, "{copied} bytes from memory");
        assert!(is(&arrives(&[], &bytes, 0..length).await, b'm', length), "an empty file");
        assert!(is(&arrives(&file, &bytes, 100..LEAST).await, b'm', LEAST - 100), "a small part");
        let numbered: Vec<u8> = (0..length).map(|at| (at / 1000 % 251) as u8).collect();
        let part = 123_456..length - 777;
        let seen = arrives(&numbered, &numbered.clone().into(), part.clone()).await;
        assert!(seen[4..] == numbered[part], "a part of it, from its place in the file");
        // Half of it is gone.
        let seen = arrives(&numbered[..length / 2], &numbered.clone().into(), 0..length).await;
        assert!(seen[4..] == numbered);
    }
}
