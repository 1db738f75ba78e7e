//! TLS in front of a plain server on this machine, with a certificate that nobody has signed, made for the occasion.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{dir, http};

/// Answers one request per connection until it is dropped.
pub struct Tls {
    port: u16,
    certificate: Vec<u8>,
    seen: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Tls {
    /// Hands requests on to the port `behind`; its certificate ends at `ends` (Unix seconds).
    pub fn start(behind: u16, ends: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (certificate, key) = certificate(ends);
        let config = Arc::new(config(&certificate, key));
        let (seen, stopped) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (seeing, stopping) = (Arc::clone(&seen), Arc::clone(&stopped));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seeing));
                thread::spawn(move || {
                    // Err: the client has gone, or does not trust us.
                    let _ = stream.and_then(|stream| exchange(config, stream, behind, &seen));
                });
            }
        });
        Self { port, certificate, seen, stopped, acceptor: Some(acceptor) }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// SHA-256 of its certificate.
    pub fn sha256(&self) -> String {
        dir::sha256(&self.certificate)
    }

    /// The heads of all requests, in lower case.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Err: it has ended already.
        let _ = http::connect(self.port);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

/// One request and its answer.
fn exchange(config: Arc<ServerConfig>, stream: TcpStream, behind: u16, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    seen.lock().unwrap().push(lower);
    let mut body = vec![0; length.unwrap_or(0)];
    tls.read_exact(&mut body)?;
    let mut plain = http::connect(behind)?;
    plain.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    plain.write_all(&body)?;
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer)?;
    tls.write_all(&answer)?;
    tls.conn.send_close_notify();
    tls.flush()
}

fn config(certificate: &[u8], key: PrivatePkcs8KeyDer<'static>) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate.to_vec())], key.into())
        .unwrap()
}

/// A certificate for 127.0.0.1 in DER form, and its key.
pub fn certificate(ends: i64) -> (Vec<u8>, PrivatePkcs8KeyDer<'static>) {
    const SEQUENCE: u8 = 0x30;
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let sequence = |parts: &[&[u8]]| der(SEQUENCE, parts);
    let bits = |bytes: &[u8]| der(0x03, &[&[0], bytes]);
    let oid = |bytes: &[u8]| der(0x06, &[bytes]);
    let time = |seconds: i64| {
        let moment = jiff::Timestamp::from_second(seconds).unwrap();
        der(0x17, &[moment.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
    };
    // ecdsa-with-SHA256; id-ecPublicKey with prime256v1; commonName; subjectAltName.
    let algorithm = sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
    let curve =
        sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])]);
    let name = sequence(&[&der(0x31, &[&sequence(&[&oid(&[0x55, 4, 3]), &der(0x0c, &[b"misp"])])])]);
    let address = der(0x04, &[&sequence(&[&der(0x87, &[&[127, 0, 0, 1]])])]);
    let to_be_signed = sequence(&[
        &der(0xa0, &[&der(0x02, &[&[2]])]),
        &der(0x02, &[&[1]]),
        &algorithm,
        &name,
        &sequence(&[&time(ends - 400 * 86_400), &time(ends)]),
        &name,
        &sequence(&[&curve, &bits(pair.public_key().as_ref())]),
        &der(0xa3, &[&sequence(&[&sequence(&[&oid(&[0x55, 0x1d, 0x11]), &address])])]),
    ]);
    let signature = pair.sign(&random, &to_be_signed).unwrap();
    let certificate = sequence(&[&to_be_signed, &algorithm, &bits(signature.as_ref())]);
    (certificate, PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()))
}

/// A DER value: tag, length, contents.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let head: &[u8] = match length {
        [0, short @ 0..0x80] => &[tag, short],
        [0, byte] => &[tag, 0x81, byte],
        [high, low] => &[tag, 0x82, high, low],
    };
    [head, &contents].concat()
}
