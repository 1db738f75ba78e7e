//! Whom to trust at the other end of a TLS connection. In: what the site file says. Out: certificates and verifiers for `client.rs`.
//!
//! | setting | trusted |
//! |---|---|
//! | none | the system's trust store |
//! | `mispCaFile` | the system's and the authorities of the file |
//! | `mispCertSha256` | the one certificate with this hash, whoever signed it, whatever name and dates it bears |
//! | `mispVerifyCert: false` | anybody; a pin still counts |
//!
//! The pin is there because rustls refuses the usual self-signed certificate (`openssl req -x509` makes it an authority)
//! even as its own root.
//!
//! Invariants: whatever is trusted, the handshake's signature is verified, so a certificate is worth nothing without its
//! key; only an explicit `mispVerifyCert: false` trusts anybody.

use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use subtle::ConstantTimeEq;

/// What a site file says of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// `mispVerifyCert`.
    pub verify: bool,
    /// `mispCaFile`: its PEM text.
    pub authorities: Option<Vec<u8>>,
    /// `mispCertSha256`: SHA-256 of the certificate's DER form.
    pub pin: Option<[u8; 32]>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { verify: true, authorities: None, pin: None }
    }
}

/// The certificates of a PEM file; at least one.
pub fn authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, String> {
    let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?;
    if found.is_empty() { Err("holds no certificate in PEM form".into()) } else { Ok(found) }
}

impl Trust {
    /// rustls settings that trust the pinned certificate only; `None`: nothing is pinned.
    pub fn pinned(&self) -> Option<Result<rustls::ClientConfig, String>> {
        self.pin.map(|pin| pinned(pin).map_err(|error| error.to_string()))
    }
}

fn pinned(sha256: [u8; 32]) -> Result<rustls::ClientConfig, Error> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pin { sha256, algorithms }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts one certificate, by its hash.
#[derive(Debug)]
struct Pin {
    sha256: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = digest::digest(&digest::SHA256, certificate);
        if found.as_ref().ct_eq(&self.sha256).into() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
