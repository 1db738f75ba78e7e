//! Additions to what is served: lists on demand, and bodies that are made of no mirror.
//!
//! In: wishes, or bodies. Out: a [`Report`]; a version that holds all of the one before and the additions is in place.
//!
//! Invariants: lists are made from the mirror of the version they are added to; nothing of what somebody else saw is carried
//! over.

use jiff::Timestamp;

use super::candidate;
use super::counts::Counts;
use super::matrix::Matrix;
use super::{Inner, Report, StageError, lock};
use crate::demand::Wanted;
use crate::render::Rendered;
use crate::snapshot::layout;
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::prune;
use crate::snapshot::write::{Placing, Writer};
use crate::state::Counters;

impl Inner {
    /// Adds lists on demand to what is published.
    pub(super) fn publish_wanted(&self, wanted: Vec<Wanted>, now: Timestamp) -> Result<Report, StageError> {
        // The lock first: the lists must come from the mirror of the version they are added to, not from an older one.
        let _publishing = lock(&self.publishing);
        let known = self.mirror()?.ok_or(StageError::NoMirror)?;
        let mut counters = self.counters()?;
        if candidate::is_aside(&counters) {
            return Err(StageError::Aside);
        }
        let matrix = {
            let mut on_demand = lock(&self.on_demand);
            on_demand.extend(wanted.iter().map(|wanted| (wanted.clone(), now.as_second())));
            let mut matrix = Matrix::new();
            wanted.iter().for_each(|wanted| self.add_wanted(&mut matrix, wanted));
            matrix
        };
        let never = self.never()?;
        // What is counted of a list is counted at the largest age that is published, not at the one that is asked for.
        let mut wants = self.wants(&self.matrix(), now);
        wants.retain(|key, _| matrix.contains_key(key));
        let lists = self.select_some(&known, &never, &wants, now);
        let previous = self.own_previous(&counters)?;
        let counts = Counts::of(&lists);
        let mut writer = self.adding(previous.as_ref(), &counters, counts.clone(), now)?;
        let mut round = self.round(previous.as_ref(), now);
        for (key, list) in &lists.lists {
            self.render(&mut writer, (key, list), &matrix[key], &mut round)?;
        }
        let outcome = self.finish(writer, Placing::Serve, &mut counters)?;
        let rendered = round.rendered;
        let before = previous.as_ref().map(|opened| opened.manifest.version);
        if let Some(version) = outcome.version {
            self.note_added(before, version, Some(round));
        }
        self.keep(&mut counters)?;
        drop(previous);
        self.drop_on_demand(&counters);
        Ok(Report { rendered, ..self.report(&known.mirror, outcome, counts)? })
    }

    /// Adds bodies that are made of no mirror to what is published.
    pub(super) fn publish_fixed(&self, bodies: &[Rendered], now: Timestamp) -> Result<Report, StageError> {
        let _publishing = lock(&self.publishing);
        let mut counters = self.counters()?;
        let previous = self.own_previous(&counters)?;
        let mut writer = self.adding(previous.as_ref(), &counters, Counts::default(), now)?;
        for body in bodies {
            writer.add(body, false)?;
        }
        let outcome = self.finish(writer, Placing::Serve, &mut counters)?;
        if let (Some(version), Some(previous)) = (outcome.version, &previous)
            && counters.compared.version == previous.manifest.version
        {
            // The lists are those of the version before.
            counters.compared.version = version;
        }
        if let Some(version) = outcome.version {
            self.note_added(previous.as_ref().map(|opened| opened.manifest.version), version, None);
        }
        self.keep(&mut counters)?;
        drop(previous);
        self.drop_on_demand(&counters);
        let entries = manifest::open_current(&self.view_dir)?.map_or(0, |opened| opened.manifest.entries());
        Ok(Report { version: outcome.version, entries, rendered: bodies.len() as u64, ..Report::default() })
    }

    /// A version that holds all of the one before, to be added to.
    fn adding<'a>(
        &'a self,
        previous: Option<&'a Opened>,
        counters: &Counters,
        counts: Counts,
        now: Timestamp,
    ) -> Result<Writer<'a>, StageError> {
        let mut kept = previous.map(|opened| Counts::of_version(&opened.manifest)).unwrap_or_default();
        kept.add(counts);
        let header = self.header(counters, prune::ON_DEMAND, kept, now)?;
        let mut writer = self.writer(previous, header)?;
        carry_lists(&mut writer, previous);
        self.carry_warninglists(&mut writer, previous, now);
        Ok(writer)
    }

    /// Versions that only added lists on demand give way. One that cannot be removed only takes up room.
    fn drop_on_demand(&self, counters: &Counters) {
        let spared = counters.candidate.map(|candidate| candidate.version);
        if let Err(error) = prune::drop_on_demand(&self.view_dir, spared) {
            tracing::warn!(view = %self.site.view, %error, "a version that nobody needs any more could not be removed");
        }
    }
}

/// All lists as they are served.
fn carry_lists(writer: &mut Writer<'_>, previous: Option<&Opened>) {
    let artifacts = previous.into_iter().flat_map(|opened| &opened.manifest.artifacts);
    artifacts
        .filter(|(key, _)| layout::warninglist_of(key).is_none())
        .for_each(|(key, artifact)| writer.carry(key, artifact));
}
