//! The lists of a mirror, made once and kept while nothing can have changed them.
//!
//! In: a mirror, what is wanted, the moment. Out: lists, the last ones if they are still what they would be.
//!
//! Invariant: what is kept is what would be made now; while everything is read again nothing is kept, because memory is short
//! then.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Inner, Kept, lock};
use crate::index::never::Never;
use crate::index::select::{self, Lists, Wants};

/// Lists, and what they were made from.
pub(super) struct Selection {
    /// Hex hash of the mirror's file.
    mirror: String,
    /// What decides beside the mirror.
    decides: String,
    lists: Arc<Lists>,
}

impl Inner {
    /// The lists that are wanted. `decides` names what decides about them beside the mirror.
    pub(super) fn select(
        &self,
        Kept { mirror, hash }: &Kept,
        never: &Never,
        decides: &str,
        wants: &Wants,
        now: Timestamp,
    ) -> Arc<Lists> {
        let mut selection = lock(&self.selection);
        let now = now.as_second();
        let same =
            |kept: &&Selection| kept.mirror == *hash && kept.decides == decides && kept.lists.hold_at(wants, now);
        if let Some(kept) = selection.as_ref().filter(same) {
            return Arc::clone(&kept.lists);
        }
        *selection = None;
        let lists = Arc::new(select::lists(mirror, &self.site.rules, never, wants, now));
        *selection = Some(Selection { mirror: hash.clone(), decides: decides.to_owned(), lists: Arc::clone(&lists) });
        lists
    }

    /// Forgets the lists.
    pub(super) fn forget_selection(&self) {
        *lock(&self.selection) = None;
    }
}
