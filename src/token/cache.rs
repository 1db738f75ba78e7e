//! Tokens that were opened before. In: a token's text. Out: what [`TokenKeys::open`] makes of it, for a poll every few
//! seconds at the price of one hash.
//!
//! Invariants: an entry is found by the SHA-256 of the text, which itself is not kept; only what opened is kept, and nothing
//! that can change: expiry, site, revocation and address are decided anew at every request; there are never more than
//! [`MAX_ENTRIES`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::{Opened, TokenError, TokenKeys};

/// Entries at most, about half a kilobyte each.
pub const MAX_ENTRIES: usize = 2 * GENERATION;
/// When so many are young, the old ones go and the young ones are the old ones.
const GENERATION: usize = 4096;

type Digest = [u8; digest::SHA256_OUTPUT_LEN];
type Generation = HashMap<Digest, Arc<Opened>>;

/// The keys of this installation, and what they opened lately.
#[derive(Debug)]
pub struct Opener {
    keys: TokenKeys,
    known: Mutex<Known>,
}

/// What is asked for again stays among the young; what is not goes with its generation.
#[derive(Debug, Default)]
struct Known {
    young: Generation,
    old: Generation,
}

impl Opener {
    /// Knows no token yet.
    pub fn new(keys: TokenKeys) -> Self {
        Self { keys, known: Mutex::default() }
    }

    /// Opens a token as [`TokenKeys::open`] does.
    pub fn open(&self, text: &str) -> Result<Arc<Opened>, TokenError> {
        let digest = sha256(text);
        if let Some(opened) = self.known().find(&digest) {
            return Ok(opened);
        }
        let opened = Arc::new(self.keys.open(text)?);
        self.known().keep(digest, Arc::clone(&opened));
        Ok(opened)
    }

    /// For making tokens.
    pub fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// How many tokens are known.
    pub fn entries(&self) -> usize {
        let known = self.known();
        known.young.len() + known.old.len()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&mut self, digest: &Digest) -> Option<Arc<Opened>> {
        if let Some(opened) = self.young.get(digest) {
            return Some(Arc::clone(opened));
        }
        let opened = self.old.remove(digest)?;
        self.keep(*digest, Arc::clone(&opened));
        Some(opened)
    }

    fn keep(&mut self, digest: Digest, opened: Arc<Opened>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, opened);
    }
}

fn sha256(text: &str) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::token::Claims;

    fn opener() -> (Opener, Secret) {
        let keys = TokenKeys::derive(&Secret::new("k".repeat(64)), &Secret::new("s".repeat(32)));
        let claims = Claims::parse(&format!("https;443;misp.example.net;{};2030-12-31", "a".repeat(40))).unwrap();
        let token = keys.mint(&claims, 1).unwrap();
        (Opener::new(keys), token)
    }

    #[test]
    fn the_second_time_it_is_the_same_and_spellings_stay_apart() {
        let (opener, token) = opener();
        let first = opener.open(token.reveal()).unwrap();
        assert!(Arc::ptr_eq(&first, &opener.open(token.reveal()).unwrap()));
        let spelt = opener.open(&format!("{}!", token.reveal())).unwrap();
        assert_eq!((spelt.hash == first.hash, spelt.hash_as_sent == first.hash_as_sent), (true, false));
        assert_eq!(opener.entries(), 2);
    }

    #[test]
    fn what_does_not_open_is_not_kept() {
        let (opener, token) = opener();
        for bad in ["", "abc", "gAAAA", &token.reveal()[4..]] {
            assert!(opener.open(bad).is_err());
        }
        assert_eq!(opener.entries(), 0);
    }

    #[test]
    fn the_day_is_asked_for_every_time() {
        let (opener, token) = opener();
        for (day, good) in [(30, true), (31, false), (30, true)] {
            let opened = opener.open(token.reveal()).unwrap();
            assert_eq!(opened.claims.check_expiry(jiff::civil::date(2030, 12, day)).is_ok(), good);
        }
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_not_asked_for() {
        let (opener, token) = opener();
        let kept = opener.open(token.reveal()).unwrap();
        for n in 0..2 * MAX_ENTRIES {
            opener.open(&format!("{}.{}", token.reveal(), ".".repeat(n % 64) + &"!".repeat(n / 64))).unwrap();
            assert!(opener.entries() <= MAX_ENTRIES);
            if n % 1000 == 0 {
                assert!(Arc::ptr_eq(&kept, &opener.open(token.reveal()).unwrap()), "in use and forgotten at {n}");
            }
        }
        assert!(opener.entries() > GENERATION / 2);
    }

    #[test]
    fn debug_shows_no_token() {
        let (opener, token) = opener();
        opener.open(token.reveal()).unwrap();
        let shown = format!("{opener:?}");
        assert!(!shown.contains(token.reveal()) && !shown.contains(&"a".repeat(40)), "{shown}");
    }
}
