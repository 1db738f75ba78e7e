//! The asking half of a refresh: what is known → a question → a pull → a new mirror.
//!
//! In: the mirror and counters as they are. Out: [`Fresh`], which nobody has taken over yet.
//!
//! Invariants: a mirror that does not cover what is asked of it is never added to, a full pull replaces it; what is not
//! settled is read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::{Inner, Kept, Progress, StageError, holds};
use crate::config::Site;
use crate::fetch::{self, Known, KnownEvent, Pulled, Question, Sink, Source, wire};
use crate::index::intake::Intake;
use crate::index::mirror::{Coverage, Mirror};
use crate::state::Counters;

/// What a pull brought.
pub(super) struct Fresh {
    pub(super) mirror: Mirror,
    /// It differs from the mirror before.
    pub(super) changed: bool,
    pub(super) pulled: Pulled,
}

/// Pulls what changed, or everything if `full` or if there is nothing to add to.
pub(super) async fn pull(
    inner: &Inner,
    before: Option<Arc<Kept>>,
    counters: &Counters,
    full: bool,
    now: i64,
    progress: Progress,
) -> Result<Fresh, StageError> {
    let (site, needed) = (&inner.site, inner.needed_coverage());
    let before = before.as_ref().map(|kept| &kept.mirror);
    let base = before.filter(|mirror| !full && mirror.coverage() >= needed);
    let coverage = base.map_or(needed, Mirror::coverage);
    let question = question(site, base, coverage, counters);
    let types = question.types.clone();
    let intake = match base {
        Some(mirror) => Intake::incremental(mirror, types, now),
        None => Intake::full(before, inner.fingerprint(), coverage, types, now),
    };
    let mut sink = Filling { intake, progress };
    let limit = site.time_limit;
    let pulled = tokio::time::timeout(limit, fetch::pull(&site.source, &question, &mut sink))
        .await
        .map_err(|_| StageError::TimeLimit(limit.as_secs()))??;
    let mut intake = sink.intake;
    pulled.gone.iter().for_each(|uuid| intake.gone(uuid));
    let (mirror, changed) = intake.finish();
    Ok(Fresh { mirror, changed, pulled })
}

fn question(site: &Site, base: Option<&Mirror>, coverage: Coverage, counters: &Counters) -> Question {
    let rules = &site.rules;
    let feed_tags: BTreeSet<String> = rules.feeds.iter().map(|feed| feed.tag.clone()).collect();
    let watched = feed_tags.iter().chain([&rules.false_positive]).cloned().collect();
    Question {
        full: base.is_none(),
        types: rules.misp_types(),
        any_to_ids: rules.any_to_ids(),
        tags: (coverage == Coverage::Tagged).then_some(feed_tags),
        false_positive: rules.false_positive.clone(),
        watched,
        known: base.map(|mirror| known(mirror, &counters.unsettled)).unwrap_or_default(),
        warninglists: base.and(counters.warninglists.clone()),
        // While its absence is held the tag is asked for with every pull: not asked must not look like found again.
        watches_false_positive: counters.false_positives > 0 || counters.holds.contains_key(holds::FALSE_POSITIVE),
        version: counters.server_version.clone(),
        memory_mb: counters.memory_mb,
        hits_missing: counters.hits_missing,
    }
}

fn known(mirror: &Mirror, unsettled: &[Uuid]) -> Known {
    let mut known: Known = mirror
        .known()
        .map(|(uuid, was)| {
            let (timestamp, published, false_positives) = (was.timestamp, was.published, was.false_positives);
            (uuid, KnownEvent { timestamp, published, false_positives })
        })
        .collect();
    for uuid in unsettled {
        // Known, so that it can be missed; with a time it never had, so that it is read again.
        if let Some(event) = known.get_mut(uuid) {
            event.timestamp = i64::MIN;
        }
    }
    known
}

impl Inner {
    /// Names the rules and the source: a mirror answers for one pair only.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.site.rules.fingerprint(&self.site.source.identity(self.site.user.as_deref()))
    }

    /// Which rows the published lists need. A feed is always read whole.
    pub(super) fn needed_coverage(&self) -> Coverage {
        let tagged = |slice: &crate::index::Slice| self.site.rules.is_tag_feed(slice);
        match self.site.source {
            Source::Feed(_) => Coverage::Everything,
            _ if self.matrix().keys().all(|(slice, _)| tagged(slice)) => Coverage::Tagged,
            _ => Coverage::Everything,
        }
    }
}

/// Puts what a pull brings into a mirror.
struct Filling {
    intake: Intake,
    progress: Progress,
}

impl Sink for Filling {
    fn attribute(&mut self, event: &Uuid, attribute: &wire::Attribute<'_>) {
        self.intake.attribute(event, attribute);
    }

    fn event(&mut self, event: wire::Event) {
        self.intake.event(&event);
    }

    fn progress(&mut self, done: u64, of: u64) {
        (self.progress)(done, of);
    }
}
