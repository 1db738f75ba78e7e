//! One list → its bodies, in every age and format that is wanted.
//!
//! In: a list and its slots. Out: bodies handed to the writer, and for which time they are good.
//!
//! Invariant: ages are nested, so equal counts mean equal content, which is rendered once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::matrix::{self, Slots};
use super::{Inner, StageError};
use crate::index::select::ListKey;
use crate::index::{AGES, DataType, List, TYPES};
use crate::render::{Body, FORMATS, Rendered};
use crate::snapshot::write::Writer;

/// Age → where its window begins, and the oldest attribute that counts.
pub(super) type Windows = BTreeMap<String, (i64, i64)>;

impl Inner {
    /// Renders one list in its ages and formats; ages are nested, so equal counts mean equal content, rendered once.
    /// Returns the number of bodies that were made.
    pub(super) fn render(
        &self,
        writer: &mut Writer<'_>,
        list_key @ (_, data_type): &ListKey,
        list: &List,
        slots: &Slots,
        now: Timestamp,
        windows: &mut Windows,
    ) -> Result<u64, StageError> {
        // Per format the body of the age before, and no more: all ages of a large list at once would fill the memory.
        let mut last: BTreeMap<usize, (usize, Arc<Body>)> = BTreeMap::new();
        let counted = matrix::counted(slots);
        let mut made = 0;
        for (slot @ (age, format), on_demand) in slots {
            let (age, form) = (&AGES[*age], &FORMATS[*format]);
            let since = age.since(now, &self.zone);
            let oldest = list.oldest_since(since).unwrap_or(i64::MAX);
            let window = windows.entry(age.name.to_owned()).or_insert((since, oldest));
            window.1 = window.1.min(oldest);
            let values = list.count_since(since);
            if last.get(format).is_none_or(|(count, _)| *count != values) {
                last.remove(format);
                made += 1;
            }
            let make = || (values, Arc::new(form.body(data_type, list.since(since))));
            let (_, body) = last.entry(*format).or_insert_with(make);
            let rendered = Rendered {
                key: matrix::artifact_key(list_key, *slot),
                data_type: Some(*data_type),
                format: form,
                body: Arc::clone(body),
                on_demand: *on_demand,
            };
            writer.add(&rendered, Some(*slot) == counted)?;
        }
        Ok(made)
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
