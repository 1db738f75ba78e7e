//! The body of an answer. In: bytes in memory, or an open file. Out: what hyper sends.
//!
//! Invariants: bytes in memory are shared, never copied; a file is read in pieces, by threads that may block, one piece ahead of
//! what is sent, so a slow client holds two pieces and no thread.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::direct::Filed;

/// Bytes per piece of a file.
const PIECE: u64 = 128 << 10;

/// The body of every answer.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    filed: Option<Filed>,
}

#[derive(Debug)]
enum Kind {
    /// Empty: it was taken, or there is none.
    Memory(Bytes),
    File(Pieces),
}

/// What is left of a file.
#[derive(Debug)]
struct Pieces {
    left: u64,
    reading: JoinHandle<io::Result<(File, Vec<u8>)>>,
}

impl Body {
    /// Bytes that are in memory.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Memory(bytes.into()), filed: None }
    }

    /// The same, being a part of what is in a file, too.
    pub fn filed(bytes: Bytes, filed: Filed) -> Self {
        Self { kind: Kind::Memory(bytes), filed: Some(filed) }
    }

    /// The file it is in, if it is in memory and in a file.
    pub fn take_filed(&mut self) -> Option<Filed> {
        self.filed.take()
    }

    /// The next `length` bytes of a file. Needs a runtime.
    pub fn file(file: File, length: u64) -> Self {
        if length == 0 {
            return Self::whole("");
        }
        Self { kind: Kind::File(Pieces { left: length, reading: read(file, length) }), filed: None }
    }

    /// The bytes, if they are in memory.
    pub fn in_memory(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Memory(bytes) => Some(bytes),
            Kind::File(_) => None,
        }
    }
}

/// Begins to read the next piece.
fn read(mut file: File, left: u64) -> JoinHandle<io::Result<(File, Vec<u8>)>> {
    spawn_blocking(move || {
        let length = left.min(PIECE);
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        (&mut file).take(length).read_to_end(&mut piece)?;
        if piece.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((file, piece))
    })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match &mut self.kind {
            Kind::Memory(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Memory(bytes) => Ok(std::mem::take(bytes)),
            Kind::File(pieces) => {
                let piece = ready!(Pin::new(&mut pieces.reading).poll(context));
                match piece.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok((file, piece)) => {
                        pieces.left = pieces.left.saturating_sub(piece.len() as u64);
                        if pieces.left > 0 {
                            pieces.reading = read(file, pieces.left);
                        } else {
                            self.kind = Kind::Memory(Bytes::new());
                        }
                        Ok(piece.into())
                    }
                    Err(error) => {
                        self.kind = Kind::Memory(Bytes::new());
                        Err(error)
                    }
                }
            }
        };
        Poll::Ready(Some(frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Memory(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.kind {
            Kind::Memory(bytes) => bytes.len() as u64,
            Kind::File(pieces) => pieces.left,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_file_comes_whole_in_pieces_and_a_short_one_is_an_error() {
        let bytes: Vec<u8> = (0..3 * PIECE + 7).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let from = |start: u64| {
            let mut file = file.try_clone().unwrap();
            file.seek(SeekFrom::Start(start)).unwrap();
            file
        };
        let length = bytes.len() as u64;
        let mut body = Body::file(from(0), length);
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() as u64 <= PIECE);
            seen.extend_from_slice(&piece);
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(length - seen.len() as u64));
        }
        assert!(seen == bytes && http_body::Body::is_end_stream(&body));
        assert_eq!(Body::file(from(5), 9).collect().await.unwrap().to_bytes(), bytes[5..14]);
        assert!(Body::file(from(1), length).collect().await.is_err(), "a byte is missing");
        assert!(Body::file(from(0), 0).collect().await.unwrap().to_bytes().is_empty());
    }
}
