//! `tls:` in `config.yaml`: HTTPS without a proxy, HTTP/1.1 and HTTP/2 by ALPN, sessions that resume, certificates that are
//! replaced while connections go on, and mistakes that name file, line and key.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SITE, token};
use crate::feed::{Attribute, Event};
use crate::{http, tls};

const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
/// Writes a fresh certificate and its key; gives the certificate.
fn certificate(dir: &Dir) -> Vec<u8> {
    let (certificate, key) = tls::certificate(dir::now() + 100 * 86_400);
    dir.write("tls/key.pem", &pem("PRIVATE KEY", key.secret_pkcs8_der()));
    dir.write("tls/cert.pem", &pem("CERTIFICATE", &certificate));
    certificate
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A folder with one list, whose configuration ends with these lines.
fn folder(lines: &str) -> Dir {
    let dir = Dir::new("");
    let rows = (1..=50).map(|n| Attribute::new("ip-dst", format!("45.9.8.{n}"), dir::now() - 60)).collect();
    dir.publish(&[Event::new(1, &[BLOCK], rows)]);
    let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}{lines}"));
    dir
}

const TLS: &str = "tls:\n  cert: tls/cert.pem\n  key: tls/key.pem\n";

/// Trusts these certificates.
fn trusting(certificates: &[&[u8]], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(CertificateDer::from(certificate.to_vec())).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// One HTTPS connection that is kept.
struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Secured {
    fn new(config: &Arc<ClientConfig>, port: u16) -> Self {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self(StreamOwned::new(connection, http::connect(port).unwrap()))
    }

    /// Status and body; err: there is no such connection.
    fn get(&mut self, target: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let token = token(SITE, AUTH_KEY, "2099-12-31");
        write!(self.0, "GET {target} HTTP/1.1\r\nHost: x\r\ntoken: {token}\r\n\r\n")?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap()];
        self.0.read_exact(&mut body)?;
        Ok((head[9..12].parse().unwrap(), body))
    }

    /// The certificate the other side has shown.
    fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// `cratos serve`, answering over TLS.
fn start(dir: &Dir) -> Server {
    Server::start_when(dir, |port| TcpStream::connect(("127.0.0.1", port)).is_ok())
}

#[test]
fn a_list_comes_over_tls_and_sessions_resume() {
    let dir = folder(TLS);
    let certificate = certificate(&dir);
    let server = start(&dir);
    let list = fs::read(dir.current().join("feed/block/ipv4/10y.txt")).unwrap();
    let config = trusting(&[&certificate], &[b"http/1.1"]);
    let mut first = Secured::new(&config, server.port);
    for _ in 0..3 {
        assert_eq!(first.get(LIST).unwrap(), (200, list.clone()));
    }
    assert_eq!(first.0.conn.handshake_kind(), Some(HandshakeKind::Full));
    let mut second = Secured::new(&config, server.port);
    assert_eq!(second.get(LIST).unwrap().0, 200);
    assert_eq!(second.0.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    // Plain HTTP gets no answer there, and ends nothing.
    let mut plain = http::connect(server.port).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert_eq!(first.get(LIST).unwrap().0, 200);
}

#[test]
fn both_versions_of_http_are_spoken_over_tls_and_say_the_same() {
    let dir = folder(&format!("{TLS}access_log: access.log\n"));
    let certificate = certificate(&dir);
    let server = start(&dir);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let list = fs::read(dir.current().join("feed/block/ipv4/10y.txt")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let token = token(SITE, AUTH_KEY, "2099-12-31");
        let mut seen = Vec::new();
        for (alpn, version) in [(&b"h2"[..], http_types::HTTP_2), (b"http/1.1", http_types::HTTP_11)] {
            let config = ClientConfig::clone(&trusting(&[&certificate], &[alpn]));
            let client = reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
            let url = |target: &str| format!("https://127.0.0.1:{}{target}", server.port);
            let get = |target: &str| client.get(url(target)).header("token", &token).send();
            let answer = get(LIST).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            let headers: Vec<_> = ["etag", "last-modified", "content-type", "content-length", "cache-control"]
                .map(|name| answer.headers()[name].clone())
                .into();
            assert_eq!(answer.bytes().await.unwrap(), list);
            let part = client.get(url(LIST)).header("token", &token).header("range", "bytes=3-9").send().await.unwrap();
            assert_eq!((part.status().as_u16(), part.bytes().await.unwrap()), (206, list[3..10].to_vec().into()));
            assert_eq!(get("/").await.unwrap().status(), 200, "a host is there");
            assert_eq!(client.get(url(LIST)).send().await.unwrap().status(), 403, "without a token");
            assert_eq!(get("/v1/nothing").await.unwrap().status(), 404);
            seen.push(headers);
        }
        assert_eq!(seen[0], seen[1]);
    });
    let log = dir.path().join("access.log");
    let line = format!("\"GET {LIST} HTTP/2.0\" 200 {} ", list.len());
    wait_for("a line of HTTP/2", Duration::from_secs(10), || {
        fs::read_to_string(&log).unwrap_or_default().contains(&line)
    });
}

/// Versions, in words the assertions can compare.
mod http_types {
    pub const HTTP_2: reqwest::Version = reqwest::Version::HTTP_2;
    pub const HTTP_11: reqwest::Version = reqwest::Version::HTTP_11;
}

#[test]
fn a_new_certificate_is_taken_over_and_open_connections_go_on() {
    let dir = folder(TLS);
    let old = certificate(&dir);
    let server = start(&dir);
    let mut kept = Secured::new(&trusting(&[&old], &[]), server.port);
    assert_eq!(kept.get(LIST).unwrap().0, 200);
    let new = certificate(&dir);
    // A client of its own each time: no session resumes.
    let shown = || {
        let mut fresh = Secured::new(&trusting(&[&old, &new], &[]), server.port);
        fresh.get(LIST).map(|(status, _)| (status, fresh.shown()))
    };
    wait_for("the new certificate", Duration::from_secs(20), || shown().is_ok_and(|shown| shown == (200, new.clone())));
    assert_eq!(kept.get(LIST).unwrap().0, 200);
    assert_eq!(kept.shown(), old);
    // One that does not fit is not taken over.
    let (other, _) = tls::certificate(dir::now() + 100 * 86_400);
    dir.write("tls/cert.pem", &pem("CERTIFICATE", &other));
    wait_for("a word about it", Duration::from_secs(20), || server.log().contains("cannot be used together"));
    assert_eq!(shown().unwrap(), (200, new.clone()));
    assert_eq!(kept.get(LIST).unwrap().0, 200);
}

#[test]
fn mistakes_name_file_line_and_key() {
    let key = |dir: &Dir| fs::read_to_string(dir.path().join("tls/key.pem")).unwrap();
    for (lines, break_it, said) in [
        (TLS, "", ["config.yaml:8", "tls.cert", "cannot be read"]),
        ("tls:\n  cert: tls/cert.pem\n", "good", ["config.yaml", "tls.key", "is missing"]),
        (TLS, "no certificate", ["config.yaml:8", "tls.cert", "BEGIN CERTIFICATE"]),
        (TLS, "no key", ["config.yaml:9", "tls.key", "no private key"]),
        (TLS, "another key", ["config.yaml:9", "tls.key", "cannot be used together"]),
        ("tls: true\n", "good", ["config.yaml:7", "tls", "keys with values"]),
        ("tls:\n  cert: tls/cert.pem\n  key: tls/key.pem\n  keys: x\n", "good", ["config.yaml:10", "tls.keys", "key"]),
    ] {
        let dir = Dir::new("");
        let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
        dir.write("config/config.yaml", &format!("{config}{lines}"));
        if !break_it.is_empty() {
            certificate(&dir);
        }
        match break_it {
            "no certificate" => dir.write("tls/cert.pem", "nothing"),
            "no key" => dir.write("tls/key.pem", "nothing"),
            "another key" => {
                let cert = fs::read_to_string(dir.path().join("tls/cert.pem")).unwrap();
                certificate(&dir);
                dir.write("tls/cert.pem", &cert);
            }
            _ => {}
        }
        let ended = dir.run(&["check"]).with_code(2);
        let text = ended.text();
        assert!(said.iter().all(|word| text.contains(word)), "{lines}{break_it}: {text}");
        if break_it == "another key" {
            let secret = key(&dir);
            assert!(!text.contains(secret.lines().nth(1).unwrap()), "a key is shown");
        }
    }
    // Unused in this test otherwise: a good pair checks.
    let dir = folder(TLS);
    certificate(&dir);
    dir.run(&["check"]).good();
}

#[test]
fn a_handshake_that_does_not_come_holds_nobody_up() {
    let dir = folder(TLS);
    let certificate = certificate(&dir);
    let server = start(&dir);
    let silent: Vec<_> = (0..50).map(|_| BufReader::new(http::connect(server.port).unwrap())).collect();
    let config = trusting(&[&certificate], &[]);
    for _ in 0..20 {
        assert_eq!(Secured::new(&config, server.port).get(LIST).unwrap().0, 200);
    }
    drop(silent);
}
