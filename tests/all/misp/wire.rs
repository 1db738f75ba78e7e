//! HTTP/1.1 as a web server in front of MISP speaks it: requests in, answers out.

use std::io::{self, BufRead, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::fault::Kind;
use super::route::Answer;

/// A request as it arrived; names of headers in lower case.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The next request of a connection; none at its end.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(stream)? else { return Ok(None) };
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
        let mut asked = Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() };
        loop {
            let line = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some((name, value)) = line.split_once(':') else { break };
            asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let chunked = asked.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if chunked {
            asked.body = chunks(stream)?;
        } else if let Some(length) = asked.header("content-length") {
            asked.body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
            stream.read_exact(&mut asked.body)?;
        }
        Ok(Some(asked))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether CakePHP takes it for a request of a program.
    pub fn wants_json(&self) -> bool {
        let first = self.header("accept").and_then(|accept| accept.split([',', ';']).next()).map(str::trim);
        self.path().ends_with(".json") || first == Some("application/json")
    }

    /// With more than one type in `Accept`, errors come as pages for people.
    pub fn wants_several(&self) -> bool {
        self.header("accept").is_some_and(|accept| accept.contains(',')) && !self.path().ends_with(".json")
    }

    /// Whether the connection ends after the answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// `%20` and the like.
pub fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match pair.filter(|_| *first == b'%') {
            Some(byte) => (out, rest) = ([out, vec![byte]].concat(), &tail[2..]),
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What goes onto the wire.
pub struct Outgoing {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    /// The client cannot tell where the body ends.
    pub closes: bool,
}

impl Outgoing {
    /// Frames an answer; `now` is the server's clock, `serial` names the session.
    pub fn new(asked: &Asked, mut answer: Answer, now: i64, gzip: bool, serial: u64, fault: Option<&Kind>) -> Self {
        let accepts = asked.header("accept-encoding").is_some_and(|codings| codings.contains("gzip"));
        let coded = has(&answer.headers, "Content-Encoding");
        let zips = gzip && accepts && !coded && answer.status == 200 && answer.body.len() > 256;
        if zips {
            answer.body = zipped(&answer.body);
            answer.header("Content-Encoding", "gzip".into());
            let tag = answer.headers.iter_mut().find(|(name, _)| name == "ETag");
            tag.into_iter().for_each(|(_, value)| value.insert_str(0, "W/"));
        }
        let mut headers = vec![("Server".to_owned(), "nginx".to_owned()), ("Date".into(), http_date(now))];
        headers.append(&mut answer.headers);
        if zips || answer.status == 302 {
            headers.push(("Transfer-Encoding".into(), "chunked".into()));
            answer.body = one_chunk(&answer.body);
        } else if answer.status != 304 {
            headers.push(("Content-Length".into(), answer.body.len().to_string()));
        }
        if asked.key().is_some() {
            headers.push(("Set-Cookie".into(), cookie(now, serial)));
        }
        if let Some(Kind::Header { set, remove }) = fault {
            headers.retain(|(name, _)| !remove.iter().any(|gone| gone.eq_ignore_ascii_case(name)));
            headers.retain(|(name, _)| !set.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
            headers.extend(set.iter().cloned());
        }
        let closes = answer.status != 304 && !has(&headers, "Content-Length") && !has(&headers, "Transfer-Encoding");
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
        head.push_str(if closes || asked.closes() {
            "Connection: close\r\n\r\n"
        } else {
            "Connection: keep-alive\r\n\r\n"
        });
        let body = if asked.method == "HEAD" || answer.status == 304 { Vec::new() } else { answer.body };
        Self { head: head.into_bytes(), body, closes: closes || asked.closes() }
    }
}

fn has(headers: &[(String, String)], wanted: &str) -> bool {
    headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

/// A date as HTTP writes it.
pub fn http_date(seconds: i64) -> String {
    let moment = jiff::Timestamp::from_second(seconds).expect("a time that can be written");
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A new session per call, as a real server makes one.
fn cookie(now: i64, serial: u64) -> String {
    let end = http_date(now + 3600);
    format!("CAKEPHP={serial:026}; expires={end}; Max-Age=3600; path=/; HttpOnly; SameSite=Lax")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

fn zipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec takes everything")
}

fn one_chunk(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !body.is_empty() {
        out.extend(format!("{:x}\r\n", body.len()).into_bytes());
        out.extend(body);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// A body in chunks, put together.
pub fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let size = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16);
        let size = size.map_err(|_| io::ErrorKind::InvalidData)?;
        let start = out.len();
        out.resize(start + size, 0);
        stream.read_exact(&mut out[start..])?;
        line(stream)?;
        if size == 0 {
            return Ok(out);
        }
    }
}

/// A line without its end; none at the end of the connection.
pub fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.by_ref().take(64 * 1024).read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
