//! The lists of a mirror, made once and kept while nothing can have changed them.
//!
//! In: a mirror, what is wanted, the moment. Out: lists, the last ones if they are still what they would be; else the last ones
//! with what changed in the mirror since.
//!
//! Invariant: what is kept is what would be made now; while everything is read again nothing is kept, because memory is short
//! then.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Inner, Kept, lock};
use crate::index::never::Never;
use crate::index::patch;
use crate::index::select::{self, Lists, Wants};

/// Lists, and what they were made from.
pub(super) struct Selection {
    kept: Arc<Kept>,
    /// What decides beside the mirror.
    decides: String,
    lists: Arc<Lists>,
}

impl Inner {
    /// The lists that are wanted. `decides` names what decides about them beside the mirror.
    pub(super) fn select(
        &self,
        kept: &Arc<Kept>,
        never: &Never,
        decides: &str,
        wants: &Wants,
        now: Timestamp,
    ) -> Arc<Lists> {
        let mut selection = lock(&self.selection);
        let (rules, now) = (&self.site.rules, now.as_second());
        let known = selection.take().filter(|known| known.decides == decides);
        let lists = match known {
            Some(known) if known.kept.hash == kept.hash && known.lists.hold_at(wants, now) => known.lists,
            Some(Selection { kept: old, lists, .. }) => {
                let patched = Arc::into_inner(lists)
                    .and_then(|lists| patch::patched(lists, (&old.mirror, &kept.mirror), rules, never, wants, now));
                Arc::new(patched.unwrap_or_else(|| select::lists(&kept.mirror, rules, never, wants, now)))
            }
            None => Arc::new(select::lists(&kept.mirror, rules, never, wants, now)),
        };
        let (kept, decides) = (Arc::clone(kept), decides.to_owned());
        *selection = Some(Selection { kept, decides, lists: Arc::clone(&lists) });
        lists
    }

    /// Some lists, beside those that are kept: out of these if they are there.
    pub(super) fn select_some(&self, kept: &Arc<Kept>, never: &Never, wants: &Wants, now: Timestamp) -> Lists {
        let now = now.as_second();
        let selection = lock(&self.selection);
        let known =
            selection.as_ref().filter(|known| known.kept.hash == kept.hash && known.decides == self.decides(never));
        let some = known.and_then(|known| known.lists.some(wants, now));
        drop(selection);
        some.unwrap_or_else(|| select::lists(&kept.mirror, &self.site.rules, never, wants, now))
    }

    /// Forgets the lists.
    pub(super) fn forget_selection(&self) {
        *lock(&self.selection) = None;
    }
}
