//! Which key opens which view: read by `web` at every request, written by the one who proves keys.
//!
//! In: a site and a key. Out: a [`Standing`]. Invariants: a key opens a view only after [`Keyring::open`] said so; keys are
//! found by a keyed hash whose secret lives as long as the process, so neither the time of a look-up nor a dump of the map
//! tells anything of them; what is known of keys that open nothing is bounded and forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::watch;

use super::ViewId;
use crate::secret::Secret;

/// Keys that open nothing, as many as are remembered.
const MAX_CLOSED: usize = 4096;
/// A key that opened nothing is tried again after so many seconds at the earliest.
pub const TRY_AGAIN: i64 = 60;

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It was proven: what it opens.
    Opens(Arc<Opening>),
    /// It is being tried.
    Asked,
    /// It opens nothing.
    Closed(Closed),
    /// Nothing, or nothing that still counts: it may be tried.
    Unknown,
}

/// Why a key opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The MISP does not accept it.
    Refused,
    /// The MISP could not be asked, or did not say who it is.
    NoAnswer(Trouble),
    /// There is no place where it may be tried.
    NowhereToAsk,
}

/// How asking a MISP failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection.
    Connection,
    /// No answer in time.
    Timeout,
    /// An answer with an error status.
    Status,
    /// An answer that is not what it should be.
    Content,
}

/// A view that a key opens.
#[derive(Debug)]
pub struct Opening {
    /// The view.
    pub view: ViewId,
    polled: AtomicI64,
}

impl Opening {
    /// Never polled.
    pub fn new(view: ViewId, polled: i64) -> Self {
        Self { view, polled: AtomicI64::new(polled) }
    }

    /// Notes a poll (Unix seconds).
    pub fn poll(&self, now: i64) {
        self.polled.fetch_max(now, Ordering::Relaxed);
    }

    /// Unix seconds of the last poll.
    pub fn polled(&self) -> i64 {
        self.polled.load(Ordering::Relaxed)
    }
}

/// The keyed hash of a site and a key, by which this process finds what the key opens.
pub type Digest = [u8; 32];

#[derive(Debug)]
struct Known {
    standing: Standing,
    /// Unix seconds: from then on a key that opens nothing may be tried.
    until: i64,
}

/// All keys, by site.
pub struct Keyring {
    secret: hmac::Key,
    known: RwLock<HashMap<Digest, Known>>,
    news: watch::Sender<()>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Keyring")
    }
}

impl Keyring {
    /// Knows no key. Fails only if the system gives no random bytes.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { secret, known: RwLock::default(), news: watch::Sender::new(()) })
    }

    /// What [`find_by`](Self::find_by) looks up.
    pub fn digest(&self, site: &str, key: &Secret) -> Digest {
        let mut context = hmac::Context::with_key(&self.secret);
        // A site's name has no such byte, so no two pairs give one text.
        [site.as_bytes(), &[0], key.reveal().as_bytes()].into_iter().for_each(|part| context.update(part));
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Digest, Known>> {
        // Entries are written whole, so a poisoned map is still good.
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a key (`now` in Unix seconds).
    pub fn find(&self, site: &str, key: &Secret, now: i64) -> Standing {
        self.find_by(&self.digest(site, key), now)
    }

    /// [`find`](Self::find) without hashing: for those who keep the hash.
    pub fn find_by(&self, digest: &Digest, now: i64) -> Standing {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(digest) {
            Some(Known { standing: Standing::Closed(_), until }) if *until <= now => Standing::Unknown,
            Some(known) => known.standing.clone(),
            None => Standing::Unknown,
        }
    }

    /// Takes the right to try a key: `true` for one caller, until it is closed or opened. `false`: somebody has it, it is
    /// known already, or too many keys are known that open nothing.
    pub fn begin(&self, site: &str, key: &Secret, now: i64) -> bool {
        let digest = self.digest(site, key);
        let mut known = self.write();
        match known.get(&digest) {
            Some(Known { standing: Standing::Closed(_), until }) if *until <= now => {}
            Some(_) => return false,
            None => {
                let opens_nothing = |known: &Known| !matches!(known.standing, Standing::Opens(_));
                if known.values().filter(|known| opens_nothing(known)).count() >= MAX_CLOSED {
                    known.retain(|_, known| !matches!(known.standing, Standing::Closed(_)) || known.until > now);
                    if known.values().filter(|known| opens_nothing(known)).count() >= MAX_CLOSED {
                        return false;
                    }
                }
            }
        }
        known.insert(digest, Known { standing: Standing::Asked, until: 0 });
        true
    }

    /// The key opens this view from now on. A view has one [`Opening`], whatever the number of its keys.
    pub fn open(&self, site: &str, key: &Secret, opening: &Arc<Opening>) {
        let standing = Standing::Opens(Arc::clone(opening));
        self.write().insert(self.digest(site, key), Known { standing, until: 0 });
        self.announce();
    }

    /// The key opens nothing; it may be tried again [`TRY_AGAIN`] seconds from `now`.
    pub fn close(&self, site: &str, key: &Secret, why: Closed, now: i64) {
        let known = Known { standing: Standing::Closed(why), until: now + TRY_AGAIN };
        self.write().insert(self.digest(site, key), known);
        self.announce();
    }

    /// Nothing is known of the key any more.
    pub fn forget(&self, site: &str, key: &Secret) {
        self.write().remove(&self.digest(site, key));
        self.announce();
    }

    /// Wakes everybody who waits for a key or for a view to be there.
    pub fn announce(&self) {
        self.news.send_replace(());
    }

    /// Changes whenever something may have come that somebody waits for.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: char) -> Secret {
        Secret::new(letter.to_string().repeat(40))
    }

    #[test]
    fn a_key_is_tried_by_one_and_again_after_a_minute() {
        let ring = Keyring::new().unwrap();
        assert!(ring.begin("a", &key('k'), 0) && !ring.begin("a", &key('k'), 0));
        assert!(matches!(ring.find("a", &key('k'), 0), Standing::Asked));
        ring.close("a", &key('k'), Closed::Refused, 100);
        assert!(matches!(ring.find("a", &key('k'), 159), Standing::Closed(Closed::Refused)));
        assert!(!ring.begin("a", &key('k'), 159));
        assert!(matches!(ring.find("a", &key('k'), 160), Standing::Unknown) && ring.begin("a", &key('k'), 160));
    }

    #[test]
    fn a_key_opens_one_view_of_one_site() {
        let ring = Keyring::new().unwrap();
        let opening = Arc::new(Opening::new(ViewId::user("a", "7", 0).unwrap(), 0));
        ring.open("a", &key('k'), &opening);
        let Standing::Opens(found) = ring.find("a", &key('k'), 0) else { panic!("closed") };
        found.poll(5);
        found.poll(3);
        assert_eq!((found.view.name(), opening.polled()), ("user-7", 5));
        for (site, letter) in [("b", 'k'), ("a", 'l')] {
            assert!(matches!(ring.find(site, &key(letter), 0), Standing::Unknown));
        }
        assert!(!ring.begin("a", &key('k'), 0));
        ring.forget("a", &key('k'));
        assert!(matches!(ring.find("a", &key('k'), 0), Standing::Unknown));
    }

    #[test]
    fn keys_that_open_nothing_are_bounded_and_give_way() {
        let ring = Keyring::new().unwrap();
        let many = |n: usize| Secret::new(format!("{n:040}"));
        for n in 0..MAX_CLOSED {
            assert!(ring.begin("a", &many(n), 0));
            ring.close("a", &many(n), Closed::Refused, 0);
        }
        assert!(!ring.begin("a", &key('k'), 30) && ring.begin("a", &key('k'), TRY_AGAIN));
    }
}
