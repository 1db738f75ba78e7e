//! One list → its bodies, in every age and format that is wanted.
//!
//! In: a list and its slots. Out: bodies handed to the writer, and for which time they are good.
//!
//! Invariants: ages are nested, so equal counts mean equal content, which is rendered once; a list whose values are those of
//! the served version is not rendered, hashed or compressed.

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::matrix::{self, Slots};
use super::{Inner, StageError, lock};
use crate::index::bands::Band;
use crate::index::select::ListKey;
use crate::index::{AGES, DataType, List, TYPES};
use crate::render::{Body, FORMATS, Rendered};
use crate::snapshot::manifest::{Change, Opened};
use crate::snapshot::write::Writer;

/// Age → where its window begins, and the oldest attribute that counts.
pub(super) type Windows = BTreeMap<String, (i64, i64)>;

/// Number of values and print of every body, by list and slot. Of every body, not of every age: one format may have been made
/// later than another.
type Prints = HashMap<(ListKey, (usize, usize)), (usize, u64)>;

/// What the lists of the served version hold, as prints. Not kept over a restart: then everything is rendered once.
#[derive(Debug, Default)]
pub(super) struct Made {
    key: RandomState,
    served: Mutex<(u64, Prints)>,
}

/// One making of lists.
pub(super) struct Round<'a> {
    /// Where the window of every age begins.
    since: Vec<i64>,
    previous: Option<&'a Opened>,
    /// Of `previous`.
    known: Prints,
    prints: Prints,
    pub(super) windows: Windows,
    /// Bodies that were made.
    pub(super) rendered: u64,
}

impl Inner {
    /// Begins to make lists; what is as in `previous` is taken from there.
    pub(super) fn round<'a>(&self, previous: Option<&'a Opened>, now: Timestamp) -> Round<'a> {
        let served = lock(&self.made.served);
        let is_known = previous.is_some_and(|opened| opened.manifest.version == served.0);
        Round {
            since: AGES.iter().map(|age| age.since(now, &self.zone)).collect(),
            previous,
            known: if is_known { served.1.clone() } else { Prints::new() },
            prints: Prints::new(),
            windows: Windows::new(),
            rendered: 0,
        }
    }

    /// The lists of a round are served, as this version.
    pub(super) fn note_made(&self, version: u64, round: Round<'_>) {
        *lock(&self.made.served) = (version, round.prints);
    }

    /// The lists of a round were added to what was served; together they are this version.
    pub(super) fn note_added(&self, before: Option<u64>, version: u64, prints: Option<Round<'_>>) {
        let mut served = lock(&self.made.served);
        if before == Some(served.0) {
            served.0 = version;
            served.1.extend(prints.into_iter().flat_map(|round| round.prints));
        }
    }

    /// Renders one list in its ages and formats, unless the served version has it.
    pub(super) fn render(
        &self,
        writer: &mut Writer<'_>,
        (key, list): (&ListKey, &List),
        slots: &Slots,
        round: &mut Round<'_>,
    ) -> Result<(), StageError> {
        // Per format the body of the age before, and no more: all ages of a large list at once would fill the memory.
        let mut last: BTreeMap<usize, (usize, Arc<Body>)> = BTreeMap::new();
        let (counted, bands) = (matrix::counted(slots), list.bands(&round.since, &self.made.key));
        // The values of one age, found once for all its formats.
        let (mut values, mut found) = (Vec::new(), None);
        for (slot @ (age, format), on_demand) in slots {
            let (band, since) = (bands[*age], round.since[*age]);
            round.note_window(*age, &band);
            round.prints.insert((key.clone(), *slot), (band.count, band.print));
            let counts = Some(*slot) == counted;
            if round.carries(writer, key, *slot, *on_demand, &band, counts) {
                continue;
            }
            let form = &FORMATS[*format];
            if last.get(format).is_none_or(|(count, _)| *count != band.count) {
                last.remove(format);
                round.rendered += 1;
            }
            let make = || {
                if found.replace(band.count) != Some(band.count) {
                    values.clear();
                    values.extend(list.since(since));
                }
                (band.count, Arc::new(form.body_of(key.1, &values)))
            };
            let (_, body) = last.entry(*format).or_insert_with(make);
            let rendered = Rendered {
                key: matrix::artifact_key(key, *slot),
                data_type: Some(key.1),
                format: form,
                body: Arc::clone(body),
                on_demand: *on_demand,
            };
            writer.add(&rendered, counts)?;
        }
        Ok(())
    }
}

impl Round<'_> {
    fn note_window(&mut self, age: usize, band: &Band) {
        let (since, oldest) = (self.since[age], band.oldest.unwrap_or(i64::MAX));
        let window = self.windows.entry(AGES[age].name.to_owned()).or_insert((since, oldest));
        window.1 = window.1.min(oldest);
    }

    /// Takes a body over from the served version if it is there and holds the same values.
    fn carries(
        &self,
        writer: &mut Writer<'_>,
        key: &ListKey,
        slot: (usize, usize),
        on_demand: bool,
        band: &Band,
        counts: bool,
    ) -> bool {
        let Some(previous) =
            self.previous.filter(|_| self.known.get(&(key.clone(), slot)) == Some(&(band.count, band.print)))
        else {
            return false;
        };
        let name = matrix::artifact_key(key, slot);
        let same = previous.manifest.artifacts.get(&name).filter(|artifact| artifact.on_demand == on_demand);
        let Some(artifact) = same.filter(|artifact| previous.is_intact(artifact)) else { return false };
        writer.carry(&name, artifact);
        if counts {
            let change = Change { entries: artifact.entries, ..Change::default() };
            writer.note_change(&matrix::list_name(key), change);
        }
        true
    }
}

/// The empty form of every data type and format: what a list answers that was never anything but empty.
pub(super) fn empty_forms() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |data_type: &'static DataType| {
        let takers = FORMATS.iter().filter(|format| format.takes(data_type.name));
        takers.map(|format| (data_type.name, format.extension, format.body(data_type.name, std::iter::empty()).bytes))
    };
    TYPES.iter().flat_map(of).collect()
}
