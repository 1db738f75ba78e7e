//! How keys lie on disk: sealed with AES-256-GCM, bound to what they are for.
//!
//! In: a text and its context. Out: nonce, ciphertext and tag; and back. Invariants: the sealing key is derived from the
//! token key (HKDF-SHA256, RFC 5869), is no part of it and stands nowhere; every text has a random nonce of its own; what was
//! sealed for one context opens in no other.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// What the derived key is for.
const PURPOSE: &[u8] = b"cratos seal 1";

/// Seals and opens.
pub struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealer")
    }
}

impl Sealer {
    /// Derives the sealing key from secret bytes.
    pub fn derive(secret: &[u8]) -> Self {
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        // HKDF gives up to 255 times 32 bytes; these are 32.
        #[allow(clippy::expect_used, reason = "the length fits")]
        let derived = derived.expand(&[PURPOSE], &AES_256_GCM).expect("32 bytes");
        Self(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// Seals a text for a context. Fails only if the system gives no random bytes, or for texts of more than 64 GB.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce)?;
        let mut text = Zeroizing::new(plain.to_vec());
        let (aad, unique) = (Aad::from(context.as_bytes()), Nonce::assume_unique_for_key(nonce));
        let tag = self.0.seal_in_place_separate_tag(unique, aad, &mut text)?;
        Ok([nonce.as_slice(), text.as_slice(), tag.as_ref()].concat())
    }

    /// Opens what was sealed for this context; `None`: it was not, not with this key, or it was changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(context.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_context_alone() {
        let sealer = Sealer::derive(&[7; 32]);
        let sealed = sealer.seal("a/user-1", b"secret").unwrap();
        assert_eq!(sealer.open("a/user-1", &sealed).unwrap().as_slice(), b"secret");
        assert!(sealer.open("a/user-2", &sealed).is_none());
        assert!(Sealer::derive(&[8; 32]).open("a/user-1", &sealed).is_none());
        assert_ne!(sealed, sealer.seal("a/user-1", b"secret").unwrap(), "a nonce of its own");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let sealer = Sealer::derive(&[7; 32]);
        let mut sealed = sealer.seal("", b"secret").unwrap();
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert!(sealer.open("", &sealed).is_none(), "byte {at}");
            sealed[at] ^= 1;
        }
        for length in 0..sealed.len() {
            assert!(sealer.open("", &sealed[..length]).is_none(), "{length} bytes");
        }
    }
}
