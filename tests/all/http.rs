//! A raw HTTP/1.1 client: it shows what is on the wire and adds nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// One answer; names of headers in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client that keeps its connection.
pub struct Client {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Connects with the first request.
    pub fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// GET.
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", target, headers)
    }

    /// One request, one answer.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = self.stream.get_or_insert_with(|| connect(self.port).map(BufReader::new).unwrap());
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        stream.get_mut().write_all(format!("{request}\r\n").as_bytes()).unwrap();
        let answer = read(stream, method == "HEAD").unwrap_or_else(|| panic!("no answer to {method} {target}"));
        if answer.header("connection") == Some("close") {
            self.stream = None;
        }
        answer
    }
}

/// GET over a connection of its own.
pub fn get(port: u16, target: &str) -> Answer {
    Client::new(port).get(target, &[])
}

/// These bytes over a connection of its own, and what comes back.
pub fn exchange(port: u16, request: &[u8], head_only: bool) -> Answer {
    let mut stream = connect(port).map(BufReader::new).unwrap();
    stream.get_mut().write_all(request).unwrap();
    let shown = || String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    read(&mut stream, head_only).unwrap_or_else(|| panic!("no answer to {}", shown()))
}

/// Whether the server answers `/v1/status`.
pub fn answers(port: u16) -> bool {
    let Ok(mut stream) = connect(port) else { return false };
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").is_ok()
        && read(&mut BufReader::new(stream), false).is_some_and(|answer| answer.status == 200)
}

/// A bare connection that gives up after ten seconds.
pub fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One answer; `None`: the other side is gone.
pub fn read(stream: &mut BufReader<TcpStream>, head_only: bool) -> Option<Answer> {
    let status = line(stream)?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let twice = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        assert_eq!(twice, None, "{name} twice");
    }
    let mut body = Vec::new();
    if !head_only && status != 304 && status != 204 {
        let length = headers.get("content-length").unwrap_or_else(|| panic!("no length: {status} {headers:?}"));
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).ok()?;
    }
    Some(Answer { status, headers, body })
}

fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    Some(line.trim_end().to_owned())
}

/// A connection to this machine from one of its own addresses.
pub fn connect_from(source: Ipv4Addr, port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}
