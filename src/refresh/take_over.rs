//! A pull is taken over, or held. In: what a pull brought. Out: a new mirror and what is published from it, or the old one and
//! the reasons.
//!
//! Invariants: a pull that is held changes nothing but the ages; what the next pull relies on is noted only together with
//! the mirror it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::holds::{self, Found};
use super::publish::Publishing;
use super::pull::Fresh;
use super::{How, Inner, Report, StageError, guard, lock, steer};
use crate::fetch::Pulled;
use crate::index::Slice;
use crate::index::fate::Loss;
use crate::index::like::like;
use crate::index::mirror::{Coverage, Mirror};
use crate::index::select::Lists;
use crate::state::{Counters, Hold};

impl Inner {
    /// Takes a pull over, unless it is held, and publishes.
    pub(super) fn take_over(&self, fresh: Fresh, how: How, now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let mut counters = self.counters()?;
        let Fresh { mirror, changed, pulled } = fresh;
        let reasons = holds::of_view(&self.found(&mirror, &pulled, &counters));
        let view_holds = holds::holding_view(reasons, &counters.holds, how, now.as_second());
        counters.last_success = Some(now.as_second());
        if pulled.full && (how.full || view_holds.is_empty()) {
            counters.last_full = Some(now.as_second());
        }
        let mut report = if view_holds.is_empty() {
            let kept = match self.mirror()?.filter(|_| !changed) {
                Some(kept) => kept,
                None => self.keep_mirror(mirror)?,
            };
            self.note_pull(&mut counters, &kept.mirror, &pulled);
            let reason = if pulled.full { "full refresh" } else { "refresh" };
            self.publish(&kept, &mut counters, Publishing { reason, how, fresh: true, now, view_holds })?
        } else {
            drop(mirror);
            self.hold(&mut counters, how, now, view_holds)?
        };
        (report.events, report.read, report.full) = (pulled.events, pulled.read, pulled.full);
        report.malformed += pulled.malformed;
        report.server = pulled.server;
        Ok(report)
    }

    fn found<'a>(&'a self, mirror: &Mirror, pulled: &'a Pulled, counters: &'a Counters) -> Found<'a> {
        Found {
            false_positive: &self.site.rules.false_positive,
            existed: &counters.tags,
            had_false_positives: counters.false_positives > 0,
            tags: pulled.tags.as_ref(),
            rows_before: counters.rows,
            rows: mirror.rows(),
            comparable: mirror.coverage() == Coverage::Everything || !counters.all_rows,
        }
    }

    /// What the next pull needs to know of this one.
    fn note_pull(&self, counters: &mut Counters, mirror: &Mirror, pulled: &Pulled) {
        counters.unsettled.clone_from(&pulled.unsettled);
        counters.false_positives = pulled.false_positives;
        counters.warninglists.clone_from(&pulled.warninglists);
        counters.hits_missing = pulled.hits_missing;
        (counters.rows, counters.all_rows) = (mirror.rows(), mirror.coverage() == Coverage::Everything);
        if let Some(server) = &pulled.server {
            counters.server_version = Some(server.version.clone());
            counters.memory_mb = server.memory_mb;
            counters.user = (server.email.clone(), server.organisation.clone());
        }
        let Some(tags) = &pulled.tags else { return };
        let exists = |pattern: &String| tags.iter().any(|name| like(pattern, name));
        let false_positive = &self.site.rules.false_positive;
        // An incremental pull asks for the false-positive tag only.
        let asked = |pattern: &&String| pulled.full || *pattern == false_positive;
        let feeds = self.site.rules.feeds.iter().map(|feed| &feed.tag);
        let configured: BTreeSet<&String> = feeds.chain([false_positive]).collect();
        for pattern in configured.into_iter().filter(asked) {
            let known = counters.tags.iter().position(|tag| tag == pattern);
            match (exists(pattern), known) {
                (true, None) => counters.tags.push(pattern.clone()),
                (false, Some(at)) => {
                    tracing::warn!(view = %self.site.view, tag = pattern, "this tag is gone from the server");
                    counters.tags.remove(at);
                }
                _ => {}
            }
        }
    }

    /// The pull is not taken over; what is known stays, and so does what is served, but for the ages.
    fn hold(
        &self,
        counters: &mut Counters,
        how: How,
        now: Timestamp,
        view_holds: BTreeMap<String, Hold>,
    ) -> Result<Report, StageError> {
        match self.mirror()? {
            Some(kept) => {
                let how = How { full: false, ..how };
                self.publish(&kept, counters, Publishing { reason: "ages", how, fresh: false, now, view_holds })
            }
            None => {
                self.log_holds(&counters.holds, &view_holds);
                counters.holds = view_holds;
                steer::show_pin(counters);
                self.keep(counters)?;
                Ok(Report { holds: counters.holds.clone(), ..Report::default() })
            }
        }
    }

    /// Which feeds must not fall to zero yet. What is not held counts from now on.
    pub(super) fn decide_holds(
        &self,
        lists: &Lists,
        can_hold: bool,
        counters: &mut Counters,
        publishing: &Publishing<'_>,
    ) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (key, list) in &lists.lists {
            if let Slice::Feed(name) = &key.0 {
                // What the operator keeps back is not lost at the source.
                let kept_back = lists.ledgers.get(key).and_then(|ledger| ledger.lost.get(&Loss::NeverPublish));
                *counts.entry(name.to_string()).or_default() += list.count() as u64 + kept_back.unwrap_or(&0);
            }
        }
        let reasons = if can_hold { holds::of_feeds(&counters.feeds, &counts) } else { holds::Reasons::new() };
        let How { full, release } = publishing.how;
        let mut held = holds::holding(reasons, &counters.holds, full, release, publishing.now.as_second());
        for (feed, count) in counts {
            if !held.contains_key(&holds::feed_key(&feed)) {
                counters.feeds.insert(feed, count);
            }
        }
        held.extend(publishing.view_holds.clone());
        counters.holds = held;
    }

    pub(super) fn log_holds(&self, before: &BTreeMap<String, Hold>, now: &BTreeMap<String, Hold>) {
        let view = &self.site.view;
        for (key, hold) in now.iter().filter(|(key, _)| !before.contains_key(*key)) {
            tracing::warn!(%view, "held: {}; {}", hold.text, remedy(key, view.site()));
        }
        for key in before.keys().filter(|key| !now.contains_key(*key)) {
            tracing::info!(%view, "no longer held: {key}");
        }
    }
}

/// What ends a hold.
pub fn remedy(key: &str, site: &str) -> String {
    if key == steer::PINNED {
        format!("`cratos versions unpin --site {site}` serves newer versions again")
    } else if guard::is_key(key) {
        format!("`cratos approve {site}` serves it, `cratos reject {site}` keeps it out")
    } else {
        format!("the next full pull or `cratos approve {site}` confirms it")
    }
}
