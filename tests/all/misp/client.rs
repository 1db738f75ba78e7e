//! Asks a MISP over a connection of its own that it keeps; shows the answer as it is on the wire.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::wire::{chunks, line};

/// One answer; names of headers in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// As sent, without the framing of chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The attributes of a search.
    pub fn attributes(&self) -> Vec<Value> {
        let json = self.json();
        let found = json.pointer("/response/Attribute").and_then(Value::as_array).cloned();
        found.unwrap_or_else(|| panic!("no attributes: {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The values of these attributes.
    pub fn values(&self) -> Vec<String> {
        self.attributes().iter().map(|row| row["value"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// A client of one server.
pub struct Client {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Connects with the first request.
    pub fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// One request, one answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port))?;
                stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let stream = self.stream.insert(stream);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: misp.example.net\r\n");
        headers.iter().for_each(|(name, value)| request.extend([name, ": ", value, "\r\n"]));
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend(body);
        let answer = stream.get_mut().write_all(&bytes).and_then(|()| read(stream));
        if answer.as_ref().map_or(true, |answer| answer.header("connection") == Some("close")) {
            self.stream = None;
        }
        answer
    }

    /// A search as a careful client sends it.
    pub fn search(&mut self, key: &str, body: &Value) -> Answer {
        self.json("POST", "/attributes/restSearch", key, body)
    }

    /// Any request with the headers of a careful client; null is no body.
    pub fn json(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("Authorization", key), ("Accept", "application/json"), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, &headers, &body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let first = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Some((name, value)) = line.split_once(':') else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if answer.header("transfer-encoding").is_some() {
        answer.body = chunks(stream)?;
    } else if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
        stream.read_exact(&mut answer.body)?;
    } else if status != 304 {
        stream.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}
