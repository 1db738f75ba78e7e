//! TLS without a proxy in front. In: a certificate chain and its key, as PEM. Out: what accepts TLS connections.
//!
//! Invariants: only a key that belongs to its certificate makes a [`Tls`]; two made of the same files are equal, and a server
//! that takes newer settings over goes on with the one it has, so sessions resume across reloads; connections that are open
//! keep what they were accepted with; nothing here shows the key.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

/// ALPN of HTTP/2.
pub const HTTP2: &[u8] = b"h2";
/// ALPN of HTTP/1.1.
const HTTP1: &[u8] = b"http/1.1";

/// What TLS connections are accepted with.
#[derive(Clone)]
pub struct Tls {
    /// The files it was made of: certificate chain, key.
    pub files: [PathBuf; 2],
    hash: [u8; digest::SHA256_OUTPUT_LEN],
    config: Arc<ServerConfig>,
}

/// Why two files make no [`Tls`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Of the first file.
    #[error("holds no certificate in PEM form: {0}")]
    Certificate(String),
    /// Of the second one.
    #[error("holds no private key in PEM form")]
    Key,
    /// Of both.
    #[error("the key and the certificate cannot be used together: {0}")]
    Pair(String),
}

impl Tls {
    /// Reads both; `files` is where they came from.
    pub fn new(files: [PathBuf; 2], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let bad = |error: rustls::pki_types::pem::Error| TlsError::Certificate(error.to_string());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(bad)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate("no BEGIN CERTIFICATE in it".into()));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        [certificate, &[0], key].into_iter().for_each(|part| hash.update(part));
        // The error of the parser could show a part of the key.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
        let pair = |error: rustls::Error| TlsError::Pair(error.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        config.ticketer = crypto::ring::Ticketer::new().map_err(pair)?;
        // One is enough: a client that polls keeps its connection, or comes back with what it got the last time.
        config.send_tls13_tickets = 1;
        let mut digest = [0; digest::SHA256_OUTPUT_LEN];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Self { files, hash: digest, config: Arc::new(config) })
    }

    /// Accepts connections.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        (&self.files, self.hash) == (&other.files, other.hash)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}
