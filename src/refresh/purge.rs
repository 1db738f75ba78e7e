//! What is served, without what must never be published.
//!
//! In: a version, and what is never published now. Out: the bodies that differ; a version without those lines, if the served
//! one has some.
//!
//! Lists are made without them in the first place. But a list that is held, a version that is pinned, approved or rolled back
//! to was made before, perhaps under other settings. A change of `never_publish` counts for these too, at the next refresh,
//! and is no jump that anything is held for.
//!
//! Invariants: only lines go, nothing is added; what has no such line stays as it is, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::counts::Counts;
use super::{Inner, Report, StageError, matrix};
use crate::index::DataType;
use crate::index::never::{Families, Never};
use crate::render::{FORMATS, Format, Rendered};
use crate::snapshot::layout;
use crate::snapshot::manifest::Opened;
use crate::snapshot::write::{Outcome, Placing};
use crate::state::Counters;

/// Why such a version exists.
const REASON: &str = "never_publish";

impl Inner {
    /// Takes what must never be published out of what is served, once per change of the settings if all of it can be read. The counters are kept.
    pub(super) fn purge(
        &self,
        never: &Never,
        counters: &mut Counters,
        now: Timestamp,
    ) -> Result<Option<Outcome>, StageError> {
        if counters.purged == never.fingerprint() || !self.is_own(counters) {
            return Ok(None);
        }
        let (outcome, is_whole) = match self.previous()? {
            Some(served) => {
                let Cleaned { bodies, is_whole } = without(&served, never);
                (self.without_lines(&served, bodies, counters, now)?, is_whole)
            }
            None => (None, true),
        };
        // What cannot be read now is looked at again: it may be restored as it was.
        if is_whole {
            counters.purged = never.fingerprint().to_owned();
        }
        self.keep(counters)?;
        Ok(outcome)
    }

    fn without_lines(
        &self,
        served: &Opened,
        bodies: BTreeMap<String, Rendered>,
        counters: &mut Counters,
        now: Timestamp,
    ) -> Result<Option<Outcome>, StageError> {
        if bodies.is_empty() {
            return Ok(None);
        }
        let counted: BTreeSet<String> = self
            .matrix()
            .iter()
            .filter_map(|(list, slots)| Some(matrix::artifact_key(list, matrix::counted(slots)?)))
            .collect();
        let header = self.header(counters, REASON, Counts::of_version(&served.manifest), now)?;
        let mut writer = self.writer(Some(served), header)?;
        for (key, artifact) in &served.manifest.artifacts {
            match bodies.get(key) {
                Some(body) => writer.add(body, counted.contains(key))?,
                None => writer.carry(key, artifact),
            }
        }
        let outcome = self.finish(writer, Placing::Serve, counters)?;
        for (list, change) in &outcome.changes {
            // What the operator took out is no jump.
            if let Some(base) = counters.base.get_mut(list) {
                base.entries = base.entries.saturating_sub(change.removed);
            }
        }
        if let (Some(pin), Some(version)) = (&mut counters.pin, outcome.version) {
            pin.version = version;
        }
        tracing::info!(view = %self.site.view, version = outcome.version, "never_publish took lines out of what was served");
        Ok(Some(outcome))
    }
}

impl Report {
    /// The report of what followed a purge.
    pub(super) fn after(self, purged: Option<Outcome>) -> Self {
        let Some(purged) = purged else { return self };
        let mut changes = purged.changes;
        for (list, change) in self.changes {
            let known = changes.entry(list).or_default();
            known.entries = change.entries;
            known.added += change.added;
            known.removed += change.removed;
        }
        Self { version: self.version.or(purged.version), changes, ..self }
    }
}

/// What is left of the bodies of a version that hold what must never be published.
pub(super) struct Cleaned {
    pub(super) bodies: BTreeMap<String, Rendered>,
    /// Every list could be read. One that could not is left to whoever mends it.
    is_whole: bool,
}

/// The bodies of a version that hold what must never be published, without it.
pub(super) fn without(version: &Opened, never: &Never) -> Cleaned {
    let mut cleaned = Cleaned { bodies: BTreeMap::new(), is_whole: true };
    if never.is_empty() {
        return cleaned;
    }
    for (key, artifact) in version.manifest.artifacts.iter().filter(|(_, artifact)| artifact.entries > 0) {
        let Some((data_type, format)) = kind_of(key) else { continue };
        let families = Families::of([data_type]);
        if families.is_empty() {
            continue;
        }
        let Some(values) = version.read(artifact).ok().and_then(|bytes| (format.values)(&bytes)) else {
            cleaned.is_whole = false;
            continue;
        };
        let stays: Vec<&str> =
            values.iter().map(String::as_str).filter(|value| never.caught(families, value).is_none()).collect();
        if stays.len() < values.len() {
            let body = Arc::new(format.body(data_type.name, stays.into_iter()));
            let on_demand = artifact.on_demand;
            let rendered = Rendered { key: key.clone(), data_type: Some(data_type.name), format, body, on_demand };
            cleaned.bodies.insert(key.clone(), rendered);
        }
    }
    cleaned
}

/// Data type and format of a list, by its key.
fn kind_of(key: &str) -> Option<(&'static DataType, &'static Format)> {
    if layout::warninglist_of(key).is_some() {
        return None;
    }
    let (list, file) = key.rsplit_once('/')?;
    let data_type = DataType::named(list.rsplit_once('/')?.1)?;
    let extension = file.split_once('.')?.1;
    let format = FORMATS.iter().find(|format| format.extension == extension)?;
    Some((data_type, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_data_type_and_format() {
        let kind = |key: &str| kind_of(key).map(|(data_type, format)| (data_type.name, format.name));
        assert_eq!(kind("feed/block/ipv4/1w.txt"), Some(("ipv4", "txt")));
        assert_eq!(kind("org/a/url/1w.paloalto.txt"), Some(("url", "paloalto")));
        assert_eq!((kind("warninglist/5.json"), kind("feed/block/none/1w.txt")), (None, None));
    }
}
