//! What `config.yaml` says about connections. In: its [`Section`]; the files of `tls`. Out: settings; mistakes stay in the
//! section, and name the key whose file is wrong.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::section::{Item, Section};
use crate::web::tls::{Tls, TlsError};

/// Larger files are no certificate and no key.
const MAX_BYTES: u64 = 1 << 20;
/// Connections in all, where nothing is said.
const CONNECTIONS: u64 = 4096;
/// Connections per address, where nothing is said.
const PER_ADDRESS: u64 = 512;
/// Megabytes of bodies in memory, where nothing is said.
const CACHE: u64 = 64;

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Listening {
    /// `listen`
    pub listen: SocketAddr,
    /// `max_connections`
    pub max_connections: usize,
    /// `max_connections_per_address`
    pub max_connections_per_address: usize,
    /// `serve_threads`
    pub threads: usize,
    /// `tls`
    pub tls: Option<Tls>,
    /// `serve_cache_mb`, in bytes.
    pub cache_bytes: u64,
}

impl Listening {
    /// Reads the settings; paths start in `dir`.
    pub fn read(section: &mut Section<'_>, dir: &Path) -> Self {
        Self {
            listen: listen(section).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            max_connections: connections(section, "max_connections", CONNECTIONS),
            max_connections_per_address: connections(section, "max_connections_per_address", PER_ADDRESS),
            threads: threads(section),
            tls: tls(section, dir),
            cache_bytes: section.integer("serve_cache_mb", 0..=1_000_000).unwrap_or(CACHE) << 20,
        }
    }
}

fn listen(section: &mut Section<'_>) -> Option<SocketAddr> {
    let item = section.text("listen")?;
    let address = item.text.trim().parse().ok();
    if address.is_none() {
        let what = format!("\"{}\" is no address with port", item.text);
        section.mistake("listen", item.at, what, "write e.g. 127.0.0.1:8080");
    }
    address
}

fn connections(section: &mut Section<'_>, key: &str, default: u64) -> usize {
    let count = section.integer(key, 1..=1_000_000).unwrap_or(default);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// `serve_threads`; as many as there are cores if nothing is said.
fn threads(section: &mut Section<'_>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let said = section.integer("serve_threads", 1..=256).and_then(|count| usize::try_from(count).ok());
    said.unwrap_or_else(cores)
}

/// `tls`; `None` with a mistake, or if nothing is said.
fn tls(section: &mut Section<'_>, dir: &Path) -> Option<Tls> {
    let mut inner = section.child("tls")?;
    for (key, remedy) in [
        ("cert", "name the file of the certificate chain (PEM), the server's own first"),
        ("key", "name the file of the private key (PEM)"),
    ] {
        inner.missing(key, remedy);
    }
    let (cert, key) = (inner.text("cert"), inner.text("key"));
    let tls = cert.zip(key).and_then(|(cert, key)| pair(&mut inner, dir, &cert, &key));
    section.absorb(inner);
    tls
}

fn pair(section: &mut Section<'_>, dir: &Path, cert: &Item, key: &Item) -> Option<Tls> {
    let files = [cert, key].map(|item| dir.join(item.text.trim()));
    let chain = contents(section, "cert", cert, &files[0]);
    let secret = contents(section, "key", key, &files[1]);
    let error = match Tls::new(files, &chain?, &secret?) {
        Ok(tls) => return Some(tls),
        Err(error) => error,
    };
    let (name, item, remedy) = match error {
        TlsError::Certificate(_) => ("cert", cert, "write the path of a file with -----BEGIN CERTIFICATE-----"),
        TlsError::Key => ("key", key, "write the path of a file with -----BEGIN PRIVATE KEY-----, without a password"),
        TlsError::Pair(_) => ("key", key, "write the key that the first certificate of `cert` was made for"),
    };
    section.mistake(name, item.at, format!("{}: {error}", item.text), remedy);
    None
}

fn contents(section: &mut Section<'_>, key: &str, item: &Item, path: &PathBuf) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    let error = match read {
        Ok(count) if count as u64 > MAX_BYTES => io::Error::other(format!("it is larger than {MAX_BYTES} bytes")),
        Ok(_) => return Some(bytes),
        Err(error) => error,
    };
    let remedy = "write the path of a file that the server may read; relative paths start beside config/";
    section.mistake(key, item.at, format!("{}: cannot be read: {error}", path.display()), remedy);
    None
}
