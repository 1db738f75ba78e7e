//! A consumer: one connection that stays open, and its requests one after the other.
//!
//! In: a port of this machine, a token, paths. Out: status, tag and length of each answer.
//!
//! Invariants: an answer is read to its end before the next request; a connection that ends is an error.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

/// What an answer was.
pub struct Answer {
    pub status: u16,
    pub etag: String,
}

impl Client {
    pub fn connect(port: u16, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        // Nothing that is measured here takes as long.
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    /// Asks for a path, unless it still has this tag; an empty one is none.
    pub fn get(&mut self, path: &str, etag: &str) -> io::Result<Answer> {
        let condition = if etag.is_empty() { String::new() } else { format!("If-None-Match: {etag}\r\n") };
        let request = format!("GET {path}?token={} HTTP/1.1\r\nHost: bench\r\n{condition}\r\n", self.token);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut answer, mut length) = (String::new(), Answer { status: 0, etag: String::new() }, 0);
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end();
            match text.split_once(": ") {
                None if text.is_empty() => break,
                None => answer.status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0),
                Some((name, tag)) if name.eq_ignore_ascii_case("etag") => answer.etag = tag.to_owned(),
                Some((name, bytes)) if name.eq_ignore_ascii_case("content-length") => {
                    length = bytes.parse().map_err(io::Error::other)?;
                }
                Some(_) => {}
            }
        }
        if answer.status != 304 {
            io::copy(&mut (&mut self.stream).take(length), &mut io::sink())?;
        }
        Ok(answer)
    }
}
