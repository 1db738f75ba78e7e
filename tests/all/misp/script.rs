//! Somebody else who answers on the same wire: tests that need rows no world can hold.

use super::fault::Kind;
use super::route::Answer;
use super::wire::Asked;

/// Answers every request instead of a [`World`](super::World).
pub trait Script: Send + Sync {
    /// What goes wrong with this request, if anything.
    fn fault(&self, asked: &Asked) -> Option<Kind>;
    /// The answer, if nothing does.
    fn answer(&self, asked: &Asked) -> Answer;
    /// The name of its key, for the request log.
    fn key_name(&self, asked: &Asked) -> String;
}
