//! Keys that nobody has proven yet: `web` and other commands put them in, whoever proves keys takes them out.
//!
//! Invariants: bounded; a full queue refuses, it never waits; what comes of a knock shows in the
//! [`Keyring`](crate::view::keyring::Keyring), so nobody waits for an answer of its own.

use tokio::sync::mpsc;

use crate::secret::Secret;

/// Knocks waiting at once.
const QUEUE: usize = 256;

/// A key to be proven, as a token names it.
#[derive(Clone, Debug)]
pub struct Knock {
    /// The site: the token's host.
    pub site: String,
    /// `http` or `https`.
    pub proto: String,
    /// Of the MISP.
    pub port: u16,
    /// The key.
    pub key: Secret,
}

/// The end that puts knocks in.
#[derive(Clone, Debug)]
pub struct Door(mpsc::Sender<Knock>);

impl Door {
    /// Both ends.
    pub fn new() -> (Self, mpsc::Receiver<Knock>) {
        let (knocks, queue) = mpsc::channel(QUEUE);
        (Self(knocks), queue)
    }

    /// `false`: too many are waiting.
    pub fn knock(&self, knock: Knock) -> bool {
        self.0.try_send(knock).is_ok()
    }
}
